"""Read the expression of every face in an image."""

import os

# ONNX Runtime 1.32 stores a device ID and usage events in the user's cache and sends them to its vendor
# unless this is set before its first import. This software sends no telemetry.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from fer.analysis import FaceAnalyzer, load_analyzer
from fer.annotation import FaceAnnotator
from fer.emotions import Emotion
from fer.faces import Box, Detection, Face, Landmarks, Prediction
from fer.images import UnreadableImageError, read_image
from fer.model_card import UnknownModelError, WeightsMismatchError

__version__ = "0.1.0"

__all__ = [
    "Box",
    "Detection",
    "Emotion",
    "Face",
    "FaceAnalyzer",
    "FaceAnnotator",
    "Landmarks",
    "Prediction",
    "UnknownModelError",
    "UnreadableImageError",
    "WeightsMismatchError",
    "__version__",
    "load_analyzer",
    "read_image",
]
