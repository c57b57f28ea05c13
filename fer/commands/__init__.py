"""The commands of ``python -m fer``, one module each."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from tqdm import tqdm

from fer.printable import plain_line


class CommandError(Exception):
    """Error that ends a command; the text is the sentence shown to the user."""


def exit_status(work: Callable[[], int | None], expected: tuple[type[Exception], ...]) -> int:
    """Do the work of a command and return its exit status; an error is printed in a sentence, with status 1.

    Args:
        work: The work; returns the status, None for 0.
        expected: Errors whose messages are for users, besides ``OSError``; others are faults of the program.
    """
    try:
        status = work() or 0
        sys.stdout.flush()  # a full disk may refuse the last lines only here
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        _discard_output()
        return 1
    except OSError as error:
        if error.errno is not None and error.filename is None:
            _discard_output()
        print(plain_line(f"error: {_sentence(error)}"), file=sys.stderr)
        return 1
    except expected as error:
        sentence = str(error) or "not enough memory; close other programs or try smaller settings"
        print(plain_line(f"error: {sentence}"), file=sys.stderr)
        return 1


def _sentence(error: OSError) -> str:
    if error.errno is not None:
        place = "the output" if error.filename is None else error.filename
        return f"{place} cannot be used ({error.strerror or error})"
    if isinstance(error, FileNotFoundError):  # pyarrow gives nothing but the path
        return f"{error} does not exist"
    return str(error)


def _discard_output() -> None:
    """Discard what would fail again when it is flushed at exit."""
    sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - stays open until the exit


def say(text: str, file: TextIO) -> None:
    """Print one line above any progress bar, with control characters escaped."""
    tqdm.write(plain_line(text), file=file)


@contextmanager
def terminable() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C within the block: raise KeyboardInterrupt, so that open files are closed."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
