"""Videos on the command line: annotated copies and timelines."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from clips import moving_face, write_clip, write_sound_only
from fakes import fake_analyzer, red_face
from PIL import Image

from fer.__main__ import main
from fer.faces import Prediction
from fer.folders.records import AnalyzerRecipe
from fer.video import VideoFile

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def fake(monkeypatch, tmp_path):
    monkeypatch.setattr(AnalyzerRecipe, "build", lambda recipe: fake_analyzer())
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def clip(tmp_path) -> Path:
    images = [*moving_face(20), *[np.zeros((120, 160, 3), np.uint8)] * 5]
    return write_clip(tmp_path / "clip.mp4", images, sound="aac")


def test_a_summary_is_printed(clip, capsys):
    assert main(["clip.mp4"]) == 0
    out, err = capsys.readouterr()
    first, second = out.splitlines()
    assert first == "clip.mp4: 25 frames, 1.0 s, 1 person"
    assert second.startswith("clip.mp4: person 1, 0.0 to 0.8 s: sad 100 % (0 changes")
    assert err == ""


def test_every_file_that_was_asked_for_is_written(clip, capsys):
    words = ["--output", "out.mp4", "--csv", "t.csv", "--parquet", "t.parquet"]
    assert main(["clip.mp4", *words, "--timeline", "t.srt", "t.svg", "t.json"]) == 0
    with Path("t.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 20
    assert len(pd.read_parquet("t.parquet")) == 20
    assert Path("t.srt").read_text().startswith("1\n00:00:00,000 --> 00:00:00,800\nSad")
    with av.open("out.mp4") as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
    names = {"clip.mp4", "out.mp4", "t.csv", "t.parquet", "t.srt", "t.svg", "t.json"}
    assert {path.name for path in Path().iterdir()} == names


def test_json_is_one_object_a_frame_with_a_face(clip, capsys):
    assert main(["clip.mp4", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(records) == 20
    assert list(records[0]) == ["path", "timestamp_s", "width", "height", "faces"]
    assert records[1]["timestamp_s"] == pytest.approx(0.04, abs=1e-3)
    assert records[1]["faces"][0]["track_id"] == 1


def test_a_video_without_faces_says_so(tmp_path, capsys):
    write_clip(tmp_path / "black.mp4", [np.zeros((64, 64, 3), np.uint8)] * 3)
    assert main(["black.mp4", "--csv", "t.csv"]) == 0
    assert capsys.readouterr().out == "black.mp4: 3 frames, 0.1 s, no face found\n"
    assert len(Path("t.csv").read_text().splitlines()) == 1


def test_raw_answers_jump_where_steady_ones_wait(tmp_path):
    images = [red_face(220 if i % 2 else 160, (160, 120)) for i in range(20)]
    write_clip(tmp_path / "flicker.mp4", images)
    for words, changes in ((["--raw"], 19), ([], 0)):
        assert main(["flicker.mp4", "--csv", "t.csv", *words]) == 0
        labels = pd.read_csv("t.csv")["emotion"]
        assert (labels != labels.shift()).sum() - 1 == changes


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param(["missing.mp4"], "missing.mp4 does not exist", id="missing"),
        pytest.param(["text.mp4"], "not a readable video", id="text"),
        pytest.param(["picture.mp4"], "is an image, not a video", id="a picture"),
        pytest.param(["sound.mp4"], "no video track", id="only sound"),
        pytest.param(["clip.mp4", "clip.mp4"], "expected one video and nothing else", id="two videos"),
        pytest.param(["clip.mp4", "--output", "clip.mp4"], "is the video itself", id="output is input"),
        pytest.param(
            ["clip.mp4", "--output", "link.mp4"], "is the video itself", id="output is a link to it"
        ),
        pytest.param(["clip.mp4", "--output", "out.gif"], "ends in .mp4", id="unknown ending"),
        pytest.param(["clip.mp4", "--output", "no/out.mp4"], "folder no does not exist", id="no folder"),
        pytest.param(["clip.mp4", "--csv", "t.txt"], "ends in .csv", id="csv with another ending"),
        pytest.param(["clip.mp4", "--timeline", "t.txt"], "ends in .csv, .json", id="unknown timeline"),
        pytest.param(["clip.mp4", "--csv", "folder.csv"], "is a folder", id="a folder"),
        pytest.param(["clip.mp4", "--every", "-1"], "--every of at least 0", id="negative step"),
        pytest.param(["clip.mp4", "--thorough"], "--thorough is for photos", id="thorough"),
        pytest.param(["clip.mp4", "--workers", "2"], "for folders of photos", id="workers"),
        pytest.param(
            ["picture.png", "--output", "out.mp4"], "--output is for videos", id="output of a picture"
        ),
    ],
)
def test_bad_words_end_in_one_sentence(words, sentence, clip, tmp_path, capsys):
    Path("text.mp4").write_text("Dear reader")
    Image.fromarray(red_face()).save("picture.png")
    Path("picture.mp4").write_bytes(Path("picture.png").read_bytes())
    write_sound_only(tmp_path / "sound.mp4")
    Path("link.mp4").symlink_to("clip.mp4")
    Path("folder.csv").mkdir()
    before = {path: path.stat().st_size for path in Path().iterdir()}
    assert main(words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert sentence in line
    assert {path: path.stat().st_size for path in Path().iterdir()} == before


def test_a_video_that_is_cut_off_is_read_with_a_word_about_it(tmp_path, capsys):
    whole = write_clip(tmp_path / "whole.mkv", moving_face(200)).read_bytes()
    Path("half.mkv").write_bytes(whole[: len(whole) // 2])
    assert main(["half.mkv", "--csv", "t.csv"]) == 0
    out, err = capsys.readouterr()
    assert "person 1" in out
    assert "is cut off" in err
    assert 60 < len(Path("t.csv").read_text().splitlines()) < 160


def test_large_frames_are_read_with_a_word_about_the_time(tmp_path, capsys):
    write_clip(tmp_path / "8k.mp4", [np.full((4320, 7680, 3), 60, np.uint8)])
    assert main(["8k.mp4"]) == 0
    assert "scale=1920:-2" in capsys.readouterr().err
    with VideoFile("8k.mp4") as video:
        assert (video.info.width, video.info.height) == (7680, 4320)


@pytest.mark.golden
@pytest.mark.slow
def test_a_stopped_run_leaves_nothing_behind(tmp_path, astronaut):
    frames = [np.ascontiguousarray(astronaut[:360, i % 100 : i % 100 + 400]) for i in range(600)]
    write_clip(tmp_path / "long.mp4", frames)
    command = [sys.executable, "-m", "fer", str(tmp_path / "long.mp4"), "--output", str(tmp_path / "out.mp4")]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as job:
        until = time.monotonic() + 60
        while not list(tmp_path.glob(".out.*")) and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(job.pid, signal.SIGTERM)
        said = job.stderr.read()
    assert job.returncode == 130
    assert said == "stopped; nothing was written\n"
    assert [path.name for path in tmp_path.iterdir()] == ["long.mp4"]


@pytest.mark.shared
@pytest.mark.golden
@pytest.mark.slow
@pytest.mark.parametrize("name", ["one_woman_15s", "one_man_20s"])
def test_one_person_stays_one_person(name, shared, monkeypatch, tmp_path):
    monkeypatch.undo()
    path = shared / "videos" / f"{name}.mp4"
    table = tmp_path / "t.csv"
    assert main([str(path), "--detector", "haar", "--csv", str(table)]) == 0
    rows = pd.read_csv(table)
    assert rows["track_id"].unique().tolist() == [1]
    assert not rows["frame"].duplicated().any()


def test_a_video_may_begin_with_resting_faces(tmp_path, capsys, monkeypatch):
    analyzer = fake_analyzer()
    shares = np.array([0.05, 0.05, 0.02, 0.5, 0.02, 0.36], dtype=np.float32)

    def classify(crops):
        return [Prediction(analyzer.classifier.head.emotions, shares) for _ in crops]

    analyzer.classifier.classify = classify
    monkeypatch.setattr(AnalyzerRecipe, "build", lambda recipe: analyzer)
    write_clip(tmp_path / "rest.mp4", moving_face(100))  # four seconds that look sad
    for words, expected in (([], "sad 100 %"), (["--rest"], "sad 50 %")):
        assert main(["rest.mp4", *words]) == 0
        out, err = capsys.readouterr()
        assert expected in out
        assert err == ""
    write_clip(tmp_path / "nobody.mp4", [np.zeros((120, 160, 3), np.uint8)] * 20)
    assert main(["nobody.mp4", "--rest"]) == 0
    assert "shows no face for its first 2 seconds" in capsys.readouterr().err


def test_a_wide_step_is_no_damage(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(AnalyzerRecipe, "build", lambda recipe: fake_analyzer())
    clip = write_clip(tmp_path / "clip.mp4", moving_face(90))
    assert main([str(clip), "--every", "1e9"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{clip}: 1 frame, 0.0 s")
    assert err == ""


def test_a_slow_video_is_not_cut_off(capsys):
    """One frame that is shown for four seconds."""
    with av.open("slow.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(1, 4))
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(moving_face(1)[0], format="rgb24")))
        container.mux(stream.encode(None))
    with VideoFile("slow.mp4") as video:
        assert video.info.duration_s == pytest.approx(4, abs=0.1)
    assert main(["slow.mp4"]) == 0
    assert "cut off" not in capsys.readouterr().err


def test_a_photo_named_like_a_video_is_named(capsys):
    Image.fromarray(red_face()).save("photo.mp4", "JPEG")
    assert main(["photo.mp4"]) == 1
    assert "photo.mp4 is an image, not a video" in capsys.readouterr().err


def test_the_track_that_players_show_is_read(tmp_path, capsys):
    """As a screen recorder writes it: the first track is not the default one."""
    with av.open("two.mkv", "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, side in zip(streams, (64, 160), strict=True):
            stream.width, stream.height, stream.pix_fmt = side, side // 4 * 3, "yuv420p"
        streams[0].disposition, streams[1].disposition = (
            av.stream.Disposition(0),
            av.stream.Disposition.default,
        )
        for stream in streams:
            for image in moving_face(5, (160, 120)):
                part = np.ascontiguousarray(image[: stream.height, : stream.width])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(part, format="rgb24")))
            container.mux(stream.encode(None))
    with VideoFile("two.mkv") as video:
        assert video.info.width == 160
