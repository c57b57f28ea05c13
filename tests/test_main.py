"""The command line end to end: arguments, output lines, tables, exit status."""

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import SIX
from PIL import Image

from fer.__main__ import main
from fer.folders.records import AnalyzerRecipe

REPOSITORY = Path(__file__).resolve().parent.parent


def lines(text: str) -> list[str]:
    return text.splitlines()


def test_one_readable_line_a_face(without_weights, pictures, capsys):
    assert main([str(pictures / "a.png")]) == 0
    out, err = capsys.readouterr()
    assert lines(out) == [f"{pictures / 'a.png'}: happy 75 % (24×24 pixels at 16, 8)"]
    assert err == ""


def test_a_picture_without_a_face_is_no_error(without_weights, pictures, capsys):
    assert main([str(pictures / "c.png")]) == 0
    assert "no face found" in capsys.readouterr().out


def test_a_thorough_search_is_handed_on(without_weights, pictures, monkeypatch, capsys):
    asked = []
    load = AnalyzerRecipe.build
    monkeypatch.setattr(
        AnalyzerRecipe, "build", lambda recipe: (asked.append(recipe.thorough), load(recipe))[1]
    )
    assert main([str(pictures / "a.png"), "--thorough"]) == 0
    assert main([str(pictures / "a.png")]) == 0
    assert asked == [True, False]


def test_errors_stand_on_their_own_line_and_the_others_go_on(without_weights, pictures, capsys):
    assert main([str(pictures)]) == 1
    out, err = capsys.readouterr()
    assert [line.split(":")[0] for line in lines(out)] == [str(pictures / "a.png"), str(pictures / "c.png")]
    first, last = lines(err)
    assert "b.png cannot be decoded as an image" in first
    assert last == (
        f"{pictures}: 2 photos read, 1 could not be read, "
        "2 skipped (1 .txt, 1 subfolder (--recursive includes it))"
    )


def test_json_is_one_object_a_line(without_weights, pictures, capsys):
    assert main([str(pictures), "--recursive", "--json"]) == 1
    records = [json.loads(line) for line in lines(capsys.readouterr().out)]
    assert [Path(record["path"]).name for record in records] == ["a.png", "b.png", "d.png", "c.png"]
    first, broken = records[0], records[1]
    assert (first["width"], first["height"]) == (64, 48)
    face = first["faces"][0]
    fixed = ["box", "score", "emotion", "confidence", "unsure", "other", "turned_away"]
    held = ["roll", "yaw", "pitch", "landmarks"]
    assert list(face) == [*fixed, *held, "probabilities"]
    assert (face["unsure"], face["other"], face["landmarks"]) == (False, 0.0, None)
    assert face["box"] == [16, 8, 40, 32]
    assert face["emotion"] == "happy"
    assert set(face["probabilities"]) == set(SIX)
    assert set(broken) == {"path", "error"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param([], "expected a photo, a folder or a video", id="nothing"),
        pytest.param(["missing.jpg"], "missing.jpg does not exist", id="missing file"),
        pytest.param(["pictures/below", "--workers", "0"], "at least one worker", id="no workers"),
        pytest.param(["empty"], "empty contains no photos", id="folder without pictures"),
        pytest.param(
            ["pictures/a.png", "--csv", "no/such/folder/x.csv"], "cannot be written", id="unwritable"
        ),
        pytest.param(
            ["pictures/a.png", "--csv", "empty"], "cannot be written|is a folder", id="a folder as table"
        ),
        pytest.param(["pictures/a.png", "--parquet", "pictures/a.png"], "ends in .parquet", id="no table"),
        pytest.param(["fetch", "yunet"], "yunet was not fetched", id="no network"),
    ],
)
def test_bad_words_end_in_one_sentence(
    words, sentence, without_weights, pictures, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    (tmp_path / "empty").mkdir()
    before = (pictures / "a.png").read_bytes()
    assert main(words) == 1
    err = capsys.readouterr().err
    assert len(lines(err)) == 1
    assert re.search(sentence, err), err
    assert (pictures / "a.png").read_bytes() == before


def no_network(*words, **named):
    raise OSError("no network in a test")


def test_unknown_weights_are_named(pictures, capsys):
    assert main([str(pictures / "a.png"), "--weights", "no.such"]) == 1
    assert "no weights named 'no.such'" in capsys.readouterr().err


def test_unknown_detector_is_named(pictures, capsys):
    assert main([str(pictures / "a.png"), "--detector", "eagle"]) == 1
    assert "no detector named 'eagle'" in capsys.readouterr().err


def shell(*words: str, **settings) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "fer", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **settings,
    )


def test_help_lists_the_options():
    answer = shell("--help")
    assert answer.returncode == 0
    for option in ("--weights", "--detector", "--json", "--csv", "--parquet", "--recursive", "--workers"):
        assert option in answer.stdout


def test_unknown_option_is_a_usage_error():
    answer = shell("--frobnicate")
    assert answer.returncode == 2
    assert "frobnicate" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.golden
def test_the_astronaut_is_happy(astronaut, tmp_path):
    path = tmp_path / "astronaut.jpg"
    Image.fromarray(astronaut).save(path, quality=95)
    answer = shell(str(path), "--json")
    assert answer.returncode == 0, answer.stderr
    (face,) = json.loads(answer.stdout)["faces"]
    assert face["emotion"] == "happy"
    assert face["confidence"] > 0.6
    assert answer.stderr == ""  # no progress bar where there is no terminal


def test_an_error_of_the_system_is_a_sentence(without_weights, pictures, monkeypatch, capsys):
    def fail(*_words):
        raise PermissionError(13, "Permission denied", "/dev/dri")

    monkeypatch.setattr("fer.commands.pictures.read_in_turn", fail)
    assert main([str(pictures / "a.png")]) == 1
    assert capsys.readouterr().err == "error: /dev/dri cannot be used (Permission denied)\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("words", [["--json"], []], ids=["json", "lines"])
def test_a_full_disk_under_the_printed_lines_is_a_sentence(
    words, without_weights, pictures, monkeypatch, capsys
):
    full = Path("/dev/full").open("w")  # noqa: SIM115 - closing it fails, too
    monkeypatch.setattr(sys, "stdout", full)
    assert main([str(pictures / "a.png"), *words]) == 1
    sys.stdout.close()
    with contextlib.suppress(OSError):
        full.close()
    assert capsys.readouterr().err == "error: the output cannot be used (No space left on device)\n"
