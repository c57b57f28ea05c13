"""Measure the live tab in Chromium with a fake camera, compared with Gradio's own image stream.

    python -m benchmarks.live --detector haar --pages 1 2 4 --seconds 20

A frame is labelled when its boxes are drawn; latency is the time from showing a frame to labelling it.
"""

import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import TimeoutError as BrowserTimeoutError

from benchmarks.live_camera import READ_NUMBER, write_camera
from training.command import run_command

REPOSITORY = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE_S = 60
FLAGS = (
    "--headless=new", "--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip

WATCH_LIVE = """
() => {
  window.labelled = [];
  document.addEventListener("kv-faces", ({ detail }) => {
    window.labelled.push([performance.now() - detail.takenAt, detail.answer.faces.length]);
  });
}
"""
WATCH_PLAIN = (
    """
() => {
  window.labelled = [];
  const readNumber = """
    + READ_NUMBER
    + """;
  const takenAt = new Map();
  const video = document.querySelector("video");
  const note = (now) => {
    takenAt.set(readNumber(video, video.videoWidth), now);
    video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback(note);
  let before = "";
  const look = () => {
    const image = document.querySelector("#shown img");
    if (image && image.complete && image.src !== before && image.naturalWidth) {
      before = image.src;
      const taken = takenAt.get(readNumber(image, image.naturalWidth));
      if (taken !== undefined) window.labelled.push([performance.now() - taken, 1]);
    }
    requestAnimationFrame(look);
  };
  look();
}
"""
)


@dataclass(frozen=True)
class LiveBenchmark:
    """Measure labelled frames per second, latency, CPU load and memory of the live page.

    Attributes:
        detector: Name of a face detector.
        pages: Numbers of concurrently open pages, one measurement each.
        seconds: Length of each measurement.
        memory_seconds: Length of the memory measurement with one page.
        plain: Whether to measure Gradio's own image stream, too.
        chromium: Path of the browser.
    """

    detector: str = "auto"
    pages: tuple[int, ...] = (1, 2, 4)
    seconds: float = 20.0
    memory_seconds: float = 120.0
    plain: bool = True
    chromium: Path = Path("/usr/bin/chromium")


def main(options: LiveBenchmark) -> None:
    """Print a table with one line per measurement."""
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{platform.platform()}, {os.cpu_count()} CPUs ({load} before), Python {platform.python_version()}")
    print(
        f"{'page':14} {'pages':>5} {'frames/s each':>14} {'latency ms: median':>19} {'p95':>6} {'faces':>6} "
        f"{'server CPU':>10} {'browser CPU':>11} {'memory MB':>14} {'files':>5}"
    )
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        camera = write_camera(Path(folder) / "camera.mjpeg")
        flags = [*FLAGS, f"--use-file-for-fake-video-capture={camera}"]
        kinds = ("live tab", "plain stream") if options.plain else ("live tab",)
        for kind in kinds:
            for count in options.pages:
                with serve(kind, options.detector, Path(folder)) as server:
                    browser = playwright.chromium.launch(executable_path=options.chromium, args=flags)
                    try:
                        line = measure(kind, browser, server, count, options.seconds)
                    except BrowserTimeoutError:
                        line = f"{kind:14} {count:5} a page showed nothing within {PATIENCE_S} s"
                    print(line, flush=True)
                    browser.close()
        if options.memory_seconds:
            with serve("live tab", options.detector, Path(folder)) as server:
                browser = playwright.chromium.launch(executable_path=options.chromium, args=flags)
                print(measure("live tab", browser, server, 1, options.memory_seconds), flush=True)
                browser.close()


@dataclass(frozen=True)
class Server:
    """A page's server in a separate process with its own home folder."""

    process: subprocess.Popen[bytes]
    address: str
    home: Path


@contextmanager
def serve(kind: str, detector: str, folder: Path) -> Iterator[Server]:
    """Start a server on a free port; stop it at the end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    home = folder / f"home_{port}"
    home.mkdir()
    words = (
        ["app.py", "--port", str(port), "--detector", detector]
        if kind == "live tab"
        else ["-m", "benchmarks.plain_stream", str(port), detector]
    )
    environment = os.environ | {"TMPDIR": str(home), "GRADIO_TEMP_DIR": str(home), "PYTHONPATH": "."}
    with (folder / f"server_{port}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *words], cwd=REPOSITORY, env=environment, stdout=log, stderr=log
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address)
        yield Server(process, address, home)
    finally:
        process.terminate()
        process.wait(20)


def wait_for(address: str) -> None:
    """Wait until the server answers, at most two minutes."""
    for _ in range(600):
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"{address} does not answer")


def measure(kind: str, browser: Browser, server: Server, count: int, seconds: float) -> str:
    """Measure several concurrent pages for some seconds and return the line of the table."""
    pages = []
    for _ in range(count):
        context = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["camera"])
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE_S)
        page.goto(server.address)
        (start_live if kind == "live tab" else start_plain)(page)
        pages.append(page)
    pages[0].wait_for_timeout(3000)
    for page in pages:
        page.evaluate("() => { window.labelled.length = 0; }")
    root, before, memory = os.getpid(), cpu_seconds(), memory_mb(server.process.pid)
    begin = time.monotonic()
    pages[0].wait_for_timeout(1000 * seconds)
    elapsed, after = time.monotonic() - begin, cpu_seconds()
    labelled: list[Any] = [page.evaluate("() => window.labelled") for page in pages]
    latencies = np.array([row[0] for rows in labelled for row in rows] or [np.nan])
    faces = [row[1] for rows in labelled for row in rows]
    rates = [len(rows) / elapsed for rows in labelled]
    spent = {pid: after[pid][1] - before[pid][1] for pid in after if pid in before}
    server_cpu = spent.get(server.process.pid, 0.0) / elapsed
    browsers = [pid for pid in spent if is_below(pid, root, after) and pid != server.process.pid]
    browser_cpu = sum(spent[pid] for pid in browsers if pid != root) / elapsed
    files = sum(path.is_file() for path in server.home.rglob("*"))
    return (
        f"{kind:14} {count:5} {' '.join(f'{rate:.1f}' for rate in rates):>14} {np.median(latencies):19.0f} "
        f"{np.quantile(latencies, 0.95):6.0f} {np.mean(faces) if faces else 0:6.2f} {server_cpu:10.0%} "
        f"{browser_cpu:11.0%} {memory:6.1f} → {memory_mb(server.process.pid):5.1f} {files:5}"
    )


def start_live(page: Page) -> None:
    """Start the camera of the live tab."""
    page.get_by_role("tab", name="Live").click()
    page.evaluate(WATCH_LIVE)
    page.click("[data-part=start]:enabled")
    page.wait_for_selector(".kv-live .kv-face")


def start_plain(page: Page) -> None:
    """Start the camera of the plain stream: the first button requests the camera, the second one starts it."""
    page.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("() => document.querySelector('video')?.videoWidth > 0")
    page.evaluate(WATCH_PLAIN)
    page.locator("button[aria-label='capture photo']").click()
    page.wait_for_selector("#shown img")


def cpu_seconds() -> dict[int, tuple[int, float]]:
    """Return parent and used CPU time of each process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # ended meanwhile
        found[int(path.parent.name)] = (int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS)
    return found


def is_below(pid: int, root: int, processes: dict[int, tuple[int, float]]) -> bool:
    """Return whether a process descends from another."""
    while pid in processes and pid != root:
        pid = processes[pid][0]
    return pid == root


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process in megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


if __name__ == "__main__":
    sys.exit(run_command(LiveBenchmark, main, "benchmarks.live", description=__doc__))
