"""Smooth a face's expression and position over time, without flicker."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer.emotions import Emotion, Label
from fer.faces import Prediction

_UNSURE_LEEWAY: Final = 0.05
"""Hysteresis: an unsure prediction becomes sure this far above the threshold, and vice versa."""

_QUICK_S: Final = 0.1
"""Time constant of the short-term mean from which a new expression starts."""

_TURN_S: Final = 0.2
"""Time constant of the share of frames whose head is turned away: landmarks jitter."""

_ALIKE_S: Final = 0.15
"""Frames within this time are highly correlated; no single frame counts for more than this time."""

_CLEAR_LEAD: Final = math.log(2.0)
"""Lead in log-probability that an expression needs before the mean restarts from it."""

_MOST_EVIDENCE: Final = math.log(200.0)
"""Bound of a frame's evidence against an expression, so that no single frame shows a change."""

_UNSURE_HOLD_RATIO: Final = 2.0
"""Ratio of probabilities at which a label that is called unsure replaces the one shown."""

_LEAST: Final = 1e-3
"""Floor of the probabilities: no single frame may rule an expression out."""


@dataclass(frozen=True, slots=True)
class Steadiness:
    """Settings that separate a change of a face's expression from noise.

    Attributes:
        time_constant_s: Averaging time while an expression lasts; 0 shows every frame unsmoothed.
        evidence_per_s: Number of independent observations in one second of many frames. Fewer make the
            output calmer and later.
        doubt_ratio: Ratio of the best to the second-best probability up to which a frame says nothing about
            a change, at least 1. Such errors last for many frames; only what exceeds them is evidence.
        changes_per_s: Expected rate of changes of expression.
        hold_ratio: Ratio of probabilities at which another label replaces the one shown, in [1, 2].
        hold_s: Time after which any more probable label replaces the one shown.
    """

    time_constant_s: float = 1.0
    evidence_per_s: float = 16.0
    doubt_ratio: float = 3.0
    changes_per_s: float = 0.1
    hold_ratio: float = 1.5
    hold_s: float = 2.0

    def __post_init__(self) -> None:
        is_rate = self.evidence_per_s > 0 and self.changes_per_s > 0
        is_time = self.time_constant_s >= 0 and self.hold_s >= 0
        if not (is_rate and is_time and 1 <= self.hold_ratio <= 2 and self.doubt_ratio >= 1):
            raise ValueError(
                "expected times of at least 0, rates above 0, a doubt_ratio of at least 1 and a hold_ratio "
                f"in [1, 2], got {self}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class SteadyPrediction(Prediction):
    """A smoothed prediction that names the expression shown, which may trail the largest probability.

    Attributes:
        shown: The expression to show.
        shown_unsure: Whether to call it unsure.
    """

    shown: Label = Emotion.NEUTRAL
    shown_unsure: bool = False

    @property
    def emotion(self) -> Label:
        """The expression to show, held until another one leads clearly."""
        return self.shown

    @property
    def confidence(self) -> float:
        """The probability of the expression shown."""
        return float(self.probabilities[self.labels.index(self.shown)])

    @property
    def is_unsure(self) -> bool:
        """Whether the confidence is clearly below the card's threshold, or the head is turned away."""
        return self.shown_unsure


class ProbabilitySmoother:
    """A filter for one face's predictions: changes of expression show at once, noise does not.

    It combines two estimates. A forward filter (hidden Markov model with rare changes) detects a change of
    expression; each frame is weighted by its duration, since neighbouring frames are correlated, and by how
    clearly one expression leads, so that the label of a clear face changes sooner than that of a doubtful
    one. The output is the mean of the log-probabilities since the last change, so it stays as calibrated as
    a single frame; at a change it restarts from the last tenth of a second. The label shown is the most
    probable one, with hysteresis.

    Independent of the frame rate. One instance per face of a stream; used by one thread at a time.
    """

    def __init__(self, steadiness: Steadiness | None = None) -> None:
        self.steadiness = steadiness or Steadiness()
        self._last: SteadyPrediction | None = None
        self._time_s = 0.0

    def update(self, prediction: Prediction, timestamp_s: float) -> SteadyPrediction:
        """Add one frame's prediction and return the smoothed one.

        A step back in time or different labels reset the filter.
        """
        last = self._last
        if last is None or timestamp_s < self._time_s or last.labels != prediction.labels:
            self._start(prediction)
            shown, threshold = prediction.emotion, prediction.unsure_below
            turned_away = prediction.turned_away
        else:
            self._mix(prediction, timestamp_s - self._time_s)
            shown = self._choose(last, timestamp_s)
            threshold = _with_leeway(prediction.unsure_below, last)
            turned_away = self._is_turned_away(last)
        if self.steadiness.time_constant_s == 0:
            shown, turned_away = prediction.emotion, prediction.turned_away
            self._mean = log_shares(prediction.probabilities)
        probabilities = shares_of(self._mean)
        confidence = float(probabilities[prediction.labels.index(shown)])
        self._last = SteadyPrediction(
            labels=prediction.labels,
            probabilities=probabilities.astype(np.float32),
            other=self._other,
            unsure_below=prediction.unsure_below,
            turned_away=turned_away,
            shown=shown,
            shown_unsure=confidence < threshold or turned_away,
        )
        self._time_s = timestamp_s
        return self._last

    def _start(self, prediction: Prediction) -> None:
        now = log_shares(prediction.probabilities)
        self._belief = shares_of(now)
        self._believed = int(np.argmax(now))
        self._mean = self._quick = now
        self._span_s = _QUICK_S
        self._other = prediction.other
        self._leads_since_s: float | None = None
        self._away = float(prediction.turned_away)

    def _mix(self, prediction: Prediction, elapsed_s: float) -> None:
        """Update the evidence for a change, then average or restart."""
        settings, now = self.steadiness, log_shares(prediction.probabilities)
        change = 1 - math.exp(-settings.changes_per_s * elapsed_s)
        expected = (1 - change) * self._belief + change / len(now)
        evidence = np.maximum(now - now.max(), -_MOST_EVIDENCE)
        lead = -float(np.sort(evidence)[-2])
        clarity = max(0.0, lead - math.log(settings.doubt_ratio)) / lead if lead > 0 else 0.0
        weight = settings.evidence_per_s * _ALIKE_S * _share(elapsed_s, _ALIKE_S) * clarity
        self._belief = shares_of(np.log(expected) + weight * evidence)
        self._quick = self._quick + _share(elapsed_s, _QUICK_S) * (now - self._quick)
        believed = int(np.argmax(self._belief))
        quick_lead = self._quick[believed] - np.delete(self._quick, believed).max()
        if believed != self._believed and quick_lead > _CLEAR_LEAD:
            self._believed, self._mean, self._span_s = believed, self._quick, _QUICK_S
        else:
            self._span_s = min(self._span_s + elapsed_s, max(settings.time_constant_s, _QUICK_S))
            self._mean = self._mean + _share(elapsed_s, self._span_s) * (now - self._mean)
        self._away += _share(elapsed_s, _TURN_S) * (prediction.turned_away - self._away)
        self._other += _share(elapsed_s, self._span_s) * (prediction.other - self._other)

    def _is_turned_away(self, last: SteadyPrediction) -> bool:
        """Return the previous state unless most recent frames contradict it."""
        return self._away > (0.3 if last.turned_away else 0.7)

    def _choose(self, last: SteadyPrediction, timestamp_s: float) -> Label:
        """Return the expression shown before, unless another one leads it far or for long."""
        best = int(np.argmax(self._mean))
        lead = float(self._mean[best] - self._mean[last.labels.index(last.shown)])
        if lead <= 0:
            self._leads_since_s = None
            return last.shown
        if self._leads_since_s is None:
            self._leads_since_s = timestamp_s
        led_for_s = timestamp_s - self._leads_since_s
        is_unsure = float(shares_of(self._mean)[best]) < last.unsure_below
        ratio = _UNSURE_HOLD_RATIO if is_unsure else self.steadiness.hold_ratio
        if lead <= math.log(ratio) and led_for_s < self.steadiness.hold_s:
            return last.shown
        self._leads_since_s = None
        return last.labels[best]


def _with_leeway(threshold: float, last: SteadyPrediction) -> float:
    if threshold <= 0:
        return threshold
    return threshold + (_UNSURE_LEEWAY if last.shown_unsure else -_UNSURE_LEEWAY)


def log_shares(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the logarithms of probabilities, bounded from below; any shape."""
    return np.log(np.maximum(probabilities.astype(np.float64), _LEAST))


def shares_of(logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probabilities, shape (C,), whose logarithms these are up to a constant."""
    shares = np.exp(logarithms - logarithms.max())
    return np.asarray(shares / shares.sum())


class SteadyPoint:
    """The 'one euro' filter of Casiez (CHI 2012): the slower the values change, the more they are smoothed.

    Args:
        cutoff_hz: Cutoff frequency at rest, in hertz.
        cutoff_per_speed: Increase of the cutoff per unit of speed (units per second), in hertz.
    """

    def __init__(self, cutoff_hz: float = 1.5, cutoff_per_speed: float = 8.0) -> None:
        self.cutoff_hz = cutoff_hz
        self.cutoff_per_speed = cutoff_per_speed
        self._value: NDArray[np.float64] | None = None
        self._speed: NDArray[np.float64] = np.zeros(0)

    def update(self, value: NDArray[np.float64], elapsed_s: float, unit: float = 1.0) -> NDArray[np.float64]:
        """Return the smoothed values.

        Args:
            value: Measured values, shape (N,).
            elapsed_s: Time since the last call; 0 resets the filter.
            unit: Size of a unit change, so that smoothing does not depend on scale.
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
    """Return the weight of a new value after some time, in [0, 1]."""
    return 1.0 if time_constant_s <= 0 else 1.0 - math.exp(-elapsed_s / time_constant_s)
