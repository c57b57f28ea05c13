"""The complete pipeline from one image to faces with expressions."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Final

from fer.classification import EmotionClassifier
from fer.cropping import crop_square, hidden_share
from fer.detection import AUTO, FaceDetector, load_detector
from fer.faces import Detection, Face
from fer.head_turn import head_turn
from fer.images import RgbImage, as_rgb
from fer.model_shelf import find_weights
from fer.preprocessing import cut_for_network

DEFAULT_DETECTOR: Final = AUTO

MOST_HIDDEN: Final = 0.2
"""Share of a crop outside the picture above which a face is cut off and as hard to read as a small one."""

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
        for heads turned away by more than 45 degrees are unsure; those for faces that the border cuts off are
        unsure below the card's threshold for small faces.
        """
        preprocessing, head = self.classifier.card.preprocessing, self.classifier.head
        squares = [crop_square(image, detection, self.detector.framing) for detection in detections]
        read = self.classifier.classify([cut_for_network(image, square, preprocessing) for square in squares])
        faces = []
        for detection, square, prediction in zip(detections, squares, read, strict=True):
            if prediction.other > limit_of_other(head.other_above, detection):
                continue
            is_cut_off = hidden_share(image, square) > MOST_HIDDEN
            judged = replace(
                prediction,
                unsure_below=head.unsure_below_hard if is_cut_off else prediction.unsure_below,
                turned_away=_is_away(detection),
            )
            faces.append(Face(detection, judged))
        return faces


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
