"""Queue of training jobs: one at a time, each in a detached process that outlives its caller.

``python -m training.jobs RUN_FOLDER`` waits until no other training in the parent folder is active, starts
``training.train`` and supervises it. All communication goes through the run directory.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

from training.config import TrainConfig
from training.run_files import (
    CONFIG_FILE,
    JOB_LOCK_FILE,
    LAST_FILE,
    LOG_FILE,
    STATUS_FILE,
    STOP_FILE,
    RunState,
    read_object,
    state_of,
    write_json,
)
from training.run_process import is_locked
from training.runs import Run, RunStore, new_run_folder, read_run

JOB_FILE: Final = "job.json"
WAIT_S: Final = 0.5
"""Interval at which a queued job checks for its turn, in seconds."""

_ROOT: Final = Path(__file__).resolve().parent.parent
_LOG_TAIL_BYTES: Final = 64 * 1024


class JobError(RuntimeError):
    """A training that cannot be started, stopped or resumed."""


def start(config: TrainConfig, *, cuda_devices: Sequence[int] = ()) -> Path:
    """Queue a training.

    Args:
        config: The settings.
        cuda_devices: Numbers of the GPUs to use; several GPUs start one process each under ``torchrun``.

    Returns:
        The new run directory.

    Raises:
        JobError: A run of this name exists.
        OSError: The run directory cannot be written.
    """
    folder = config.runs / config.name if config.name else new_run_folder(config.runs, config.architecture)
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise JobError(
            f"a run named {folder.name!r} exists in {folder.parent}; choose another name"
        ) from error
    write_json(folder / CONFIG_FILE, config.to_dict() | {"runs": str(folder.parent), "name": folder.name})
    _enqueue(folder, cuda_devices)
    return folder


def resume(folder: Path) -> None:
    """Queue a stopped, failed or interrupted run again; it resumes from its last checkpoint, if any.

    Raises:
        JobError: The run is active, finished, unreadable or not from ``training.train``.
    """
    folder = folder.absolute()
    run = read_run(folder)
    if run.state not in (RunState.STOPPED, RunState.FAILED, RunState.INTERRUPTED):
        raise JobError(f"expected a stopped, failed or interrupted run, got {run.name}, which is {run.state}")
    try:
        TrainConfig.from_dict(run.config)
    except (ValueError, TypeError, KeyError) as error:
        raise JobError(
            f"{run.name} cannot be resumed here: its settings are of another kind ({error})"
        ) from error
    (folder / STOP_FILE).unlink(missing_ok=True)
    _enqueue(folder, cuda_devices(folder), status=dict(run.status))


def stop(folder: Path) -> None:
    """Request a stop: a running training stops after its current step, a queued one at once."""
    run = read_run(folder)
    if not run.is_active:
        raise JobError(f"{run.name} is {run.state}; only a running or queued training can be stopped")
    run.request_stop()


def end(folder: Path) -> None:
    """Kill the processes of a run that does not respond; the run is then interrupted and can be resumed.

    Raises:
        JobError: The run was not started on this machine, or has ended.
    """
    pid = _read_job(folder).get("pid")
    if not isinstance(pid, int) or not is_locked(folder / JOB_LOCK_FILE):
        raise JobError(f"no process of {folder.name} is known here; end it where it was started")
    if os.name == "nt":
        os.kill(pid, signal.SIGTERM)
    else:
        os.killpg(pid, signal.SIGKILL)


def cuda_devices(folder: Path) -> tuple[int, ...]:
    """Return the numbers of a run's GPUs; empty for CPU runs and runs started from the shell."""
    return tuple(int(number) for number in _read_job(folder).get("cuda_devices", ()))


def log_tail(folder: Path, line_count: int = 40) -> list[str]:
    """Return the last lines of the training's output; of a progress bar, only the last state."""
    path = folder / LOG_FILE
    if not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _LOG_TAIL_BYTES, 0))
        text = file.read().decode("utf-8", errors="replace")
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n")]
    return [line for line in lines if line.strip()][-line_count:]


def command_line(config: TrainConfig) -> list[str]:
    """Return the arguments of ``python -m training.train`` for this config."""
    arguments: list[str] = []
    for field in fields(config):
        value = getattr(config, field.name)
        if field.default is not MISSING and value == field.default:
            continue
        flag = field.name.replace("_", "-")
        if isinstance(value, bool):
            arguments.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, tuple):
            arguments += [f"--{flag}", *(str(item) for item in value)]
        else:
            arguments += [f"--{flag}", str(value)]
    return arguments


def training_command(folder: Path) -> list[str]:
    """Return the command that starts or resumes the training of a run directory; one process per GPU."""
    process_count = len(cuda_devices(folder))
    launcher = [sys.executable, "-u", "-m"]
    if process_count > 1:
        launcher += ["torch.distributed.run", "--standalone", f"--nproc-per-node={process_count}", "-m"]
    if (folder / LAST_FILE).is_file():
        return [*launcher, "training.train", "--resume", str(folder)]
    config = TrainConfig.from_dict(
        read_object(folder / CONFIG_FILE) | {"runs": str(folder.parent), "name": folder.name}
    )
    return [*launcher, "training.train", *command_line(config)]


def _enqueue(folder: Path, devices: Sequence[int], status: dict[str, Any] | None = None) -> None:
    now = datetime.now(UTC).isoformat()
    write_json(folder / JOB_FILE, {"queued_at": now, "cuda_devices": list(devices)})
    waiting = {"state": RunState.QUEUED, "message": "waiting for its turn", "updated_at": now}
    write_json(folder / STATUS_FILE, (status or {}) | waiting)
    with (folder / LOG_FILE).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "training.jobs", str(folder)],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    # No caller waits for the process; reap it to avoid a zombie.
    threading.Thread(target=process.wait, name=f"reap {folder.name}", daemon=True).start()


def _read_job(folder: Path) -> dict[str, Any]:
    try:
        return read_object(folder / JOB_FILE)
    except (OSError, ValueError):
        return {}


def look_after(folder: Path) -> int:
    """Wait in the queue, train, record the outcome; runs in the job's process.

    Returns:
        The exit status of the training.
    """
    with FileLock(folder / JOB_LOCK_FILE, timeout=5):
        job = _read_job(folder) | {"pid": os.getpid()}
        write_json(folder / JOB_FILE, job)
        if not _wait_for_turn(folder):
            _set_status(folder, RunState.STOPPED, "stopped before it started")
            (folder / STOP_FILE).unlink(missing_ok=True)
            return 0
        _set_status(folder, RunState.QUEUED, "starting")
        exit_status = _train(folder)
        _conclude(folder, exit_status)
        return exit_status


def _wait_for_turn(folder: Path) -> bool:
    """Wait until this run is first in the queue; return False if it was stopped."""
    store = RunStore(folder.parent)
    while not (folder / STOP_FILE).exists():
        others = [run for run in store.runs() if run.folder != folder and run.is_active]
        if not any(_is_before(run, folder) for run in others):
            return True
        time.sleep(WAIT_S)
    return False


def _is_before(run: Run, folder: Path) -> bool:
    if run.state is RunState.RUNNING:
        return True
    place = (str(_read_job(run.folder).get("queued_at", "")), run.name)
    return place < (str(_read_job(folder).get("queued_at", "")), folder.name)


def _train(folder: Path) -> int:
    environment = dict(os.environ)
    if devices := cuda_devices(folder):
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(str(number) for number in devices)
    process = subprocess.Popen(training_command(folder), cwd=_ROOT, env=environment, stdin=subprocess.DEVNULL)
    while process.poll() is None:
        # Until the training has opened its run, only this process reads the stop file.
        if (folder / STOP_FILE).exists() and state_of(folder) is RunState.QUEUED:
            process.terminate()
        time.sleep(0.2)
    return process.returncode


def _conclude(folder: Path, exit_status: int) -> None:
    state = state_of(folder)
    stopped = (folder / STOP_FILE).exists()
    if state is RunState.QUEUED and stopped:
        _set_status(folder, RunState.STOPPED, "stopped before its first step")
        (folder / STOP_FILE).unlink(missing_ok=True)
    elif state is RunState.QUEUED:
        last = next(iter(log_tail(folder, 1)), "it printed nothing")
        _set_status(folder, RunState.FAILED, f"ended with status {exit_status} before its first step: {last}")
    elif state is RunState.RUNNING:
        reason = f"by signal {-exit_status}" if exit_status < 0 else f"with status {exit_status}"
        _set_status(folder, RunState.RUNNING, f"the training process was ended {reason}")


def _set_status(folder: Path, state: RunState, message: str) -> None:
    try:
        status = read_object(folder / STATUS_FILE)
    except (OSError, ValueError):
        status = {}
    now = datetime.now(UTC).isoformat()
    write_json(folder / STATUS_FILE, status | {"state": state, "message": message, "updated_at": now})


def main() -> None:
    """Run the job of the run directory on the command line."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m training.jobs RUN_FOLDER")
    raise SystemExit(look_after(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
