"""Covered faces: every frame of a track, its gaps and ends, in photos and videos."""

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
from fer.faces import Box
from fer.images import read_image
from fer.picture_records import AnalyzerRecipe
from fer.video import VideoFile


@pytest.fixture(autouse=True)
def _fake(monkeypatch, tmp_path):
    monkeypatch.setattr(AnalyzerRecipe, "build", lambda recipe: fake_analyzer())
    monkeypatch.setattr(anonymising, "load_detector", lambda name, eager: fake_analyzer().detector)
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


def test_a_face_is_covered_from_before_its_first_to_after_its_last_sight():
    plan = CoverPlan()
    plan.add(1.0, [Box(0, 0, 10, 10), Box(50, 50, 60, 60)])
    plan.add(1.2, [Box(4, 0, 14, 10)])
    plan.add(1.4, [Box(8, 0, 18, 10)])
    assert plan.boxes(0.4) == plan.boxes(2.0) == []
    assert plan.boxes(0.5) == [Box(0, 0, 10, 10), Box(50, 50, 60, 60)]
    assert plan.boxes(1.2)[0] == Box(0, 0, 18, 10)
    assert plan.boxes(1.7) == [Box(4, 0, 18, 10)]


def test_a_gap_between_two_sights_at_one_place_is_covered():
    plan = CoverPlan()
    plan.add(1.0, [Box(0, 0, 10, 10)])
    plan.add(5.0, [Box(4, 0, 14, 10)])
    assert plan.boxes(3.0) == [Box(0, 0, 14, 10)]
    plan.add(11.0, [Box(4, 0, 14, 10)])  # too late to be the same
    assert plan.boxes(8.0) == []


def test_two_faces_of_one_frame_are_never_one():
    plan = CoverPlan()
    plan.add(1.0, [Box(0, 0, 10, 10)])
    plan.add(1.1, [Box(0, 0, 10, 10), Box(1, 0, 11, 10)])
    assert sorted(plan.boxes(1.1), key=lambda box: box.left) == [Box(0, 0, 10, 10), Box(1, 0, 11, 10)]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["one_woman_15s", "one_man_20s", "several_people_9s"])
def test_a_detector_of_others_sees_nobody_in_covered_videos(name, shared, monkeypatch):
    """The judge is YuNet, on each third frame: nine tenths of each face that it finds are covered."""
    monkeypatch.undo()
    yunet = YuNetDetector(shared / "models" / "face_detection_yunet_2023mar.onnx")
    finder, plan, seen = load_eager_detector(None), CoverPlan(), []
    with VideoFile(shared / "videos" / f"{name}.mp4") as video:
        for number, frame in enumerate(video.frames()):
            plan.add(frame.timestamp_s, [face.box for face in finder.detect(frame.image)])
            if number % 3 == 0:
                seen.append((frame.timestamp_s, [face.box for face in yunet.detect(frame.image)]))
        white = np.full((video.info.height, video.info.width, 3), 255, np.uint8)
    open_shares = [
        float(part.mean()) / 255
        for time_s, boxes in seen
        if boxes and (canvas := cover_faces(white, plan.boxes(time_s), "box")) is not None
        for box in boxes
        if (inside := box.clip(white.shape[1], white.shape[0])) is not None
        and (part := canvas[int(inside.top) : int(inside.bottom), int(inside.left) : int(inside.right)]).size
    ]
    assert len(open_shares) > 100
    assert max(open_shares) <= 0.1


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
