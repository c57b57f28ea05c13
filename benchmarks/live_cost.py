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
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import tyro
from PIL import Image
from websockets.asyncio.client import connect

from benchmarks import live_cost_server
from fer.video import VideoFile
from training.command import run_command

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
    """

    video: tyro.conf.Positional[Path] = Path()
    visitors: tuple[int, ...] = (1, 20)
    frames: int = 600
    together: float = 220.0
    against: Path | None = None
    repeats: int = 3


def main(options: Options) -> None:
    """Print a table of the stages, or a comparison of two checkouts."""
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
    # The script of this checkout with the modules of the other; -P keeps the folder of benchmarks out of the way.
    words = [sys.executable, "-P", live_cost_server.__file__, *(["stages"] if with_stages else [])]
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


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.live_cost", description=__doc__))
