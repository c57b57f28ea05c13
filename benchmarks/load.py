"""Load test with many concurrent visitors, good and bad ones, on its own server: ``python -m benchmarks.load``."""

import asyncio
import io
import json
import random
import socket
import struct
import subprocess
import sys
import time
import urllib.parse
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.data import astronaut
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from fer.images import RgbImage, read_image
from training.command import run_command

_BOMB_PIXELS = (8000, 5000)


@dataclass(frozen=True)
class Options:
    """Load on the page, which runs on this machine and is reached over loopback only.

    Attributes:
        seconds: Duration.
        photos: Number of visitors who send one photo after another.
        lives: Number of visitors with a live page.
        rate: Frames per second of each live page; fewer if its answers take longer.
        bad: Number of clients that send partial requests, nothing, garbage and decompression bombs.
        photo: The photo to send, and to shrink to a live frame; one with a single face by default.
        rounds: Number of times the load is repeated; memory that grows with each round is leaked.
    """

    seconds: float = 300.0
    photos: int = 50
    lives: int = 20
    rate: float = 5.0
    bad: int = 10
    photo: Path | None = None
    rounds: int = 1


@dataclass
class Tally:
    """Counts and times of all visitors."""

    photo_s: list[float] = field(default_factory=list)
    frame_s: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)


def main(options: Options) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as page:
        try:
            _wait(port)
            photo = options.photo.read_bytes() if options.photo else _jpeg(astronaut(), (1280, 1280))
            asyncio.run(
                _visit(port, photo, min(options.seconds, 2.0), Options(photos=2, lives=1, bad=0), Tally())
            )
            states, tally = [_state(page.pid)], Tally()
            for _ in range(options.rounds):
                asyncio.run(_visit(port, photo, options.seconds, options, tally))
                time.sleep(2)
                states.append(_state(page.pid))
        finally:
            page.terminate()
            log = page.communicate(timeout=20)[1]
    print(
        f"| {options.photos} photo, {options.lives} live ({options.rate:g} frames/s), {options.bad} bad visitors, {options.seconds:.0f} s | |"
    )
    print("|---|---|")
    for name, times_s in (("photos", tally.photo_s), ("live frames", tally.frame_s)):
        if times_s:
            median, p95 = np.quantile(times_s, (0.5, 0.95))
            rate = len(times_s) / (options.seconds * options.rounds)
            print(f"| {name} | {rate:.1f} per second, median {median:.3f} s, 95 % within {p95:.3f} s |")
    print(f"| answers | {', '.join(f'{name}: {count}' for name, count in sorted(tally.answers.items()))} |")
    for name, start in states[0].items():
        later = ", ".join(str(state[name]) for state in states[1:])
        print(
            f"| {name} | {start} at the start, {later} at the end{' of each round' * (options.rounds > 1)} |"
        )
    print(f"| tracebacks in the log | {log.count('Traceback')} |")
    if log:
        print(log[-2000:], file=sys.stderr)


def _wait(port: int) -> None:
    until_s = time.monotonic() + 120
    while time.monotonic() < until_s:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)


def _state(pid: int) -> dict[str, int]:
    """Return memory, files and threads of the page; nothing without /proc."""
    folder = Path(f"/proc/{pid}")
    if not folder.exists():
        return {}
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return {
        "memory in MB": int(status["VmRSS"].split()[0]) // 1024,
        "peak memory in MB": int(status["VmHWM"].split()[0]) // 1024,
        "threads": int(status["Threads"]),
        "open files": sum(1 for _ in (folder / "fd").iterdir()),
    }


def _jpeg(pixels: RgbImage, size_wh: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size_wh).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _live_frame(photo: bytes) -> bytes:
    """Return the middle of the photo with 480×360 pixels, as the live page sends frames of most cameras."""
    pixels = read_image(photo)
    height = min(pixels.shape[0], pixels.shape[1] * 3 // 4)
    top = (pixels.shape[0] - height) // 3
    return _jpeg(np.ascontiguousarray(pixels[top : top + height]), (480, 360))


async def _visit(port: int, photo: bytes, seconds: float, options: Options, tally: Tally) -> None:
    until_s = time.monotonic() + seconds
    small = _live_frame(photo)
    bomb = io.BytesIO()
    Image.new("L", _BOMB_PIXELS).save(bomb, "PNG")
    visitors = [_send_photos(port, photo, until_s, tally) for _ in range(options.photos)]
    visitors += [_send_frames(port, small, until_s, options.rate, tally) for _ in range(options.lives)]
    visitors += [_misbehave(port, bomb.getvalue(), until_s, tally) for _ in range(options.bad)]
    await asyncio.gather(*visitors)


async def _send_photos(port: int, photo: bytes, until_s: float, tally: Tally) -> None:
    while time.monotonic() < until_s:
        start_s = time.monotonic()
        try:
            status = await _post(port, "/kv/photo", photo)
        except OSError as error:
            tally.answers[f"photo {type(error).__name__}"] += 1
            continue
        tally.photo_s.append(time.monotonic() - start_s)
        tally.answers[f"photo {status}"] += 1


async def _post(port: int, path: str, body: bytes) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        answer = await reader.read()
        return answer[9:12].decode("ascii", "replace")
    finally:
        writer.close()


async def _send_frames(port: int, frame: bytes, until_s: float, rate: float, tally: Tally) -> None:
    try:
        async with connect(f"ws://127.0.0.1:{port}/kv/live") as line:
            while time.monotonic() < until_s:
                start_s = time.monotonic()
                await line.send(struct.pack("<d", start_s) + frame)
                tally.answers[f"live {json.loads(await line.recv())['kind']}"] += 1
                tally.frame_s.append(time.monotonic() - start_s)
                await asyncio.sleep(max(start_s + 1 / rate - time.monotonic(), 0))
    except (OSError, WebSocketException) as error:
        tally.answers[f"live {type(error).__name__}"] += 1


async def _misbehave(port: int, bomb: bytes, until_s: float, tally: Tally) -> None:
    chance = random.Random()
    while time.monotonic() < until_s:
        kind = chance.choice(["half", "silent", "garbage", "bomb", "nan", "video"])
        try:
            if kind in ("half", "silent"):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                if kind == "half":
                    writer.write(
                        b"POST /kv/photo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9000000\r\n\r\nhalf"
                    )
                await asyncio.sleep(min(5.0, max(until_s - time.monotonic(), 0)))
                writer.close()
                status = "left"
            elif kind == "nan":
                query = urllib.parse.urlencode({"left": 1, "top": 1, "right": 9, "bottom": 9, "roll": "nan"})
                status = await _post(port, f"/kv/explain?{query}", bomb[:100])
            elif kind == "video":
                status = await _post(port, "/kv/video", chance.randbytes(1000))
            else:
                status = await _post(port, "/kv/photo", bomb if kind == "bomb" else chance.randbytes(1000))
        except OSError as error:
            status = type(error).__name__
        tally.answers[f"{kind} {status}"] += 1


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.load"))
