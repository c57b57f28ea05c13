"""Run a command: read its options, do its work, give a sentence instead of a traceback."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from fer.commands import exit_status
from fer.model_card import UnknownModelError
from training.runs import RunInUseError

Options = TypeVar("Options")

EXPECTED_ERRORS: Final = (
    ValueError,
    UnknownModelError,
    RunInUseError,
    MemoryError,
    ModuleNotFoundError,
)
"""Errors of training and benchmarks whose messages are for users."""


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
    return exit_status(lambda: work(read_options(options, program, arguments, description)), EXPECTED_ERRORS)


def read_options(
    options: type[Options],
    program: str,
    arguments: Sequence[str] | None = None,
    description: str | None = None,
) -> Options:
    """Return the options of a command line, as for :func:`run_command`; print its help and exit if asked."""
    import tyro  # noqa: PLC0415 - importing a command, as tests and the dashboard do, needs no parser

    return tyro.cli(options, args=arguments, prog=f"python -m {program}", description=description)
