"""The import rules of the architecture: allowed dependencies, and modules that must load lazily."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
OURS = {"fer", "training", "webapp", "dashboard", "app", "streamlit_app"}

ARROWS = {
    "fer": {"fer"},
    "training": {"training", "fer"},
    "webapp": {"webapp", "fer"},
    "app": {"webapp", "fer"},
    "dashboard": {"dashboard", "training", "fer"},
    "streamlit_app": {"dashboard", "training", "fer"},
}
DASHBOARD_MAY_USE = {
    "training.runs",
    "training.jobs",
    "training.config",
    "training.setting_help",
    "training.data.datasets",
    "training.data.layout",
    "training.run_files",
    "training.data.duplicates",
}
WITHOUT_TORCH = {
    "runs",
    "run_files",
    "run_process",
    "jobs",
    "config",
    "setting_help",
    "data.datasets",
    "data.layout",
    "data.duplicates",
}
TORCH = {"torch", "torchvision", "torchmetrics"}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "core", "base", "misc"}


def sources(room: str) -> list[Path]:
    file = REPOSITORY / f"{room}.py"
    return [file] if file.is_file() else sorted((REPOSITORY / room).rglob("*.py"))


def every_import(path: Path, *, top_only: bool = False) -> set[str]:
    """Dotted names of all modules that a file imports, or only of those imported when it is."""
    package = path.relative_to(REPOSITORY).with_suffix("").parts[:-1]
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (start, node.module or "")))
            names.add(module)
            if module in OURS:  # 'from training import runs' names a module, too
                names.update(f"{module}.{alias.name}" for alias in node.names)
        elif top_only and is_run_later(node):
            continue
        waiting.extend(ast.iter_child_nodes(node))
    return names


def is_run_later(node: ast.AST) -> bool:
    """Whether an import of the file does not run what stands in this node."""
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.dump(node.test)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def rooms(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def all_sources() -> list[Path]:
    return [path for room in ARROWS for path in sources(room)]


@pytest.mark.parametrize("room", ARROWS)
def test_arrows_point_one_way(room):
    for path in sources(room):
        wrong = rooms(every_import(path)) & OURS - ARROWS[room]
        assert not wrong, f"{path.relative_to(REPOSITORY)} imports {wrong}"


def test_the_dashboard_reads_runs_and_does_not_train():
    for path in sources("dashboard") + sources("streamlit_app"):
        if not path.is_file():
            continue
        used = {name for name in every_import(path) if name.startswith("training.")}
        wrong = {name for name in used if not any(name.startswith(allowed) for allowed in DASHBOARD_MAY_USE)}
        assert not wrong, f"{path.relative_to(REPOSITORY)} imports {wrong}"


def test_fer_needs_no_torch_to_be_imported():
    for path in sources("fer"):
        if path.name == "networks.py":
            continue
        wrong = rooms(every_import(path, top_only=True)) & TORCH
        assert not wrong, f"{path.relative_to(REPOSITORY)} imports {wrong} when it is imported"


@pytest.mark.parametrize("room", ["webapp", "dashboard"])
def test_pages_need_no_torch(room):
    for path in sources(room):
        assert not rooms(every_import(path, top_only=True)) & TORCH, path.name


@pytest.mark.parametrize("module", sorted(WITHOUT_TORCH))
def test_what_the_dashboard_uses_needs_no_torch(module):
    code = f"import sys, training.{module}; sys.exit(', '.join({TORCH!r} & sys.modules.keys()) or 0)"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, f"training.{module} imports torch: {answer.stderr}"


def test_no_room_has_a_name_that_says_nothing():
    for path in all_sources():
        assert not FORBIDDEN_NAMES & {*path.relative_to(REPOSITORY).with_suffix("").parts}, path


def test_only_the_foreign_borders_say_bgr():
    for path in sources("fer") + sources("webapp") + sources("training"):
        inside = path.relative_to(REPOSITORY).as_posix()
        if not inside.startswith(("fer/detection/", "fer/video")):
            assert "BGR" not in path.read_text(encoding="utf-8"), inside


QUIET_IMPORT = """
import socket, sys
def refuse(*words, **named):
    raise SystemExit("import fer asks the network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import builtins
opened = []
keep = builtins.open
def watch(file, mode="r", *words, **named):
    if any(letter in str(mode) for letter in "wax+"):
        opened.append(file)
    return keep(file, mode, *words, **named)
builtins.open = watch
import numpy.random
state = numpy.random.get_state()[1].tolist()
import fer
assert numpy.random.get_state()[1].tolist() == state, "import fer seeds"
assert not opened, f"import fer writes {opened}"
heavy = {"torch", "onnxruntime", "pandas", "pyarrow", "av", "gradio", "tyro"} & sys.modules.keys()
assert not heavy, f"import fer loads {heavy}"
assert len(fer.__all__) <= 15 and all(hasattr(fer, name) for name in fer.__all__)
print(fer.__version__)
"""


def test_importing_fer_does_nothing(tmp_path):
    """Without network, with a home that cannot be written (it does not even exist)."""
    home = tmp_path / "file"
    home.write_text("a file where the home should be: nothing can be made below it, not even by root")
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    environment |= {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    answer = subprocess.run(
        [sys.executable, "-c", QUIET_IMPORT],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip().count(".") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
