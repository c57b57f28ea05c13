"""The tab that describes the software, its limits and its handling of images."""

import re
from pathlib import Path
from typing import Final

import gradio as gr

from fer.emotions import label_name
from fer.model_card import ModelCard
from fer.printable import plain_markdown
from webapp.analyzers import Analyzers
from webapp.page import ASSETS, Tab


def about_text(folder: Path, card: ModelCard) -> str:
    """Return the page's introduction, followed by the model card of the current weights."""
    shown = ", ".join(label_name(emotion).lower() for emotion in card.head().emotions)
    words = (ASSETS / "about.md").read_text("utf-8").replace("EXPRESSIONS", shown)
    readme = folder / "README.md"
    written = readme.read_text("utf-8", "replace") if readme.is_file() else _card_text(card)
    model = _smaller_headings(plain_markdown(written))
    return f"{words}\n## The model in use\n\n{model}\n"


def _smaller_headings(text: str) -> str:
    """Return a model card with headings that fit the page, without YAML front matter."""
    if text.startswith("---\n"):
        text = text.split("\n---\n", maxsplit=1)[-1]
    return re.sub(r"^#{1,3} ", "### ", text.strip(), flags=re.MULTILINE)


def _card_text(card: ModelCard) -> str:
    """Return a description made from ``card.json``, for weights without a written model card."""
    labels = ", ".join(label_name(emotion) for emotion in card.head().emotions)
    lines = [f"**{card.name}**: {card.description or card.architecture}", f"- Expressions: {labels}"]
    lines += [f"- Licence: {card.licence}"]
    lines += [f"- Data: {data.get('name', '?')} ({data.get('licence', '?')})" for data in card.data_sets]
    return "\n".join([lines[0], "", *lines[1:]])


def build(analyzers: Analyzers) -> None:
    """Lay out the tab."""
    classifier = analyzers.get().classifier
    gr.Markdown(about_text(classifier.folder, classifier.card), elem_id="kv-about-text")


TAB: Final = Tab("About", build)
