"""Temporal filters tried for the predictions of one face, including the shipped one."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fer.emotions import Emotion
from fer.faces import Prediction
from fer.streams.smoothing import ProbabilitySmoother, Steadiness

Shown = tuple[Emotion, bool] | None
"""The label shown, and whether it is unsure; None if nothing is shown."""

FORGET_S: Final = 1.0
LEEWAY: Final = 0.05


class Answer(Protocol):
    """The output of a filter: a label, and whether it is unsure."""

    @property
    def emotion(self) -> Emotion:
        """The expression to show."""

    @property
    def is_unsure(self) -> bool:
        """Whether it is unsure."""


class Filter(Protocol):
    """A filter of one face's predictions."""

    def update(self, prediction: Prediction, timestamp_s: float, /) -> Answer:
        """Add one frame's prediction and return the one to show."""


def replay(
    times: Sequence[float], raw: Sequence[Prediction | None], build: Callable[[], Filter]
) -> list[Shown]:
    """Run a filter over the predictions of single frames; reset it after a second without a face."""
    shown: list[Shown] = []
    memory, seen_s = build(), -math.inf
    for time_s, prediction in zip(times, raw, strict=True):
        if prediction is None:
            shown.append(None)
            continue
        if time_s - seen_s > FORGET_S:
            memory = build()
        seen_s = time_s
        steady = memory.update(prediction, time_s)
        shown.append((steady.emotion, steady.is_unsure))
    return shown


class Held:
    """A filter that changes its label when another one is ``ratio`` times as probable in the mixed prediction.

    Args:
        mixer: Mixes log-probabilities over time.
        ratio: Ratio of probabilities, at least 1.
    """

    def __init__(self, mixer: "Mixer", ratio: float) -> None:
        self._mixer, self._ratio = mixer, ratio
        self._held: int | None = None
        self._is_unsure = False
        self._time_s = 0.0

    def update(self, prediction: Prediction, timestamp_s: float, /) -> Answer:
        """Add one frame's prediction and return the one to show."""
        now = normal(np.log(np.maximum(prediction.probabilities.astype(np.float64), 1e-3)))
        threshold = prediction.unsure_below
        if self._held is None:
            mixed = self._mixer.start(now)
            self._held = int(np.argmax(mixed))
        else:
            mixed = self._mixer.mix(now, timestamp_s - self._time_s, self._held)
            if mixed.max() > mixed[self._held] + math.log(self._ratio):
                self._held = int(np.argmax(mixed))
            threshold += LEEWAY if self._is_unsure else -LEEWAY
        self._time_s = timestamp_s
        self._is_unsure = bool(np.exp(mixed[self._held]) < threshold)
        shares = np.zeros(len(mixed), dtype=np.float32)
        shares[self._held] = 1.0
        return Prediction(prediction.labels, shares, unsure_below=2.0 if self._is_unsure else 0.0)


class Mixer(Protocol):
    """A rule that mixes the log-probabilities of frames, each of shape (C,), into those to show."""

    def start(self, now: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add the first frame."""

    def mix(self, now: NDArray[np.float64], elapsed_s: float, held: int) -> NDArray[np.float64]:
        """Add the next frame; ``held`` is the label shown."""


class Mean:
    """An exponential mean of the probabilities, or of their logarithms."""

    def __init__(self, time_constant_s: float, *, logarithms: bool) -> None:
        self._time_constant_s, self._logarithms = time_constant_s, logarithms

    def start(self, now: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add the first frame."""
        self.mean = now
        return now

    def mix(self, now: NDArray[np.float64], elapsed_s: float, _held: int) -> NDArray[np.float64]:
        """Add the next frame."""
        share = 1 - math.exp(-elapsed_s / self._time_constant_s)
        if self._logarithms:
            self.mean = normal(self.mean + share * (now - self.mean))
        else:
            self.mean = np.log((1 - share) * np.exp(self.mean) + share * np.exp(now))
        return self.mean


class HiddenState:
    """A hidden Markov model of an expression that changes occasionally; evidence is weighted by its duration."""

    def __init__(self, changes_per_s: float, evidence_per_s: float) -> None:
        self._changes_per_s, self._evidence_per_s = changes_per_s, evidence_per_s

    def start(self, now: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add the first frame."""
        self._belief = now
        return now

    def mix(self, now: NDArray[np.float64], elapsed_s: float, _held: int) -> NDArray[np.float64]:
        """Add the next frame."""
        change = 1 - math.exp(-self._changes_per_s * elapsed_s)
        expected = np.log((1 - change) * np.exp(self._belief) + change / len(now))
        self._belief = normal(expected + self._evidence_per_s * elapsed_s * now)
        return self._belief


class TwoSpeeds:
    """A slow mean that restarts from a quick one if they diverge by more than noise explains."""

    def __init__(self, slow_s: float, quick_s: float, limit: float) -> None:
        self._slow, self._quick = Mean(slow_s, logarithms=True), Mean(quick_s, logarithms=True)
        self._limit = limit

    def start(self, now: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add the first frame."""
        self._quick.start(now)
        return self._slow.start(now)

    def mix(self, now: NDArray[np.float64], elapsed_s: float, held: int) -> NDArray[np.float64]:
        """Add the next frame."""
        quick = self._quick.mix(now, elapsed_s, held)
        slow = self._slow.mix(now, elapsed_s, held)
        divergence = float(np.sum(np.exp(quick) * (quick - slow)))
        return self._slow.start(quick) if divergence > self._limit else slow


class SummedEvidence:
    """A slow mean that restarts when enough evidence against the label shown has accumulated (CUSUM)."""

    def __init__(self, slow_s: float, quick_s: float, drift: float, limit: float) -> None:
        self._slow, self._quick = Mean(slow_s, logarithms=True), Mean(quick_s, logarithms=True)
        self._drift, self._limit = drift, limit

    def start(self, now: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add the first frame."""
        self._sums = np.zeros(len(now))
        self._quick.start(now)
        return self._slow.start(now)

    def mix(self, now: NDArray[np.float64], elapsed_s: float, held: int) -> NDArray[np.float64]:
        """Add the next frame."""
        quick = self._quick.mix(now, elapsed_s, held)
        slow = self._slow.mix(now, elapsed_s, held)
        self._sums = np.maximum(self._sums + elapsed_s * (now - now[held] - self._drift), 0)
        if self._sums.max() <= self._limit:
            return slow
        self._sums[:] = 0
        return self._slow.start(quick)


def normal(logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normalise log-probabilities, so that the probabilities sum to 1."""
    largest = logarithms.max()
    return np.asarray(logarithms - largest - np.log(np.exp(logarithms - largest).sum()))


def shipped(**settings: Any) -> Callable[[], Filter]:
    """Return a builder of the shipped filter with other settings."""
    return lambda: ProbabilitySmoother(Steadiness(**settings))


def held(build: Callable[[], Mixer], ratio: float) -> Callable[[], Filter]:
    """Return a builder of a filter, one per face."""
    return lambda: Held(build(), ratio)


CANDIDATES: Final[dict[str, Callable[[], Filter]]] = {
    "no filter": shipped(time_constant_s=0.0),
    **{
        f"mean of probabilities, {time_s:g} s": held(lambda t=time_s: Mean(t, logarithms=False), 1.5)
        for time_s in (0.1, 0.2, 0.4, 0.8)
    },
    **{
        f"mean of log-odds, {time_s:g} s": held(lambda t=time_s: Mean(t, logarithms=True), 1.5)
        for time_s in (0.1, 0.2, 0.4, 0.8)
    },
    **{
        f"hidden state alone, evidence {rate:g}/s": held(lambda r=rate: HiddenState(0.1, r), 1.0)
        for rate in (3, 6, 12, 24)
    },
    **{
        f"two speeds, divergence {limit:g}": held(lambda x=limit: TwoSpeeds(1.0, 0.1, x), 1.5)
        for limit in (0.2, 0.5, 1.0, 2.0)
    },
    **{
        f"summed evidence, limit {limit:g}": held(lambda x=limit: SummedEvidence(1.0, 0.1, 0.5, x), 1.5)
        for limit in (0.2, 0.4, 0.8, 1.6)
    },
    **{
        f"shipped, doubt {ratio:g}, evidence {rate:g}/s": shipped(doubt_ratio=ratio, evidence_per_s=rate)
        for ratio, rate in ((5.0, 20.0), (3.5, 15.0), (3.0, 12.0), (3.0, 16.0), (2.5, 15.0), (2.0, 15.0))
    },
}
"""Filters by name; in each family the settings trade delay against flicker."""
