"""Small fakes that implement the protocols, for tests without a network or weights."""

from collections.abc import Sequence

import numpy as np

from fer.analysis import FaceAnalyzer
from fer.cropping import Framing
from fer.emotions import SIX_EMOTIONS
from fer.faces import Box, Detection, Prediction
from fer.images import RgbImage
from fer.model_card import Head, ModelCard, Preprocessing

SIX = tuple(emotion.value for emotion in SIX_EMOTIONS)


class PatchDetector:
    """Finds one face: the smallest box around all strongly red pixels."""

    name = "patch"
    framing = Framing()

    def detect(self, image: RgbImage) -> list[Detection]:
        pixels = image.astype(int)
        rows, columns = np.nonzero((pixels[:, :, 0] > 150) & (pixels[:, :, 1:].max(axis=2) < 100))
        if len(rows) < 20:
            return []
        edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        return [Detection(Box(*(float(edge) for edge in edges)), 0.9)]

    def close_up(self) -> "PatchDetector":
        return self


class BrightnessClassifier:
    """Calls dark crops angry, bright ones neutral, by the mean of red."""

    def __init__(self) -> None:
        self.head = Head("crowd", SIX, unsure_below=0.3)
        self.card = ModelCard(
            "fake.red", "fake", Preprocessing(), (self.head,), "crowd", {"model.onnx": "00"}
        )

    def classify(self, crops: Sequence[RgbImage]) -> list[Prediction]:
        answers = []
        for crop in crops:
            shares = np.full(6, 0.05, np.float32)
            shares[min(int((crop[:, :, 0].mean() - 150) / 17.6), 5)] = 0.75
            answers.append(Prediction(SIX_EMOTIONS, shares, 0.0, self.head.unsure_below))
        return answers


def fake_analyzer() -> FaceAnalyzer:
    return FaceAnalyzer(PatchDetector(), BrightnessClassifier())  # type: ignore[arg-type]


def red_face(
    brightness: int = 200, size: tuple[int, int] = (64, 48), left: int = 16, top: int = 8
) -> RgbImage:
    """A picture of width × height on which the fake detector finds one face of 24 × 24 pixels."""
    image = np.full((size[1], size[0], 3), 60, np.uint8)
    image[top : top + 24, left : left + 24] = (brightness, 30, 30)
    return image
