"""Commands of training and benchmarks give a sentence and a status, never a traceback."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from fer.commands import exit_status
from training.command import EXPECTED_ERRORS, run_command

ROOT = Path(__file__).resolve().parent.parent
OTHER_MAINS = {
    "training/jobs.py": "started by the dashboard; its answer is the run's state",
    "benchmarks/tour.py": "takes no options",
    "benchmarks/plain_stream.py": "started by benchmarks.live",
    "benchmarks/live_cost_server.py": "started by benchmarks.live_cost",
}


@dataclass(frozen=True)
class Options:
    """Options of a command.

    Attributes:
        count: A number.
    """

    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"expected count of at least 1, got {self.count}")


def test_options_are_read_and_the_status_is_returned(capsys) -> None:
    seen = []
    assert run_command(Options, seen.append, "training.toy", ["--count", "3"]) == 0
    assert seen == [Options(3)]
    assert run_command(Options, lambda _: 5, "training.toy", []) == 5
    assert capsys.readouterr() == ("", "")


def test_bad_options_are_explained_under_the_name_of_the_command(capsys) -> None:
    with pytest.raises(SystemExit) as status:
        run_command(Options, print, "training.toy", ["--count", "0"])
    said = capsys.readouterr().err
    assert status.value.code == 2
    assert "expected count of at least 1, got 0" in said
    assert "python -m training.toy --help" in said


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("expected a face, got a cat"), "expected a face, got a cat"),
        (ValueError("two\nlines"), r"two\nlines"),
        (
            FileNotFoundError(2, "No such file or directory", "x"),
            "x cannot be used (No such file or directory)",
        ),
        (PermissionError(13, "Permission denied", "x"), "x cannot be used (Permission denied)"),
        (FileNotFoundError("x.parquet"), "x.parquet does not exist"),
        (ModuleNotFoundError("'--tensorboard' needs pip install"), "'--tensorboard' needs pip install"),
        (MemoryError("a batch size of 4 fits"), "a batch size of 4 fits"),
        (OSError("the camera is busy"), "the camera is busy"),
        (OSError(28, "No space left on device"), "the output cannot be used (No space left on device)"),
    ],
)
def test_an_expected_error_is_a_sentence(error: Exception, sentence: str, capsys, monkeypatch) -> None:
    monkeypatch.setattr("fer.commands._discard_output", lambda: None)  # an output that failed is replaced

    def fail() -> None:
        raise error

    assert exit_status(fail, EXPECTED_ERRORS) == 1
    assert capsys.readouterr().err == f"error: {sentence}\n"


def test_a_fault_of_the_program_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        exit_status(lambda: 1 // 0, EXPECTED_ERRORS)


def test_every_command_is_run_this_way() -> None:
    mains = {
        path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
        for folder in ("training", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if '__name__ == "__main__"' in path.read_text("utf-8")
    }
    assert OTHER_MAINS.keys() < mains.keys()
    others = {
        name for name, text in mains.items() if "run_command(" not in text and "exit_status(" not in text
    }
    assert others == OTHER_MAINS.keys()
