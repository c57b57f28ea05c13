"""Record the live page in demo mode: ``python -m benchmarks.moving_picture`` writes docs/images/live.webp.

The demo shows a freely licensed photo. Run it on an idle machine, because the page shows its own frame rate and
latency.
"""

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

import tyro
from PIL import Image
from playwright.sync_api import sync_playwright

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Options:
    """Settings of the recording.

    Attributes:
        output: The animated WebP to write.
        seconds: Length.
        frame_rate: Maximum frames per second; a slow machine records fewer and shows each longer.
        width: Width of the page in pixels.
        height: Height of the page in pixels.
        most_bytes: Maximum size of the file.
        browser: Path of Chromium.
    """

    output: Path = REPOSITORY / "docs" / "images" / "live.webp"
    seconds: float = 6.0
    frame_rate: float = 10.0
    width: int = 960
    height: int = 620
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
    """Return screenshots of the page and the duration of each in milliseconds."""
    pictures, moments = [], []
    start = time.monotonic()
    while (now := time.monotonic()) < start + options.seconds:
        moments.append(now)
        pictures.append(Image.open(io.BytesIO(page.screenshot(type="png"))).convert("RGB"))
        time.sleep(max(now + 1 / options.frame_rate - time.monotonic(), 0))
    moments.append(time.monotonic())
    durations = [round(1000 * (after - before)) for before, after in pairwise(moments)]
    return pictures, durations


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
        page.wait_for_function("document.querySelectorAll('.kv-live [data-part=faces] > *').length === 1")
        page.wait_for_timeout(3000)  # wait until the frame rate on the badge is stable
        pictures, durations = film(page, options)
        browser.close()
    content = io.BytesIO()
    pictures[0].save(
        content, "WEBP", save_all=True, append_images=pictures[1:], duration=durations, loop=0, quality=55
    )
    if len(content.getvalue()) > options.most_bytes:
        print(f"{len(content.getvalue())} bytes are more than {options.most_bytes}; record fewer --seconds")
        return 1
    options.output.write_bytes(content.getvalue())
    print(f"wrote {options.output}: {len(pictures)} frames, {len(content.getvalue())} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
