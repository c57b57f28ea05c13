"""Named heads, from the weights to every output."""

import json
from dataclasses import replace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from page_fakes import encoded
from PIL import Image
from toy_heads import SHOWN, write_toy_weights

from fer import UnknownModelError, load_analyzer
from fer.__main__ import main
from fer.classification import EmotionClassifier
from fer.model_card import load_card
from webapp import photo
from webapp.analyzers import AnalyzerShelf
from webapp.live import LiveSession, LiveSettings
from webapp.page import build_routes

CROP = np.zeros((48, 48, 3), np.uint8)


@pytest.mark.parametrize("name", [None, *SHOWN])
def test_each_head_answers_by_its_own_labels(seven_weights, name):
    analyzer = load_analyzer(seven_weights, "haar", name)
    (prediction,) = analyzer.classifier.classify([CROP])
    assert prediction.emotion == SHOWN[name or "seven"]
    assert prediction.labels == load_card(seven_weights).head(name).emotions


def test_small_faces_are_unsure_below_another_threshold(seven_weights):
    classifier = EmotionClassifier(seven_weights)
    classifier.head = replace(classifier.head, unsure_below=0.6, unsure_below_small=0.9)
    small, large = classifier.classify([np.zeros((19, 19, 3), np.uint8), np.zeros((20, 20, 3), np.uint8)])
    assert small.is_unsure
    assert not large.is_unsure
    classifier.head = replace(classifier.head, unsure_below_small=0.0)  # not measured
    assert not classifier.classify([CROP[:19, :19]])[0].is_unsure


def test_heads_share_one_network(seven_weights):
    first = EmotionClassifier(seven_weights)
    other = first.for_head("six")
    assert other._run is first._run
    assert (first.head.name, other.head.name) == ("seven", "six")
    assert other.classify([CROP])[0].emotion == "sad"


def test_live_and_photo_detectors_are_told_apart(seven_weights):
    still, live = (load_analyzer(seven_weights, "haar", live=live).detector for live in (False, True))
    assert vars(still) != vars(live)


@pytest.mark.parametrize(
    ("default", "offered", "choices"),
    [
        ("seven", (), ["seven", "six"]),
        ("six", (), ["six", "seven"]),
        ("eight", ("six",), ["eight", "six"]),
        ("six", ("six",), ["six"]),
    ],
)
def test_a_card_says_which_heads_people_may_choose(tmp_path, default, offered, choices):
    card = load_card(write_toy_weights(tmp_path / "toy.heads", default, offered))
    assert [head.name for head in card.choices] == choices


def test_an_unknown_head_is_one_sentence(seven_weights, tmp_path, capsys, astronaut):
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    words = ["--weights", str(seven_weights), "--detector", "haar", "--head", "nine"]
    for command in ([str(tmp_path / "a.png")], ["watch", "0", "--log", str(tmp_path / "log.sqlite")]):
        assert main([*command, *words]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line == "error: toy.seven has no head 'nine'; choose one of seven, six, eight"
    with pytest.raises(UnknownModelError, match="choose one of seven, six, eight"):
        AnalyzerShelf(str(seven_weights), "haar").get(head="nine")


def test_an_alert_that_the_head_cannot_name_is_refused(seven_weights, tmp_path, capsys):
    words = ["--weights", str(seven_weights), "--detector", "haar", "--head", "six"]
    log = tmp_path / "log.sqlite"
    assert main(["watch", "0", "--log", str(log), *words, "--alert", "disgusted:0.5:1s"]) == 1
    assert "has the labels angry, fearful, happy, sad, surprised, neutral" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["eight", "six"])
def test_photo_tables_follow_the_head(seven_weights, tmp_path, capsys, astronaut, name):
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    words = ["--weights", str(seven_weights), "--detector", "haar", "--head", name]
    assert main([str(tmp_path / "a.png"), *words, "--json", "--csv", str(tmp_path / "a.csv")]) == 0
    (face,) = json.loads(capsys.readouterr().out)["faces"]
    assert face["emotion"] == SHOWN[name]
    labels = [emotion.value for emotion in load_card(seven_weights).head(name).emotions]
    assert list(face["probabilities"]) == labels
    header = (tmp_path / "a.csv").read_text().splitlines()[0].replace('"', "").split(",")
    assert header[-len(labels) - 1 :] == [*labels, "error"]


def test_the_page_offers_heads_and_answers_by_them(seven_weights, astronaut):
    shelf = AnalyzerShelf(str(seven_weights), "haar", "six")
    client = TestClient(build_routes([photo.TAB], shelf))
    (own, *_) = client.get("/kv/choices").json()["weights"]
    assert own["heads"] == [
        {"id": "six", "name": "6 expressions"},
        {"id": "seven", "name": "7 expressions, also disgusted"},
    ]
    image = encoded(astronaut)
    for name in (None, "seven", "eight"):
        answer = client.post("/kv/photo", params={"head": name} if name else {}, content=image).json()
        (face,) = answer["record"]["faces"]
        assert face["emotion"] == SHOWN[name or "six"]
        assert [label["id"] for label in answer["labels"]] == list(face["probabilities"])
        assert face["emotion"] in answer["csv"].splitlines()[0]
    refused = client.post("/kv/photo", params={"head": "nine"}, content=image)
    assert refused.status_code == 422
    assert "choose one of seven, six, eight" in refused.json()["error"]


def test_a_visitor_changes_the_head_of_a_live_stream(seven_weights):
    session = LiveSession(AnalyzerShelf(str(seven_weights), "haar"))
    ready = session.configure(LiveSettings())
    assert [label["name"] for label in ready["labels"]][-1] == "Disgusted"
    ready = session.configure(LiveSettings(head="six"))
    assert (ready["threshold"], len(ready["labels"])) == (0.5, 6)
