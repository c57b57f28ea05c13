"""Fixtures shared by several test files."""

import sys
from pathlib import Path

import numpy as np
import pytest
from fakes import fake_analyzer, red_face
from PIL import Image
from toy_faces import write_folder
from toy_runs import EPOCHS, write_toy_run

from fer import model_shelf
from fer.images import RgbImage
from training.config import TrainConfig

CHROMIUM = next(
    (path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()), None
)
REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"


@pytest.fixture(autouse=True)
def same_main():
    """Streamlit's test page leaves its script as the main module, which child processes would run again."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


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


@pytest.fixture
def without_weights(monkeypatch):
    """The commands with an analyzer that needs no weights."""
    monkeypatch.setattr("fer.folders.records.AnalyzerRecipe.build", lambda recipe: fake_analyzer())


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with a face, no face, a broken picture in the middle, and one in a folder below."""
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    Image.fromarray(red_face(200)).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"\x89PNG but not for long")
    Image.new("RGB", (40, 30)).save(folder / "c.png")
    Image.fromarray(red_face(255)).save(folder / "below" / "d.png")
    (folder / "notes.txt").write_text("not a picture, by its ending")
    return folder


@pytest.fixture
def shelves(tmp_path, monkeypatch):
    """A user without models of their own, and nothing that came along."""
    monkeypatch.setattr(model_shelf, "user_folder", lambda: tmp_path / "user")
    monkeypatch.setattr(model_shelf, "weights_shelf", lambda: tmp_path / "shipped")
    monkeypatch.setattr("dashboard.shown_runs.weights_shelf", lambda: tmp_path / "shipped")
    return tmp_path


@pytest.fixture
def one(tmp_path):
    """A folder for the dashboard with one run."""
    write_toy_run(tmp_path / "runs" / "20260101-000000_kv_fast", 8)
    return tmp_path


@pytest.fixture
def faces(tmp_path):
    """A folder of made-up faces."""
    return write_folder(tmp_path / "faces", 6)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up faces for a real training."""
    return write_folder(tmp_path_factory.mktemp("data") / "faces", count=12)


@pytest.fixture(scope="session")
def config(data: Path) -> TrainConfig:
    """The settings of ``run``."""
    return TrainConfig(
        data=(data,), epochs=EPOCHS, batch_size=16, learning_rate=0.05, warmup_epochs=1,
        device="cpu", precision="float32", thread_count=1, keep_duplicates=True, prior_shift=0.3,
    )  # fmt: skip


@pytest.fixture(scope="session")
def run(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training, read by several tests and changed by none."""
    from training import train  # noqa: PLC0415 - imports torch

    folder = tmp_path_factory.mktemp("runs") / "first"
    train.train(config, folder)
    return folder


@pytest.fixture(scope="session")
def weights(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export of ``run``; a test that changes it copies it first."""
    from training import export  # noqa: PLC0415 - imports torch

    return export.export_run(
        export.ExportOptions(run=run, tag="toy", weights=tmp_path_factory.mktemp("weights"))
    )


@pytest.fixture
def sender(tmp_path):
    """An address that sends a short clip over and over."""
    from clips import Sender, moving_face, write_clip  # noqa: PLC0415 - imports PyAV

    sender = Sender(write_clip(tmp_path / "live.ts", moving_face(100)))
    sender.start()
    yield sender
    sender.kill()


@pytest.fixture(scope="session")
def seven_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a toy network whose default head names seven expressions and which offers another."""
    from toy_heads import write_toy_weights  # noqa: PLC0415 - few tests need onnx

    return write_toy_weights(tmp_path_factory.mktemp("weights") / "toy.seven")
