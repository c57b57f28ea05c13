"""Watching a stream: log, gaps, alerts, and a real stream that fails and recovers."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from fakes import fake_analyzer, red_face

from fer.__main__ import main
from fer.emotions import SIX_EMOTIONS, Emotion
from fer.faces import Box, Detection, Face, Prediction
from fer.folders.records import AnalyzerRecipe
from fer.video import Frame
from fer.watch.alerts import Alert, AlertActions, AlertWatch, parse_alert
from fer.watch.log import LogError, WatchLog
from fer.watch.watching import StreamNeverStartedError, Watch

ORIGIN = {"source": "rtsp://***@door", "weights": "fake.red", "detector": "patch"}


def rows(path: Path, statement: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def face(share: float, track_id: int = 1, emotion: Emotion = Emotion.FEARFUL) -> Face:
    shares = np.full(6, (1 - share) / 5, np.float32)
    shares[SIX_EMOTIONS.index(emotion)] = share
    return Face(Detection(Box(1, 2, 30, 40), 0.9), Prediction(SIX_EMOTIONS, shares), track_id)


@pytest.mark.parametrize(
    ("text", "alert"),
    [
        ("fearful:0.8:3s", Alert(Emotion.FEARFUL, 0.8, 3)),
        ("Happiness:1:0.5", Alert(Emotion.HAPPY, 1, 0.5)),
        (" sad:.5:0s ", Alert(Emotion.SAD, 0.5, 0)),
    ],
)
def test_alerts_are_read(text, alert):
    assert parse_alert(text) == alert
    assert parse_alert(str(alert)) == alert


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fearful",
        "fearful:0.8",
        "bored:0.8:3s",
        "fearful:0:3s",
        "fearful:2:3s",
        "fearful:0.8:3m",
        "fearful:1.2.3:3s",
    ],
)
def test_other_alerts_are_refused(text):
    with pytest.raises(ValueError, match=r"expected an alert such as fearful|expected a probability"):
        parse_alert(text)


@pytest.mark.parametrize(
    ("shares", "times"),
    [
        pytest.param([0.9] * 8, [3.0], id="once while it is held"),
        pytest.param([0.9, 0.9, 0.9, 0.5, 0.9, 0.9, 0.9, 0.9], [7.0], id="a break begins anew"),
        pytest.param([0.5] * 8, [], id="too weak"),
        pytest.param([0.9] * 3, [], id="too short"),
        pytest.param([0.9] * 4 + [0.1] + [0.9] * 4, [3.0, 8.0], id="again after it let go"),
    ],
)
def test_alerts_need_their_time(shares, times):
    watch = AlertWatch(Alert(Emotion.FEARFUL, 0.8, 3.0))
    assert [float(t) for t, share in enumerate(shares) if watch.update([face(share)], float(t))] == times


def test_alerts_never_mix_two_people():
    watch = AlertWatch(Alert(Emotion.FEARFUL, 0.8, 3.0))
    for t in range(8):  # each for two seconds only, together for eight
        assert watch.update([face(0.9, track_id=1 + t // 2)], float(t)) == []


def test_a_face_that_was_away_begins_anew():
    watch = AlertWatch(Alert(Emotion.FEARFUL, 0.8, 3.0))
    watch.update([face(0.9)], 0.0)
    watch.update([], 1.5)
    assert watch.update([face(0.9)], 3.0) == []


def test_the_log_keeps_every_face_and_every_look(tmp_path):
    with WatchLog(tmp_path / "a.sqlite", SIX_EMOTIONS, ORIGIN) as log:
        log.add_faces([face(0.9), face(0.4, 2)], 1000.0)
        log.add_faces([], 1000.5)
    path = tmp_path / "a.sqlite"
    assert rows(path, "SELECT time_s, track_id, emotion, left, bottom FROM faces") == [
        (1000.0, 1, "fearful", 1.0, 40.0),
        (1000.0, 2, "fearful", 1.0, 40.0),
    ]
    assert rows(path, "SELECT look_count, end_s, source FROM runs") == [(2, 1000.5, "rtsp://***@door")]
    (shares,) = rows(path, "SELECT fearful, neutral FROM faces WHERE track_id = 1")
    assert shares == pytest.approx((0.9, 0.02), abs=1e-6)  # single precision


def test_the_log_goes_on_after_a_restart(tmp_path):
    for _ in range(2):
        with WatchLog(tmp_path / "a.sqlite", SIX_EMOTIONS, ORIGIN) as log:
            log.add_faces([face(0.9)], 1000.0)
    assert rows(tmp_path / "a.sqlite", "SELECT run FROM faces") == [(1,), (2,)]


def test_a_log_of_an_earlier_version_or_another_head_is_widened(tmp_path):
    path = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE faces (run INTEGER, time_s REAL, track_id INTEGER, emotion TEXT, confidence REAL, "
            "left REAL, top REAL, right REAL, bottom REAL, score REAL, other REAL, "
            f"{', '.join(f'{emotion} REAL' for emotion in SIX_EMOTIONS)})"
        )
        connection.execute("INSERT INTO faces (run, time_s, emotion) VALUES (1, 999.0, 'sad')")
        connection.commit()
    with WatchLog(path, SIX_EMOTIONS, ORIGIN) as log:
        log.add_faces([face(0.9)], 1000.0)
    with WatchLog(path, (*SIX_EMOTIONS, Emotion.DISGUSTED), ORIGIN) as log:
        log.add_faces([face(0.8)], 1001.0)
    assert rows(path, "SELECT emotion, unsure, roll, disgusted FROM faces ORDER BY time_s") == [
        ("sad", None, None, None),
        ("fearful", 0, 0.0, None),
        ("fearful", 0, 0.0, None),
    ]


def test_the_log_is_put_aside_when_it_is_large(tmp_path):
    with WatchLog(tmp_path / "a.sqlite", SIX_EMOTIONS, ORIGIN, keep_count=2) as log:
        for number in range(4):
            log.add_faces([face(0.9)], float(number))
            log.begin_gap(float(number), "cable")
            log.rotate()
        log.end_gap(9.0)
    kept = sorted(path.name for path in tmp_path.glob("a.*.sqlite"))
    assert len(kept) == 2
    assert rows(tmp_path / kept[0], "SELECT time_s FROM faces") == [(2.0,)]
    assert rows(tmp_path / "a.sqlite", "SELECT end_s FROM gaps") == [(9.0,)]


@pytest.mark.parametrize("kind", ["text", "folder", "missing folder"])
def test_other_files_are_no_log(kind, tmp_path):
    path = tmp_path / "a.sqlite"
    if kind == "text":
        path.write_text("Dear reader, this is not a database. " * 100)
    elif kind == "folder":
        path.mkdir()
    else:
        path = tmp_path / "no" / "a.sqlite"
    with pytest.raises(LogError, match="cannot be used as a log"):
        WatchLog(path, SIX_EMOTIONS, ORIGIN)


class FakeStream:
    """Gives frames in turn, None for a moment in which nothing comes."""

    problem = "Connection refused"

    def __init__(self, frames, stop: threading.Event):
        self._frames = list(frames)
        self._stop = stop

    def next_frame(self, timeout_s):
        if not self._frames:
            self._stop.set()
            return None
        return self._frames.pop(0)


@pytest.fixture
def watch(tmp_path):
    with WatchLog(tmp_path / "a.sqlite", SIX_EMOTIONS, ORIGIN) as log:
        yield Watch(fake_analyzer(), log, every_s=0.0)


def test_gaps_are_marked_from_the_last_frame_to_the_next(tmp_path):
    said = []
    log = WatchLog(tmp_path / "a.sqlite", SIX_EMOTIONS, ORIGIN)
    watch = Watch(fake_analyzer(), log, every_s=0.0, on_change=said.append)
    watch.look(Frame(red_face(), 100.0))
    watch.miss(101.0, "Connection refused")  # too short for a gap
    watch.miss(103.0, "Connection refused")
    watch.miss(104.0, "Connection refused")
    watch.look(Frame(red_face(), 110.0))
    log.close()
    ((start_s, end_s, reason),) = rows(tmp_path / "a.sqlite", "SELECT start_s, end_s, reason FROM gaps")
    assert end_s - start_s == pytest.approx(10.0, abs=0.05)  # two readings of the wall clock
    assert reason == "Connection refused"
    assert said == ["watching", "no frames (Connection refused); trying again", "frames are arriving again"]
    assert watch.gap_count == 1


def test_another_scene_is_another_person(watch):
    background = np.repeat(np.linspace(0, 120, 64).astype(np.uint8)[None, :, None], 48, axis=0).repeat(
        3, axis=2
    )
    seen = []
    for number, behind in enumerate((background, background, background[:, ::-1])):
        scene = behind.copy()
        scene[10:34, 20:44] = (220, 30, 30)
        watch.look(Frame(scene, 100.0 + number))
        seen.append([face.track_id for face in watch.faces])
    assert seen == [[1], [1], [2]]


def test_a_stream_that_never_starts_is_given_up(watch):
    stop = threading.Event()
    with pytest.raises(StreamNeverStartedError, match="no frame within 0 s"):
        watch.run(FakeStream([None] * 5, stop), stop, give_up_s=0.0)


def test_a_stop_loses_nothing(tmp_path):
    stop = threading.Event()
    with WatchLog(tmp_path / "a.sqlite", SIX_EMOTIONS, ORIGIN) as log:
        frames = [Frame(red_face(), float(t)) for t in range(5)]
        Watch(fake_analyzer(), log, every_s=0.0).run(FakeStream(frames, stop), stop)
    assert rows(tmp_path / "a.sqlite", "SELECT COUNT(*) FROM faces") == [(5,)]


def test_an_alert_runs_a_program_and_keeps_a_picture(tmp_path):
    script = tmp_path / "note.py"
    script.write_text(
        "import os, sys; open(sys.argv[1], 'w').write(os.environ['FER_ALERT'] + os.environ['FER_PICTURE'])"
    )
    note = tmp_path / "note it.txt"
    actions = AlertActions("door", f"{sys.executable} {script} '{note}'", tmp_path / "kept", print)
    picture = actions.act(Alert(Emotion.HAPPY, 0.8, 3), face(0.9), Frame(red_face(), 0.0))
    actions.finish()
    assert note.read_text() == f"happy:0.8:3s{picture}"
    assert Path(picture).stat().st_size > 0


@pytest.mark.parametrize("command", ["no-such-program --loud", "/dev/null"])
def test_a_program_that_cannot_run_does_not_stop_the_watch(command):
    said = []
    actions = AlertActions("door", command, None, said.append)
    assert actions.act(Alert(Emotion.HAPPY, 0.8, 3), face(0.9), Frame(red_face(), 0.0)) is None
    assert "cannot be run" in said[0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["clip.mp4", "--log", "a.sqlite"], "expected a camera's number"),
        (["ftp://user:secret@x/y", "--log", "a.sqlite"], "expected a camera's number"),
        (["0", "--log", "a.sqlite", "--alert", "bored:1:1"], "expected an alert"),
        (["0", "--log", "a.sqlite", "--exec", "true"], "add one such as"),
        (["0", "--log", "a.sqlite", "--every", "-1"], "of at least 0"),
        (["http://127.0.0.1:9/none", "--log", "a.sqlite", "--give-up", "0.5"], "no frame within 0.5 s"),
        (["http://127.0.0.1:9/none", "--log", "no/a.sqlite"], "cannot be used as a log"),
    ],
)
def test_bad_words_end_in_one_sentence(words, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(AnalyzerRecipe, "build", lambda recipe: fake_analyzer())
    assert main(["watch", *words]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert sentence in errors[0]
    assert "secret" not in errors[0]


@pytest.mark.golden
@pytest.mark.slow
def test_the_command_records_until_it_is_told_to_stop(sender, tmp_path):
    log = tmp_path / "faces.sqlite"
    command = [sys.executable, "-m", "fer", "watch", sender.address, "--log", str(log), "--every", "0.1"]
    repository = Path(__file__).resolve().parent.parent
    with subprocess.Popen(command, cwd=repository, stderr=subprocess.PIPE, text=True) as watch:
        assert "watching" in watch.stderr.readline()
        time.sleep(1.5)
        os.kill(watch.pid, signal.SIGTERM)
        said = watch.stderr.read()
    assert watch.returncode == 0
    assert "stopped" in said
    ((looks, length_s),) = rows(log, "SELECT look_count, end_s - start_s FROM runs")
    assert looks > 3
    assert length_s > 1
