"""Covered faces in photos and videos: every frame of a track, its gaps and its ends."""

from pathlib import Path

import av
import numpy as np
import pytest
from clips import moving_face, write_clip
from fakes import fake_analyzer, red_face
from PIL import Image

from fer import anonymising
from fer.__main__ import main
from fer.anonymising import CoverPlan, cover_faces, load_eager_detector
from fer.detection.yunet import YuNetDetector
from fer.faces import Box, Detection
from fer.folders.records import AnalyzerRecipe
from fer.images import read_image
from fer.video import VideoFile


@pytest.fixture(autouse=True)
def _fake(monkeypatch, tmp_path):
    monkeypatch.setattr(AnalyzerRecipe, "build", lambda recipe: fake_analyzer())
    monkeypatch.setattr(anonymising, "load_detector", lambda name, eager, thorough: fake_analyzer().detector)
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


def sight(left: float, score: float = 0.9) -> Detection:
    return Detection(Box(left, 0, left + 10, 10), score)


def test_a_face_is_covered_from_before_its_first_to_after_its_last_sight():
    plan = CoverPlan()
    plan.add(1.0, [sight(0), sight(50)])
    plan.add(1.1, [sight(4)])
    plan.add(1.2, [sight(8)])
    assert plan.boxes(0.7) == plan.boxes(1.5) == []
    assert plan.boxes(0.8) == [Box(0, 0, 10, 10), Box(50, 0, 60, 10)]
    assert plan.boxes(1.1)[0] == Box(0, 0, 18, 10)
    assert plan.boxes(1.35) == [Box(8, 0, 18, 10)]


def test_a_gap_between_two_sights_at_one_place_is_covered():
    plan = CoverPlan()
    plan.add(1.0, [sight(0)])
    plan.add(5.0, [sight(4)])
    assert plan.boxes(3.0) == [Box(0, 0, 14, 10)]
    plan.add(11.0, [sight(4)])  # too late to be the same
    assert plan.boxes(8.0) == []


def test_doubtful_sights_count_where_the_face_was_surely_seen_once():
    plan = CoverPlan()
    plan.add(1.0, [sight(0, score=0.2), sight(50, score=0.2)])
    plan.add(1.6, [sight(0, score=0.8), sight(50, score=0.2)])
    assert plan.boxes(1.0) == [Box(0, 0, 10, 10)]


def test_two_faces_of_one_frame_are_never_one():
    plan = CoverPlan()
    plan.add(1.0, [sight(0)])
    plan.add(1.1, [sight(0), sight(1)])
    assert sorted(plan.boxes(1.1), key=lambda box: box.left) == [Box(0, 0, 10, 10), Box(1, 0, 11, 10)]


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "most_covered"),
    [
        pytest.param("one_woman_15s", 0.3, id="one woman"),
        pytest.param("one_man_20s", 1.0, id="one man, who fills the picture"),
        pytest.param("several_people_9s", 0.7, id="several people"),
    ],
)
def test_another_detector_sees_nobody_in_covered_videos(name, most_covered, shared, monkeypatch):
    """YuNet judges each third frame; most of a picture with few faces stays as it is."""
    monkeypatch.undo()
    yunet = YuNetDetector(shared / "models" / "face_detection_yunet_2023mar.onnx")
    finder, plan, judged = load_eager_detector(None), CoverPlan(), []
    with VideoFile(shared / "videos" / f"{name}.mp4") as video:
        for number, frame in enumerate(video.frames()):
            plan.add(frame.timestamp_s, finder.detect(frame.image))
            if number % 3 == 0:
                judged.append(frame)
    assert sum(bool(yunet.detect(frame.image)) for frame in judged[::10]) > 0.9 * len(judged[::10])
    covered = [cover_faces(frame.image, plan.boxes(frame.timestamp_s), "box") for frame in judged]
    assert sum(bool(yunet.detect(image)) for image in covered) == 0
    changed = [
        (image != frame.image).any(axis=2).mean() for image, frame in zip(covered, judged, strict=True)
    ]
    assert np.mean(changed) < most_covered


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
    assert capsys.readouterr().out == "a.jpg: 1 place covered in o.jpg\n"
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
        (["a.mp4", "--anonymise", "box", "--output", "o.mp4", "--every", "1"], "remove --every"),
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
