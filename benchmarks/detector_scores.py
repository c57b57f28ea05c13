"""Shows what each least score costs and saves, to choose the one on the detector's card.

Boxes count as unmarked where neither a person nor YuNet marked a face; most of them are false.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import tyro

from fer.detection.card import load_detector_card
from fer.detection.kv_face import find_faces, network_file, onnx_runner
from fer.detection.yunet import YuNetDetector
from fer.faces import Detection
from training.detector.evaluation import BOXED_IOU, WEB_IOU, BoxedPhoto, match, read_boxed_photos


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        weights: The detector's folder.
        photos: Folder with boxed_photos_dev.parquet and expw_photos_dev.parquet.
        yunet: YuNet's file.
        sides: Longest sides to search at.
        scores: Least scores to try.
    """

    weights: Path = Path("weights/kv_face.web")
    photos: Path = Path("../shared/photos")
    yunet: Path = Path("../shared/models/face_detection_yunet_2023mar.onnx")
    sides: tuple[int, ...] = (320, 416, 480)
    scores: tuple[float, ...] = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)


def main() -> None:
    """Print a line for each side and score."""
    options = tyro.cli(Options, description=__doc__)
    cv2.setNumThreads(1)
    run = onnx_runner(network_file(options.weights, load_detector_card(options.weights)))
    boxed = read_boxed_photos(options.photos / "boxed_photos_dev.parquet")
    web = read_boxed_photos(options.photos / "expw_photos_dev.parquet")
    teacher = YuNetDetector(options.yunet)
    seen = [teacher.detect(photo.image) for photo in (*boxed, *web)]
    for side in options.sides:
        detect = partial(find_faces, run, longest_side=side, least_score=min(options.scores))
        found = [detect(photo.image) for photo in (*boxed, *web)]
        for score in options.scores:
            sure = [[face for face in faces if face.score >= score] for faces in found]
            unmarked = sum(map(count_unmarked, (*boxed, *web), sure, seen))
            print(
                f"side {side}  score {score:.2f}  boxed {recall(boxed, sure[: len(boxed)], BOXED_IOU):.4f}  "
                f"web {recall(web, sure[len(boxed) :], WEB_IOU):.4f}  "
                f"unmarked in 100 photos {100 * unmarked / len(found):.1f}",
                flush=True,
            )


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
