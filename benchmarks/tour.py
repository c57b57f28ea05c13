"""The notebook docs/tour.ipynb, executed in one process: ``python -m benchmarks.tour`` renews its outputs."""

import ast
import base64
import contextlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
NOTEBOOK: Final = REPOSITORY / "docs" / "tour.ipynb"

_KINDS: Final = (("_repr_svg_", "image/svg+xml"), ("_repr_html_", "text/html"))


def main() -> None:
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.chdir(folder)
            execute(notebook)
        finally:
            os.chdir(here)
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(f"{NOTEBOOK.relative_to(REPOSITORY)} is written")


def execute(notebook: dict[str, Any]) -> None:
    """Run all code cells in order, as a fresh kernel does, and put their outputs into the notebook.

    Raises:
        Exception: A cell's own.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    codes = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(codes, start=1):
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(tree, f"cell {number}", "exec"), names)
            value = (
                eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names) if last else None
            )
        cell["execution_count"], cell["outputs"] = number, []
        if printed.getvalue():
            text = printed.getvalue().splitlines(keepends=True)
            cell["outputs"].append({"name": "stdout", "output_type": "stream", "text": text})
        if value is not None:
            cell["outputs"].append(_shown(value, number))


def _shown(value: Any, number: int) -> dict[str, Any]:
    """Return a value as Jupyter would show it: a picture, a drawing, a table or its ``repr``."""
    data: dict[str, Any] = {"text/plain": repr(value).splitlines(keepends=True)}
    for method, kind in _KINDS:
        if hasattr(value, method):
            data[kind] = getattr(value, method)().splitlines(keepends=True)
    if hasattr(value, "save") and hasattr(value, "getbands"):
        buffer = io.BytesIO()
        value.save(buffer, "PNG", optimize=True)
        data = {
            "text/plain": ["<a picture>"],
            "image/png": base64.b64encode(buffer.getvalue()).decode("ascii"),
        }
    return {"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"}


if __name__ == "__main__":
    main()
