"""The container and the Space, tested step by step, without a container engine."""

import ast
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def instructions() -> list[tuple[str, str]]:
    """The lines of the Containerfile as keyword and rest."""
    lines = (REPOSITORY / "Containerfile").read_text("utf-8").splitlines()
    return [tuple(line.split(" ", 1)) for line in lines if line and not line.startswith("#")]


def only(keyword: str) -> str:
    (rest,) = [rest for word, rest in instructions() if word == keyword]
    return rest


@contextmanager
def running(command: list[str], folder: Path, **environment: str) -> Iterator[tuple[int, str]]:
    """A page in a folder: its port and its output once it has answered."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, **environment, "GRADIO_SERVER_PORT": str(port)}
    environment.pop("PYTHONPATH", None)
    log = folder.parent / "log"
    with (
        log.open("w") as output,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output) as server,
    ):
        try:
            until = time.monotonic() + 120
            while "The page is open" not in log.read_text() and time.monotonic() < until:
                assert server.poll() is None, log.read_text()
                time.sleep(0.2)
            yield port, log.read_text()
        finally:
            server.terminate()


def test_the_container_holds_what_the_page_imports() -> None:
    copied = {source for word, rest in instructions() if word == "COPY" for source in rest.split()[:-1]}
    assert all((REPOSITORY / source).exists() for source in copied)
    assert {"app.py", "streamlit_app.py", "fer", "webapp", "training", "dashboard", "weights"} <= copied
    assert only("USER") == "10001"


@pytest.mark.slow
@pytest.mark.golden
def test_the_container_steps_give_a_healthy_page(tmp_path: Path) -> None:
    """All but the base image and the installation: files, settings, command, health check."""
    root = tmp_path / "app"
    root.mkdir()
    for word, rest in instructions():
        if word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                if (REPOSITORY / source).is_dir():
                    ignored = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(REPOSITORY / source, root / target, ignore=ignored)
                else:
                    shutil.copy(REPOSITORY / source, root)
    for path in root.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = sorted(root.rglob("*"))
    settings = dict(each.split("=", 1) for each in only("ENV").split())
    for name, value in settings.items():
        if value.startswith("/"):
            settings[name] = str(tmp_path / value[1:])
            Path(settings[name]).mkdir(parents=True, exist_ok=True)
    _, *words = json.loads(only("CMD"))
    with running([sys.executable, *words], root, **settings) as (port, _):
        check = json.loads(only("HEALTHCHECK").split("CMD ", 1)[1].replace("7860", str(port)))
        healthy = subprocess.run([sys.executable, *check[1:]], timeout=60, check=False)
        assert healthy.returncode == 0
    dead = subprocess.run([sys.executable, *check[1:]], capture_output=True, timeout=60, check=False)
    assert dead.returncode != 0
    assert sorted(root.rglob("*")) == before  # nothing is written beside the program


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("space") / "out"
    command = [sys.executable, "space/build.py", str(folder)]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    again = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "expected an empty folder" in again.stderr
    return folder


def test_the_space_is_the_page_alone(space: Path) -> None:
    header = dict(re.findall(r"^(\w+): (.*)$", (space / "README.md").read_text("utf-8"), re.MULTILINE))
    assert (space / header["app_file"]).is_file()
    lite = (REPOSITORY / "requirements-lite.txt").read_text("utf-8")
    assert (space / "requirements.txt").read_text("utf-8") == lite
    assert "torch" not in re.sub("#.*", "", lite)
    assert re.search(r"^gradio>=([\d.]+)", lite, re.MULTILINE)[1] in header["sdk_version"]
    files = [path for path in space.rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in files) < 10e6
    assert not [path for path in files if "__pycache__" in path.parts]
    tops = {path.name for path in space.iterdir()}
    for path in space.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in (
                "training",
                "dashboard",
            ):
                raise AssertionError(f"{path} imports {node.module}, which is not among {tops}")


@pytest.mark.slow
@pytest.mark.golden
def test_the_space_answers_under_its_public_name(space: Path) -> None:
    host = "someone-faces.hf.space"
    with running([sys.executable, "start.py"], space, SPACE_HOST=host) as (port, _):

        def ask(name: str) -> tuple[int, str]:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/kv/choices", headers={"Host": name})
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return answer.status, answer.headers["Content-Security-Policy"]
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, ""

        status, policy = ask(host)
        assert status == 200
        assert policy.endswith("frame-ancestors 'self' https://huggingface.co")
        assert ask("evil.example")[0] == 403


def test_the_compose_example_names_what_is_there() -> None:
    text = (REPOSITORY / "compose.yaml").read_text("utf-8")
    assert set(re.findall(r"REQUIREMENTS: (\S+) ", text)) == {"requirements.txt"}
    assert "dockerfile: Containerfile" in text
    command = " ".join(re.search(r"command: >-\n((?: {6}.*\n)+)", text)[1].split())
    words = shlex.split(command)
    from dashboard.places import parse_places  # noqa: PLC0415

    places = parse_places(words[words.index("--") + 1 :])
    assert str(places.auth) == "/run/secrets/visitors"
