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
    """Print one line, above progress bars, with nothing in it that a terminal would obey."""
    tqdm.write(plain_line(text), file=file)


@contextmanager
def terminable() -> Iterator[None]:
    """Within the block SIGTERM ends like Ctrl-C: a KeyboardInterrupt, so that what is open is closed."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
