"""``python -m fer watch``: watch a camera or a network stream, for days."""

import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import tyro

from fer.commands import CommandError
from fer.commands.options import Name
from fer.folders.records import AnalyzerRecipe
from fer.printable import hide_password, plain_line
from fer.video import LiveStream
from fer.video.cameras import ADDRESS
from fer.watch.alerts import AlertActions, parse_alert
from fer.watch.log import LogError, WatchLog
from fer.watch.watching import StreamNeverStartedError, Watch


@dataclass(frozen=True)
class WatchOptions:
    """Watch a camera or a network stream and record expressions; no images are kept unless requested.

    Stop with Ctrl-C or SIGTERM; no record is lost. An interrupted stream is reopened.

    Attributes:
        source: Number of a camera such as 0, or an address such as rtsp://… or http://….
        log: SQLite file to record in; an existing log is continued.
        every: Minimum seconds between two analysed frames.
        alert: Expression, probability and duration, such as fearful:0.8:3s.
        exec: Program to run at an alert; its environment has FER_ALERT, FER_EMOTION, FER_CONFIDENCE,
            FER_TRACK, FER_TIME, FER_SOURCE and FER_PICTURE.
        pictures: Folder for the frame of each alert.
        rotate: Size in megabytes at which the log is rotated.
        keep: Number of rotated logs to keep.
        give_up: Seconds to wait for the first frame; 0 waits forever.
        weights: Name of shipped weights, or path of a weights folder.
        detector: Name of a face detector, such as auto or haar; an unknown name lists all.
        head: Head of the weights to use, such as seven; the card's default if not given.
    """

    source: tyro.conf.Positional[str]
    log: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    every: float = 0.5
    alert: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    exec: Annotated[str | None, tyro.conf.arg(metavar="COMMAND")] = None
    pictures: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    rotate: float = 100.0
    keep: int = 10
    give_up: float = 30.0
    weights: Name = None
    detector: Name = None
    head: Name = None


def run_watch(words: list[str]) -> int:
    """Watch until stopped.

    Raises:
        CommandError: Contradictory options, a stream that never starts, or an unwritable log.
    """
    shown = {hide_password(word): word for word in words if ADDRESS.match(word)}
    hidden = [hide_password(word) if ADDRESS.match(word) else word for word in words]  # errors quote them
    options = tyro.cli(WatchOptions, prog="python -m fer watch", args=hidden)
    options = replace(options, source=shown.get(options.source, options.source))
    seconds_ok = all(0 <= value < math.inf for value in (options.every, options.give_up))
    if not seconds_ok or not 0 < options.rotate < math.inf or options.keep < 0:
        raise CommandError("expected --every, --keep and --give-up of at least 0 and --rotate above 0")
    if (options.exec or options.pictures) and not options.alert:
        raise CommandError("--exec and --pictures need an --alert; add one such as fearful:0.8:3s")
    try:
        _watch(options)
    except (StreamNeverStartedError, LogError, ValueError) as error:
        raise CommandError(str(error)) from error
    return 0


def _watch(options: WatchOptions) -> None:
    stop = threading.Event()
    analyzer = AnalyzerRecipe(options.weights, options.detector, options.head, live=True).build()
    classifier = analyzer.classifier
    alerts = [parse_alert(text, classifier.head.emotions) for text in options.alert]
    for alert in alerts:
        if alert.emotion not in classifier.head.emotions:
            known = ", ".join(emotion.value for emotion in classifier.head.emotions)
            raise CommandError(
                f"the alert {alert} can never trigger: {classifier.card.name}, head {classifier.head.name},"
                f" has the labels {known}; choose one of these, or another --head"
            )
    with ExitStack() as stack:
        stack.enter_context(_stopped_by_signals(stop))
        stream = stack.enter_context(LiveStream(options.source))
        origin = {
            "source": stream.name,
            "weights": classifier.card.name,
            "detector": analyzer.detector.name,
        }
        log = stack.enter_context(
            WatchLog(
                options.log,
                classifier.head.emotions,
                origin,
                rotate_bytes=int(options.rotate * 1e6),
                keep_count=options.keep,
            )
        )
        status = StatusLine(stream.name)
        actions = AlertActions(stream.name, options.exec, options.pictures, status.say)
        stack.callback(actions.finish)
        watch = Watch(
            analyzer,
            log,
            alerts=alerts,
            every_s=options.every,
            on_alert=actions.act,
            on_change=status.say,
        )
        stack.enter_context(status.shown(watch, log))
        watch.run(stream, stop, options.give_up or None)
        stack.callback(print, f"stopped; {log.row_count:,} rows were added to {options.log}", file=sys.stderr)


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM only set the event within the block, so that pending writes finish."""

    def set_stop(*_: Any) -> None:
        stop.set()

    before = {number: signal.signal(number, set_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_REFRESH_S: Final = 0.5


class StatusLine:
    """Messages on stderr, with a live status line on a terminal; may be used by several threads.

    Args:
        name: Name of the source, without passwords.
    """

    def __init__(self, name: str) -> None:
        self._name = plain_line(name)
        self._lock = threading.Lock()
        self._is_terminal = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Print a permanent line with the time."""
        with self._lock:
            clear = "\r\033[K" if self._is_terminal else ""
            print(
                f"{clear}{time.strftime('%Y-%m-%d %H:%M:%S')} {self._name}: {plain_line(text)}",
                file=sys.stderr,
                flush=True,
            )

    @contextmanager
    def shown(self, watch: Watch, log: WatchLog) -> Iterator[None]:
        """Keep the status line up to date within the block; do nothing without a terminal."""
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
