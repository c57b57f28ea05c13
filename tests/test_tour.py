"""The tour notebook: every cell runs, and its stored outputs are current."""

import json
import re
from copy import deepcopy

import pytest

from benchmarks.tour import NOTEBOOK, execute


def outputs(notebook: dict) -> list[tuple[str, str]]:
    """The words and kinds of all outputs; figures differ a little between processors."""
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            kinds = " ".join(sorted(data))
            text = "".join(output.get("text") or data["text/plain"])
            found.append((kinds, re.sub(r"[\d.]+", "#", " ".join(text.split()))))
    return found


@pytest.mark.golden
@pytest.mark.slow
def test_every_cell_runs_and_shows_what_is_stored(tmp_path, monkeypatch):
    """After a change run ``python -m benchmarks.tour``, and look at the outputs."""
    monkeypatch.chdir(tmp_path)
    stored = json.loads(NOTEBOOK.read_text("utf-8"))
    fresh = deepcopy(stored)
    execute(fresh)
    assert outputs(fresh) == outputs(stored)


def test_the_outputs_are_stored_and_small():
    stored = json.loads(NOTEBOOK.read_text("utf-8"))
    codes = [cell for cell in stored["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in codes] == list(range(1, len(codes) + 1))
    assert all(cell["outputs"] for cell in codes)
    assert NOTEBOOK.stat().st_size < 500_000
