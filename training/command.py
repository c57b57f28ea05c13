"""Run a command: read its options, do its work, give a sentence instead of a traceback."""

import sys
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from fer.model_card import UnknownModelError
from fer.printable import plain_line
from training.runs import RunInUseError

Options = TypeVar("Options")

EXPECTED_ERRORS: Final = (
    ValueError,
    UnknownModelError,
    RunInUseError,
    OSError,
    MemoryError,
    ModuleNotFoundError,
)
"""Errors whose messages are for users; any other error is a fault of the program."""


def run_command(
    options: type[Options],
    work: Callable[[Options], int | None],
    program: str,
    arguments: Sequence[str] | None = None,
    description: str | None = None,
) -> int:
    """Read the options of a command and do its work.

    Args:
        options: A dataclass of options, as ``tyro`` reads it.
        work: The work; returns the exit status, None for 0.
        program: Module of the command, for its help.
        arguments: Words of the command line; None for those of the process.
        description: First lines of its help; None for the docstring of ``options``.

    Returns:
        The exit status: 1 after an expected error, which is printed in a sentence.
    """
    return exit_status(lambda: work(read_options(options, program, arguments, description)))


def read_options(
    options: type[Options],
    program: str,
    arguments: Sequence[str] | None = None,
    description: str | None = None,
) -> Options:
    """Return the options of a command line, as for :func:`run_command`; print its help and exit if asked."""
    import tyro  # noqa: PLC0415 - importing a command, as tests and the dashboard do, needs no parser

    return tyro.cli(options, args=arguments, prog=f"python -m {program}", description=description)


def exit_status(work: Callable[[], int | None]) -> int:
    """Do the work of a command; return its exit status, 1 after an expected error, printed in a sentence."""
    try:
        return work() or 0
    except EXPECTED_ERRORS as error:
        print(plain_line(f"error: {_sentence(error)}"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename} cannot be used ({error.strerror})"
    if isinstance(error, FileNotFoundError):  # pyarrow gives nothing but the path
        return f"{error} does not exist"
    return str(error) or "not enough memory; close other programs or reduce the batch size"
