"""Write the module tree of docs/architecture.md, with the first line of each docstring."""

import ast
from pathlib import Path
from typing import Final

PACKAGES: Final = ("fer", "training", "webapp", "dashboard")
BEGIN: Final = "<!-- tree: written by python -m benchmarks.publish -->\n```\n"
END: Final = "\n```\n<!-- end of tree -->"

_COLUMN: Final = 26


def with_tree(text: str, top: Path) -> str:
    """Replace the tree between its markers.

    Args:
        text: Text of the page.
        top: Folder that contains the packages.
    """
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    tree = "\n\n".join("\n".join(_lines(top / name, 0)) for name in PACKAGES)
    return text[:start] + tree + text[end:]


def _lines(folder: Path, depth: int) -> list[str]:
    lines = [_line(f"{folder.name}/", folder / "__init__.py", depth)]
    for part in sorted(folder.iterdir()):
        if (part / "__init__.py").is_file():
            lines += _lines(part, depth + 1)
    for file in sorted(folder.glob("*.py")):
        if file.name != "__init__.py":
            lines.append(_line(file.name, file, depth + 1))
    return lines


def _line(name: str, file: Path, depth: int) -> str:
    says = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n")[0]
    return f"{'  ' * depth + name:{_COLUMN}}{says.rstrip('.').replace('``', '')}"
