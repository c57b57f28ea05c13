"""Measure recall and false positives for each minimum score, to choose the values of the detector's card.

With a verifier, the same for each minimum score of its candidates and each weight of the detector's own score.
Photos of crowds and without a face are those that no detector was trained on. ``beside`` are boxes far from every
face in 100 photos of crowds, ``false`` boxes in 100 photos without a face, ``double`` boxes on faces that another box
fits better.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import cv2

from benchmarks.detectors import BESIDE_IOU, crowd_recall, faceless_boxes
from fer.detection.card import load_detector_card
from fer.detection.kv_face import KvFaceDetector
from fer.detection.verifier import VERIFIER_FILE, VERIFIER_INT8_FILE
from fer.faces import Detection
from fer.images import RgbImage
from fer.model_card import file_hash
from training.command import run_command
from training.detector.evaluation import (
    BOXED_IOU,
    WEB_IOU,
    BoxedPhoto,
    match,
    measure_recall,
    read_boxed_photos,
)
from training.detector.verifier import mean_verifier, verification_of, write_verifier


@dataclass(frozen=True)
class Options:
    """Photos and settings to measure.

    Attributes:
        weights: The detector's weights folder.
        verifier: Runs of training.detector.train_verifier, whose mean is tried before its export, in single
            precision; none for the verifier in the weights folder, if there is one.
        photos: Folder with boxed_photos_dev, expw_photos_dev, crowd_photos and photos_without_faces.parquet.
        live: Measure the search of live frames instead of that of photos.
        step: Use every n-th photo.
        scores: Minimum scores to try.
        candidate_scores: Minimum detector scores of the verifier's candidates to try.
        trusts: Weights of the detector's score relative to the verifier's to try.
    """

    weights: Path = Path("weights/kv_face.web")
    verifier: tuple[Path, ...] = ()
    photos: Path = Path("../shared/photos")
    live: bool = False
    step: int = 1
    scores: tuple[float, ...] = (0.6, 0.7, 0.75, 0.8, 0.85, 0.9)
    candidate_scores: tuple[float, ...] = (0.05, 0.1, 0.15, 0.25)
    trusts: tuple[float, ...] = (1.0,)


class Fixed:
    """A detector that answers with the faces it found before, above a minimum score."""

    name = "fixed"

    def __init__(self, found: dict[int, list[Detection]], score: float) -> None:
        self._found, self._score = found, score

    def detect(self, image: RgbImage) -> list[Detection]:
        """Return the faces of one of the photos."""
        return [face for face in self._found[id(image)] if face.score >= self._score]


def main(options: Options) -> None:
    """Print one line per setting and score."""
    cv2.setNumThreads(1)
    names = ("boxed_photos_dev", "expw_photos_dev", "crowd_photos", "photos_without_faces")
    boxed, web, crowds, faceless = (
        read_boxed_photos(options.photos / f"{name}.parquet", held_out=True if is_trained_on else None)[
            :: options.step
        ]
        for name, is_trained_on in zip(names, (False, False, True, True), strict=True)
    )
    photos = [*boxed, *web, *crowds, *faceless]
    for setting, detector in detectors(options):
        found = {id(photo.image): detector.detect(photo.image) for photo in photos}
        for score in options.scores:
            fixed = Fixed(found, score)
            row = crowd_recall(fixed, crowds) | faceless_boxes(fixed, faceless)
            row |= {
                "boxed": measure_recall(fixed.detect, boxed, BOXED_IOU).share,
                "web": measure_recall(fixed.detect, web, WEB_IOU).share,
                "double": double_boxes(fixed, [*crowds, *web]),
            }
            figures = "  ".join(f"{name} {value:.3f}" for name, value in row.items())
            print(f"{setting}  score {score:g}:  {figures}", flush=True)


def detectors(options: Options) -> Iterator[tuple[str, KvFaceDetector]]:
    """Yield the detector with each setting, reading from a copy of its folder whose card has the setting."""
    card = load_detector_card(options.weights)
    verification, files = card.verification, dict(card.files)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / card.name
        shutil.copytree(options.weights, folder)
        if options.verifier:
            write_verifier(mean_verifier(options.verifier), folder)
            files[VERIFIER_FILE] = file_hash(folder / VERIFIER_FILE)
            files.pop(VERIFIER_INT8_FILE, None)
            verification = verification_of(0.5, 1.0)
        card = replace(card, files=files)
        if verification is None:
            replace(card, least_score=min(options.scores)).save(folder)
            yield "detector alone", KvFaceDetector(folder, live=options.live)
            return
        for candidate_score, trust in product(options.candidate_scores, options.trusts):
            setting = replace(
                verification, candidate_score=candidate_score, live_candidate_score=None, trust=trust
            )
            replace(card, verification=setting, least_score=min(options.scores)).save(folder)
            yield (
                f"candidates {candidate_score:g}  trust {trust:g}",
                KvFaceDetector(folder, live=options.live),
            )


def double_boxes(detector: Fixed, photos: Sequence[BoxedPhoto]) -> int:
    """Count boxes that overlap a face which another box fits better."""
    count = 0
    for photo in photos:
        faces = detector.detect(photo.image)
        matched = match(photo.boxes, faces, BOXED_IOU)
        hit = [box for box, column in zip(photo.boxes, matched, strict=True) if column is not None]
        rest = [face for column, face in enumerate(faces) if column not in matched]
        count += sum(any(face.box.iou(box) > BESIDE_IOU for box in hit) for face in rest)
    return count


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.detector_scores", description=__doc__))
