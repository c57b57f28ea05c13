"""Measure recall and false positives for each minimum score, to choose the values of the detector's card.

With a verifier, the same for each weight of the detector's own score. Boxes count as unmarked if neither a person
nor YuNet marked a face there; most of them are false positives. Crops are parts of the photos without a face.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import tyro

from benchmarks.detectors import face_free_crops
from fer.detection.card import load_detector_card
from fer.detection.kv_face import find_faces, network_file, onnx_runner
from fer.detection.verifier import VERIFIER_FILE, FaceVerifier, Verification
from fer.detection.yunet import YuNetDetector
from fer.faces import Detection
from fer.images import RgbImage
from training.detector.evaluation import BOXED_IOU, WEB_IOU, BoxedPhoto, match, read_boxed_photos
from training.detector.verifier import load_verifier, write_verifier


@dataclass(frozen=True)
class Options:
    """Photos and settings to measure.

    Attributes:
        weights: The detector's weights folder.
        verifier: A run of training.detector.train_verifier, to try a verifier before its export; None for the
            verifier in the weights folder, if there is one.
        photos: Folder with boxed_photos_dev.parquet and expw_photos_dev.parquet.
        yunet: YuNet's file.
        sides: Search sizes (longest side) to try.
        scores: Minimum scores to try.
        candidate_score: Minimum detector score of the verifier's candidates.
        trusts: Weights of the detector's score relative to the verifier's to try.
        crop_count: Number of crops without a face.
    """

    weights: Path = Path("weights/kv_face.web")
    verifier: Path | None = None
    photos: Path = Path("../shared/photos")
    yunet: Path = Path("../shared/models/face_detection_yunet_2023mar.onnx")
    sides: tuple[int, ...] = (320, 352)
    scores: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    candidate_score: float = 0.25
    trusts: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    crop_count: int = 400


def main() -> None:
    """Print one line per side, trust and score."""
    options = tyro.cli(Options, description=__doc__)
    cv2.setNumThreads(1)
    run = onnx_runner(network_file(options.weights, load_detector_card(options.weights)))
    boxed = read_boxed_photos(options.photos / "boxed_photos_dev.parquet")
    web = read_boxed_photos(options.photos / "expw_photos_dev.parquet")
    photos = [*boxed, *web]
    teacher = YuNetDetector(options.yunet)
    seen = [teacher.detect(photo.image) for photo in photos]
    crops = face_free_crops(photos, teacher, options.crop_count)
    images = [*(photo.image for photo in photos), *crops]
    print(f"{len(boxed)} boxed photos, {len(web)} web photos, {len(crops)} crops without a face")
    for side in options.sides:
        places = [
            find_faces(run, image, longest_side=side, least_score=options.candidate_score) for image in images
        ]
        for trust, found in joint_scores(options, images, places):
            for score in options.scores:
                sure = [[face for face in faces if face.score >= score] for faces in found]
                unmarked = sum(map(count_unmarked, photos, sure, seen))
                print(
                    f"side {side}  {trust}  score {score:.2f}  "
                    f"boxed {recall(boxed, sure[: len(boxed)], BOXED_IOU):.4f}  "
                    f"web {recall(web, sure[len(boxed) : len(photos)], WEB_IOU):.4f}  "
                    f"in 100: unmarked on photos {100 * unmarked / len(photos):.1f}, "
                    f"on crops {100 * sum(map(len, sure[len(photos) :])) / len(crops):.1f}",
                    flush=True,
                )


def joint_scores(
    options: Options, images: Sequence[RgbImage], places: list[list[Detection]]
) -> Iterator[tuple[str, list[list[Detection]]]]:
    """Yield the candidates with the detector's score alone, then with the joint scores for each trust."""
    yield "detector alone", places
    card = load_detector_card(options.weights)
    path = options.weights / VERIFIER_FILE
    if options.verifier is not None:
        path = options.verifier / VERIFIER_FILE
        write_verifier(load_verifier(options.verifier), options.verifier)
    if not path.is_file():
        return
    for trust in options.trusts:
        verifier = FaceVerifier(path, Verification(options.candidate_score, trust), card.framing)
        yield f"trust {trust:g}", [verifier.verify(*pair) for pair in zip(images, places, strict=True)]


def recall(photos: list[BoxedPhoto], found: list[list[Detection]], least_iou: float) -> float:
    columns = [
        column
        for photo, faces in zip(photos, found, strict=True)
        for column in match(photo.boxes, faces, least_iou)
    ]
    return sum(column is not None for column in columns) / max(len(columns), 1)


def count_unmarked(photo: BoxedPhoto, faces: list[Detection], seen: list[Detection]) -> int:
    known = [*photo.boxes, *(face.box for face in seen)]
    return sum(all(box.iou(face.box) < WEB_IOU for box in known) for face in faces)


if __name__ == "__main__":
    main()
