"""Outputs, folders, names and addresses: nothing is overwritten or skipped silently."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet
import pytest
from clips import moving_face, write_clip
from fakes import fake_analyzer, red_face
from PIL import Image

from fer.__main__ import main
from fer.folders.records import AnalyzerRecipe
from fer.printable import hide_password, plain_line

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder of three photos and two videos, and an analyzer that needs no weights."""
    monkeypatch.setattr(AnalyzerRecipe, "build", lambda recipe: fake_analyzer())
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        Image.fromarray(red_face(200)).save(name)
    write_clip(tmp_path / "one.mp4", moving_face(3))
    shutil.copy("one.mp4", "two.mp4")
    return tmp_path


def state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param(["--csv", "a.jpg", "b.jpg", "c.jpg"], "a shell's * gives --csv the first", id="glob"),
        pytest.param(
            ["a.jpg", "--csv", "a.jpg"], "ends in .csv after --csv, got a.jpg", id="csv is the photo"
        ),
        pytest.param(["a.jpg", "--parquet", "t.csv"], "ends in .parquet", id="ending of another table"),
        pytest.param(["--output", "one.mp4", "two.mp4"], "add --overwrite", id="glob of videos"),
        pytest.param(["one.mp4", "--output", "./one.mp4"], "is the video itself", id="another spelling"),
        pytest.param(["one.mp4", "--output", "ONE.MP4"], "is the video itself", id="other case"),
        pytest.param(["one.mp4", "--output", "hard.mp4"], "is the video itself", id="hard link"),
        pytest.param(
            ["link.mp4", "--output", "one.mp4", "--overwrite"], "video itself", id="input is a link"
        ),
        pytest.param(["a.jpg", "--csv", "link.csv"], "is an input", id="table is a link to the photo"),
        pytest.param([".", "--csv", "hard.csv"], "is an input", id="table is a photo of the folder"),
        pytest.param(["one.mp4", "--csv", "t.csv", "--timeline", "./t.csv"], "both name", id="twice"),
        pytest.param(["a.jpg", "--csv", "mine.csv"], "is not a table written by this", id="another's table"),
        pytest.param(["one.mp4", "--timeline", "mine.srt"], "is not a table written by this", id="subtitles"),
        pytest.param([""], "got an empty one", id="empty name"),
        pytest.param(["a.jpg", "--csv", ""], "got an empty one", id="empty table"),
        pytest.param(["one.mp4", "--every", "nan"], "--every of at least 0 seconds, got nan", id="no number"),
        pytest.param(["one.mp4", "--every", "inf"], "--every of at least 0 seconds, got inf", id="never"),
        pytest.param(["rtsp:/me:s@cr/et@door/1"], "rtsp:/***@door/1 is the address", id="a slash short"),
        pytest.param(["me:s@cr@door/1"], "***@door/1 does not exist", id="an address without scheme"),
        pytest.param(["rtsp://me:s@cr/et@door/1"], "rtsp://***@door/1 is the address", id="an address"),
        pytest.param(["file:///tmp/a.jpg"], "name it without file://", id="a file's address"),
        pytest.param(["x" * 300 + ".jpg"], "longer than names of files can be", id="a long name"),
        pytest.param(["x" * 300 + ".mp4"], "longer than names of files can be", id="a long video"),
        pytest.param(["a.jpg", "--csv", "x" * 300 + ".csv"], "has 304 bytes", id="a long table"),
        pytest.param(
            ["a.jpg", "--anonymise", "box", "--output", "A.JPG"],
            "A.JPG after --output is an input",
            id="photo",
        ),
    ],
)
def test_what_would_destroy_something_is_refused(words, sentence, here, capsys, monkeypatch):
    os.link("one.mp4", "hard.mp4")
    Path("link.mp4").symlink_to("one.mp4")
    Path("link.csv").symlink_to("a.jpg")
    os.link("a.jpg", "hard.csv")
    Path("mine.csv").write_text("name,money\nme,7\n")
    Path("mine.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nGood evening\n\n")
    before = state(here)
    assert main([*words, "--overwrite"] if "is an input" in sentence else words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line
    assert "s@cr" not in line
    assert state(here) == before


@pytest.mark.parametrize("name", ["pipe.jpg", "pipe.mp4", "socket.jpg", "/dev/zero"])
def test_what_never_ends_is_not_waited_for(name, here, capsys):
    if name.startswith("pipe"):
        os.mkfifo(name)
    elif name.startswith("socket"):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(name)
    assert main([name]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{name} is a pipe or device, not a file" in line


def test_a_table_may_have_a_name_of_240_bytes(here):
    table = "é" * 118 + ".csv"
    assert main(["a.jpg", "--csv", table]) == 0
    assert Path(table).read_text().startswith('"path"')
    video = "x" * 236 + ".mp4"
    assert main(["one.mp4", "--output", video]) == 0
    assert Path(video).is_file()


def test_what_was_written_before_may_be_written_again(here, capsys):
    for _ in range(2):
        assert main(["a.jpg", "--csv", "t.csv"]) == 0
        words = [f"v{suffix}" for suffix in (".srt", ".svg", ".json")]
        assert main(["one.mp4", "--csv", "v.csv", "--parquet", "v.parquet", "--timeline", *words]) == 0
    Path("old.mp4").write_bytes(b"something else")
    assert main(["one.mp4", "--output", "old.mp4", "--overwrite"]) == 0
    assert Path("old.mp4").read_bytes()[4:8] == b"ftyp"


def test_a_folder_counts_what_it_left_out(here, capsys):
    Path("folder/below/@eaDir").mkdir(parents=True)
    Path("folder/.hidden").mkdir()
    shutil.copy("a.jpg", "folder/a.jpg")
    shutil.copy("a.jpg", "folder/below/b.jpg")
    shutil.copy("a.jpg", "folder/below/photo.jpg_large")
    Path("folder/raw.CR2").write_bytes(b"raw")
    Path("folder/.IMG_1.HEIC.icloud").write_bytes(b"bplist00")
    Path("folder/phone").write_bytes(b"\0\0\0\x18ftypheic")
    Path("folder/one.txt").write_text("text")
    Path("folder/two.txt").write_text("text")
    Path("folder/gone.jpg").symlink_to("nowhere.jpg")
    Path("folder/elsewhere").symlink_to(here)
    assert main(["folder", "--recursive"]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert err == (
        "folder: 2 photos read, 10 skipped (1 .cr2, 2 .txt, 1 dangling link, "
        "1 image named .jpg_large, 1 image named without suffix, 1 linked folder, "
        "1 not yet downloaded from iCloud, 2 system folder)\n"
    )


def test_a_folder_without_a_loss_ends_well(here, capsys):
    Path("notes.txt").write_text("text")
    assert main(["."]) == 0
    assert capsys.readouterr().err == ".: 3 photos read, 3 skipped (2 .mp4, 1 .txt)\n"


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8 are bytes on Linux only")
def test_names_that_are_not_utf_8_are_read_and_continued(here, capsys):
    folder = os.fsencode(here / "photos")
    os.mkdir(folder)  # noqa: PTH102 - a name in bytes
    shutil.copy(b"a.jpg", folder + b"/caf\xe9.jpg")
    shutil.copy("a.jpg", here / "photos" / "red\x1b[31m\n.jpg")
    table = os.fsdecode(b"tabl\xe9.parquet")
    assert main(["photos", "--parquet", table, "--csv", "t.csv"]) == 0
    out, err = capsys.readouterr()
    assert "caf\\udce9.jpg: happy" in out
    assert "red\\x1b[31m\\n.jpg: happy" in out
    assert "\x1b" not in out + err
    assert main(["photos", "--parquet", table]) == 0
    assert "2 of 2 photos are already in the table" in capsys.readouterr().err
    with Path(table).open("rb") as file:
        rows = pyarrow.parquet.read_table(file).to_pylist()
    assert [row["path"] for row in rows] == ["photos/caf\\udce9.jpg", "photos/red\x1b[31m\n.jpg"]
    assert pd.read_csv("t.csv")["path"].tolist() == [row["path"] for row in rows]
    assert main(["photos", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["path"] for record in records] == [row["path"] for row in rows]
    clip = os.fsdecode(b"clip\xe9.mp4")
    shutil.copy("one.mp4", clip)
    assert main([clip, "--json", "--csv", "v.csv", "--output", os.fsdecode(b"out\xe9.mp4")]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[0])
    assert record["path"] == "clip\\udce9.mp4"


@pytest.mark.parametrize(
    ("address", "secrets"),
    [
        ("rtsp://user:p@ss/w@rd@door:554/live", ["user", "p@ss", "w@rd"]),
        ("admin:geheim@192.168.1.9/live", ["admin", "geheim"]),
        ("http://door/cgi?user=admin&password=geheim&channel=1", ["admin", "geheim"]),
        ("rtsp://door:554/user=admin&password=ge/heim&channel=1&stream=0.sdp?", ["admin", "ge/", "heim"]),
        ("rtsp://door/user=admin_password=tl_Jw_x_channel=1_stream=0.sdp", ["admin", "tl_Jw", "Jw"]),
        ("http://door/cgi?loginuse=admin&loginpas=geheim", ["admin", "geheim"]),
        ("http://door/live?TOKEN=abc123;pwd=geheim#auth=x77", ["abc123", "geheim", "x77"]),
        ("rtsp://door/admin:geheim/ch1", ["admin", "geheim"]),
        ("srt://door:9000?passphrase=geheimgeheim&mode=caller", ["geheim"]),
    ],
)
def test_passwords_of_addresses_are_hidden(address, secrets):
    shown = hide_password(address)
    assert not [secret for secret in secrets if secret in shown]
    assert "***" in shown


def test_harmless_addresses_stay_readable():
    for address in ("rtsp://[::1]:554/live/1", "http://door/mjpg?channel=2&resolution=640x480", "0"):
        assert hide_password(address) == address


def test_control_characters_are_escaped_and_letters_are_not():
    assert plain_line("Zoë\t\x9b2J\u202eend") == "Zoë\\t\\x9b2J\\u202eend"


@pytest.mark.parametrize(
    ("words", "setting", "sentence"),
    [
        (["--port", "99999"], "7860", "from 0 to 65535, got 99999"),
        (["--port", "-1"], "7860", "from 0 to 65535, got -1"),
        ([], "abc", "expected GRADIO_SERVER_PORT to be a number from 0 to 65535, got 'abc'"),
        ([], "70000", "expected GRADIO_SERVER_PORT to be a number from 0 to 65535, got '70000'"),
    ],
)
def test_ports_that_are_none_end_in_a_sentence(words, setting, sentence):
    answer = subprocess.run(
        [sys.executable, "app.py", *words],
        cwd=REPOSITORY,
        env=os.environ | {"GRADIO_SERVER_PORT": setting},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 1
    assert answer.stderr.splitlines() == [answer.stderr.strip()]
    assert sentence in answer.stderr


@pytest.mark.parametrize("words", [["--log", "x.db", "0"], []])
def test_usage_errors_do_not_repeat_passwords(words, capsys):
    with pytest.raises(SystemExit):
        main(["watch", "rtsp://me:geheim@door/1", *words])
    out, err = capsys.readouterr()
    assert "geheim" not in out + err
