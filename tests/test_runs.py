import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from training.run_files import (
    CONFIG_FILE,
    EPOCHS_FILE,
    LAST_FILE,
    STATUS_FILE,
    STOP_FILE,
    RunState,
    write_json,
)
from training.runs import RunInUseError, RunStore, RunWriter, StopRequestedError, new_run_folder, read_run

CONFIG = {"architecture": "kv_fast", "epochs": 3}


def writer(folder, **changes):
    return RunWriter(folder, CONFIG, {"device": "cpu"}, **({"epoch_count": 3} | changes))


def row(epoch, **changes):
    return {"epoch": epoch, "train_loss": 1 / epoch, "val_accuracy": 0.5, "seconds": 1.0} | changes


def test_a_run_is_read_back_whole(tmp_path):
    with writer(tmp_path / "a") as run:
        assert read_run(tmp_path / "a").state is RunState.RUNNING
        run.add_epoch(row(1))
        run.progress(force=True, epoch=1, step=4, step_count=5)
        run.add_report({"heads": {"crowd": {"accuracy": 0.5}}})
        run.add_epoch(row(2))
    run = read_run(tmp_path / "a")
    assert (run.state, run.problem, run.name) == (RunState.FINISHED, "", "a")
    assert run.config == CONFIG
    assert run.environment == {"device": "cpu"}
    assert [epoch["epoch"] for epoch in run.epochs] == [1, 2]
    assert run.status["step"] == 4
    assert run.report == {"heads": {"crowd": {"accuracy": 0.5}}}
    assert not run.is_active
    assert sorted(path.name for path in (tmp_path / "a").glob(".*.tmp")) == []


@pytest.mark.parametrize(
    ("error", "state", "message"),
    [
        pytest.param(
            RuntimeError("CUDA out of memory"), "failed", "RuntimeError: CUDA out of memory", id="failed"
        ),
        pytest.param(KeyboardInterrupt(), "stopped", "stopped on request", id="keyboard"),
        pytest.param(StopRequestedError(), "stopped", "stopped on request", id="stop"),
    ],
)
def test_what_ends_a_run_is_its_state(tmp_path, error, state, message):
    try:
        with writer(tmp_path):
            raise error
    except type(error) as caught:
        assert caught is error
        assert not isinstance(error, StopRequestedError), "a requested stop is no error"
    run = read_run(tmp_path)
    assert (run.state, run.status["message"]) == (state, message)
    assert not run.can_resume, "there is no checkpoint"
    (tmp_path / LAST_FILE).touch()
    assert read_run(tmp_path).can_resume


def test_nan_is_null_in_every_file(tmp_path):
    with writer(tmp_path) as run:
        run.add_epoch(row(1, val_loss=float("nan"), heads=[float("inf"), {"x": float("-inf")}]))
    (epoch,) = read_run(tmp_path).epochs
    assert (epoch["val_loss"], epoch["heads"]) == (None, [None, {"x": None}])


@pytest.mark.parametrize(
    ("text", "count"),
    [
        pytest.param("", 0, id="empty"),
        pytest.param('{"epoch": 1}', 0, id="first line unfinished"),
        pytest.param('{"epoch": 1}\n', 1, id="one"),
        pytest.param('{"epoch": 1}\n{"epoch": 2, "tr', 1, id="half"),
        pytest.param('{"epoch": 1}\n\n{"epoch": 2}\n', 2, id="empty line"),
        pytest.param('{"epoch": 1}\n{"epoch": "\N{SNOWMAN}'.encode()[:-1], 1, id="half a character"),
    ],
)
def test_an_unfinished_last_line_is_ignored(tmp_path, text, count):
    write_json(tmp_path / CONFIG_FILE, CONFIG)
    (tmp_path / EPOCHS_FILE).write_bytes(text if isinstance(text, bytes) else text.encode())
    run = read_run(tmp_path)
    assert (run.state, len(run.epochs)) == (RunState.FINISHED, count)


def test_a_run_goes_on_behind_a_half_written_line(tmp_path):
    with writer(tmp_path) as run:
        run.add_epoch(row(1))
        run.add_epoch(row(2))
    with (tmp_path / EPOCHS_FILE).open("a") as file:
        file.write('{"epoch": 3, "train_l')
    with writer(tmp_path) as run:
        assert read_run(tmp_path).status["epoch"] == 2, "progress starts where the history stands"
        run.keep_epochs(1)
        run.add_epoch(row(2, again=True))
    epochs = read_run(tmp_path).epochs
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]
    assert epochs[1]["again"]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        pytest.param(CONFIG_FILE, None, CONFIG_FILE, id="no config"),
        pytest.param(CONFIG_FILE, "{", "expected JSON in config.json", id="broken config"),
        pytest.param(CONFIG_FILE, "[1]", "expected an object in config.json, got list", id="list"),
        pytest.param(STATUS_FILE, '{"state": "dreaming"}', "another version", id="other version"),
        pytest.param(STATUS_FILE, "{}", "another version", id="no state"),
        pytest.param(EPOCHS_FILE, '{"epoch": 1}\nrubbish\n', "line 2 of epochs.jsonl", id="broken line"),
        pytest.param(EPOCHS_FILE, "3\n", "line 1 of epochs.jsonl", id="number"),
    ],
)
def test_what_cannot_be_read_is_a_run_with_a_problem(tmp_path, name, text, problem):
    with writer(tmp_path / "bad"):
        pass
    with writer(tmp_path / "good"):
        pass
    if text is None:
        (tmp_path / "bad" / name).unlink()
    else:
        (tmp_path / "bad" / name).write_text(text)
    good, bad = RunStore(tmp_path).runs()
    assert good.state is RunState.FINISHED
    assert bad.state is RunState.UNREADABLE
    assert problem in bad.problem
    assert "bad cannot be read" in bad.problem


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user who may be refused")
def test_a_folder_that_may_not_be_read_is_a_run_with_a_problem(tmp_path):
    with writer(tmp_path / "a"):
        pass
    (tmp_path / "a").chmod(0)
    try:
        assert read_run(tmp_path / "a").state is RunState.UNREADABLE
    finally:
        (tmp_path / "a").chmod(0o700)


def test_two_writers_are_refused_by_name(tmp_path):
    with writer(tmp_path):
        script = "from pathlib import Path; from training.runs import RunWriter\n"
        script += f"with RunWriter(Path({str(tmp_path)!r}), {{}}, {{}}, 1): pass"
        second = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
        )
    assert second.returncode == 1
    assert RunInUseError.__name__ in second.stderr
    assert "wait for it or stop it" in second.stderr
    assert read_run(tmp_path).config == CONFIG, "the second one wrote nothing"


TRAINER = """
    import sys, time
    from pathlib import Path
    from training.runs import RunWriter
    with RunWriter(Path(sys.argv[1]), {"architecture": "kv_fast"}, {}, 100) as run:
        for epoch in range(1, 100):
            run.add_epoch({"epoch": epoch})
            print(epoch, flush=True)
            for step in range(20):
                run.progress(epoch=epoch, step=step)
                time.sleep(0.01)
"""


@pytest.fixture
def trainer(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(TRAINER), str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "1\n"
    yield process
    process.kill()
    process.wait(10)
    process.stdout.close()


def test_a_killed_training_is_interrupted_at_once(tmp_path, trainer):
    store = RunStore(tmp_path)
    assert store.runs()[0].state is RunState.RUNNING
    trainer.send_signal(signal.SIGKILL)
    trainer.wait(10)
    (run,) = store.runs()
    assert run.state is RunState.INTERRUPTED
    assert run.status["state"] == "running", "nobody was left to write anything else"
    assert len(run.epochs) >= 1


def test_a_stop_file_stops_within_two_seconds(tmp_path, trainer):
    read_run(tmp_path / "run").request_stop()
    started = time.monotonic()
    trainer.communicate(timeout=10)
    assert time.monotonic() - started < 2.5  # the status is written once a second
    run = read_run(tmp_path / "run")
    assert run.state is RunState.STOPPED
    assert trainer.returncode == 0
    assert not (run.folder / STOP_FILE).exists(), "the next start is not stopped by it"


def test_a_stop_asked_for_while_the_training_starts_is_kept(tmp_path):
    write_json(tmp_path / STATUS_FILE, {"state": "queued"})
    (tmp_path / STOP_FILE).touch()
    with writer(tmp_path) as run:
        run._written_at = 0.0
        run.progress()
    assert read_run(tmp_path).state is RunState.STOPPED


def test_a_stop_asked_of_a_dead_process_is_void(tmp_path):
    write_json(tmp_path / STATUS_FILE, {"state": "running"})
    (tmp_path / STOP_FILE).touch()
    with writer(tmp_path) as run:
        run._written_at = 0.0
        run.progress()
    assert read_run(tmp_path).state is RunState.FINISHED


@pytest.mark.parametrize(
    ("age_s", "state"),
    [
        pytest.param(1, RunState.QUEUED, id="just asked for"),
        pytest.param(60, RunState.INTERRUPTED, id="gone"),
    ],
)
@pytest.mark.parametrize("zone", [pytest.param(UTC, id="utc"), pytest.param(None, id="no zone")])
def test_a_queued_run_needs_a_process_that_waits(tmp_path, age_s, state, zone):
    write_json(tmp_path / CONFIG_FILE, CONFIG)
    at = (datetime.now(UTC) - timedelta(seconds=age_s)).replace(tzinfo=zone)
    write_json(tmp_path / STATUS_FILE, {"state": "queued", "updated_at": at.isoformat()})
    assert read_run(tmp_path).state is state


def test_a_full_disk_leaves_the_old_status_and_frees_the_lock(tmp_path, monkeypatch):
    full = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="No space left"), writer(tmp_path) as run:
        before = (tmp_path / STATUS_FILE).read_bytes()

        def refuse(self, text, encoding=None):
            raise full

        monkeypatch.setattr(Path, "write_text", refuse)
        run.progress(force=True, step=1)
    monkeypatch.undo()
    assert (tmp_path / STATUS_FILE).read_bytes() == before
    assert not list(tmp_path.glob(".*.tmp"))
    assert read_run(tmp_path).state is RunState.INTERRUPTED
    with writer(tmp_path):  # the lock is free
        pass


def test_the_store_lists_newest_first_and_reads_only_what_changed(tmp_path):
    assert RunStore(tmp_path / "missing").runs() == []
    store = RunStore(tmp_path)
    assert list(store) == []
    for name in ("20260101-000000_a", "20260102-000000_b"):
        with writer(tmp_path / name) as run:
            run.add_epoch(row(1))
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "a file").touch()
    first = store.runs()
    assert [run.name for run in first] == ["20260102-000000_b", "20260101-000000_a"]
    assert all(again is once for again, once in zip(store.runs(), first, strict=True))
    with writer(first[0].folder) as run:
        run.add_epoch(row(2))
    second = store.runs()
    assert len(second[0].epochs) == 2
    assert second[1] is first[1]


def test_new_folders_never_collide(tmp_path):
    names = set()
    for _ in range(3):
        folder = new_run_folder(tmp_path, "kv_fast")
        folder.mkdir()
        names.add(folder.name)
    assert len(names) == 3
    assert all("_kv_fast" in name for name in names)


def test_status_is_plain_json_for_others(tmp_path):
    with writer(tmp_path):
        pass
    status = json.loads((tmp_path / STATUS_FILE).read_text())
    assert status.keys() >= {
        "state", "epoch", "epoch_count", "step", "step_count", "message", "started_at", "updated_at",
    }  # fmt: skip


def test_a_stop_is_seen_between_epochs_shorter_than_a_heartbeat(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", {}, {}, 1000) as writer:
        writer.progress(step=1)
        (tmp_path / "run" / "stop").touch()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            writer.progress(force=True, epoch=1)
            writer.progress(step=1)
            time.sleep(0.05)
        pytest.fail("the stop file was never looked at")
    assert read_run(tmp_path / "run").state is RunState.STOPPED
