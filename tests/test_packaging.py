"""The wheel: contents, requirements, and its command in a fresh environment."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from fer import __main__, __version__, model_shelf
from fer.commands import CommandError, pages
from webapp import command

TOPS = ("fer", "training", "webapp", "dashboard")
INSIDE = {"fer.weights", "fer.pages"}
DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "pi_heif": "pi-heif",
    "altair": "streamlit",
}


@pytest.fixture(scope="module")
def settings(repository: Path) -> dict:
    return tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))


def requirements(path: Path) -> set[str]:
    """The requirements of a file, without its comments and those of the file that it includes."""
    lines = [line.split("#")[0].strip() for line in path.read_text("utf-8").splitlines()]
    return {line for line in lines if line and not line.startswith("-r")}


def names(wanted: set[str] | list[str]) -> set[str]:
    return {re.split(r"[<>=]", each)[0] for each in wanted}


def test_every_package_is_listed_for_installation(repository: Path, settings: dict) -> None:
    found = {
        ".".join(path.parent.relative_to(repository).parts)
        for top in TOPS
        for path in (repository / top).rglob("__init__.py")
    }
    assert set(settings["tool"]["setuptools"]["packages"]) == found | INSIDE


def test_committed_files_stay_small(repository: Path) -> None:
    sizes = [path.stat().st_size for path in (repository / "weights").rglob("*") if path.is_file()]
    assert max(sizes, default=0) < 60e6
    assert sum(sizes) < 80e6


def test_the_requirements_files_are_the_source(repository: Path, settings: dict) -> None:
    dynamic = settings["tool"]["setuptools"]["dynamic"]
    assert dynamic["dependencies"] == {"file": ["requirements-lite.txt"]}
    assert dynamic["version"] == {"attr": "fer.__version__"}
    full = requirements(repository / "requirements.txt")
    extras = settings["project"]["optional-dependencies"]
    assert set(extras["train"]) == full
    assert set(extras["dashboard"]) <= full


def test_the_extra_dashboard_is_all_that_the_dashboard_imports(repository: Path, settings: dict) -> None:
    """Showing runs needs no more than this; starting a training does."""
    files = [repository / "streamlit_app.py", *(repository / "dashboard").glob("*.py")]
    files += [repository / "training" / f"{name}.py" for name in ("runs", "run_files", "jobs", "config")]
    imported = {
        name.split(".")[0]
        for path in files
        for node in ast.parse(path.read_text("utf-8")).body
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    foreign = {DISTRIBUTIONS.get(name, name) for name in imported if name not in sys.stdlib_module_names}
    extra = settings["project"]["optional-dependencies"]["dashboard"]
    known = names(requirements(repository / "requirements-lite.txt")) | names(extra)
    assert foreign - {*TOPS, "starlette"} <= known  # Starlette comes with FastAPI


def test_the_version_is_printed(capsys: pytest.CaptureFixture) -> None:
    assert __main__.main(["--version"]) == 0
    assert capsys.readouterr().out == f"kv-fer {__version__}\n"


def test_without_streamlit_the_dashboard_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(pages, "find_spec", lambda name: None)
    assert __main__.main(["dashboard"]) == 1
    assert "pip install 'kv-facerecognition[dashboard]'" in capsys.readouterr().err


@pytest.mark.parametrize("is_installed", [True, False], ids=["installed", "checkout"])
def test_pages_and_weights_are_found(tmp_path, monkeypatch, is_installed: bool) -> None:
    package = tmp_path / "fer"
    place = package / "pages" if is_installed else tmp_path
    place.mkdir(parents=True, exist_ok=True)
    (place / "app.py").touch()
    weights = package / "weights" if is_installed else tmp_path / "weights"
    weights.mkdir(parents=True)
    monkeypatch.setattr(pages, "_PACKAGE", package)
    monkeypatch.setattr(model_shelf, "_PACKAGE", package)
    assert pages.page_script("app.py") == place / "app.py"
    assert model_shelf.weights_shelf() == weights
    with pytest.raises(CommandError, match=r"expected streamlit_app.py in .*, found none"):
        pages.page_script("streamlit_app.py")


def test_another_package_with_the_same_import_name_is_named(tmp_path, monkeypatch, capsys) -> None:
    assert command.describe_clash() is None
    other = tmp_path / "fer-22.5.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: fer\nVersion: 22.5.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert command.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the package fer 22.5.1 is installed here as well")
    assert "pip uninstall fer" in line


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words], cwd=cwd, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without network from a copy, so that nothing is left in the checkout."""
    pytest.importorskip("setuptools", "77", reason="needs setuptools 77 or newer in this environment")
    pytest.importorskip("pip", "22.3", reason="needs pip 22.3 or newer in this environment")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in (*TOPS, "weights", ".streamlit"):
        shutil.copytree(repository / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [*repository.glob("*.py"), *repository.glob("*.t*t"), repository / "pyproject.toml"]:
        shutil.copy(path, source)
    for name in ("README.md", "LICENSE"):
        shutil.copy(repository / name, source)
    pip = (sys.executable, "-m", "pip", "wheel", "--no-index", "--no-deps", "--no-build-isolation")
    ended = run(*pip, "--wheel-dir", folder, source, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command ``kv-fer`` in a fresh environment that borrows this one's libraries, not this checkout."""
    folder = tmp_path_factory.mktemp("environment")
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    ended = run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    python = scripts / "python"
    (site,) = run(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder
    ).stdout.split()
    borrowed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (Path(site) / "borrowed.pth").write_text("\n".join(borrowed), "utf-8")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps")
    ended = run(*pip, "--ignore-installed", wheel, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return scripts / "kv-fer"


@pytest.mark.slow
def test_the_wheel_holds_packages_weights_and_pages(wheel: Path, repository: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    weights = {path.relative_to(repository) for path in (repository / "weights").rglob("*") if path.is_file()}
    assert {f"fer/{path.as_posix()}" for path in weights} <= inside
    assert {name for name in inside if name.startswith("fer/pages/")} == {
        "fer/pages/app.py",
        "fer/pages/streamlit_app.py",
        "fer/pages/.streamlit/config.toml",
    }
    assert {"webapp/assets/page.css", "webapp/command.py"} <= inside
    tops = {name.split("/")[0] for name in inside}
    assert tops == {*TOPS, f"kv_facerecognition-{__version__}.dist-info"}


@pytest.mark.slow
@pytest.mark.golden
def test_the_installed_command_reads_a_photo(installed: Path, tmp_path: Path, astronaut) -> None:
    Image.fromarray(astronaut).save(tmp_path / "photo.jpg", quality=95)
    assert run(installed, "--version", cwd=tmp_path).stdout == f"kv-fer {__version__}\n"
    ended = run(installed, "photo.jpg", "--json", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    (face,) = json.loads(ended.stdout)["faces"]
    assert face["emotion"] == "happy"


@pytest.mark.slow
@pytest.mark.golden
def test_the_installed_command_opens_the_page(installed: Path, tmp_path: Path) -> None:
    words = [str(installed), "page", "--port", "0"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline()
            (address,) = re.findall(r"http://\S+", line)
            with urllib.request.urlopen(f"{address}/kv/choices", timeout=60) as answer:
                choices = json.load(answer)
        finally:
            server.terminate()
    assert model_shelf.DEFAULT_WEIGHTS in [each["id"] for each in choices["weights"]]
