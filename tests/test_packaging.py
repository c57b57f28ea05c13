import tomllib
from pathlib import Path


def test_every_package_is_listed_for_installation(repository: Path) -> None:
    settings = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {
        ".".join(path.parent.relative_to(repository).parts)
        for top in ("fer", "training", "webapp", "dashboard")
        for path in (repository / top).rglob("__init__.py")
    }
    assert set(settings["packages"]) == found | {"fer.weights"}


def test_committed_files_stay_small(repository: Path) -> None:
    sizes = [path.stat().st_size for path in (repository / "weights").rglob("*") if path.is_file()]
    assert max(sizes, default=0) < 60e6
    assert sum(sizes) < 80e6
