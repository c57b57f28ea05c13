"""Alerts: an expression that is held for long enough by one face."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fer.emotions import Label, UnknownEmotionError, emotion_from_name
from fer.faces import Face

_FORM: Final = re.compile(r"([^:]+):([0-9.]+):([0-9.]+)s?")
_MISSED_FOR_S: Final = 1.0
"""A face unseen for longer has to begin anew."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Condition that sets off an alert.

    Attributes:
        emotion: The expression.
        confidence: Its probability, at least.
        duration_s: For how long without a break.
    """

    emotion: Label
    confidence: float
    duration_s: float

    def __str__(self) -> str:
        return f"{self.emotion.value}:{self.confidence:g}:{self.duration_s:g}s"


def parse_alert(text: str, labels: Sequence[Label] = ()) -> Alert:
    """Read ``fearful:0.8:3s``: expression, probability, duration.

    Args:
        text: As typed.
        labels: Of the head that answers; they are known besides the expressions.

    Raises:
        ValueError: Another form, an unknown expression, a probability outside (0, 1].
    """
    match = _FORM.fullmatch(text.strip())
    problem = f"expected an alert such as fearful:0.8:3s (expression, probability, seconds), got {text!r}"
    if match is None:
        raise ValueError(problem)
    word, confidence, duration_s = match.groups()
    try:
        mine = next((label for label in labels if label.casefold() == word.strip().casefold()), None)
        alert = Alert(mine or emotion_from_name(word), float(confidence), float(duration_s))
    except UnknownEmotionError as error:
        raise ValueError(f"{problem}; {error}") from error
    except ValueError as error:
        raise ValueError(problem) from error
    if not 0 < alert.confidence <= 1:
        raise ValueError(f"expected a probability in (0, 1] in the alert {text!r}")
    return alert


@dataclass(slots=True)
class AlertWatch:
    """One stream's memory of who has been showing what for how long; goes off once until the face lets go."""

    alert: Alert
    _held: dict[int | None, "_Held"] = field(default_factory=dict)

    def update(self, faces: Sequence[Face], time_s: float) -> list[Face]:
        """Take in the tracked faces of one look.

        Returns:
            The faces for which the alert goes off now.
        """
        off = []
        self._held = {
            track: held for track, held in self._held.items() if time_s - held.seen_s <= _MISSED_FOR_S
        }
        for face in faces:
            share = face.prediction.by_emotion().get(self.alert.emotion, 0.0)
            if share < self.alert.confidence:
                self._held.pop(face.track_id, None)
                continue
            held = self._held.setdefault(face.track_id, _Held(time_s, time_s))
            held.seen_s = time_s
            if not held.has_gone_off and time_s - held.since_s >= self.alert.duration_s:
                held.has_gone_off = True
                off.append(face)
        return off


@dataclass(slots=True)
class _Held:
    since_s: float
    seen_s: float
    has_gone_off: bool = False
