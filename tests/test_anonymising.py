"""Covered faces: every frame of a track, its gaps and ends, in photos and videos."""

from pathlib import Path

import av
import numpy as np
import pytest
from clips import moving_face, write_clip
from fakes import fake_analyzer, red_face
from PIL import Image

from fer.__main__ import main
from fer.anonymising import CoverPlan, cover_faces
from fer.faces import Box
from fer.images import read_image
from fer.picture_records import AnalyzerRecipe
from fer.video import VideoFile


@pytest.fixture(autouse=True)
def _fake(monkeypatch, tmp_path):
    monkeypatch.setattr(AnalyzerRecipe, "build", lambda recipe: fake_analyzer())
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("cover", ["blur", "pixelate", "box"])
def test_what_is_covered_cannot_be_seen_and_the_rest_stays(cover):
    noise = np.random.default_rng(1).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    covered = cover_faces(noise, [Box(60, 40, 100, 80), Box(-20, 100, 20, 140), Box(500, 0, 520, 20)], cover)
    inside = covered[42:78, 62:98].astype(int)
    assert np.abs(np.diff(inside, axis=1)).mean() < 5
    if cover == "box":
        assert inside.max() == 0
    else:
        assert abs(np.corrcoef(inside.ravel(), noise[42:78, 62:98].ravel())[0, 1]) < 0.4
    assert np.array_equal(covered[:28], noise[:28])
    assert not np.array_equal(covered[110:, :15], noise[110:, :15])


def test_a_face_is_covered_from_before_its_first_to_after_its_last_sight_and_through_gaps():
    plan = CoverPlan()
    plan.add(1, 1.0, Box(0, 0, 10, 10))
    plan.add(1, 1.8, Box(20, 0, 30, 10))
    assert plan.boxes(0.4) == plan.boxes(2.4) == []
    assert plan.boxes(0.6) == plan.boxes(1.0) == [Box(0, 0, 10, 10)]
    assert plan.boxes(1.4) == [Box(0, 0, 30, 10)]
    assert plan.boxes(1.8) == plan.boxes(2.2) == [Box(20, 0, 30, 10)]
    plan.add(2, 1.0, Box(50, 50, 60, 60))
    assert len(plan.boxes(1.0)) == 2


def test_no_frame_of_a_video_shows_the_face_and_its_sound_stays(capsys):
    images = moving_face(30)
    write_clip(Path("a.mp4"), images, sound="aac")
    assert main(["a.mp4", "--anonymise", "box", "--output", "o.mp4", "--csv", "t.csv"]) == 0
    with VideoFile("o.mp4") as video:
        frames = [frame.image for frame in video.frames()]
    assert len(frames) == 30
    for frame in frames:
        assert fake_analyzer().analyze(frame) == []
    with av.open("o.mp4") as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]


def test_a_photo_is_covered_and_loses_its_metadata(capsys):
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    Image.fromarray(red_face(220)).save("a.jpg", exif=exif, quality=95)
    assert main(["a.jpg", "--anonymise", "pixelate", "--output", "o.jpg"]) == 0
    assert capsys.readouterr().out == "a.jpg: 1 face covered in o.jpg\n"
    assert fake_analyzer().analyze(read_image("a.jpg"))
    with Image.open("o.jpg") as covered:
        assert not covered.getexif()
    assert np.abs(np.diff(read_image("o.jpg")[10:30, 18:22].astype(int), axis=1)).mean() < 5


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["a.jpg", "--anonymise", "box"], "needs an --output"),
        (["a.jpg", "--anonymise", "box", "--output", "o.mp4"], "ends in .png, .jpg"),
        (["a.jpg", "--anonymise", "box", "--output", "a.jpg"], "is the video itself|is an input"),
        (["a.mp4", "--anonymise", "box", "--output", "o.mp4", "--every", "1"], "leave --every out"),
        ([".", "--anonymise", "box", "--output", "o.jpg"], "one photo or video"),
    ],
)
def test_words_that_do_not_go_together(words, sentence, capsys):
    Image.fromarray(red_face(220)).save("a.jpg")
    write_clip(Path("a.mp4"), moving_face(3))
    before = Path("a.jpg").read_bytes()
    assert main(words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert any(part in line for part in sentence.split("|")), line
    assert Path("a.jpg").read_bytes() == before
