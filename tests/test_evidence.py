"""Whether a detection is a face: the detector's evidence and the classifier's ``other`` together."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from fer.analysis import FaceAnalyzer, limit_of_other
from fer.cropping import Framing
from fer.emotions import Emotion
from fer.faces import Box, Detection, Prediction

BOX = Box(20.0, 20.0, 60.0, 60.0)


def detection(evidence: float) -> Detection:
    return Detection(BOX, 0.9, evidence=evidence)


def analyzer(*others: float) -> FaceAnalyzer:
    """An analyzer whose classifier gives each face the next probability of ``other``."""
    shares = np.full(len(Emotion), 1 / len(Emotion), np.float32)
    answers = [Prediction(tuple(Emotion), shares, other=other) for other in others]
    classifier = SimpleNamespace(
        card=SimpleNamespace(preprocessing=SimpleNamespace(margin=0.0, size=48)),
        head=SimpleNamespace(other_above=0.8),
        classify=lambda crops: answers[: len(crops)],
    )
    return FaceAnalyzer(SimpleNamespace(framing=Framing(1.0, 0.0, 0.0)), classifier)


def test_without_evidence_the_classifier_decides_alone() -> None:
    assert limit_of_other(0.8, detection(0.0)) == pytest.approx(0.8)


@pytest.mark.parametrize("factor", [0.1, 0.5, 3.0, 1000.0])
def test_odds_are_multiplied(factor: float) -> None:
    limit = limit_of_other(0.8, detection(math.log(factor)))
    assert limit / (1 - limit) == pytest.approx(0.8 / 0.2 * factor)


@pytest.mark.parametrize(("evidence", "limit"), [(1e6, 1.0), (-1e6, 0.0)])
def test_any_evidence_gives_a_probability(evidence: float, limit: float) -> None:
    assert limit_of_other(0.8, detection(evidence)) == pytest.approx(limit)


def test_a_head_that_rejects_nothing_still_rejects_nothing() -> None:
    assert limit_of_other(1.0, detection(-8.0)) == 1.0


def test_a_certain_face_stays_and_a_doubtful_one_needs_the_classifier() -> None:
    image = np.zeros((80, 80, 3), np.uint8)
    certain, even, doubtful = detection(3.0), detection(0.0), detection(-2.0)
    kept = analyzer(0.9, 0.9, 0.5).read_faces(image, [certain, even, doubtful])
    assert [face.detection for face in kept] == [certain]
    kept = analyzer(0.99, 0.7, 0.3).read_faces(image, [certain, even, doubtful])
    assert [face.detection for face in kept] == [even, doubtful]
