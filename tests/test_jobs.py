import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import tyro
from PIL import Image

from training import jobs
from training.config import TrainConfig
from training.jobs import JobError
from training.run_files import CONFIG_FILE, LAST_FILE, LOG_FILE, STATUS_FILE, RunState, write_json
from training.runs import RunWriter, read_run


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="defaults"),
        pytest.param({"augment": False, "dropout": 0.25, "heads": ("fer2013",)}, id="kinds of values"),
        pytest.param({"data": (Path("/a b/c"), Path("/d")), "runs": Path("/x"), "name": "n"}, id="paths"),
        pytest.param({"learning_rate": 1e-5, "ema_decay": 0.0, "schedule": "plateau"}, id="numbers"),
        pytest.param({"initial_weights": "kv_fast.crowd", "epochs": 3, "warmup_epochs": 0}, id="fine-tune"),
    ],
)
def test_the_command_line_means_the_same_config(changes):
    config = TrainConfig(**({"data": (Path("/data"),)} | changes))
    assert tyro.cli(TrainConfig, args=jobs.command_line(config)) == config


@pytest.fixture
def queued(tmp_path):
    """A run folder as ``start`` leaves it, without the process."""
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    config = TrainConfig(data=(tmp_path,), runs=folder.parent, name="a", epochs=2, warmup_epochs=0)
    write_json(folder / CONFIG_FILE, config.to_dict())
    now = datetime.now(UTC).isoformat()
    write_json(folder / STATUS_FILE, {"state": "queued", "updated_at": now})
    return folder


def test_a_fresh_run_trains_and_one_with_a_checkpoint_goes_on(queued):
    command = jobs.training_command(queued)
    assert command[:4] == [sys.executable, "-u", "-m", "training.train"]
    assert command[-2:] == ["--name", "a"]
    (queued / LAST_FILE).touch()
    assert jobs.training_command(queued)[3:] == ["training.train", "--resume", str(queued)]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"architecture": "kv_face", "photos": "a.parquet"}, id="the detector's training"),
        pytest.param({"data": ["x"], "a_setting_of_tomorrow": 1}, id="another version"),
        pytest.param({}, id="nothing"),
    ],
)
def test_settings_of_another_kind_are_not_resumed(queued, settings):
    write_json(queued / CONFIG_FILE, settings)
    status = {"state": "stopped"}
    write_json(queued / STATUS_FILE, status)
    with pytest.raises(JobError, match="settings are of another kind"):
        jobs.resume(queued)
    assert read_run(queued).status == status, "nothing was lost"


def test_several_cards_start_under_torchrun(queued):
    write_json(queued / jobs.JOB_FILE, {"cuda_devices": [0, 2]})
    command = jobs.training_command(queued)
    assert command[2:8] == [
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "training.train",
    ]  # fmt: skip


def run_script(script):
    """Stands in for the training program, not for the job around it."""
    return lambda folder: [sys.executable, "-c", script, str(folder)]


@pytest.mark.parametrize(
    ("script", "state", "message"),
    [
        pytest.param("print('no module x'); raise SystemExit(3)", "failed", "status 3", id="cannot start"),
        pytest.param("import os; os.kill(os.getpid(), 9)", "failed", "status -9", id="killed at once"),
        pytest.param(
            "import sys, os; from pathlib import Path; from training.runs import RunWriter\n"
            "RunWriter(Path(sys.argv[1]), {}, {}, 2).__enter__(); os.kill(os.getpid(), 9)",
            "interrupted", "signal 9", id="killed in training",
        ),
        pytest.param(
            "import sys; from pathlib import Path; from training.runs import RunWriter\n"
            "with RunWriter(Path(sys.argv[1]), {}, {}, 2): raise ValueError('too bad')",
            "failed", "ValueError: too bad", id="says why",
        ),
        pytest.param(
            "import sys; from pathlib import Path; from training.runs import RunWriter\n"
            "with RunWriter(Path(sys.argv[1]), {}, {}, 2): pass",
            "finished", "", id="finished",
        ),
    ],
)  # fmt: skip
def test_how_a_training_ended_is_written_down(queued, monkeypatch, script, state, message):
    monkeypatch.setattr(jobs, "training_command", run_script(script))
    jobs.look_after(queued)
    run = read_run(queued)
    assert run.state == state
    assert message in run.status["message"]


def test_a_stop_while_the_training_still_imports_is_a_stop(queued, monkeypatch):
    monkeypatch.setattr(jobs, "training_command", run_script("import time; time.sleep(60)"))
    wait = jobs._wait_for_turn

    def stop_afterwards(folder):
        turn = wait(folder)
        jobs.stop(folder)
        return turn

    monkeypatch.setattr(jobs, "_wait_for_turn", stop_afterwards)
    started = time.monotonic()
    jobs.look_after(queued)
    assert time.monotonic() - started < 10
    assert read_run(queued).state is RunState.STOPPED


def test_a_stopped_job_in_the_queue_never_begins(queued, monkeypatch):
    monkeypatch.setattr(jobs, "training_command", lambda folder: pytest.fail("it began"))
    jobs.stop(queued)
    jobs.look_after(queued)
    run = read_run(queued)
    assert (run.state, run.status["message"]) == (RunState.STOPPED, "stopped before it started")


def test_a_running_or_earlier_training_goes_first(queued):
    other = queued.parent / "b"
    with RunWriter(other, {}, {}, 1):
        assert jobs._is_before(read_run(other), queued)
    write_json(queued / jobs.JOB_FILE, {"queued_at": "2026-01-02"})
    write_json(other / STATUS_FILE, {"state": "queued", "updated_at": datetime.now(UTC).isoformat()})
    for at, is_before in (("2026-01-01", True), ("2026-01-03", False), ("2026-01-02", False)):
        write_json(other / jobs.JOB_FILE, {"queued_at": at})
        assert jobs._is_before(read_run(other), queued) is is_before, at


def test_what_cannot_be_stopped_or_resumed_is_refused_by_name(tmp_path, queued):
    with RunWriter(tmp_path / "done", {}, {}, 1):
        pass
    with pytest.raises(JobError, match="done is finished"):
        jobs.stop(tmp_path / "done")
    with pytest.raises(JobError, match="done, which is finished"):
        jobs.resume(tmp_path / "done")
    with pytest.raises(JobError, match="a, which is queued"):
        jobs.resume(queued)
    with pytest.raises(JobError, match="no process of done"):
        jobs.end(tmp_path / "done")
    with pytest.raises(JobError, match="choose another name"):
        jobs.start(TrainConfig(data=(tmp_path,), runs=queued.parent, name="a"))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(None, [], id="no file"),
        pytest.param(b"", [], id="empty"),
        pytest.param(b"one\n\ntwo", ["one", "two"], id="unfinished"),
        pytest.param(b" 10%\r 20%\r 30%\nnext\n", [" 30%", "next"], id="progress bar"),
        pytest.param(b"\xff\n", ["\N{REPLACEMENT CHARACTER}"], id="no text"),
        pytest.param(b"x\n" * 100_000, ["x"] * 40, id="long"),
    ],
)
def test_log_tail(tmp_path, text, lines):
    if text is not None:
        (tmp_path / LOG_FILE).write_bytes(text)
    assert jobs.log_tail(tmp_path) == lines


@pytest.fixture
def pictures(tmp_path):
    """Sixty noisy pictures whose brightness tells the class."""
    generator = np.random.default_rng(0)
    for name, level in (("happy", 60), ("sad", 190)):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for number in range(30):
            pixels = np.clip(generator.normal(level, 40, (48, 48)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "pictures"


def wait_for(folder, *states, timeout_s=120):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        run = read_run(folder)
        if run.state in states:
            return run
        time.sleep(0.1)
    pytest.fail(f"{run.state} {dict(run.status)} {jobs.log_tail(folder)}")


def small(pictures, tmp_path, **changes):
    settings = {"epochs": 2, "warmup_epochs": 0, "batch_size": 16, "device": "cpu", "thread_count": 1}
    settings |= {"data": (pictures,), "runs": tmp_path / "runs", "val_share": 0.3} | changes
    return TrainConfig(**settings)


@pytest.mark.slow
def test_two_trainings_run_one_after_the_other_and_outlive_who_started_them(pictures, tmp_path):
    script = f"""
from pathlib import Path
from training import jobs
from training.config import TrainConfig
for name in ("first", "second"):
    jobs.start(TrainConfig(data=(Path({str(pictures)!r}),), epochs=2, warmup_epochs=0, batch_size=16,
                           device="cpu", val_share=0.3, thread_count=1,
                           runs=Path({str(tmp_path / "runs")!r}), name=name))
"""
    subprocess.run(
        [sys.executable, "-c", script], check=True, timeout=30
    )  # it has ended: nobody waits for them
    first, second = tmp_path / "runs" / "first", tmp_path / "runs" / "second"
    wait_for(first, RunState.RUNNING, RunState.FINISHED)
    assert read_run(second).state is RunState.QUEUED
    assert wait_for(first, RunState.FINISHED, RunState.FAILED).state is RunState.FINISHED
    done = wait_for(second, RunState.FINISHED, RunState.FAILED)
    assert done.state is RunState.FINISHED
    assert [row["epoch"] for row in done.epochs] == [1, 2]
    assert done.report["heads"].keys() == {"crowd", "fer2013"}


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_last_whole_epoch_with_the_same_curve(pictures, tmp_path):
    unbroken = jobs.start(small(pictures, tmp_path, epochs=8, name="unbroken"))
    wait_for(unbroken, RunState.FINISHED)
    killed = jobs.start(small(pictures, tmp_path, epochs=8, name="killed"))
    deadline = time.monotonic() + 60
    while len(read_run(killed).epochs) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    jobs.end(killed)
    run = wait_for(killed, RunState.INTERRUPTED, RunState.FINISHED, timeout_s=20)
    assert run.state is RunState.INTERRUPTED, "it was over before it could be killed"
    assert run.can_resume
    jobs.resume(killed)
    resumed = wait_for(killed, RunState.FINISHED, RunState.FAILED)
    assert resumed.state is RunState.FINISHED
    curves = [
        [(row["epoch"], row["train_loss"], row["val_accuracy"], row["learning_rate"]) for row in run.epochs]
        for run in (resumed, read_run(unbroken))
    ]
    # The same seeds give the same pictures; only the order of floating-point sums may differ.
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-3, atol=1e-3)
