"""Videos: true frame times, annotated copies, and one error sentence for every damaged or odd file."""

from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import moving_face, write_clip, write_sound_only
from fakes import fake_analyzer, red_face

from fer.streams.recorded import analyze_video
from fer.video import Frame, UnreadableVideoError, UnwritableVideoError, VideoFile, VideoWriter
from fer.video.frames import is_video_name


def read(path: Path) -> tuple[VideoFile, list[Frame]]:
    with VideoFile(path) as video:
        return video, list(video.frames())


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mkv", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.ts", "libx264"),
        ("a.mpg", "mpeg2video"),
    ],
)
def test_frames_of_every_container_with_their_times(name, codec, tmp_path):
    video, frames = read(write_clip(tmp_path / name, moving_face(10), codec=codec))
    assert len(frames) == 10
    assert (video.info.width, video.info.height) == (160, 120)
    assert frames[0].image.shape == (120, 160, 3)
    assert video.skipped_count == 0
    # the clock of a transport stream ticks 90,000 times a second
    assert [frame.timestamp_s for frame in frames] == pytest.approx(np.arange(10) / 25, abs=1e-3)


def test_red_stays_red(tmp_path):
    _, frames = read(write_clip(tmp_path / "a.mp4", [np.full((64, 64, 3), (220, 30, 20), np.uint8)] * 3))
    # chroma is stored at half size in limited range: a few units of error
    assert np.abs(frames[1].image.reshape(-1, 3).mean(axis=0) - (220, 30, 20)).max() < 8


@pytest.mark.parametrize(
    "times_s",
    [
        pytest.param([0.0, 0.04, 0.5, 0.51, 3.0], id="variable rate"),
        pytest.param([0.0, 1.0, 2.0, 3.0], id="1 fps"),
        pytest.param([i / 240 for i in range(12)], id="240 fps"),
        pytest.param([0.0], id="one frame"),
    ],
)
def test_times_are_those_of_the_file(times_s, tmp_path):
    path = write_clip(tmp_path / "a.mkv", moving_face(len(times_s)), times_s=times_s)
    assert [frame.timestamp_s for frame in read(path)[1]] == pytest.approx(times_s, abs=1e-3)  # MKV: whole ms


def test_times_count_from_the_start_of_the_file(tmp_path):
    path = write_clip(tmp_path / "a.ts", moving_face(3), times_s=[100.0, 100.04, 100.08])
    assert [frame.timestamp_s for frame in read(path)[1]] == pytest.approx([0, 0.04, 0.08], abs=1e-3)


@pytest.mark.parametrize(
    ("rotation", "white"),
    [(0, np.s_[:30, :]), (90, np.s_[:, :30]), (180, np.s_[-30:, :]), (-90, np.s_[:, -30:])],
)
def test_rotated_videos_are_upright(rotation, white, tmp_path):
    """The display matrix of phones, counter-clockwise in degrees: the bright edge goes along."""
    stored = np.zeros((120, 160, 3), np.uint8)
    stored[:30] = 255
    _, frames = read(write_clip(tmp_path / "a.mp4", [stored] * 2, rotation=rotation))
    image = frames[0].image
    assert image.shape == ((120, 160, 3) if rotation % 180 == 0 else (160, 120, 3))
    assert image.flags.c_contiguous
    assert image[white][4:-4, 4:-4].min() > 200
    assert image.mean() == pytest.approx(stored.mean(), abs=6)


def test_pixels_become_square(tmp_path):
    video, frames = read(write_clip(tmp_path / "a.mp4", moving_face(2), aspect=Fraction(2, 1)))
    assert (video.info.width, video.info.height) == (320, 120)
    assert frames[0].image.shape == (120, 320, 3)


def damaged(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def bad_file(kind: str, folder: Path) -> Path:
    match kind:
        case "missing":
            return folder / "missing.mp4"
        case "folder":
            return folder
        case "empty":
            return damaged(folder / "a.mp4", b"")
        case "text":
            return damaged(folder / "a.mp4", b"Dear reader, this is text." * 50)
        case "picture":
            from PIL import Image  # noqa: PLC0415

            Image.fromarray(red_face()).save(folder / "a.png")
            return (folder / "a.png").rename(folder / "a.mp4")
        case "cut off":
            return damaged(
                folder / "a.mp4", write_clip(folder / "whole.mp4", moving_face(30)).read_bytes()[:2000]
            )
        case "sound":
            return write_sound_only(folder / "a.mp4")
        case "playlist":
            whole = write_clip(folder / "whole.mp4", moving_face(3))
            text = f"#EXTM3U\n#EXTINF:1,\n{whole}\n#EXT-X-ENDLIST\n"
            return damaged(folder / "a.mp4", text.encode())
        case "no frame":
            content = write_clip(folder / "whole.mkv", moving_face(5)).read_bytes()
            cluster = content.index(bytes.fromhex("1f43b675"))
            return damaged(folder / "a.mkv", content[:cluster])
    raise ValueError(kind)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("missing", "does not exist"),
        ("folder", "is a folder"),
        ("empty", "a.mp4 is empty"),
        ("text", "not a readable video"),
        ("picture", "is an image, not a video"),
        ("cut off", "cut off"),
        ("sound", "no video track"),
        ("playlist", "not a readable video"),
        ("no frame", "has no frame|no video track|not a readable video"),
    ],
)
def test_files_that_are_no_videos_are_refused_in_a_sentence(kind, sentence, tmp_path):
    with pytest.raises(UnreadableVideoError, match=sentence) as caught:
        VideoFile(bad_file(kind, tmp_path))
    assert "\n" not in str(caught.value)


def test_the_content_counts_not_the_ending(tmp_path):
    path = write_clip(tmp_path / "a.mp4", moving_face(4)).rename(tmp_path / "a.avi")
    assert len(read(path)[1]) == 4


def test_a_truncated_video_is_read_as_far_as_it_goes(tmp_path):
    """Matroska has its table of contents in front: what was written before the power went can be read."""
    content = write_clip(tmp_path / "whole.mkv", moving_face(100)).read_bytes()
    _, frames = read(damaged(tmp_path / "half.mkv", content[: len(content) // 2]))
    assert 20 < len(frames) < 80


def test_damaged_packets_are_skipped(tmp_path):
    content = bytearray(write_clip(tmp_path / "whole.avi", moving_face(60), codec="mpeg4").read_bytes())
    start = len(content) // 2
    content[start : start + 300] = bytes(300)
    frames = read(damaged(tmp_path / "a.avi", bytes(content)))[1]
    assert 50 < len(frames) <= 60
    times = [frame.timestamp_s for frame in frames]
    assert times == sorted(set(times))


def write(path: Path, frames: list[Frame], **settings) -> None:
    with VideoWriter(path, **settings) as writer:
        for frame in frames:
            writer.write(frame)


def test_what_is_written_is_read_again(tmp_path):
    frames = [
        Frame(image, time_s) for image, time_s in zip(moving_face(5), [0, 0.1, 0.15, 1, 4], strict=True)
    ]
    write(tmp_path / "out.mp4", frames)
    video, again = read(tmp_path / "out.mp4")
    assert video.info.codec == "h264"
    assert [frame.timestamp_s for frame in again] == pytest.approx([0, 0.1, 0.15, 1, 4], abs=1e-3)
    # H.264 at good quality: a few units on average
    assert np.abs(again[2].image.astype(int) - frames[2].image).mean() < 4


@pytest.mark.parametrize("size", [(161, 121), (160, 120), (3, 3)], ids=str)
def test_odd_sizes_lose_a_line_at_most(size, tmp_path):
    write(tmp_path / "out.mp4", [Frame(np.zeros((size[1], size[0], 3), np.uint8), 0.0)])
    with VideoFile(tmp_path / "out.mp4") as video:
        assert (video.info.width, video.info.height) == (size[0] // 2 * 2, size[1] // 2 * 2)


@pytest.mark.parametrize(("name", "sound"), [("a.mp4", "aac"), ("a.mkv", "libmp3lame"), ("a.ts", "aac")])
def test_the_sound_goes_along(name, sound, tmp_path):
    if sound not in av.codecs_available:
        pytest.skip(f"this PyAV cannot write {sound}")
    source = write_clip(tmp_path / name, moving_face(50), sound=sound)
    with VideoFile(source) as video:
        write(tmp_path / "out.mp4", list(video.frames()), sound_from=source)
    with av.open(str(tmp_path / "out.mp4")) as container:
        (track,) = container.streams.audio
        assert track.codec_context.name == "aac"
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(track)])
    assert len(samples) / 48_000 == pytest.approx(2.0, abs=0.1)  # AAC pads by a few hundredths
    spectrum = np.abs(np.fft.rfft(samples[4800:52_800]))
    assert spectrum.argmax() == pytest.approx(440, abs=2)  # a second of samples: one bin a hertz


@pytest.mark.parametrize(
    ("place", "sentence"),
    [("out.gif", "ends in .mp4"), ("no/folder/out.mp4", "cannot be written"), ("out", "ends in .mp4")],
)
def test_places_that_cannot_be_written(place, sentence, tmp_path):
    with pytest.raises(UnwritableVideoError, match=sentence):
        VideoWriter(tmp_path / place)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_something_goes_wrong(tmp_path):
    with pytest.raises(RuntimeError, match="in the middle"), VideoWriter(tmp_path / "out.mp4") as writer:
        writer.write(Frame(moving_face(1)[0], 0.0))
        raise RuntimeError("in the middle")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("fer.video.writing.replaced", lambda path: nullcontext(Path("/dev/full")))
    with (
        pytest.raises(UnwritableVideoError, match="cannot be written"),
        VideoWriter(tmp_path / "out.mkv") as writer,
    ):
        for number in range(200):
            noise = np.random.default_rng(number).integers(0, 255, (120, 160, 3), np.uint8)
            writer.write(Frame(noise, number / 25))


def test_no_frame_makes_no_file(tmp_path):
    with pytest.raises(UnwritableVideoError, match="no frame"), VideoWriter(tmp_path / "out.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_every_frame_with_a_face_is_a_row(tmp_path):
    images = [*moving_face(20), *[np.zeros((120, 160, 3), np.uint8)] * 5, *moving_face(10)]
    path = write_clip(tmp_path / "a.mp4", images, sound="aac")
    told = []
    with VideoFile(path) as video:
        timeline = analyze_video(
            fake_analyzer(),
            video,
            output=tmp_path / "out.mp4",
            watcher=lambda frame, faces: told.append((frame.timestamp_s, len(faces))),
        )
    assert len(timeline) == 30
    assert timeline.frame_count == 35
    assert [count for _, count in told] == [1] * 20 + [0] * 5 + [1] * 10
    assert [time_s for time_s, _ in told] == sorted(time_s for time_s, _ in told)
    _, frames = read(tmp_path / "out.mp4")
    assert len(frames) == 35
    assert np.abs(frames[5].image.astype(int) - images[5]).mean() > 2  # something was drawn


def scene(pattern: int) -> np.ndarray:
    """A face at one place in front of one of two backgrounds."""
    rows, columns = np.indices((120, 160)) // 10
    lit = (rows if pattern else columns) % 2 == 0
    image = np.repeat(np.where(lit, 140, 20).astype(np.uint8)[:, :, None], 3, axis=2)
    image[40:70, 60:90] = (220, 30, 30)
    return image


def test_after_a_cut_nobody_is_who_they_were(tmp_path):
    path = write_clip(tmp_path / "a.mp4", [scene(0)] * 10 + [scene(1)] * 10)
    with VideoFile(path) as video:
        timeline = analyze_video(fake_analyzer(), video)
    assert timeline.table()["track_id"].tolist() == [1] * 10 + [2] * 10


def test_frames_between_steps_are_shown_but_not_looked_at(tmp_path):
    path = write_clip(tmp_path / "a.mp4", moving_face(50))
    with VideoFile(path) as video:
        timeline = analyze_video(fake_analyzer(), video, output=tmp_path / "out.mp4", every_s=0.2)
    assert timeline.table()["timestamp_s"].tolist() == pytest.approx(np.arange(0, 2, 0.2), abs=1e-3)
    assert len(read(tmp_path / "out.mp4")[1]) == 50


def test_a_watcher_may_stop_it(tmp_path):
    path = write_clip(tmp_path / "a.mp4", moving_face(30))

    def stop(frame, faces):
        raise KeyboardInterrupt

    with VideoFile(path) as video, pytest.raises(KeyboardInterrupt):
        analyze_video(fake_analyzer(), video, output=tmp_path / "out.mp4", watcher=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    ("name", "expected"), [("a.MP4", True), ("a.webm", True), ("a.jpg", False), ("a", False)]
)
def test_videos_are_told_by_their_ending(name, expected):
    assert is_video_name(Path(name)) is expected
