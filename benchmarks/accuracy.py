"""Measure the accuracy of all weights, and of a peer if one is installed, on the same images with the same protocol.

The peer is the package ``fer`` from the package registry. It has the same import name as this project's package, so
it runs in its own interpreter: ``--peer PATH/TO/python``.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.suite import SUITE_FILE, judge_suite, suite_table
from fer.classification import EmotionClassifier
from fer.emotions import Emotion
from fer.model_card import Preprocessing
from fer.model_shelf import find_weights, list_weights
from training.command import run_command
from training.data.datasets import DecodedFaces, decode, read_table
from training.data.targets import expressions_of
from training.evaluate import classify_all, true_labels
from training.metrics import report_head
from training.run_files import write_json

PEER_LABELS = ("angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral")
PEER_SCRIPT = """
import sys, numpy as np
from fer.fer import FER
crops = np.load(sys.argv[1])
detector = FER(mtcnn=False)
words = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
rows = []
for crop in crops:
    image = np.repeat(crop[0][:, :, None], 3, axis=2)
    side = image.shape[0]
    found = detector.detect_emotions(image, face_rectangles=[(0, 0, side, side)])
    rows.append([found[0]["emotions"][word] for word in words])
np.save(sys.argv[2], np.array(rows))
"""


@dataclass(frozen=True)
class Options:
    """Weights to compare and the data to compare them on.

    Attributes:
        data: Data sets of cropped faces; those with votes are evaluated by majority and by label.
        suite: Folder with all data sets of ``benchmarks.suite``, which are evaluated one by one.
        weights: Names under ``weights/`` or folders; empty for all shipped weights.
        photos: Whole photos for the end-to-end evaluation of the suite; by default
            ``../photos/expw_photos_dev.parquet`` beside the suite, if it exists.
        peer: Python interpreter with the registry's package ``fer``.
        json: Print one JSON object per line instead of a table; with ``suite`` only.
        store: Write the suite's report beside the weights, for ``benchmarks.publish``.
    """

    data: tuple[Path, ...] = ()
    suite: Path | None = None
    weights: tuple[str, ...] = ()
    photos: Path | None = None
    peer: Path | None = None
    json: bool = False
    store: bool = False


def line(name: str, head: str, data: str, report: dict) -> str:
    low, high = report["intervals_95"]["accuracy"]
    recalls = report["per_class"]
    return (
        f"| {name} | {head} | {data} | {report['count']} | {report['accuracy']:.3f} ({low:.3f}–{high:.3f}) | "
        f"{report['balanced_accuracy']:.3f} | {report['macro_f1']:.3f} | {recalls['fearful']['recall']:.2f} / "
        f"{recalls['sad']['recall']:.2f} | {report['nll']:.3f} | {report['ece']:.3f} |"
    )


def truths(faces: DecodedFaces) -> dict[str, list[Emotion | None]]:
    """Return the ground truths of a data set: its labels and, if it has votes, the majority."""
    found = {"label": list(faces.table.labels)}
    if faces.table.has_votes:
        found["majority"] = true_labels(faces.table, votes=True)
    return found


def print_rows(
    name: str, head: str, shares: NDArray[np.floating], labels: Sequence[str], data: Path, faces: DecodedFaces
) -> None:
    for kind, truth in truths(faces).items():
        print(
            line(
                name,
                head,
                f"{data.stem}, {kind}",
                report_head(shares, labels, truth, labels=expressions_of("six")),
            ),
            flush=True,
        )


def ask_peer(python: Path, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    with tempfile.TemporaryDirectory() as folder:
        source, answers = Path(folder) / "crops.npy", Path(folder) / "answers.npy"
        np.save(source, crops)
        script = Path(folder) / "peer.py"
        script.write_text(PEER_SCRIPT)
        subprocess.run([str(python), str(script), str(source), str(answers)], check=True, cwd=folder)
        return np.asarray(np.load(answers), dtype=np.float64)


def print_suite(options: Options, suite: Path) -> None:
    photos = options.photos or suite.parent / "photos" / "expw_photos_dev.parquet"
    for name in options.weights or list_weights():
        report = judge_suite(suite, find_weights(name), photos if photos.is_file() else None)
        if options.store:
            write_json(find_weights(name) / "run" / SUITE_FILE, report)
        print(json.dumps(report) if options.json else suite_table(report), flush=True)


def main(options: Options) -> None:
    if options.suite is not None:
        print_suite(options, options.suite)
        return
    print(
        "| Weights | Head | Data | Faces | Accuracy (95 %) | Balanced | Macro F1 | Fear / sad | NLL | ECE |"
    )
    print("|---" * 10 + "|")
    for data in options.data:
        table = read_table(data)
        for name in options.weights or list_weights():
            folder = find_weights(name)
            for head in EmotionClassifier(folder).card.heads:
                classifier = EmotionClassifier(folder, head=head.name)
                faces = decode(table, classifier.card.preprocessing)
                shares = classify_all(classifier, faces.crops)
                print_rows(classifier.card.name, head.name, shares, head.labels, data, faces)
        if options.peer is not None:
            faces = decode(table, Preprocessing(colour="grey"))
            print_rows("fer (peer)", "–", ask_peer(options.peer, faces.crops), PEER_LABELS, data, faces)


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.accuracy"))
