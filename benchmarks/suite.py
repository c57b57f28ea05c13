"""Evaluate weights on a suite of data sets from different cameras, countries and photographers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.detectors import named_right
from fer import __version__
from fer.analysis import FaceAnalyzer
from fer.classification import EmotionClassifier
from fer.detection import FaceDetector, load_detector
from fer.emotions import Emotion
from fer.preprocessing import prepare_crops
from training.crop_faces import largest_face
from training.data.datasets import FaceTable, decode, pixels_of, read_table, square_of
from training.data.splits import data_hash
from training.data.targets import expressions_of
from training.detector.evaluation import read_boxed_photos
from training.evaluate import classify_all, true_labels
from training.metrics import key_figures, report_head, restrict

SUITE_FILE: Final = "suite.json"
"""The stored report, in the ``run`` folder of the weights."""

WANTED_ACCURACY: Final = 0.9


@dataclass(frozen=True)
class NamedSet:
    """A data set of the suite.

    Attributes:
        name: Name in the report.
        file: File in the suite's folder.
        people: Description of the people in it, for the model card.
        split: The split to evaluate; None for all rows.
        votes: Use the majority of votes as the label.
        detect: Detect the face first, because the images show more than the reference square.
    """

    name: str
    file: str
    people: str
    split: str | None = "val"
    votes: bool = False
    detect: bool = False


SETS: Final = (
    NamedSet(
        "publictest_votes",
        "fer2013_publictest.parquet",
        "people on web pages found by search words (2013), named by ten annotators",
        votes=True,
    ),
    NamedSet("publictest_labels", "fer2013_publictest.parquet", "the same people, named by the search word"),
    NamedSet("rafdb", "rafdb.parquet", "people on web pages of many countries, named by about 40 annotators"),
    NamedSet(
        "affectnet",
        "affectnet96.parquet",
        "people on web pages found by search words in six languages, on whose label two sources agree",
        detect=True,
    ),
    NamedSet("films", "films.parquet", "actors in films, named from the subtitles' context"),
    NamedSet("posed", "posed.parquet", "posing people of two laboratories in East Asia", detect=True),
)


def judge_suite(
    folder: Path, weights: Path, photos: Path | None, detector_name: str = "kv_face"
) -> dict[str, Any]:
    """Evaluate weights on every set of the suite.

    Args:
        folder: Folder with the files listed in ``SETS``.
        weights: A weights folder.
        photos: ``expw_photos_dev.parquet``, whole photos for the end-to-end evaluation; None skips it.
        detector_name: Detector for whole photos and for images that show more than a face.

    Returns:
        Figures by set, ``mean_balanced_accuracy`` and ``worst_ece`` over them.

    Raises:
        DatasetError: A file is missing or cannot be read.
    """
    classifier = EmotionClassifier(weights)
    seven = EmotionClassifier(weights, head="seven") if _has(classifier, "seven") else None
    detector = load_detector(detector_name)
    analyzer = FaceAnalyzer(detector, classifier)
    sets: dict[str, Any] = {}
    for named in SETS:
        table = read_table(folder / named.file)
        table = table if named.split is None else table.split(named.split)
        crops, faces, undetected = _prepare(table, classifier, detector if named.detect else None)
        truth = true_labels(faces, votes=True) if named.votes else list(faces.labels)
        sets[named.name] = _judge(classifier, crops, truth, expressions_of("six")) | {
            **_judge_pictures(analyzer, faces, truth),
            "people": named.people,
            "framing": f"face found by {detector_name}" if named.detect else "as cropped by the data set",
            "without_found_face": undetected,
            "data": named.file,
            "data_sha256": data_hash(folder / named.file),
        }
        if seven is not None:
            figures = _judge(seven, crops, truth, seven.head.emotions)
            sets[named.name]["seven"] = {
                name: figures[name] for name in ("count", "accuracy", "balanced_accuracy")
            }
    report: dict[str, Any] = {
        "weights": classifier.card.name,
        "weights_sha256": classifier.card.files.get("model.safetensors", ""),
        "head": classifier.head.name,
        "version": __version__,
        "sets": sets,
        "mean_balanced_accuracy": float(np.mean([each["balanced_accuracy"] for each in sets.values()])),
        "worst_ece": float(max(each["ece"] for each in sets.values())),
    }
    if photos is not None:
        web = read_boxed_photos(photos)
        report["web_photos"] = {
            "found_and_named": named_right(analyzer, web),
            "photos": len(web),
            "data": photos.name,
        }
    return report


def _has(classifier: EmotionClassifier, head: str) -> bool:
    return head in {each.name for each in classifier.card.heads}


def _prepare(
    table: FaceTable, classifier: EmotionClassifier, detector: FaceDetector | None
) -> tuple[NDArray[np.uint8], FaceTable, int]:
    """Return the network's input crops and the number of images without a detected face."""
    preprocessing = classifier.card.preprocessing
    if detector is None:
        decoded = decode(table, preprocessing)
        return decoded.crops, decoded.table, 0
    crops, undetected = [], 0
    for picture in table.pictures:
        image = pixels_of(picture)
        crop = largest_face(image, detector, preprocessing.margin)
        undetected += crop is None
        crops.append(square_of(image) if crop is None else crop)
    return prepare_crops(crops, preprocessing), table, undetected


def _judge(
    classifier: EmotionClassifier,
    crops: NDArray[np.uint8],
    truth: Sequence[Emotion | None],
    labels: Sequence[Emotion],
) -> dict[str, Any]:
    shares = classify_all(classifier, crops)
    report = report_head(shares, classifier.head.labels, truth, labels=labels)
    figures = key_figures(report) | {name: report[name] for name in ("unsure_below", "intervals_95")}
    figures["coverage_at_90"] = max(
        (row["coverage"] for row in report["coverage_risk"] if row["accuracy"] >= WANTED_ACCURACY),
        default=0.0,
    )
    resting = [row for row, label in enumerate(truth) if label == Emotion.NEUTRAL]
    if resting:
        judged = restrict(shares[resting], classifier.head.labels, labels)
        is_sure = judged.max(axis=1) >= classifier.head.unsure_below
        is_wrong = judged.argmax(axis=1) != list(labels).index(Emotion.NEUTRAL)
        figures["resting_named_otherwise"] = float((is_sure & is_wrong).mean())
    return figures


def _judge_pictures(
    analyzer: FaceAnalyzer, faces: FaceTable, truth: Sequence[Emotion | None]
) -> dict[str, float]:
    """Analyze the pictures as they are, like a user's: share of faces detected, and of those named right."""
    six = expressions_of("six")
    predicted = [
        (label, analyzer.analyze(pixels_of(picture)))
        for picture, label in zip(faces.pictures, truth, strict=True)
        if label in six
    ]
    named = [found[0].prediction.emotion == label for label, found in predicted if found]
    return {"found": len(named) / len(predicted), "found_and_named": sum(named) / len(predicted)}


def suite_table(report: Mapping[str, Any]) -> str:
    """Return the report as a Markdown table."""
    lines = [
        f"{report['weights']}, head `{report['head']}`: mean balanced accuracy "
        f"{report['mean_balanced_accuracy']:.3f}, worst ECE {report['worst_ece']:.3f}",
        "",
        "| Set | Faces | Accuracy (95 %) | Balanced | Macro F1 | ECE | Angry | Fearful | Happy | Sad | Surprised "
        "| Neutral | Seven | Found | Found and named |",
        "|---" * 15 + "|",
    ]
    for name, each in report["sets"].items():
        low, high = each["intervals_95"]["accuracy"]
        recall = " | ".join(
            f"{each['recall'].get(label, float('nan')):.2f}" for label in expressions_of("six")
        )
        seven = f"{each['seven']['accuracy']:.3f}" if "seven" in each else "–"
        lines.append(
            f"| {name} | {each['count']} | {each['accuracy']:.3f} ({low:.3f}–{high:.3f}) | "
            f"{each['balanced_accuracy']:.3f} | {each['macro_f1']:.3f} | {each['ece']:.3f} | {recall} | {seven} | "
            f"{each['found']:.3f} | {each['found_and_named']:.3f} |"
        )
    if "web_photos" in report:
        lines += [
            "",
            f"Web photos, detected and correctly classified: {report['web_photos']['found_and_named']:.3f}",
        ]
    return "\n".join(lines)
