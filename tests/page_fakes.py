"""Fakes for the page tests: analyzers with a real detector and a classifier without weights."""

import io

import numpy as np
from PIL import Image

from fer.analysis import FaceAnalyzer
from fer.detection import load_detector
from fer.emotions import SIX_EMOTIONS
from fer.faces import Prediction
from fer.model_card import Head, ModelCard, Preprocessing, UnknownModelError


class FixedClassifier:
    """Calls every face happy."""

    def __init__(self, folder=None):
        self.folder = folder
        self.head = Head("crowd", tuple(emotion.value for emotion in SIX_EMOTIONS), unsure_below=0.4)
        self.card = ModelCard("kv_fake.test", "kv_fake", Preprocessing(48), (self.head,), "crowd")

    def probabilities(self, batch):
        return np.tile(np.array([0.02, 0.02, 0.8, 0.02, 0.04, 0.1], dtype=np.float32), (len(batch), 1))

    def predictions(self, probabilities):
        return [Prediction(self.head.emotions, row, unsure_below=0.4) for row in probabilities]

    def classify(self, crops):
        return self.predictions(self.probabilities(crops)) if crops else []


class FakeAnalyzers:
    """Haar and the fixed classifier under the names that a page offers."""

    detectors = ("haar", "yunet")
    weights = ("kv_fake.test",)

    def __init__(self, folder=None):
        self.classifier = FixedClassifier(folder)

    def heads(self, weights):
        return self.classifier.card.choices

    def get(self, weights=None, detector=None, *, head=None, live=False, thorough=False):
        if detector not in (None, "haar"):
            raise UnknownModelError("YuNet's file is not here; fetch it")
        self.classifier.card.head(head)
        return FaceAnalyzer(load_detector("haar", live=live, thorough=thorough), self.classifier)

    def finder(self, detector=None, *, thorough=False):
        if detector not in (None, "haar"):
            raise UnknownModelError("YuNet's file is not here; fetch it")
        return load_detector("haar", eager=True, thorough=thorough)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()
