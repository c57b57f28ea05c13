"""The model card as Markdown, written from ``card.json`` and the stored report."""

from collections.abc import Mapping
from typing import Any, Final

from fer.emotions import label_name
from fer.model_card import OWN_HEAD, SMALL_FACE_SIDE, Head, ModelCard

KNOWN_DATA: Final[Mapping[str, str]] = {
    "fer2013": (
        "FER2013 (Goodfellow et al. 2013): grey 48×48 faces from web searches, labelled with seven "
        "expressions; for research use. Crowd votes: FER+ (Barsoum et al. 2016), ten annotators per image, "
        "MIT licence."
    ),
    "expw": (
        "ExpW, Expression in-the-Wild (Zhang et al. 2018): web photos, one label per face; for research use, "
        "not for commercial use."
    ),
    "rafdb": (
        "RAF-DB (Li et al. 2017): web photos of many people, each labelled by about 40 annotators; for "
        "non-commercial research."
    ),
    "affectnet": (
        "AffectNet (Mollahosseini et al. 2017): only faces for which two label sources agree; for non-commercial "
        "research."
    ),
    "rafml": (
        "RAF-ML (Li and Deng 2019): blended expressions as shares of annotators' votes; for non-commercial research."
    ),
    "films": "SFEW (Dhall et al. 2011): stills of actors in films; for research; validation only.",
    "posed": "posed faces from two laboratories in East Asia; for research; validation only.",
    "others": (
        "false positives of a detector in web photos for research use, cut out by `training.crop_others`; they "
        "train the output `other`."
    ),
}
"""Descriptions of known data sets, by the start of their file names."""


_OWN_LIMITS: Final = (
    "It knows only the classes of its training images: every face gets one of them, whatever it shows. "
    "For people, lighting and cameras that the training images do not cover, accuracy is lower than reported, "
    "especially if they show few people. Accuracy is low for profiles, hands in front of the mouth, strong "
    "shadows and faces below 24 pixels."
)


def describe_data(name: str) -> str:
    """Describe a data file, known by its name, in one sentence."""
    for start, text in KNOWN_DATA.items():
        if name.lower().startswith(start):
            return text
    return "images provided by the person who trained this model"


def describe_views(card: ModelCard) -> str:
    """Describe the views of each face that the answer averages, in one sentence."""
    views = ["the face"]
    if card.inner_view < 1:
        views.append(f"its central {card.inner_view:.0%}")
    if card.mirror_average:
        views.append("the mirror images of both" if len(views) > 1 else "its mirror image")
    if len(views) == 1:
        return "The network reads each face once."
    return f"Each answer is the mean over {', '.join(views[:-1])} and {views[-1]}."


def model_card_text(
    card: ModelCard, report: Mapping[str, Any], suite: Mapping[str, Any] | None = None
) -> str:
    """Return the Markdown: intended use, data, results, calibration, limits, reproduction.

    Args:
        card: The card.
        report: Report of the run.
        suite: Stored report of ``benchmarks.accuracy --suite``; replaces the figures of the run's report.
    """
    head = card.head()
    shown = ", ".join(label.display_name for label in head.emotions)
    heads = "; ".join(f"`{each.name}` ({', '.join(each.labels)})" for each in card.heads)
    sections = [
        f"# {card.name}",
        card.description or f"Classifies face crops as {shown}.",
        f"- Architecture: `{card.architecture}`, input {card.preprocessing.size}×{card.preprocessing.size} "
        f"in {card.preprocessing.colour_word}, see `fer/networks.py`\n"
        f"- Heads: {heads}; "
        f"default: `{card.default_head}`\n"
        f"- {describe_views(card)}\n"
        f"- Licence: code and weights {card.licence}; the training images are for research use, see below",
        "## Intended use",
        "Mood displays, studies of recorded video, games, art, teaching: uses where a wrong answer does no "
        "harm and everyone on camera knows about it. It names the expression that a face shows. **Expressions are "
        "not feelings**: people smile when they are sad.",
        "**Not for** decisions about people: hiring, grading, policing, insurance, health. In the European "
        "Union the AI Act prohibits inferring emotions at work and in education except for medical or safety "
        "reasons (Article 5(1)(f)), and people must be informed that such a system is in use (Article 50(3)).",
        "## Training data",
        "\n".join(f"- `{data['name']}`: {describe_data(data['name'])}" for data in card.data_sets)
        or "Not recorded.",
        "## Results",
        "\n".join([_suite(suite), *_by_set(report)]) if suite else _results(report),
        "## Confidence",
        _confidence(report, head),
        "## Limits",
        _OWN_LIMITS
        if card.default_head == OWN_HEAD
        else "Most images come from web searches; they show some ages, skin tones and cultures far more often than "
        "others, and no results by group are known. Labels are noisy: people agree on about two thirds of FER2013. "
        "The most frequent confusions are fear with surprise and sadness with neutral. Accuracy is low for profiles, "
        "hands in front of the mouth, strong shadows and faces below 24 pixels.",
        "## Reproduction",
        f"```\npython -m training.train --repeat {card.name} --folders DATA_FOLDER …\n"
        "python -m training.export --run runs/RUN --tag TAG\n```\n"
        "`run/` contains all settings, the metrics of every epoch and the full report; `history/` contains those of "
        "earlier trainings, if the training started from existing weights.",
    ]
    return "\n\n".join(sections) + "\n"


def _results(report: Mapping[str, Any]) -> str:
    lines = [
        f"Measured on the validation split (epoch {report.get('best_epoch', '?')}), which was also used to select "
        "the epoch; 95 % intervals by bootstrap.",
        "",
        "| Head | Faces | Accuracy | Balanced accuracy | Macro F1 | NLL | ECE |",
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
    """Return the figures of every set of the suite, with a description of its people."""
    lines = [
        "Each set is evaluated separately with the shipped network: six expressions, 95 % intervals by "
        f"bootstrap. Mean balanced accuracy over the sets {suite['mean_balanced_accuracy']:.3f}, largest "
        f"calibration error (ECE) {suite['worst_ece']:.3f}.",
        "",
        "Found: share of the set's pictures, as they are, in which the default detector finds the face. Named: share of "
        "all pictures whose face is found and classified as labelled.",
        "",
        "| Set | Faces | Accuracy | Balanced accuracy | Macro F1 | ECE | Neutral faces confidently misclassified "
        "| Found | Named |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, each in suite["sets"].items():
        low, high = each["intervals_95"]["accuracy"]
        resting, found, named = (
            each.get(key, float("nan")) for key in ("resting_named_otherwise", "found", "found_and_named")
        )
        lines.append(
            f"| {name} | {each['count']} | {each['accuracy']:.3f} ({low:.3f}–{high:.3f}) | "
            f"{each['balanced_accuracy']:.3f} | {each['macro_f1']:.3f} | {each['ece']:.3f} | {resting:.3f} | "
            f"{found:.3f} | {named:.3f} |"
        )
    expressions = list(next(iter(suite["sets"].values()))["recall"])
    lines += ["", f"| Recall | {' | '.join(label_name(label) for label in expressions)} |"]
    lines.append("|---" * (len(expressions) + 1) + "|")
    for name, each in suite["sets"].items():
        cells = [f"{each['recall'][label]:.2f}" for label in expressions]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "The sets:", ""]
    lines += [f"- {name}: {each['people']}; {each['framing']}." for name, each in suite["sets"].items()]
    lines += [
        "",
        "None of the sets records age, sex, skin tone or origin; it is unknown whether the model is equally accurate "
        "for all groups.",
    ]
    if "web_photos" in suite:
        found = suite["web_photos"]["found_and_named"]
        lines += [
            "",
            f"In whole web photos, {found:.3f} of the labelled faces are detected and classified as labelled.",
        ]
    return "\n".join(lines)


def _by_set(report: Mapping[str, Any]) -> list[str]:
    """Return the figures of every validation set, with the calibration error when held out."""
    head = report.get("heads", {}).get(report.get("default_head", ""), {})
    if not head.get("sets"):
        return []
    lines = [
        "",
        "By data set, default answer, six expressions. *ECE held out* is the calibration error on a set that was "
        "held out of the fit of the default answer.",
        "",
        "| Set | Faces | Accuracy | Balanced accuracy | ECE | ECE held out |",
        "|---|---|---|---|---|---|",
    ]
    for name, each in head["sets"].items():
        left_out = head.get("left_out", {}).get(name, {}).get("ece", float("nan"))
        lines.append(
            f"| {name} | {each['count']} | {each['accuracy']:.3f} | {each['balanced_accuracy']:.3f} | "
            f"{each['ece']:.3f} | {left_out:.3f} |"
        )
    return lines


def _confidence(report: Mapping[str, Any], shown: Head) -> str:
    head = report.get("heads", {}).get(report.get("default_head", ""), {})
    text = (
        "Confidence was fitted on the validation split, so that over all its sets together about 80 of 100 answers "
        "with 80 % confidence are right."
    )
    if shown.unsure_below:
        text += f" Answers below {shown.unsure_below:.0%} are marked unsure: at least 90 % of the others are right."
    if shown.unsure_below_small > shown.unsure_below:
        text += (
            f" Faces of fewer than {SMALL_FACE_SIDE} pixels are unsure below {shown.unsure_below_small:.0%}, which "
            "was measured on faces shrunk to 16 pixels: the same holds, and in no set are more than 5 % of all faces "
            "wrong with confidence. The same threshold applies to faces that the picture's border cuts off."
        )
    rows = [
        f"| {row['coverage']:.0%} | {row['accuracy']:.3f} | {row['confidence']:.2f} |"
        for row in head.get("coverage_risk", ())
    ]
    if rows:
        text += "\n\n| Coverage (most confident first) | Accuracy | Minimum confidence |\n|---|---|---|\n"
        text += "\n".join(rows)
    return text
