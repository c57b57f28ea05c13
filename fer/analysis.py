"""The complete pipeline from one image to faces with expressions."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Final

from fer.classification import EmotionClassifier
from fer.cropping import crop_face, crop_square
from fer.detection import AUTO, FaceDetector, load_detector
from fer.faces import Detection, Face
from fer.head_turn import head_turn
from fer.images import RgbImage, as_rgb
from fer.model_shelf import find_weights

DEFAULT_DETECTOR: Final = AUTO

_MOST_EVIDENCE: Final = 50.0  # log-odds; keeps the exponential finite


class FaceAnalyzer:
    """A detector and a classifier; stateless, may be shared by several threads."""

    def __init__(self, detector: FaceDetector, classifier: EmotionClassifier) -> None:
        self.detector = detector
        self.classifier = classifier

    def analyze(self, image: RgbImage) -> list[Face]:
        """Find every face and read its expression.

        Args:
            image: RGB ``uint8`` of shape (H, W, 3); grey and RGBA are accepted too.

        Returns:
            Faces, largest first; an empty list when there are none.

        Raises:
            UnreadableImageError: The array is not an image.
        """
        image = as_rgb(image)
        return self.read_faces(image, self.detector.detect(image))

    def read_faces(self, image: RgbImage, detections: list[Detection]) -> list[Face]:
        """Read the expressions of detected faces; drop those that the classifier rejects as no face.

        The surer the detector is of a face, the surer the classifier has to be of the contrary. Predictions
        for heads turned away by more than 45 degrees are unsure.
        """
        margin = self.classifier.card.preprocessing.margin
        framing = self.detector.framing
        crops = [crop_face(image, crop_square(image, detection, framing), margin) for detection in detections]
        above = self.classifier.head.other_above
        return [
            Face(detection, replace(prediction, turned_away=_is_away(detection)))
            for detection, prediction in zip(detections, self.classifier.classify(crops), strict=True)
            if prediction.other <= limit_of_other(above, detection)
        ]


def limit_of_other(other_above: float, detection: Detection) -> float:
    """Return the probability of ``other`` above which a detection is dropped, in [0, 1].

    The detector's and the classifier's evidence for a face are added as log-odds.

    Args:
        other_above: The head's threshold, for detections without evidence.
        detection: The detection.
    """
    if other_above >= 1.0:
        return 1.0
    odds = other_above * math.exp(min(max(detection.evidence, -_MOST_EVIDENCE), _MOST_EVIDENCE))
    return odds / (odds + 1.0 - other_above)


def _is_away(detection: Detection) -> bool:
    return detection.landmarks is not None and head_turn(detection.landmarks).is_away


def load_analyzer(
    weights: str | Path | None = None,
    detector: str | None = None,
    head: str | None = None,
    live: bool = False,
    thorough: bool = False,
) -> FaceAnalyzer:
    """Build an analyzer.

    Args:
        weights: A name from ``list_weights`` or the path of a weights folder; None for the default.
        detector: A detector's name; None for the default.
        head: Head of the weights, such as ``seven``; None for the card's default.
        live: Use the detector settings for live frames instead of those for photos.
        thorough: Search photos for small faces at every scale, which is slower.

    Raises:
        UnknownModelError: No such weights, head or detector.
        WeightsMismatchError: The weights do not match their card.
    """
    return FaceAnalyzer(
        load_detector(detector or DEFAULT_DETECTOR, live=live, thorough=thorough),
        EmotionClassifier(find_weights(weights), head=head),
    )
