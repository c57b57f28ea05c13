"""Measure the server's processor time per live frame, by stage, for one visitor and for many.

    python -m benchmarks.live_cost VIDEO --visitors 1 20
    python -m benchmarks.live_cost VIDEO --against OTHER_CHECKOUT --repeats 3

Processor time, unlike wall time, hardly depends on what else the machine does. Visitors send the video's frames as
the page does, each as soon as the previous answer has arrived; the frames' times are those of cameras.
"""

import asyncio
import io
import itertools
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import tyro
from PIL import Image
from websockets.asyncio.client import connect

from fer.video import VideoFile
from training.command import run_command

STAGES: Final = (
    ("webapp.live", "read_image", "decode JPEG"),
    ("fer.streams.stream", "CutDetector.is_cut", "compare with the frame before"),
    ("fer.detection.kv_face", "prepare_image", "search: shrink and pad"),
    ("fer.detection.kv_face", "KvFaceDetector._run", "search: network"),
    ("fer.detection.kv_face", "KvFaceDetector.detect", "search: decode boxes"),
    ("fer.detection.verifier", "FaceVerifier.verify", "search: crops of the verifier"),
    ("fer.detection.verifier", "FaceVerifier.logits", "search: verifier"),
    ("fer.streams.local_search", "crop_face", "search: cut the surroundings"),
    ("fer.streams.search", "BudgetSearch.find", "search: choose where"),
    ("fer.analysis", "crop_face", "cut the faces"),
    ("fer.classification", "prepare_crops", "resize the faces"),
    ("fer.classification", "EmotionClassifier.probabilities", "expression network"),
    ("fer.analysis", "FaceAnalyzer.read_faces", "predictions, turn of the head"),
    ("fer.streams.tracking", "FaceTracker.update", "track and smooth"),
    ("webapp.live", "face_to_dict", "records of faces"),
    ("webapp.live", "_hint", "hint"),
    ("webapp.live", "_answer", "rest of the answer"),
    ("webapp.live", "json.dumps", "JSON"),
)
"""Module, attribute and row of the functions that are timed; a stage excludes the stages it calls."""

_LOOP: Final = "event loop, sockets"
_OTHER: Final = "thread hand-over, threads of libraries"
_WARM_UP_FRAMES: Final = 60
_MOST_PICTURES: Final = 240
_SENT_WIDTH: Final = 480
_SENT_QUALITY: Final = 80


@dataclass(frozen=True)
class Options:
    """Load and comparison.

    Attributes:
        video: A recorded video, which every visitor sends.
        visitors: Numbers of concurrent visitors, one measurement each.
        frames: Number of frames in each measurement, of all visitors together.
        together: Frames per second that all visitors send together, by their cameras' clocks, at most 30 each.
        against: Another checkout, whose total is measured in turn with this one's.
        repeats: Number of measurements of each checkout if there are two.
        serve: Run the server for another process, which uses it by standard input and output.
        plain: Measure only the total.
    """

    video: tyro.conf.Positional[Path] = Path()
    visitors: tuple[int, ...] = (1, 20)
    frames: int = 600
    together: float = 220.0
    against: Path | None = None
    repeats: int = 3
    serve: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    plain: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False


def main(options: Options) -> None:
    """Print a table of the stages, or a comparison of two checkouts."""
    if options.serve:
        _serve(with_stages=not options.plain)
        return
    pictures = _pictures(options.video)
    here = Path(__file__).resolve().parents[1]
    with ExitStack() as stack:
        if options.against is None:
            server = stack.enter_context(_server(here, with_stages=True))
            _print_stages([_measure(server, pictures, count, options) for count in options.visitors], options)
        else:
            roots = (options.against.resolve(), here)
            servers = [stack.enter_context(_server(root, with_stages=False)) for root in roots]
            _compare(servers, pictures, options)


def _print_stages(found: list[dict[str, float]], options: Options) -> None:
    heads = [f"{count} visitor{'s' * (count > 1)}, ms | share" for count in options.visitors]
    print(f"| Processor time of the server per frame | {' | '.join(heads)} |")
    print("|---" * (1 + 2 * len(found)) + "|")
    rows = sorted(set().union(*found), key=lambda row: -found[-1].get(row, 0.0))
    totals = [sum(each.values()) for each in found]
    for row in rows:
        cells = [
            f"{each.get(row, 0.0):.2f} | {each.get(row, 0.0) / total:.0%}"
            for each, total in zip(found, totals, strict=True)
        ]
        print(f"| {row} | {' | '.join(cells)} |")
    print(f"| **all** | {' | '.join(f'**{total:.2f}** | 100%' for total in totals)} |")


def _compare(servers: list["_Server"], pictures: list[bytes], options: Options) -> None:
    print("| Visitors | other, ms per frame | here, ms per frame | here / other |")
    print("|---|---|---|---|")
    for count in options.visitors:
        pairs = [
            [sum(_measure(server, pictures, count, options).values()) for server in servers]
            for _ in range(options.repeats)
        ]
        ratios = sorted(after / before for before, after in pairs)
        before, after = (", ".join(f"{ms:.2f}" for ms in column) for column in zip(*pairs, strict=True))
        ratio = f"{ratios[len(ratios) // 2]:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"| {count} | {before} | {after} | {ratio} |", flush=True)


def _pictures(path: Path) -> list[bytes]:
    """Return a video's frames as the page sends them, then backwards, so that they can be repeated."""
    encoded = []
    with VideoFile(path) as video:
        for frame in itertools.islice(video.frames(), _MOST_PICTURES):
            image = Image.fromarray(frame.image)
            image = image.resize((_SENT_WIDTH, round(_SENT_WIDTH * image.height / image.width)))
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=_SENT_QUALITY)
            encoded.append(buffer.getvalue())
    return encoded + encoded[-2:0:-1]


@dataclass(frozen=True)
class _Server:
    """A server in a process of its own."""

    port: int
    snapshot: Callable[[], dict[str, float]]


@contextmanager
def _server(root: Path, *, with_stages: bool) -> Iterator[_Server]:
    words = [sys.executable, str(Path(__file__).resolve()), "--serve", *([] if with_stages else ["--plain"])]
    process = subprocess.Popen(
        words,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    lines, answers = process.stdin, process.stdout

    def snapshot() -> dict[str, float]:
        lines.write("\n")
        lines.flush()
        found: dict[str, float] = json.loads(answers.readline())
        return found

    try:
        port = json.loads(answers.readline())
        answers.readline()  # says that it is ready
        yield _Server(port, snapshot)
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _measure(server: _Server, pictures: list[bytes], count: int, options: Options) -> dict[str, float]:
    """Return the processor milliseconds per frame of each stage."""
    before, after = asyncio.run(_visit(server, pictures, count, options))
    answered = after[0] - before[0]
    return {row: 1000 * (after[1][row] - before[1].get(row, 0.0)) / answered for row in after[1]}


async def _visit(
    server: _Server, pictures: list[bytes], count: int, options: Options
) -> list[tuple[int, dict[str, float]]]:
    """Let visitors send frames; return the counts of answers with the server's times, before and after."""
    rate = min(30.0, options.together / count)
    step = max(round(30 / rate), 1)
    answered = 0

    async def send(visitor: int) -> None:
        nonlocal answered
        async with connect(f"ws://127.0.0.1:{server.port}/kv/live", compression=None) as line:
            for turn in itertools.count():
                picture = pictures[(17 * visitor + turn * step) % len(pictures)]
                await line.send(struct.pack("<d", turn / rate) + picture)
                answer = json.loads(await line.recv())
                assert answer["kind"] == "frame", answer
                answered += 1

    looks = []
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(send(visitor)) for visitor in range(count)]
        for enough in (_WARM_UP_FRAMES, _WARM_UP_FRAMES + options.frames):
            while answered < enough:
                await asyncio.sleep(0.01)
            looks.append((answered, await asyncio.to_thread(server.snapshot)))
        for task in tasks:
            task.cancel()
    return looks


class _Stopwatch:
    """Sums the processor time of functions by row, without the timed functions that they call."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._inner = threading.local()

    def timed(self, row: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapper(*args: Any, **words: Any) -> Any:
            outer = getattr(self._inner, "spent_s", 0.0)
            self._inner.spent_s = 0.0
            start_s = time.thread_time()
            try:
                return function(*args, **words)
            finally:
                whole_s = time.thread_time() - start_s
                with self._lock:
                    self.spent[row] += whole_s - self._inner.spent_s
                    is_main = threading.current_thread() is threading.main_thread()
                    self.spent["main" if is_main else "workers"] += whole_s - self._inner.spent_s
                self._inner.spent_s = outer + whole_s

        return wrapper


def _serve(*, with_stages: bool) -> None:
    """Run the page's routes; print the processor times for each line of standard input."""
    from webapp.serving import import_gradio, serve  # noqa: PLC0415

    import_gradio()
    from fer.door import Door  # noqa: PLC0415
    from fer.streams.search import BudgetSearch  # noqa: PLC0415
    from webapp.analyzers import AnalyzerShelf  # noqa: PLC0415
    from webapp.live import TAB  # noqa: PLC0415
    from webapp.page import build_routes  # noqa: PLC0415

    watch = _Stopwatch()
    analyzers = AnalyzerShelf()
    BudgetSearch.__init__.__defaults__ = (None, time.thread_time)  # search as on a machine without other load
    if with_stages:
        _time_stages(watch, analyzers)
    main_clock = time.pthread_getcpuclockid(threading.main_thread().ident or 0)

    def answer() -> None:
        while os.read(0, 1):  # sys.stdin would be locked meanwhile
            process_s, main_s = time.process_time(), time.clock_gettime(main_clock)
            spent = dict(watch.spent)
            in_main, in_workers = spent.pop("main", 0.0), spent.pop("workers", 0.0)
            if with_stages:
                spent[_LOOP] = main_s - in_main
                spent[_OTHER] = process_s - main_s - in_workers
            else:
                spent["all"] = process_s
            print(json.dumps(spent), flush=True)

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=answer, daemon=True).start()
    serve(Door(build_routes([TAB], analyzers), ("127.0.0.1",)), listener)


def _time_stages(watch: _Stopwatch, analyzers: Any) -> None:
    detector = analyzers.get(live=True).detector
    for module, path, row in STAGES:
        owner = import_module(module)
        *names, last = path.split(".")
        for name in names:
            owner = getattr(owner, name, None)
        if last == "_run":
            owner = detector  # set by its constructor
        if owner is None or not hasattr(owner, last):
            continue  # of another version
        setattr(owner, last, watch.timed(row, getattr(owner, last)))


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.live_cost", description=__doc__))
