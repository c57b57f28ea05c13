"""Calibrate predictions to a person's resting face, learned in two seconds, so that it reads as neutral."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from fer.emotions import Emotion, Label
from fer.faces import Prediction
from fer.streams.smoothing import log_shares, shares_of

REST_S: Final = 2.0
"""Seconds of rest that are enough."""

_USUAL_LOG_ODDS: Final = -3.0
"""Target log-odds of each expression against neutral for a resting face: about 80 % neutral."""

_STRENGTH: Final = 0.6
"""Share of the distance to the target that is corrected: correcting all of it would hide weak expressions."""

_FEWEST: Final = 3
_LIVELY: Final = 0.7
_PLAIN: Final = 0.9
_UNSTEADY: Final = 0.5
_LOST_S: Final = 0.5


class RestingFaceError(ValueError):
    """Frames that show no resting face; the message says why and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class RestingFace:
    """An offset in log-odds for one person.

    Attributes:
        labels: The expressions, in the order of the offset.
        offset: Shape (C,), subtracted from log-probabilities; 0 for neutral.
    """

    labels: tuple[Label, ...]
    offset: NDArray[np.float64] = field(repr=False)

    def apply(self, prediction: Prediction) -> Prediction:
        """Return the adjusted prediction.

        Raises:
            ValueError: The prediction has different labels, as from another model.
        """
        if prediction.labels != self.labels:
            raise ValueError(
                f"expected a prediction of {', '.join(self.labels)}, got {', '.join(prediction.labels)}; "
                "learn the resting face again with this model"
            )
        shares = shares_of(log_shares(prediction.probabilities) - self.offset)
        return replace(prediction, probabilities=shares.astype(np.float32))


def learn_resting_face(predictions: Sequence[Prediction]) -> RestingFace:
    """Learn the offset from some frames of one person at rest.

    Args:
        predictions: Unsmoothed predictions of successive frames, as from ``FaceAnalyzer.analyze``.

    Raises:
        RestingFaceError: Too few frames, a face that laughs or changes, or a model without "neutral".
    """
    if len(predictions) < _FEWEST:
        raise RestingFaceError(
            f"expected at least {_FEWEST} frames of a resting face, got {len(predictions)}; "
            "stay in front of the camera and try again"
        )
    labels = predictions[0].labels
    if Emotion.NEUTRAL not in labels or any(prediction.labels != labels for prediction in predictions):
        raise RestingFaceError("expected frames of one model with the label 'neutral'; choose such a model")
    shares = np.array([prediction.probabilities for prediction in predictions], dtype=np.float64)
    half = len(shares) // 2
    moved = float(np.abs(shares[:half].mean(axis=0) - shares[-half:].mean(axis=0)).sum()) / 2
    if moved > _UNSTEADY:
        raise RestingFaceError("expected a face at rest, got one that changed; hold still and try again")
    mean = shares.mean(axis=0)
    emotion, share = labels[int(np.argmax(mean))], float(mean.max())
    limit = _LIVELY if emotion in (Emotion.HAPPY, Emotion.SURPRISED) else _PLAIN
    if emotion != Emotion.NEUTRAL and share >= limit:
        raise RestingFaceError(
            f"expected a face at rest, got one that looks {emotion.value} ({100 * share:.0f} %); "
            "relax your face and try again"
        )
    rest = log_shares(shares).mean(axis=0)
    neutral = labels.index(Emotion.NEUTRAL)
    offset = _STRENGTH * (rest - rest[neutral] - _USUAL_LOG_ODDS)
    offset[neutral] = 0.0
    return RestingFace(labels, offset)


@dataclass(frozen=True, slots=True)
class RestStatus:
    """State of a stream's resting faces.

    Attributes:
        state: ``off``, ``learning``, ``adjusted``, or ``failed`` if nobody is adjusted after a failed try.
        track_ids: The people who are currently adjusted.
        problem: Reason why the last try failed, as a sentence; empty otherwise.
    """

    state: Literal["off", "learning", "adjusted", "failed"] = "off"
    track_ids: tuple[int, ...] = ()
    problem: str = ""


class RestLesson:
    """A collector of one person's frames for learning a resting face.

    Args:
        start_s: Time of the first frame that counts, in seconds.
        length_s: Duration of the collection, in seconds.
    """

    def __init__(self, start_s: float, length_s: float = REST_S) -> None:
        self._start_s, self._length_s = start_s, length_s
        self._seen_s = start_s
        self._frames: list[Prediction] = []

    def add(self, prediction: Prediction, timestamp_s: float) -> RestingFace | None:
        """Add a frame; return the resting face once there are enough frames.

        Raises:
            RestingFaceError: There are enough frames, but they show no resting face.
        """
        if timestamp_s > self._seen_s or not self._frames:  # skip repeated times
            self._frames.append(prediction)
        self._seen_s = timestamp_s
        elapsed_s = timestamp_s - self._start_s
        is_enough = len(self._frames) >= _FEWEST or elapsed_s >= 2 * self._length_s
        return learn_resting_face(self._frames) if elapsed_s >= self._length_s and is_enough else None

    def is_over(self, timestamp_s: float) -> bool:
        """Return whether the person has been unseen for so long that the rest is interrupted."""
        return timestamp_s - self._seen_s > max(_LOST_S, self._length_s / 2)
