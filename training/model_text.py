"""The model card for people, written from the card and the stored report."""

from collections.abc import Mapping
from typing import Any, Final

from fer.emotions import label_name
from fer.model_card import OWN_HEAD, ModelCard

KNOWN_DATA: Final[Mapping[str, str]] = {
    "fer2013": (
        "FER2013 (Goodfellow et al. 2013): grey 48×48 faces gathered by web search, labelled with seven "
        "expressions; for research use. Where there are votes: FER+ (Barsoum et al. 2016), ten annotators a "
        "picture, labels under the MIT licence."
    ),
    "expw": (
        "ExpW, Expression in-the-Wild (Zhang et al. 2018): web photos, one label per face; for research use, "
        "not for commercial use."
    ),
    "rafdb": (
        "RAF-DB (Li et al. 2017): web photos of many people, labelled by about 40 annotators each; for "
        "non-commercial research."
    ),
    "affectnet96": (
        "AffectNet (Mollahosseini et al. 2017), the faces on whose label two sources agree; for non-commercial "
        "research."
    ),
    "rafml": (
        "RAF-ML (Li and Deng 2019): blended expressions as shares of annotators' votes; for non-commercial research."
    ),
    "films": "SFEW (Dhall et al. 2011): stills of actors in films; for research; it only judges.",
    "posed": "posed faces of two laboratories in East Asia; for research; they only judge.",
    "others": (
        "crops without a face, cut by `training.crop_others` where an eager detector saw one in web photos that are "
        "for research use; they teach the output `other`."
    ),
}
"""Descriptions of known data sets, by the start of their file names."""


_OWN_LIMITS: Final = (
    "It knows the classes of its own pictures and nothing else: every face gets one of them, whatever it shows. "
    "People, light and cameras that were not among the pictures are read worse than the results say, the more so "
    "the fewer people were. Profiles, hands before the mouth, strong shadows and faces below 24 pixels are read "
    "badly."
)


def describe_data(name: str) -> str:
    """A sentence about a data file by its name."""
    for start, text in KNOWN_DATA.items():
        if name.lower().startswith(start):
            return text
    return "pictures of the person who trained this model"


def describe_views(card: ModelCard) -> str:
    """Describe the views that a network takes of each face, as a sentence."""
    views = ["the face"]
    if card.inner_view < 1:
        views.append(f"the middle {card.inner_view:.0%} of it")
    if card.mirror_average:
        views.append("the mirror images of both" if len(views) > 1 else "its mirror image")
    if len(views) == 1:
        return "Each face is looked at once."
    return f"Every answer is the mean over {', '.join(views[:-1])} and {views[-1]}."


def model_card_text(
    card: ModelCard, report: Mapping[str, Any], suite: Mapping[str, Any] | None = None
) -> str:
    """Markdown: use, data, results, calibration, limits, how to train it again.

    Args:
        card: The card.
        report: Of the run.
        suite: The stored report of ``benchmarks.accuracy --suite``, whose figures come first.
    """
    head = card.head()
    shown = ", ".join(label.display_name for label in head.emotions)
    heads_option = f" --heads {OWN_HEAD}" if card.default_head == OWN_HEAD else ""
    heads = "; ".join(f"`{each.name}` ({', '.join(each.labels)})" for each in card.heads)
    sections = [
        f"# {card.name}",
        card.description or f"Reads {shown} from the crop of a face.",
        f"- Architecture: `{card.architecture}`, input {card.preprocessing.size}×{card.preprocessing.size} "
        f"{card.preprocessing.colour}, see `fer/networks.py`\n"
        f"- Heads: {heads}; "
        f"shown to people: `{card.default_head}`\n"
        f"- {describe_views(card)}\n"
        f"- Licence: code and weights {card.licence}; the pictures they learned from are for research use, see below",
        "## What it is for",
        "Displays of mood, studies of recorded video, games, art, teaching: places where a wrong answer does no "
        "harm and everybody in the picture knows. It names the expression a face shows. **Expressions are not "
        "feelings**: people smile when they are sad.",
        "**Not for** decisions about people: hiring, grading, policing, insurance, health. In the European "
        "Union the AI Act prohibits inferring emotions at work and in education save for medical or safety reasons "
        "(Article 5(1)(f)), and people must be told that such a system looks at them (Article 50(3)).",
        "## What it learned from",
        "\n".join(f"- `{data['name']}`: {describe_data(data['name'])}" for data in card.data_sets)
        or "Not recorded.",
        "## Results",
        "\n".join([_suite(suite), *_by_set(report)]) if suite else _results(report),
        "## Confidence",
        _confidence(report, head.unsure_below),
        "## Limits",
        _OWN_LIMITS
        if card.default_head == OWN_HEAD
        else "The pictures of the data sets come from the web and from search words; they show some ages, skin tones and "
        "cultures far more often than others, and no results by group are known. Labels are noisy: people agree "
        "with each other on about two thirds of FER2013. Fear is taken for surprise, and sadness for a neutral "
        "face, more often than anything else. Profiles, hands before the mouth, strong shadows and faces below 24 "
        "pixels are read badly.",
        "## Train it again",
        f"```\npython -m training.train --data DATA --architecture {card.architecture}{heads_option}\n"
        "python -m training.export --run runs/RUN --tag TAG\n```\n"
        "All settings, the history of every epoch and the full report lie in `run/`; where the network went on from "
        "earlier weights, theirs lie in `history/`.",
    ]
    return "\n\n".join(sections) + "\n"


def _results(report: Mapping[str, Any]) -> str:
    lines = [
        f"Measured on the validation split (epoch {report.get('best_epoch', '?')}), which also chose the epoch; "
        "95 % intervals by bootstrap.",
        "",
        "| Head | Faces | Accuracy | Balanced | Macro F1 | NLL | ECE |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, head in report.get("heads", {}).items():
        low, high = head.get("intervals_95", {}).get("accuracy", (float("nan"), float("nan")))
        lines.append(
            f"| `{name}` | {head['count']} | {head['accuracy']:.3f} ({low:.3f}–{high:.3f}) | "
            f"{head['balanced_accuracy']:.3f} | {head['macro_f1']:.3f} | {head['nll']:.3f} | {head['ece']:.3f} |"
        )
    lines += _by_set(report)
    for name, head in report.get("heads", {}).items():
        lines += ["", f"Head `{name}`, by expression:", "", "| | Precision | Recall | F1 | Faces |"]
        lines.append("|---|---|---|---|---|")
        for label, row in head["per_class"].items():
            title = label_name(label)
            lines.append(
                f"| {title} | {row['precision']:.3f} | {row['recall']:.3f} | {row['f1']:.3f} | {row['count']} |"
            )
    return "\n".join(lines)


def _suite(suite: Mapping[str, Any]) -> str:
    """Figures of every set of the suite, with who is in it."""
    lines = [
        "Every set is judged by itself, with the network as it is shipped: six expressions, 95 % intervals by "
        f"bootstrap. Mean balanced accuracy over the sets {suite['mean_balanced_accuracy']:.3f}, largest "
        f"calibration error {suite['worst_ece']:.3f}.",
        "",
        "| Set | Faces | Accuracy | Balanced | Macro F1 | ECE | Resting faces named otherwise |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, each in suite["sets"].items():
        low, high = each["intervals_95"]["accuracy"]
        resting = each.get("resting_named_otherwise", float("nan"))
        lines.append(
            f"| {name} | {each['count']} | {each['accuracy']:.3f} ({low:.3f}–{high:.3f}) | "
            f"{each['balanced_accuracy']:.3f} | {each['macro_f1']:.3f} | {each['ece']:.3f} | {resting:.3f} |"
        )
    expressions = list(next(iter(suite["sets"].values()))["recall"])
    lines += ["", f"| Recall | {' | '.join(label_name(label) for label in expressions)} |"]
    lines.append("|---" * (len(expressions) + 1) + "|")
    for name, each in suite["sets"].items():
        cells = [f"{each['recall'][label]:.2f}" for label in expressions]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "Who is in the sets:", ""]
    lines += [f"- {name}: {each['people']}; {each['framing']}." for name, each in suite["sets"].items()]
    lines += [
        "",
        "Age, sex, skin tone and origin are recorded in none of the sets; whether the model is equally right for "
        "all groups is not known.",
    ]
    if "web_photos" in suite:
        found = suite["web_photos"]["found_and_named"]
        lines += [
            "",
            f"In whole web photos {found:.3f} of the labelled faces are found and named as labelled.",
        ]
    return "\n".join(lines)


def _by_set(report: Mapping[str, Any]) -> list[str]:
    """Figures of every validation set, seen in calibration and left out of it."""
    head = report.get("heads", {}).get(report.get("default_head", ""), {})
    if not head.get("sets"):
        return []
    lines = [
        "",
        "By data set, shown answer, six expressions. *ECE left out* is the calibration error on a set that the "
        "fit of the shown answer never saw.",
        "",
        "| Set | Faces | Accuracy | Balanced | ECE | ECE left out |",
        "|---|---|---|---|---|---|",
    ]
    for name, each in head["sets"].items():
        left_out = head.get("left_out", {}).get(name, {}).get("ece", float("nan"))
        lines.append(
            f"| {name} | {each['count']} | {each['accuracy']:.3f} | {each['balanced_accuracy']:.3f} | "
            f"{each['ece']:.3f} | {left_out:.3f} |"
        )
    return lines


def _confidence(report: Mapping[str, Any], unsure_below: float) -> str:
    head = report.get("heads", {}).get(report.get("default_head", ""), {})
    text = (
        "One temperature a head was fitted on the validation split, so that of a hundred faces named with 80 % "
        "confidence about eighty are right."
    )
    if unsure_below:
        text += f" Below {unsure_below:.0%} the answer is called unsure: at least 90 % of the named faces are right."
    rows = [
        f"| {row['coverage']:.0%} | {row['accuracy']:.3f} | {row['confidence']:.2f} |"
        for row in head.get("coverage_risk", ())
    ]
    if rows:
        text += "\n\n| Most confident share | Accuracy | Confidence from |\n|---|---|---|\n" + "\n".join(rows)
    return text
