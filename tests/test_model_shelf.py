import json
import threading

import pytest

from fer import model_shelf
from fer.model_card import CARD_FILE, UnknownModelError
from fer.model_shelf import (
    DEFAULT_WEIGHTS,
    SELECTION_FILE,
    find_weights,
    is_plain_name,
    list_user_weights,
    list_weights,
    select_weights,
    selected_weights,
    user_folder,
    user_shelf,
)


@pytest.fixture(autouse=True)
def shelves(tmp_path, monkeypatch):
    """A shelf that came along with two models, and an empty one of the user."""
    monkeypatch.setattr(model_shelf, "user_folder", lambda: tmp_path / "user")
    monkeypatch.setattr(model_shelf, "weights_shelf", lambda: tmp_path / "shipped")
    add(tmp_path / "shipped" / DEFAULT_WEIGHTS)
    add(tmp_path / "shipped" / "kv_other.crowd")
    return tmp_path


def add(folder):
    folder.mkdir(parents=True)
    (folder / CARD_FILE).write_text("{}")


def test_the_default_is_what_comes_along(shelves):
    assert selected_weights() is None
    assert find_weights() == shelves / "shipped" / DEFAULT_WEIGHTS
    assert list_user_weights() == []


def test_chosen_weights_are_the_default_until_taken_back(shelves):
    add(shelves / "user" / "weights" / "mine")
    assert list_weights() == ["kv_fast.crowd", "kv_other.crowd", "mine"]
    select_weights("mine")
    assert selected_weights() == "mine"
    assert find_weights() == shelves / "user" / "weights" / "mine"
    assert find_weights("kv_other.crowd") == shelves / "shipped" / "kv_other.crowd", (
        "a name is still that name"
    )
    select_weights(None)
    select_weights(None)
    assert find_weights() == shelves / "shipped" / DEFAULT_WEIGHTS


def test_another_of_the_shipped_ones_can_be_chosen(shelves):
    select_weights("kv_other.crowd")
    assert find_weights() == shelves / "shipped" / "kv_other.crowd"


def test_what_comes_along_cannot_be_covered_by_the_same_name(shelves):
    add(shelves / "user" / "weights" / DEFAULT_WEIGHTS)
    assert find_weights(DEFAULT_WEIGHTS) == shelves / "shipped" / DEFAULT_WEIGHTS
    assert list_weights().count(DEFAULT_WEIGHTS) == 1


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="broken"),
        pytest.param("[]", id="list"),
        pytest.param('{"weights": 3}', id="number"),
        pytest.param('{"weights": ""}', id="no name"),
        pytest.param('{"weights": "gone"}', id="deleted since"),
    ],
)
def test_a_choice_that_means_nothing_is_no_choice(shelves, text):
    (shelves / "user").mkdir()
    (shelves / "user" / SELECTION_FILE).write_text(text)
    assert selected_weights() is None
    assert find_weights().name == DEFAULT_WEIGHTS


def test_unknown_weights_are_refused_and_the_choice_stays(shelves):
    add(shelves / "user" / "weights" / "mine")
    select_weights("mine")
    with pytest.raises(UnknownModelError, match="export a run first"):
        select_weights("gone")
    with pytest.raises(UnknownModelError, match="kv_other"):
        find_weights("gone")
    assert selected_weights() == "mine"


def test_readers_never_see_half_a_choice(shelves):
    add(shelves / "user" / "weights" / "mine")
    select_weights("mine")
    seen = set()
    writing = threading.Thread(target=lambda: [select_weights("mine") for _ in range(200)])
    writing.start()
    while writing.is_alive():
        seen.add(selected_weights())
    writing.join()
    assert seen <= {"mine"}
    assert json.loads((shelves / "user" / SELECTION_FILE).read_text()) == {"weights": "mine"}
    assert list((shelves / "user").glob(".*")) == []


@pytest.mark.parametrize(
    ("name", "is_plain"),
    [("mine", True), ("kv_fast.me-2", True), ("", False), (".hidden", False), ("a/b", False), ("..", False),
     ("a b", False), ("x" * 81, False)],
)  # fmt: skip
def test_plain_names(name, is_plain):
    assert is_plain_name(name) is is_plain


def test_the_user_folder_is_where_the_system_keeps_data(monkeypatch):
    monkeypatch.undo()
    assert user_folder().name == "kv-facerecognition"
    assert user_shelf().parent == user_folder()
