"""A pool of objects, each used by one thread at a time."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Pool(Generic[T]):
    """A pool that lends each caller an idle object and makes another when all are in use.

    Args:
        make: Builds one object; called once immediately, so that errors surface early.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._idle = deque([make()])

    @contextmanager
    def lend(self) -> Iterator[T]:
        """Lend an object for exclusive use within the block."""
        try:
            lent = self._idle.pop()
        except IndexError:
            lent = self._make()
        try:
            yield lent
        finally:
            self._idle.append(lent)
