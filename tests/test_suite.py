"""The benchmark suite of named data sets, the pages with its figures, and unreadable faces."""

import json

import numpy as np
import pytest

from benchmarks import publish
from benchmarks.suite import SETS, SUITE_FILE, suite_table
from benchmarks.unreadable import CONDITIONS
from fer.model_card import load_card
from fer.model_shelf import find_weights, list_weights
from training.model_text import model_card_text
from training.run_files import read_object

FIGURES = {
    "count": 10,
    "accuracy": 0.5,
    "balanced_accuracy": 0.4,
    "macro_f1": 0.3,
    "ece": 0.2,
    "intervals_95": {"accuracy": [0.25, 0.75]},
    "recall": dict.fromkeys(["angry", "fearful", "happy", "sad", "surprised", "neutral"], 0.5),
    "people": "people",
    "framing": "as cropped",
    "found": 0.9,
    "found_and_named": 0.45,
}
REPORT = {
    "weights": "kv_fast.made_up",
    "head": "six",
    "mean_balanced_accuracy": 0.4,
    "worst_ece": 0.2,
    "sets": {each.name: FIGURES for each in SETS},
}


def test_the_table_has_a_row_for_every_set() -> None:
    table = suite_table(REPORT)
    for each in SETS:
        assert f"| {each.name} | 10 | 0.500 (0.250–0.750) | 0.400 | 0.300 | 0.200 |" in table


def test_every_set_stands_in_the_results_and_the_headline_in_the_readme() -> None:
    table = publish.results_table({"a": REPORT, "b": REPORT | {"mean_balanced_accuracy": 0.6}})
    assert table.count("0.500 / 0.400 / 0.200 / 0.450") == 2 * len(SETS)
    assert "**0.400** balanced | **0.600** balanced" in table
    assert set(publish.TITLES) == {each.name for each in SETS}
    assert publish.headline(REPORT).startswith("- **0.500** accuracy on 10 web faces")
    assert f"of {len(SETS)} sets: 0.400;" in publish.headline(REPORT)


@pytest.mark.golden
def test_the_pages_match_the_stored_reports() -> None:
    for path, text in publish.pages().items():
        assert path.read_text(encoding="utf-8") == text, f"run python -m benchmarks.publish to write {path}"


@pytest.mark.golden
@pytest.mark.parametrize("name", list_weights())
def test_a_stored_report_belongs_to_the_weights(name: str) -> None:
    folder = find_weights(name)
    if not (folder / "run" / SUITE_FILE).is_file():
        pytest.skip(
            "the suite has not judged these weights; run python -m benchmarks.accuracy --suite DIR --store"
        )
    stored = read_object(folder / "run" / SUITE_FILE)
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert stored["weights_sha256"] == card["files"]["model.safetensors"]
    assert set(stored["sets"]) == {each.name for each in SETS}


@pytest.mark.golden
def test_a_card_names_who_is_in_each_set() -> None:
    folder = find_weights(None)
    text = model_card_text(load_card(folder), read_object(folder / "run" / "report.json"), REPORT)
    assert "- rafdb: people; as cropped." in text


@pytest.mark.parametrize("name", [name for name in CONDITIONS if name not in ("as it is", "16 pixels")])
def test_what_is_hidden_is_hidden_and_the_rest_stays(name: str) -> None:
    face = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    original = face.copy()
    changed = CONDITIONS[name](face)
    assert changed.shape == face.shape and changed.dtype == np.uint8
    np.testing.assert_array_equal(face, original)
    share = float((changed != face).any(axis=2).mean())
    assert share > 0.15
    if name == "mask over nose and mouth":
        np.testing.assert_array_equal(changed[:50], face[:50])
    if name == "sunglasses":
        np.testing.assert_array_equal(changed[50:], face[50:])
    if name == "half a face at the border":
        np.testing.assert_array_equal(changed[:, 50:], face[:, 50:])


def test_a_face_of_16_pixels_keeps_its_colours() -> None:
    face = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    small = CONDITIONS["16 pixels"](face)
    assert small.shape == (16, 16, 3) and small.dtype == np.uint8
    np.testing.assert_allclose(small.mean((0, 1)), face.mean((0, 1)), atol=1)


def test_every_set_has_a_file_and_people() -> None:
    assert all(each.file.endswith(".parquet") and each.people for each in SETS)
    assert len({each.name for each in SETS}) == len(SETS)
