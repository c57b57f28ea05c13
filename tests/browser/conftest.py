"""Fixtures: a running page, a browser, and simulated cameras made from a freely licensed photo."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

import webapp
from fer.analysis import load_analyzer
from fer.model_card import UnknownModelError

QUIET = (
    "--headless=new", "--no-sandbox", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
)  # fmt: skip
FRAME_RATE = 30
ASSETS = Path(webapp.__file__).parent / "assets"


class Page:
    """``python app.py`` in a process of its own, on a free port."""

    def __init__(self, repository, folder, *words):
        self.repository, self.folder, self.words = repository, folder, words
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        log = (self.folder / "server.log").open("ab")
        words = ["app.py", "--port", str(self.port), "--detector", "haar", *self.words]
        environment = os.environ | {"GRADIO_TEMP_DIR": str(self.folder / "gradio"), "HOME": str(self.folder)}
        self.process = subprocess.Popen(
            [sys.executable, *words], cwd=self.repository, stdout=log, stderr=log, env=environment
        )
        log.close()
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.address}/kv/choices", timeout=5).close()
                return self
            except OSError:
                assert self.process.poll() is None, (self.folder / "server.log").read_text()
                time.sleep(0.2)
        raise TimeoutError((self.folder / "server.log").read_text())

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)


@pytest.fixture(scope="session")
def page_server(repository, tmp_path_factory):
    try:
        load_analyzer(detector="haar")
    except UnknownModelError:
        pytest.skip("needs the committed weights")
    server = Page(repository, tmp_path_factory.mktemp("page")).start()
    yield server
    server.stop()


@pytest.fixture
def demo_server(page_server, tmp_path):
    """A page that plays the demonstration; where the other one starts, this one does."""
    server = Page(page_server.repository, tmp_path, "--demo").start()
    yield server
    server.stop()


@pytest.fixture
def browse(playwright_session, chromium, page_server):
    """Opens the page as a visitor with or without a camera; problems of its scripts fail the test."""
    return visitor_of(page_server, playwright_session, chromium)


@pytest.fixture(scope="module")
def browse_seven(playwright_session, chromium, repository, seven_weights, tmp_path_factory):
    """The same for a page started with weights whose default head names seven expressions."""
    folder = tmp_path_factory.mktemp("page")
    server = Page(repository, folder, "--weights", str(seven_weights)).start()
    yield visitor_of(server, playwright_session, chromium)
    server.stop()


def visitor_of(page_server, playwright_session, chromium):
    @contextmanager
    def visit(clip=None, tab=None, allowed=True, camera_count=1, server=page_server, **options):
        flags = [*QUIET, f"--use-fake-device-for-media-stream=device-count={camera_count}"]
        if clip:
            flags.append(f"--use-file-for-fake-video-capture={clip}")
        if allowed:
            flags.append("--use-fake-ui-for-media-stream")
        browser = playwright_session.chromium.launch(executable_path=chromium, args=flags)
        problems, outside = [], []
        try:
            context = browser.new_context(
                permissions=["camera"] if allowed else [],
                accept_downloads=True,
                **({"viewport": {"width": 1280, "height": 900}} | options),
            )
            page = context.new_page()
            page.set_default_timeout(40_000)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("request", lambda request: note(request.url, outside, server.address))
            page.goto(server.address)
            if tab:
                page.get_by_role("tab", name=tab).click()
            yield page
        finally:
            browser.close()
        assert problems == []
        assert outside == [], "the page loads something from outside"

    return visit


def note(url, outside, address):
    if not url.startswith((address, address.replace("http", "ws"), "data:", "blob:")):
        outside.append(url)


def write_clip(path, frames):
    """A camera's clip as Chromium wants it."""
    with av.open(str(path), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=FRAME_RATE)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p"
        stream.codec_context.qmin = stream.codec_context.qmax = 3
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def head(astronaut, height):
    """The photograph's head with soft edges: RGB and its opacity."""
    cut = cv2.resize(
        astronaut[0:230, 120:330], (round(height * 210 / 230), height), interpolation=cv2.INTER_AREA
    )
    mask = np.zeros(cut.shape[:2], dtype=np.float32)
    centre = (cut.shape[1] // 2, cut.shape[0] // 2)
    cv2.ellipse(mask, centre, (round(0.44 * cut.shape[1]), round(0.47 * cut.shape[0])), 0, 0, 360, 1.0, -1)
    return cut, cv2.GaussianBlur(mask, (0, 0), 4)[:, :, None]


def paste(frame, cut, mask, left, top):
    """Lays a head on a frame; parts beyond the border are left out."""
    height, width = cut.shape[:2]
    x0, y0, x1, y1 = (
        max(left, 0),
        max(top, 0),
        min(left + width, frame.shape[1]),
        min(top + height, frame.shape[0]),
    )
    if x0 >= x1 or y0 >= y1:
        return
    part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    ground = frame[y0:y1, x0:x1]
    ground[:] = np.round(mask[part] * cut[part] + (1 - mask[part]) * ground).astype(np.uint8)


def room():
    """An empty room: soft shades, a window, a shelf."""
    rows, columns = np.mgrid[0:480, 0:640].astype(np.float32)
    shade = 120 + 40 * np.sin(columns / 140) + 25 * np.cos(rows / 120)
    frame = np.stack([shade + 12, shade + 6, shade - 6], axis=2).clip(0, 255).astype(np.uint8)
    cv2.rectangle(frame, (40, 40), (150, 170), (205, 215, 230), -1)
    cv2.rectangle(frame, (470, 60), (620, 75), (90, 70, 55), -1)
    return frame


@pytest.fixture(scope="session")
def moving_clip(astronaut, tmp_path_factory):
    """One face that moves slowly to and fro; the camera plays it over and over."""
    cut, mask = head(astronaut, 260)
    frames = []
    for index in range(180):
        frame = room()
        paste(frame, cut, mask, round(200 + 90 * np.sin(2 * np.pi * index / 180)), 110)
        frames.append(frame)
    return write_clip(tmp_path_factory.mktemp("camera") / "moving.mjpeg", frames)


@pytest.fixture(scope="session")
def empty_clip(tmp_path_factory):
    """A room without anybody."""
    return write_clip(tmp_path_factory.mktemp("camera") / "empty.mjpeg", [room()] * 30)


@pytest.fixture(scope="session")
def dark_clip(tmp_path_factory):
    """The same room at night."""
    frames = [room() // 16] * 30
    return write_clip(tmp_path_factory.mktemp("camera") / "dark.mjpeg", frames)


@pytest.fixture(scope="session")
def crossing_clip(astronaut, tmp_path_factory):
    """Two faces, one mirrored, that change sides twice: one passes above the other, half in front of it."""
    cut, mask = head(astronaut, 190)
    mirrored = np.ascontiguousarray(cut[:, ::-1])
    frames = []
    for index in range(300):
        frame = room()
        offset = 190 * np.cos(2 * np.pi * index / 300)
        middle = 320 - cut.shape[1] / 2
        paste(frame, mirrored, mask, round(middle + offset), 210)
        paste(frame, cut, mask, round(middle - offset), 80)
        frames.append(frame)
    return write_clip(tmp_path_factory.mktemp("camera") / "crossing.mjpeg", frames)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def script_address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(ASSETS)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def script_browser(playwright_session, chromium):
    browser = playwright_session.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    yield browser
    browser.close()


@pytest.fixture
def script_page(script_browser, script_address):
    """A page of the scripts' own server, which can import them."""
    page = script_browser.new_page()
    page.goto(f"{script_address}/heading.html")
    yield page
    page.close()
