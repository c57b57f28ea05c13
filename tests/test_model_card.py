import json
from dataclasses import replace

import pytest

from fer.emotions import SIX_EMOTIONS, Emotion
from fer.model_card import (
    CARD_FILE,
    Head,
    ModelCard,
    Preprocessing,
    UnknownModelError,
    WeightsMismatchError,
    file_hash,
    load_card,
    verified_file,
)

SIX = tuple(emotion.value for emotion in SIX_EMOTIONS)
CARD = ModelCard(
    name="net.tag",
    architecture="net",
    preprocessing=Preprocessing(64, "rgb", 0.1),
    heads=(Head("crowd", (*SIX, "other"), 1.3, 0.4, 0.6), Head("fer2013", SIX)),
    default_head="crowd",
    files={"model.onnx": "0" * 64},
    description="Reads six expressions.",
    data_sets=({"name": "FER2013", "licence": "research", "use": "train"},),
    metrics={"val": {"accuracy": 0.5}},
)


def test_card_survives_the_disk(tmp_path):
    CARD.save(tmp_path)
    assert load_card(tmp_path) == CARD
    assert [path.name for path in tmp_path.iterdir()] == [CARD_FILE]


def test_labels_are_the_default_heads():
    assert CARD.labels == (*SIX, "other")
    assert CARD.head().emotions == SIX_EMOTIONS
    assert CARD.head("fer2013").labels == SIX


def test_unknown_head_names_those_there_are():
    with pytest.raises(UnknownModelError, match="crowd, fer2013"):
        CARD.head("raf")


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"size": 7}, id="too small"),
        pytest.param({"colour": "bgr"}, id="colour"),
        pytest.param({"margin": -0.5}, id="margin below"),
        pytest.param({"margin": 3.0}, id="margin above"),
    ],
)
def test_impossible_preprocessing_is_refused(settings):
    with pytest.raises(ValueError, match="expected"):
        Preprocessing(**settings)


@pytest.mark.parametrize(
    ("labels", "temperature"),
    [
        pytest.param((), 1.0, id="no labels"),
        pytest.param(("happy",), 1.0, id="one label"),
        pytest.param(("happy", "other"), 1.0, id="one expression"),
        pytest.param(("happy", "happy"), 1.0, id="twice"),
        pytest.param(("happy", "bored"), 1.0, id="unknown"),
        pytest.param(("happy", "sad"), 0.0, id="temperature 0"),
        pytest.param(("happy", "sad"), float("nan"), id="temperature not a number"),
    ],
)
def test_impossible_heads_are_refused(labels, temperature):
    with pytest.raises(ValueError, match="expected"):
        Head("crowd", labels, temperature)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"default_head": "raf"}, id="default is no head"),
        pytest.param({"heads": (CARD.heads[0], CARD.heads[0])}, id="two heads of one name"),
        pytest.param({"heads": ()}, id="no heads"),
    ],
)
def test_impossible_cards_are_refused(changes):
    with pytest.raises(ValueError, match="expected different heads"):
        replace(CARD, **changes)


def broken_cards() -> dict[str, str]:
    CARD_AS_JSON = {"format": 1, "name": "n", "architecture": "a", "preprocessing": {}, "default_head": "h"}
    return {
        "empty": "",
        "no JSON": "{",
        "a list": "[]",
        "other format": json.dumps({**CARD_AS_JSON, "format": 2}),
        "no heads": json.dumps(CARD_AS_JSON),
        "unknown field": json.dumps({**CARD_AS_JSON, "heads": [], "colour": "red"}),
        "other labels": json.dumps({**CARD_AS_JSON, "heads": [{"name": "h", "labels": ["happy", "glad"]}]}),
    }


@pytest.mark.parametrize("kind", broken_cards())
def test_cards_that_cannot_be_understood_are_named(kind, tmp_path):
    (tmp_path / CARD_FILE).write_text(broken_cards()[kind])
    with pytest.raises(UnknownModelError, match=r"card\.json is not a valid card.*export the run again"):
        load_card(tmp_path)


def test_missing_card_says_what_to_do(tmp_path):
    with pytest.raises(UnknownModelError, match=r"no card\.json in .*training\.export"):
        load_card(tmp_path)


def test_files_are_tied_by_their_hash(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"network")
    card = replace(CARD, files={"model.onnx": file_hash(path)})
    assert verified_file(tmp_path, card, "model.onnx") == path
    path.write_bytes(b"another network")
    with pytest.raises(WeightsMismatchError, match="does not match its card"):
        verified_file(tmp_path, card, "model.onnx")
    path.unlink()
    with pytest.raises(UnknownModelError, match=r"no model\.onnx in"):
        verified_file(tmp_path, card, "model.onnx")


def test_a_file_the_card_does_not_list_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"network")
    with pytest.raises(WeightsMismatchError):
        verified_file(tmp_path, replace(CARD, files={}), "model.onnx")


def test_every_expression_may_be_a_label():
    assert Head("all", tuple(Emotion)).emotions == tuple(Emotion)
