"""Actions of an alert: keep a frame, run a program."""

import os
import shlex
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from PIL import Image

from fer.faces import Face
from fer.video import Frame
from fer.watch.alerts import Alert

_MOST_COMMANDS: Final = 4
"""Programs that may run at once; further alerts are recorded only."""


class AlertActions:
    """Acts at alerts; belongs to one thread and never waits for a program.

    Args:
        source: What is watched, as it may be shown.
        command: Program with arguments, split as a shell would, run without one; None for none.
        pictures: Folder for the frame of each alert; None keeps no pictures.
        on_problem: Told in a sentence what could not be done; watching goes on.

    Raises:
        ValueError: Quotes in the command that do not close.
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
        """Keep the frame and run the program, as far as wanted; answers where the picture lies."""
        now = datetime.now(UTC)
        picture = self._keep(alert, frame, now)
        self._running = [process for process in self._running if process.poll() is None]
        if not self._words:
            return picture
        if len(self._running) >= _MOST_COMMANDS:
            self._on_problem(f"{_MOST_COMMANDS} programs of earlier alerts still run; none was started")
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

    def finish(self, timeout_s: float = 5.0) -> None:
        """Wait a little for programs that still run."""
        for process in self._running:
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._on_problem(f"{self._words[0]} still runs and was left alone")

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
