"""The sound of videos on its way into a copy: kept, converted or dropped with a note, never a crash."""

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import moving_face, write_clip
from fakes import fake_analyzer

from fer.__main__ import main
from fer.folders.records import AnalyzerRecipe


@pytest.fixture(autouse=True)
def _fake(monkeypatch, tmp_path):
    monkeypatch.setattr(AnalyzerRecipe, "build", lambda recipe: fake_analyzer())
    monkeypatch.chdir(tmp_path)


def with_sound(path: Path, codec: str, rate: int, layout: str, form: str) -> Path:
    """A clip of a second with a hum of any kind."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        hum = container.add_stream(codec, rate=rate, layout=layout, options={"strict": "-2"})
        for image in moving_face(25):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode(None))
        channels = len(av.AudioLayout(layout).channels)
        for start in range(0, rate, 1000):
            wave = np.sin((start + np.arange(1000)) * 2 * np.pi * 440 / rate) * 8000
            frame = av.AudioFrame.from_ndarray(
                np.repeat(wave.astype(np.int16), channels)[None], format=form, layout=layout
            )
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            container.mux(hum.encode(frame))
        container.mux(hum.encode(None))
    return path


def sound_length(path: str | Path) -> float | None:
    """Seconds of sound that can be decoded; None without a sound track."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


def test_sound_of_a_rate_that_aac_lacks_is_resampled(tmp_path, capsys):
    with_sound(tmp_path / "a.mkv", "flac", 192_000, "stereo", "s16")
    assert main(["a.mkv", "--output", "o.mp4"]) == 0
    assert capsys.readouterr().err == ""
    assert sound_length("o.mp4") == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("layout", ["7.1", "6.1", "3.0(back)", "quad", "22.2"])
def test_sound_of_many_channels_is_mixed_to_two(layout, tmp_path, capsys):
    with_sound(tmp_path / "a.mkv", "pcm_s16le", 48_000, layout, "s16")
    assert main(["a.mkv", "--output", "o.mp4"]) == 0
    assert capsys.readouterr().err == ""
    assert sound_length("o.mp4") == pytest.approx(1.0, abs=0.1)


def test_sound_of_which_nothing_can_be_decoded_is_said(tmp_path, capsys):
    with_sound(tmp_path / "a.mkv", "flac", 48_000, "stereo", "s16")
    content = bytearray((tmp_path / "a.mkv").read_bytes())
    start = 0
    while (start := content.find(b"\xff\xf8", start)) >= 0:  # each frame's first bytes
        content[start : start + 2] = b"\0\0"
    (tmp_path / "a.mkv").write_bytes(bytes(content))
    assert main(["a.mkv", "--output", "o.mp4"]) == 0
    assert "has sound that cannot be decoded; the copy is written without it" in capsys.readouterr().err


def unknown_sound(folder: Path) -> Path:
    path = with_sound(folder / "a.mov", "pcm_s16le", 48_000, "stereo", "s16")
    content = path.read_bytes()
    assert content.count(b"sowt") == 1
    path.write_bytes(content.replace(b"sowt", b"xyzw"))
    return path


def test_sound_of_an_unknown_codec_is_left_out_and_said(tmp_path, capsys):
    unknown_sound(tmp_path)
    assert main(["a.mov", "--output", "o.mp4"]) == 0
    out, err = capsys.readouterr()
    assert "25 frames" in out
    assert "has sound that uses a codec that cannot be decoded here; the copy is written without it" in err
    assert sound_length("o.mp4") is None


def test_joined_sound_goes_on_without_a_break(tmp_path, capsys):
    one = write_clip(tmp_path / "1.ts", moving_face(25), sound="aac")
    Path("joined.ts").write_bytes(one.read_bytes() * 3)
    assert main(["joined.ts", "--output", "o.mp4"]) == 0
    assert sound_length("o.mp4") == pytest.approx(3.0, abs=0.3)
    with av.open("o.mp4") as container:
        stamps = [packet.dts for packet in container.demux(audio=0) if packet.dts is not None]
    assert stamps == sorted(set(stamps))


def own_order(path: Path, channels: list[int]) -> Path:
    """Give the PCM sound of a .mov a list of its channels (QuickTime's numbers) in place of a known layout."""
    chan = struct.pack(">IIII", 0, 0, 0, len(channels))
    chan += b"".join(struct.pack(">II12x", channel, 0) for channel in channels)

    def boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
        while content:
            size = int.from_bytes(content[:4], "big")
            yield content[4:8], content[8:size]
            content = content[size:]

    def rebuilt(name: bytes, body: bytes) -> bytes:
        if name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            body = b"".join(rebuilt(*box) for box in boxes(body))
        elif name == b"stsd":
            body = body[:8] + b"".join(rebuilt(*box) for box in boxes(body[8:]))
        elif name == b"sowt":
            head = {0: 28, 1: 44}[int.from_bytes(body[8:10], "big")]
            kept = b"".join(rebuilt(*box) for box in boxes(body[head:]) if box[0] != b"chan")
            body = body[:head] + kept + rebuilt(b"chan", chan)
        return (8 + len(body)).to_bytes(4, "big") + name + body

    path.write_bytes(b"".join(rebuilt(*box) for box in boxes(path.read_bytes())))
    return path


@pytest.mark.parametrize(
    ("layout", "channels", "is_kept"),
    [
        pytest.param("quad", [2, 1, 4, 3], True, id="four, shuffled"),
        pytest.param("5.1", [6, 5, 4, 3, 2, 1], True, id="six, backwards"),
        pytest.param("7.1", [8, 7, 6, 5, 4, 3, 2, 1], True, id="eight"),
        pytest.param("quad", [1, 1, 1, 1], False, id="four times the same"),
    ],
)
def test_sound_in_an_order_of_its_own_does_not_end_the_process(layout, channels, is_kept, tmp_path):
    """PyAV frees the list of such channels twice: run it apart, so that a relapse ends no tests."""
    sound = own_order(with_sound(tmp_path / "a.mov", "pcm_s16le", 48_000, layout, "s16"), channels)
    code = (
        "import sys; sys.path[:0] = ['tests']\n"
        "from fakes import fake_analyzer; from pathlib import Path\n"
        "from fer.video import VideoFile; from fer.streams.recorded import analyze_video\n"
        "with VideoFile(sys.argv[1]) as video:\n"
        "    analyze_video(fake_analyzer(), video, output=Path(sys.argv[2]))\n"
        "print(video.notes)"
    )
    command = [sys.executable, "-c", code, str(sound), str(tmp_path / "out.mp4")]
    repository = Path(__file__).resolve().parent.parent
    answer = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=repository,
        env=os.environ | {"MALLOC_PERTURB_": "165"},
    )
    assert (sound_length(tmp_path / "out.mp4") is not None) == is_kept
    assert ("has sound that cannot be kept" in answer.stdout) != is_kept
