"""Alerts: one face shows an expression for long enough."""

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from PIL import Image

from fer.emotions import Label, UnknownEmotionError, emotion_from_name
from fer.faces import Face
from fer.video import Frame

_FORM: Final = re.compile(r"([^:]+):([0-9.]+):([0-9.]+)s?")
_MISSED_FOR_S: Final = 1.0
"""The duration restarts for a face unseen for longer."""

_FINISH_WAIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Alert:
    """Condition that triggers an alert.

    Attributes:
        emotion: The expression.
        confidence: Its minimum probability.
        duration_s: Its minimum duration without interruption, in seconds.
    """

    emotion: Label
    confidence: float
    duration_s: float

    def __str__(self) -> str:
        return f"{self.emotion.value}:{self.confidence:g}:{self.duration_s:g}s"


def parse_alert(text: str, labels: Sequence[Label] = ()) -> Alert:
    """Parse an alert such as ``fearful:0.8:3s``: expression, probability, duration.

    Args:
        text: The text to parse.
        labels: Labels of the head in use, accepted in addition to the expressions.

    Raises:
        ValueError: Wrong format, an unknown expression, or a probability outside (0, 1].
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
    """The state of an alert in one stream; triggers once per face until the expression ends."""

    alert: Alert
    _held: dict[int | None, "_Held"] = field(default_factory=dict)

    def update(self, faces: Sequence[Face], time_s: float) -> list[Face]:
        """Add the tracked faces of one frame.

        Returns:
            The faces for which the alert triggers now.
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


_MOST_COMMANDS: Final = 4
"""Programs that may run concurrently; further alerts are only recorded."""


class AlertActions:
    """The actions taken at alerts; used by one thread, never waits for a program.

    Args:
        source: Name of the source, without passwords.
        command: Program with arguments, split like in a shell but run without one; None for none.
        pictures: Folder for the frame of each alert; None keeps no images.
        on_problem: Called with a sentence if an action fails; watching continues.

    Raises:
        ValueError: The command has an unclosed quote.
    """

    def __init__(
        self, source: str, command: str | None, pictures: Path | None, on_problem: Callable[[str], None]
    ) -> None:
        self._source = source
        self._words = shlex.split(command) if command else []
        self._pictures = pictures
        self._on_problem = on_problem
        self._running: list[subprocess.Popen[bytes]] = []

    def act(self, alert: Alert, face: Face, frame: Frame) -> str | None:
        """Save the frame and run the program, if requested; return the path of the image."""
        now = datetime.now(UTC)
        picture = self._keep(alert, frame, now)
        self._running = [process for process in self._running if process.poll() is None]
        if not self._words:
            return picture
        if len(self._running) >= _MOST_COMMANDS:
            self._on_problem(
                f"{_MOST_COMMANDS} programs of earlier alerts are still running; none was started"
            )
            return picture
        facts = {
            "FER_ALERT": str(alert),
            "FER_EMOTION": face.prediction.emotion.value,
            "FER_CONFIDENCE": f"{face.prediction.confidence:.4f}",
            "FER_TRACK": str(face.track_id),
            "FER_TIME": now.isoformat(),
            "FER_SOURCE": self._source,
            "FER_PICTURE": picture or "",
        }
        try:
            self._running.append(
                subprocess.Popen(self._words, env=os.environ | facts, stdin=subprocess.DEVNULL)
            )
        except OSError as error:
            self._on_problem(f"{self._words[0]} cannot be run ({error.strerror})")
        return picture

    def finish(self) -> None:
        """Wait briefly for programs that are still running."""
        for process in self._running:
            try:
                process.wait(_FINISH_WAIT_S)
            except subprocess.TimeoutExpired:
                self._on_problem(f"{self._words[0]} is still running and was not stopped")

    def _keep(self, alert: Alert, frame: Frame, now: datetime) -> str | None:
        if self._pictures is None:
            return None
        path = self._pictures / f"{now:%Y%m%dT%H%M%S%f}_{alert.emotion.value}.jpg"
        try:
            self._pictures.mkdir(parents=True, exist_ok=True)
            Image.fromarray(frame.image).save(path, quality=90)
        except OSError as error:
            self._on_problem(f"{path} cannot be written ({error.strerror or error})")
            return None
        return str(path)
