"""Streamlit in the visitor's language; import ``st`` from here instead of ``streamlit``.

The pages' code is in English. Labels, texts, tables and charts are translated before they are sent to the
browser; widget keys and return values are not.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import streamlit
from streamlit.delta_generator import DeltaGenerator

from fer.translation import COOKIE, ENGLISH, Catalogue, catalogues, choose_language

__all__ = [
    "Spoken",
    "page_catalogue",
    "show_switch",
    "st",
    "translate_chart",
    "translate_table",
    "translated",
]

_CHOSEN: Final = "language"
_YEAR_S: Final = 365 * 24 * 3600

_TEXTS: Final = frozenset(
    {
        *("badge", "button", "camera_input", "caption", "checkbox", "download_button", "error", "expander"),
        *("file_uploader", "header", "html", "image", "info", "markdown", "metric", "multiselect"),
        *("number_input", "pills", "popover", "progress", "radio", "segmented_control", "selectbox"),
        *("slider", "spinner", "subheader", "success", "tabs", "text_area", "text_input", "title", "toast"),
        *("toggle", "warning", "write"),
    }
)
"""Functions whose first argument is a text to show."""

_CHOICES: Final = frozenset({"multiselect", "pills", "radio", "segmented_control", "selectbox"})
_EMPTY: Final = {"multiselect": "Choose options", "selectbox": "Choose an option"}
"""Streamlit's own placeholders, which it does not translate."""

_PLACES: Final = frozenset({"columns", "container", "empty"})
_CHARTS: Final = frozenset({"altair_chart", "vega_lite_chart"})
_SHOWN: Final = frozenset({"label", "body", "help", "placeholder", "text", "caption", "captions"})
"""Arguments with texts to show."""

_NOT_WORDS: Final = frozenset(
    {"field", "type", "mark", "aggregate", "$schema", "name", "format", "param", "color"}
)
"""Parts of a chart's specification whose texts are code, not words."""


class Spoken:
    """A wrapper around Streamlit or one of its containers that translates what is shown.

    Args:
        target: The module or the container.
    """

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name not in _TEXTS | _PLACES | _CHARTS | {"dataframe"}:
            return found
        return lambda *words, **named: _wrapped(_call(name, self._target, found, words, named))

    def __enter__(self) -> "Spoken":
        self._target.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._target.__exit__(*error)


if TYPE_CHECKING:  # wrapped or not, it keeps Streamlit's types
    import streamlit as st
else:
    st = Spoken(streamlit)


def page_catalogue() -> Catalogue:
    """Return the catalogue of the language chosen here, of the cookie's or of the browser's."""
    chosen = streamlit.session_state.get(_CHOSEN)
    cookie = streamlit.context.cookies.get(COOKIE)
    return catalogues()[choose_language(chosen, cookie, streamlit.context.headers.get("Accept-Language"))]


def translated(sentence: str) -> str:
    """Return a sentence in the visitor's language, to be joined with others."""
    return _say(sentence, page_catalogue())


def show_switch() -> None:
    """Draw the language switch; a cookie stores the choice, also for the webcam page of the same host."""
    codes = list(catalogues())
    now = page_catalogue().code
    chosen = st.selectbox(
        "Language",
        codes,
        index=codes.index(now),
        format_func=lambda code: catalogues()[code].name,
        key="language_box",
    )
    if chosen != now:
        streamlit.session_state[_CHOSEN] = chosen
        streamlit.rerun()
    if _CHOSEN in streamlit.session_state:
        cookie = f"{COOKIE}={chosen}; path=/; max-age={_YEAR_S}; samesite=lax"
        streamlit.html(f"<script>document.cookie = {cookie!r}</script>", unsafe_allow_javascript=True)


def _wrapped(made: Any) -> Any:
    """Wrap a new container, so that its contents are translated, too."""
    if isinstance(made, DeltaGenerator):
        return Spoken(made)
    if isinstance(made, list) and made and isinstance(made[0], DeltaGenerator):
        return [Spoken(each) for each in made]
    return made


def _call(
    name: str, target: Any, found: Callable[..., Any], words: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    catalogue = page_catalogue()
    if catalogue.code == ENGLISH or name in _PLACES:
        return found(*words, **named)
    if name == "dataframe":
        table, config = translate_table(words[0], named.pop("column_config", None), catalogue)
        return found(table, *words[1:], column_config=config, **named)
    if name in _CHARTS:
        spec = words[0] if isinstance(words[0], dict) else words[0].to_dict()
        return target.vega_lite_chart(translate_chart(spec, catalogue), *words[1:], **named)
    text_count = 2 if name == "metric" else 1
    words = (*(_translate(word, catalogue) for word in words[:text_count]), *words[text_count:])
    if name in _EMPTY:
        named.setdefault("placeholder", _EMPTY[name])
    if name == "multiselect":
        named.setdefault("select_all", False)  # the words of its "Select all" cannot be changed
    named |= {key: _translate(value, catalogue) for key, value in named.items() if key in _SHOWN}
    if name in _CHOICES:
        show = named.get("format_func", str)
        named["format_func"] = lambda choice: catalogue.translate(show(choice))
    return found(*words, **named)


def _translate(shown: Any, catalogue: Catalogue) -> Any:
    if isinstance(shown, str):
        return catalogue.markdown(shown) if "\n" in shown else _say(shown, catalogue)
    return [_translate(each, catalogue) for each in shown] if isinstance(shown, list) else shown


def _say(text: str, catalogue: Catalogue) -> str:
    """Translate a text, which may be an error with a capital and a full stop."""
    said = catalogue.translate(text)
    if said != text or not text[:1].isupper():
        return said
    error, stop = text[0].lower() + text[1:].removesuffix("."), "." if text.endswith(".") else ""
    said = catalogue.translate(error)
    return text if said == error else f"{said[0].upper()}{said[1:]}{stop}"


def translate_table(
    table: pd.DataFrame, config: Mapping[str, Any] | None, catalogue: Catalogue
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Translate the texts of a table.

    Returns:
        The table with the same columns, and a column configuration with translated names.
    """
    translate = cache(catalogue.translate)
    shown = table.map(lambda cell: translate(cell) if isinstance(cell, str) else cell)
    shown.index = shown.index.map(lambda name: translate(name) if isinstance(name, str) else name)
    columns = {name: dict(column or {}) for name, column in (config or {}).items()}
    for name in (name for name in table.columns if isinstance(name, str)):
        column = columns.setdefault(name, {})
        column["label"] = catalogue.word(column.get("label") or name)
    return shown, columns


def translate_chart(spec: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """Translate the titles and labels of a chart's specification, and the words in its data."""
    translated: dict[str, Any] = _translate_spec(spec, catalogue, "")
    number = {"decimal": catalogue.decimal, "thousands": "\u202f", "grouping": [3], "currency": ["", ""]}
    translated.setdefault("config", {})["locale"] = {"number": number}
    return translated


def _translate_spec(part: Any, catalogue: Catalogue, key: str) -> Any:
    if isinstance(part, pd.DataFrame):
        return _translate_cells(part, catalogue)
    if isinstance(part, Mapping):
        said = {name: _translate_spec(value, catalogue, name) for name, value in part.items()}
        if key == "tooltip" and isinstance(part.get("field"), str):
            said.setdefault("title", catalogue.word(part["field"]))
        return said
    if isinstance(part, list):
        return [_translate_spec(each, catalogue, key) for each in part]
    return catalogue.word(part) if isinstance(part, str) and key not in _NOT_WORDS else part


def _translate_cells(table: pd.DataFrame, catalogue: Catalogue) -> pd.DataFrame:
    return table.map(lambda cell: catalogue.word(cell) if isinstance(cell, str) else cell)
