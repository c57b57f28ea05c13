"""Count the detector's false positives that the classifier's ``other`` rejects, and the true faces lost this way."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from fer.classification import EmotionClassifier
from fer.cropping import crop_face, reference_square
from fer.detection import load_detector
from fer.model_shelf import find_weights
from training.crop_others import known_photos


@dataclass(frozen=True)
class Options:
    """Photos and thresholds to try.

    Attributes:
        photos: Parquet files with photos and the boxes of all faces.
        weights: A weights folder or a name under ``weights/``; None for the default.
        detector: Name of the detector.
        lost: Tolerated share of lost true faces.
    """

    photos: tuple[Path, ...]
    weights: str | None = None
    detector: str = "haar"
    lost: float = 0.01


def main(options: Options) -> None:
    classifier, detector = EmotionClassifier(find_weights(options.weights)), load_detector(options.detector)
    margin = classifier.card.preprocessing.margin
    true_shares, false_shares = [], []
    for path in options.photos:
        for image, known in known_photos(path):
            detections = detector.detect(image)
            crops = [crop_face(image, reference_square(d, detector.framing), margin) for d in detections]
            for detection, prediction in zip(detections, classifier.classify(crops), strict=True):
                overlap = max((detection.box.iou(box) for box in known), default=0.0)
                if overlap >= 0.3:
                    true_shares.append(prediction.other)
                elif overlap < 0.1:
                    false_shares.append(prediction.other)
    if not true_shares or not false_shares:
        print(f"{len(true_shares)} true and {len(false_shares)} false boxes: nothing to evaluate")
        return
    limit = float(np.quantile(true_shares, 1 - options.lost, method="higher"))
    dropped = float((np.array(false_shares) > limit).mean())
    in_card = classifier.head.other_above
    print(
        f"{classifier.card.name}, {detector.name}: {len(true_shares)} true, {len(false_shares)} false boxes"
    )
    print(
        f"losing at most {options.lost:.1%} of the faces: other above {limit:.3f} drops {dropped:.1%} of the false boxes"
    )
    print(
        f"with the card's threshold (other above {in_card:.3f}): {(np.array(true_shares) > in_card).mean():.2%} of the faces, "
        f"{(np.array(false_shares) > in_card).mean():.1%} of the false boxes"
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
