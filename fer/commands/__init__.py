"""The commands of ``python -m fer``, one module each."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class CommandError(Exception):
    """What stops a command; the text is the sentence that is shown."""


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
