"""The commands of ``python -m fer``, one module each."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from tqdm import tqdm

from fer.printable import plain_line


class CommandError(Exception):
    """Error that ends a command; the text is the sentence shown to the user."""


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
