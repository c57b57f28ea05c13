"""Steadiness over real time: what one face showed and where it was, without flicker."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer.emotions import Emotion
from fer.faces import Prediction

_UNSURE_LEEWAY: Final = 0.05
"""An answer that was unsure becomes sure this far above the threshold, and the other way round."""

_SETTLING: Final = 2.5
"""A label that has just changed gives way only to a lead so many times as large."""


@dataclass(frozen=True, slots=True)
class Steadiness:
    """Settings that limit the rate of change of one face's answer.

    Attributes:
        time_constant_s: After this time 63 % of a change is shown; 0 shows every frame as it is.
        switch_lead: How far another expression must lead before it takes over from the one shown.
        switch_after_s: For how long another expression must lead at all to take over with less.
        settle_s: For so long after a change only a far larger lead brings the next one.
    """

    time_constant_s: float = 0.5
    switch_lead: float = 0.25
    switch_after_s: float = 1.2
    settle_s: float = 3.0

    def __post_init__(self) -> None:
        times = self.time_constant_s, self.switch_after_s, self.settle_s
        if not (min(times) >= 0 and 0 <= self.switch_lead <= 1):
            raise ValueError(f"expected times of at least 0 and a lead in [0, 1], got {self}")


@dataclass(frozen=True, slots=True, eq=False)
class SteadyPrediction(Prediction):
    """A smoothed prediction that names the expression shown, which may trail the largest probability.

    Attributes:
        shown: The expression to show.
        shown_unsure: Whether to call it unsure.
    """

    shown: Emotion = Emotion.NEUTRAL
    shown_unsure: bool = False

    @property
    def emotion(self) -> Emotion:
        """The expression to show: held until another one leads clearly."""
        return self.shown

    @property
    def confidence(self) -> float:
        """The probability of the expression shown."""
        return float(self.probabilities[self.labels.index(self.shown)])

    @property
    def is_unsure(self) -> bool:
        """Whether the confidence has fallen below the card's threshold for good."""
        return self.shown_unsure


class ProbabilitySmoother:
    """One face's memory: probabilities smoothed over real time, hysteresis between labels.

    The same at 10 and at 30 frames a second. Belongs to one face of one stream; one thread at a time.
    """

    def __init__(self, steadiness: Steadiness | None = None) -> None:
        self.steadiness = steadiness or Steadiness()
        self._last: SteadyPrediction | None = None
        self._time_s = 0.0
        self._leads_since_s: float | None = None
        self._changed_s = -math.inf

    def update(self, prediction: Prediction, timestamp_s: float) -> SteadyPrediction:
        """Take in what one frame says and give the steady answer.

        A step back in time, or labels other than before, start anew.
        """
        last = self._last
        if last is None or timestamp_s < self._time_s or last.labels != prediction.labels:
            self._leads_since_s = None
            self._changed_s = -math.inf
            steady = _steady(prediction, prediction.probabilities, prediction.other, prediction.emotion)
        else:
            share = _share(timestamp_s - self._time_s, self.steadiness.time_constant_s)
            mixed = last.probabilities + share * (prediction.probabilities - last.probabilities)
            other = last.other + share * (prediction.other - last.other)
            steady = _steady(prediction, mixed, other, self._choose(last, mixed, timestamp_s), last)
        self._last, self._time_s = steady, timestamp_s
        return steady

    def _choose(self, last: SteadyPrediction, mixed: NDArray[np.float32], timestamp_s: float) -> Emotion:
        """The expression shown before, unless another one leads it far or for long."""
        challenger = last.labels[int(np.argmax(mixed))]
        lead = float(mixed.max() - mixed[last.labels.index(last.shown)])
        if lead <= 0:
            self._leads_since_s = None
            return last.shown
        if self._leads_since_s is None:
            self._leads_since_s = timestamp_s
        if lead <= self._needed_lead(timestamp_s, timestamp_s - self._leads_since_s):
            return last.shown
        self._leads_since_s, self._changed_s = None, timestamp_s
        return challenger

    def _needed_lead(self, timestamp_s: float, led_for_s: float) -> float:
        """Less for an expression that has led for long, more just after a change."""
        lead = self.steadiness.switch_lead
        if timestamp_s - self._changed_s < self.steadiness.settle_s:
            return lead * _SETTLING
        return lead / 3 if led_for_s >= self.steadiness.switch_after_s else lead


def _steady(
    prediction: Prediction,
    probabilities: NDArray[np.float32],
    other: float,
    shown: Emotion,
    last: SteadyPrediction | None = None,
) -> SteadyPrediction:
    confidence = float(probabilities[prediction.labels.index(shown)])
    threshold = prediction.unsure_below
    if last is not None and threshold > 0:
        threshold += _UNSURE_LEEWAY if last.shown_unsure else -_UNSURE_LEEWAY
    return SteadyPrediction(
        labels=prediction.labels,
        probabilities=probabilities.astype(np.float32),
        other=other,
        unsure_below=prediction.unsure_below,
        shown=shown,
        shown_unsure=confidence < threshold,
    )


class SteadyPoint:
    """Smooths a few measured numbers more the slower they move, the 'one euro' filter of Casiez (CHI 2012).

    Args:
        cutoff_hz: Below this, movement at rest is taken for noise.
        cutoff_per_speed: What each unit of speed (units a second) adds to the cutoff, in hertz.
    """

    def __init__(self, cutoff_hz: float = 1.5, cutoff_per_speed: float = 8.0) -> None:
        self.cutoff_hz = cutoff_hz
        self.cutoff_per_speed = cutoff_per_speed
        self._value: NDArray[np.float64] | None = None
        self._speed: NDArray[np.float64] = np.zeros(0)

    def update(self, value: NDArray[np.float64], elapsed_s: float, unit: float = 1.0) -> NDArray[np.float64]:
        """The smoothed numbers.

        Args:
            value: What was measured, shape (N,).
            elapsed_s: Time since the last call; 0 starts anew.
            unit: What counts as a change of one, so that large and small things are steadied alike.
        """
        if self._value is None or elapsed_s <= 0:
            self._value, self._speed = value.copy(), np.zeros_like(value)
            return self._value
        speed = (value - self._value) / (elapsed_s * unit)
        self._speed = self._speed + _share(elapsed_s, 1 / (2 * math.pi)) * (speed - self._speed)
        cutoff = self.cutoff_hz + self.cutoff_per_speed * float(np.abs(self._speed).max())
        self._value = self._value + _share(elapsed_s, 1 / (2 * math.pi * cutoff)) * (value - self._value)
        return self._value


def _share(elapsed_s: float, time_constant_s: float) -> float:
    """Return the share of a change that shows after some time, in [0, 1]."""
    return 1.0 if time_constant_s <= 0 else 1.0 - math.exp(-elapsed_s / time_constant_s)
