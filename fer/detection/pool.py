"""Objects that one thread at a time may use."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Pool(Generic[T]):
    """Lends each caller an object that nobody else holds, and makes one more when all are out.

    Args:
        make: Builds one object; called once right away, so that what is missing is told at once.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._idle = deque([make()])

    @contextmanager
    def lend(self) -> Iterator[T]:
        """An object of one's own until the block ends."""
        try:
            lent = self._idle.pop()
        except IndexError:
            lent = self._make()
        try:
            yield lent
        finally:
            self._idle.append(lent)
