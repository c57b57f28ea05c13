"""Fixtures that several test files need."""

from pathlib import Path

import numpy as np
import pytest

from fer.images import RgbImage

CHROMIUM = next(
    (path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()), None
)
REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of research pictures, which are not part of the repository."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the research pictures in ../shared, which are not part of the repository")
    return SHARED


@pytest.fixture(scope="session")
def astronaut() -> RgbImage:
    """A freely licensed photograph, 512×512, RGB, with one smiling face."""
    from skimage.data import astronaut  # noqa: PLC0415

    image: RgbImage = np.ascontiguousarray(astronaut())
    image.setflags(write=False)
    return image


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a real browser."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium; Debian's package chromium brings it")
    return CHROMIUM


@pytest.fixture(scope="session")
def playwright_session(chromium):
    """Playwright runs once in a process: a second start beside it is refused."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as session:
        yield session
