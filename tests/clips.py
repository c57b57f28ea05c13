"""Small generated videos for tests."""

import threading
from collections.abc import Sequence
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
from fakes import red_face

from fer.images import RgbImage


def moving_face(count: int, size: tuple[int, int] = (160, 120)) -> list[RgbImage]:
    """Frames of one face that walks to and fro."""
    way = size[0] - 50
    return [red_face(220, size, left=10 + abs((2 * i + way) % (2 * way) - way), top=30) for i in range(count)]


def write_clip(
    path: Path,
    images: Sequence[RgbImage],
    *,
    times_s: Sequence[float] | None = None,
    rate: int = 25,
    codec: str = "libx264",
    sound: str | None = None,
    rotation: int = 0,
    aspect: Fraction | None = None,
) -> Path:
    """Write frames at the given times, evenly by default; with a tone where a sound codec is named."""
    times_s = [i / rate for i in range(len(images))] if times_s is None else times_s
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = images[0].shape[1], images[0].shape[0], "yuv420p"
        if codec == "libx264":
            stream.codec_context.time_base = Fraction(1, 90_000)
            stream.options = {"crf": "10", "preset": "ultrafast"}
        if rotation:
            stream.set_display_rotation(rotation)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        tone = None if sound is None else container.add_stream(sound, rate=48_000, layout="stereo")
        for image, time_s in zip(images, times_s, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.time_base = Fraction(1, 90_000) if codec == "libx264" else Fraction(1, rate)
            frame.pts = round(time_s / frame.time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            write_tone(container, tone, times_s[-1] + 1 / rate)
    return path


def write_tone(container, stream, length_s: float) -> None:
    for start in range(0, round(length_s * 48_000), 1024):
        wave = np.sin((start + np.arange(1024)) * 2 * np.pi * 440 / 48_000).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]) * 0.2, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def write_sound_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        write_tone(container, container.add_stream("aac", rate=48_000, layout="stereo"), 0.5)
    return path


class Sender:
    """An HTTP address that sends a clip over and over at its own speed, and can be killed and started again."""

    def __init__(self, clip: Path):
        self.content = clip.read_bytes()
        self.port = 0
        self.server = None

    def start(self) -> None:
        content, alive = self.content, threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "video/mp2t")
                self.end_headers()
                try:
                    while not alive.is_set():
                        for start in range(0, len(content), 188 * 20):
                            self.wfile.write(content[start : start + 188 * 20])
                            if alive.wait(0.02):
                                return
                except OSError:
                    return

            def log_message(self, *words):
                pass

        ThreadingHTTPServer.allow_reuse_address = True
        ThreadingHTTPServer.daemon_threads = True
        self.alive = alive
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def kill(self) -> None:
        self.alive.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/live.ts"
