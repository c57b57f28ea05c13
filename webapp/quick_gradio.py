"""Imports Gradio in half the time."""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any


def import_gradio() -> None:
    """Import Gradio without letting it write type stubs into its own folder.

    Gradio 6 parses the source of each of its 76 components while it is imported, to refresh ``.pyi`` files
    that only editors read: 1.5 of 3.3 seconds, and a write into the environment. It skips classes whose
    file cannot be told.
    """
    find_file: Callable[[Any], str] = inspect.getfile

    def hide_components(thing: Any) -> str:
        if isinstance(thing, type) and thing.__module__.startswith("gradio."):
            raise OSError("type stubs are not wanted")
        return find_file(thing)

    inspect.getfile = hide_components
    try:
        import_module("gradio")
    finally:
        inspect.getfile = find_file
