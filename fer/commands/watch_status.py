"""The line that says how a watch goes."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fer.printable import plain_line
from fer.watch.log import WatchLog
from fer.watch.watching import Watch

_REFRESH_S: Final = 0.5


class StatusLine:
    """Says on stderr what changes; on a terminal a last line is kept up to date. Used by several threads.

    Args:
        name: What is watched, as it may be shown.
    """

    def __init__(self, name: str) -> None:
        self._name = plain_line(name)
        self._lock = threading.Lock()
        self._is_terminal = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """A line with the time that stays."""
        with self._lock:
            clear = "\r\033[K" if self._is_terminal else ""
            print(
                f"{clear}{time.strftime('%Y-%m-%d %H:%M:%S')} {self._name}: {plain_line(text)}",
                file=sys.stderr,
                flush=True,
            )

    @contextmanager
    def shown(self, watch: Watch, log: WatchLog) -> Iterator[None]:
        """Keep the last line up to date within the block; does nothing where there is no terminal."""
        if not self._is_terminal:
            yield
            return
        done = threading.Event()
        thread = threading.Thread(target=self._refresh, args=(watch, log, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _refresh(self, watch: Watch, log: WatchLog, done: threading.Event) -> None:
        start_s = time.monotonic()
        while not done.wait(_REFRESH_S):
            faces = ", ".join(face.prediction.emotion.value for face in watch.faces) or "nobody"
            minutes, seconds = divmod(int(time.monotonic() - start_s), 60)
            hours, minutes = divmod(minutes, 60)
            with self._lock:
                sys.stderr.write(
                    f"\r\033[K{hours}:{minutes:02}:{seconds:02}  {faces}  "
                    f"{log.row_count:,} rows, {watch.gap_count} gaps"
                )
                sys.stderr.flush()
        with self._lock:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
