"""Build a Hugging Face Space of the web page, without PyTorch: ``python space/build.py FOLDER``."""

import re
import shutil
import sys
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
MOST_BYTES: Final = 10 * 1000 * 1000
"""Larger files cannot be pushed to a Space with plain git."""


def build_space(folder: Path) -> list[str]:
    """Write the Space's files to a new or empty folder.

    Returns:
        Names of the skipped weights, which contain a file that is too large.

    Raises:
        FileExistsError: The folder is not empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"expected an empty folder, got {folder} with files in it; choose another")
    requirements = (REPOSITORY / "requirements-lite.txt").read_text(encoding="utf-8")
    version = re.search(r"^gradio>=([\d.]+)", requirements, re.MULTILINE)
    assert version is not None
    sdk_version = ".".join([*version[1].split("."), "0", "0"][:3])
    header = (REPOSITORY / "space" / "README.md").read_text(encoding="utf-8")
    (folder / "README.md").write_text(header.replace("SDK_VERSION", sdk_version), encoding="utf-8")
    (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    shutil.copy(REPOSITORY / "space" / "start.py", folder)
    for name in ("app.py", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder)
    left_out = [
        each.name
        for each in sorted((REPOSITORY / "weights").iterdir())
        if any(path.stat().st_size > MOST_BYTES for path in each.rglob("*"))
    ]
    ignored = shutil.ignore_patterns("__pycache__", *left_out)
    for name in ("fer", "webapp", "weights"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    return left_out


def main(words: list[str]) -> int:
    """Write the Space and print the next steps."""
    if len(words) != 1:
        print("expected one folder: python space/build.py FOLDER", file=sys.stderr)
        return 2
    try:
        left_out = build_space(Path(words[0]))
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name in left_out:
        print(f"left out {name}: one of its files has more than {MOST_BYTES // 1_000_000} MB")
    print(f"wrote {words[0]}; push its content to the Space")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
