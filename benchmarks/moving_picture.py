"""Record the live page in demo mode: ``python -m benchmarks.moving_picture`` writes docs/images/live.webp.

The demo shows a freely licensed photo. The page's own frame rate and latency are those of the recording machine,
which draws and records at the same time; they are hidden unless ``--show-rate`` is given.
"""

import base64
import io
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from training.command import run_command

REPOSITORY = Path(__file__).resolve().parents[1]

ONE_FACE = """() => {
  const isOne = document.querySelectorAll(".kv-live [data-part=faces] > *").length === 1;
  window.isOneSince = isOne ? (window.isOneSince ?? performance.now()) : undefined;
  return isOne && performance.now() - window.isOneSince > 700;
}"""
"""Whether the page has listed exactly one face, without fading rows of earlier ones, for 0.7 s."""


@dataclass(frozen=True)
class Options:
    """Settings of the recording.

    Attributes:
        output: The animated WebP to write.
        seconds: Length.
        frame_rate: Maximum frames per second; a slow machine records fewer and shows each longer.
        width: Width of the page in pixels.
        height: Height of the page in pixels.
        quality: Quality of the WebP, in [0, 100].
        show_rate: Show the page's frame rate and latency, on an idle machine.
        most_bytes: Maximum size of the file.
        browser: Path of Chromium.
    """

    output: Path = REPOSITORY / "docs" / "images" / "live.webp"
    seconds: float = 5.0
    frame_rate: float = 10.0
    width: int = 960
    height: int = 620
    quality: int = 55
    show_rate: bool = False
    most_bytes: int = 2_000_000
    browser: str = "/usr/bin/chromium"


@contextmanager
def demo_page() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "app.py", "--demo", "--port", str(port)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL) as server:
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"{address}/kv/demo", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.2)
            yield address
        finally:
            server.terminate()


def film(page: Any, options: Options) -> tuple[list[Image.Image], list[int]]:
    """Return pictures of the page, as its browser draws them, and the duration of each in milliseconds."""
    session = page.context.new_cdp_session(page)
    pictures: list[bytes] = []
    moments: list[float] = []

    def keep(event: dict[str, Any]) -> None:
        session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})
        now = event["metadata"]["timestamp"]
        if not moments or now - moments[-1] >= 0.9 / options.frame_rate:
            pictures.append(base64.b64decode(event["data"]))
            moments.append(now)

    session.on("Page.screencastFrame", keep)
    session.send("Page.startScreencast", {"format": "jpeg", "quality": 95})
    page.wait_for_timeout(1000 * options.seconds)
    session.send("Page.stopScreencast")
    gaps = [round(1000 * (after - before)) for before, after in pairwise(moments)]
    durations = [*gaps, round(1000 / options.frame_rate)]
    return [Image.open(io.BytesIO(each)).convert("RGB") for each in pictures], durations


def main(options: Options) -> int:
    """Record the page and write the animation."""
    with demo_page() as address, sync_playwright() as session:
        browser = session.chromium.launch(
            executable_path=options.browser, args=["--headless=new", "--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": options.width, "height": options.height})
        page.goto(address)
        page.get_by_role("tab", name="Live").click()
        page.click(".kv-live [data-part=start]:enabled")
        if not options.show_rate:
            page.add_style_tag(content=".kv-live [data-part=badge] { display: none }")
        page.wait_for_timeout(3000)  # wait until the frame rate on the badge is stable
        page.wait_for_function(ONE_FACE)
        pictures, durations = film(page, options)
        browser.close()
    content = io.BytesIO()
    pictures[0].save(
        content,
        "WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=durations,
        loop=0,
        quality=options.quality,
    )
    if len(content.getvalue()) > options.most_bytes:
        print(f"{len(content.getvalue())} bytes are more than {options.most_bytes}; record fewer --seconds")
        return 1
    options.output.write_bytes(content.getvalue())
    print(f"wrote {options.output}: {len(pictures)} frames, {len(content.getvalue())} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.moving_picture", description=__doc__))
