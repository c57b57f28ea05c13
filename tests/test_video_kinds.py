"""Videos as written by phones, cameras and editors: sound, mirroring, sizes, timestamps, containers."""

import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from clips import moving_face, write_clip
from fakes import fake_analyzer, red_face

from fer.__main__ import main
from fer.commands.video import summary_lines
from fer.folders.records import AnalyzerRecipe
from fer.timeline.table import Timeline
from fer.video import UnreadableVideoError, VideoFile
from webapp.video_jobs import VideoJobs


@pytest.fixture(autouse=True)
def _fake(monkeypatch, tmp_path):
    monkeypatch.setattr(AnalyzerRecipe, "build", lambda recipe: fake_analyzer())
    monkeypatch.chdir(tmp_path)


def times(path: Path) -> list[float]:
    with VideoFile(path) as video:
        return [frame.timestamp_s for frame in video.frames()]


@pytest.mark.parametrize(
    ("matrix", "change"),
    [
        pytest.param((1, 0, 0, 1), lambda a: a, id="upright"),
        pytest.param((-1, 0, 0, 1), np.fliplr, id="mirrored"),
        pytest.param((1, 0, 0, -1), np.flipud, id="upside down"),
        pytest.param((-1, 0, 0, -1), lambda a: np.rot90(a, 2), id="180"),
        pytest.param((0, 1, -1, 0), lambda a: np.rot90(a, -1), id="90 clockwise"),
        pytest.param((0, -1, 1, 0), lambda a: np.rot90(a, 1), id="90 counter-clockwise"),
        pytest.param((0, 1, 1, 0), lambda a: a.transpose(1, 0, 2), id="transposed"),
        pytest.param((0, -1, -1, 0), lambda a: np.rot90(a, 2).transpose(1, 0, 2), id="other diagonal"),
    ],
)
def test_frames_are_turned_and_mirrored_as_players_do(matrix, change, tmp_path):
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32], stored[:24, 32:], stored[24:, :32] = 240, 150, 70  # each corner its own grey
    path = write_clip(tmp_path / "a.mp4", [stored] * 2)
    a, b, c, d = (value << 16 for value in matrix)
    content = path.read_bytes()
    plain = b"".join(value.to_bytes(4, "big") for value in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
    own = b"".join(value.to_bytes(4, "big", signed=True) for value in (a, b, 0, c, d, 0, 0, 0, 1 << 30))
    start = content.index(b"tkhd") + 44  # after version, times, layer and volume
    assert content[start : start + 36] == plain
    path.write_bytes(content[:start] + own + content[start + 36 :])
    expected = change(stored)
    with VideoFile(path) as video:
        assert (video.info.height, video.info.width) == expected.shape[:2]
        frame = next(video.frames()).image
    assert np.abs(frame[6::12, 6::12].astype(int) - expected[6::12, 6::12]).max() < 12


def test_frames_of_another_size_are_scaled_into_the_first_one(tmp_path, capsys):
    small = write_clip(tmp_path / "1.ts", moving_face(5, (160, 120)))
    large = write_clip(tmp_path / "2.ts", [red_face(220, (320, 240), left=100, top=60)] * 5)
    wide = write_clip(tmp_path / "3.ts", [np.full((64, 256, 3), 255, np.uint8)] * 5)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(path.read_bytes() for path in (small, large, wide)))
    assert main(["joined.ts", "--csv", "t.csv", "--output", "o.mp4"]) == 0
    err = capsys.readouterr().err
    assert "changes its size to 320×240; such frames are scaled to the first size" in err
    with VideoFile("o.mp4") as video:
        frames = [frame.image for frame in video.frames()]
    assert {frame.shape for frame in frames} == {(120, 160, 3)}
    assert len(frames) == 15
    table = pd.read_csv("t.csv")
    assert table["frame"].max() >= 9
    row = table[table["frame"] == 7].iloc[0]
    assert row["left"] == pytest.approx(50, abs=3)  # 100 in the larger frame
    with VideoFile(joined) as video:
        last = list(video.frames())[-1].image
    assert last[60, 80].min() > 240  # in proportion between black bars
    assert last[5, 80].max() < 15


def test_times_are_even_where_none_are_stored(tmp_path):
    for name in ("a.avi", "a.h264"):
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=12)
            stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
            stream.options = {"bf": "3", "b_strategy": "0", "preset": "medium"}
            for image in moving_face(24):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
            container.mux(stream.encode(None))
        found = times(path)
        assert len(found) == 24
        steps = np.diff(found)
        assert steps == pytest.approx(np.full(23, steps[0]), abs=1e-6)
        if name == "a.avi":  # a raw stream does not say how fast it is
            assert steps[0] == pytest.approx(1 / 12)
        assert found[0] == 0.0


def test_no_time_is_below_zero_or_minus_zero(tmp_path, capsys):
    write_clip(tmp_path / "a.mp4", moving_face(4))
    assert main(["a.mp4", "--csv", "t.csv"]) == 0
    assert "-0.0" not in capsys.readouterr().out + Path("t.csv").read_text()
    assert str(times(tmp_path / "a.mp4")[0]) == "0.0"


def test_one_video_never_stops_those_after_it(tmp_path):
    jobs = VideoJobs()
    _, broken = jobs.open("broken.mov")
    _, good = jobs.open("good.mp4")
    good.source.write_bytes(write_clip(tmp_path / "good.mp4", moving_face(3)).read_bytes())
    broken.source.write_bytes(good.source.read_bytes())

    def fail():
        raise AttributeError("as a codec that is None does")

    jobs.start(broken, fail)
    jobs.start(good, fake_analyzer)
    deadline = time.monotonic() + 20
    while good.state not in ("finished", "failed") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (broken.state, good.state) == ("failed", "finished")


@pytest.mark.parametrize(
    ("name", "codec", "size", "form"),
    [
        ("a.mxf", "mpeg2video", (320, 240), "yuv420p"),
        ("a.dv", "dvvideo", (720, 576), "yuv420p"),
        ("a.y4m", "wrapped_avframe", (160, 120), "yuv420p"),
        ("a.h264", "libx264", (160, 120), "yuv420p"),
        ("a.gif", "gif", (160, 120), "rgb8"),
        ("a.apng", "apng", (160, 120), "rgb24"),
        ("a.mov", "prores_ks", (160, 120), "yuv422p10le"),
        ("a.avi", "huffyuv", (160, 120), "rgb24"),
        ("a.mkv", "ffv1", (161, 121), "yuv444p"),
        ("a.wmv", "wmv2", (160, 120), "yuv420p"),
        ("a.flv", "flv", (160, 120), "yuv420p"),
        ("a.3gp", "h263", (176, 144), "yuv420p"),
        ("a.vob", "mpeg2video", (160, 120), "yuv420p"),
        ("a.webm", "libvpx-vp9", (160, 120), "yuv420p"),
        ("a.hevc", "libx265", (160, 120), "yuv420p10le"),
    ],
)
def test_further_containers_are_read(name, codec, size, form, tmp_path):
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, form
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(red_face(220, size, left=60, top=40)).reformat(format=form)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with VideoFile(path) as video:
        frames = list(video.frames())
    assert len(frames) == 5
    red, green, _ = frames[0].image[50, 70]
    assert red > 150 > 100 > green
    assert np.diff([frame.timestamp_s for frame in frames]) == pytest.approx([0.04] * 4, abs=0.011)
    if path.suffix not in {".gif", ".apng"}:
        assert main([name]) == 0


def test_a_face_of_a_moment_is_no_person_of_the_summary():
    timeline = Timeline(fake_analyzer().classifier.head.emotions)
    (face,) = fake_analyzer().analyze(red_face(220))
    person, helmet, passer = (replace(face, track_id=number) for number in (1, 2, 3))
    for frame in range(50):
        shown = [person, *([helmet] if frame == 20 else []), *([passer] if frame > 40 else [])]
        timeline.add(shown, frame / 25)
    lines = summary_lines(Path("a.mp4"), timeline)
    assert lines[0] == "a.mp4: 50 frames, 2.0 s, 1 person"
    assert lines[1].startswith("a.mp4: person 1, ")
    assert lines[2:] == ["a.mp4: 2 more, seen for less than 1 s each"]


def test_where_nobody_stays_everybody_counts():
    timeline = Timeline(fake_analyzer().classifier.head.emotions)
    (face,) = fake_analyzer().analyze(red_face(220))
    for frame in range(5):
        timeline.add([replace(face, track_id=1)], frame / 25)
    assert summary_lines(Path("a.mp4"), timeline)[0] == "a.mp4: 5 frames, 0.2 s, 1 person"


def test_an_absurd_shape_of_pixels_is_not_believed(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", moving_face(3), aspect=Fraction(40, 1))
    with VideoFile(clip) as video:
        assert (video.info.width, video.info.height) == (160, 120)
        assert "read as square" in video.notes[0]
        assert len(list(video.frames())) == 3


def test_a_video_that_grows_is_refused_at_the_large_frame(tmp_path):
    small = write_clip(tmp_path / "a.ts", moving_face(5)).read_bytes()
    large = write_clip(tmp_path / "b.ts", moving_face(5, (320, 240))).read_bytes()
    (tmp_path / "both.ts").write_bytes(small + large)
    with VideoFile(tmp_path / "both.ts", max_pixels=160 * 120) as video:
        frames = video.frames()
        assert next(frames).image.shape == (120, 160, 3)
        with pytest.raises(UnreadableVideoError, match="a frame of 320×240 pixels"):
            list(frames)


def test_few_of_many_sizes_are_told(tmp_path):
    """Each frame may have a size of its own."""
    clips = [write_clip(tmp_path / f"{side}.ts", [red_face(9, (side, 64))]) for side in range(64, 128, 8)]
    (tmp_path / "joined.ts").write_bytes(b"".join(clip.read_bytes() for clip in clips))
    with VideoFile(tmp_path / "joined.ts") as video:
        assert len(list(video.frames())) == len(clips)
    assert len(video.notes) == 4
    assert video.notes[-1].startswith("changes its size again and again;")


def test_a_video_of_countless_frames_is_refused(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", moving_face(12))
    with (
        VideoFile(clip, max_frames=10) as video,
        pytest.raises(UnreadableVideoError, match="has more than 10 frames"),
    ):
        list(video.frames())


def test_a_video_that_says_nothing_of_its_length_has_a_limit(tmp_path):
    clip = write_clip(tmp_path / "a.h264", moving_face(50))
    with VideoFile(clip, max_length_s=1.0) as video:
        assert video.info.duration_s is None
        with pytest.raises(UnreadableVideoError, match="longer than"):
            list(video.frames())
