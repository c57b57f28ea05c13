"""The command line: ``python -m fer PATH…``; ``fetch``, ``watch``, ``password``, ``page``, ``dashboard``."""

import sys
from collections.abc import Sequence

from fer import __version__
from fer.commands import CommandError, exit_status
from fer.model_card import UnknownModelError, WeightsMismatchError


def main(words: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        words: Arguments after ``python -m fer``; None for those of the process.

    Returns:
        The exit status: 0, or 1 if something could not be read, written or found.
    """
    words = sys.argv[1:] if words is None else list(words)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # file names may contain characters the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    return exit_status(lambda: _run(words), (CommandError, UnknownModelError, WeightsMismatchError))


def _run(words: list[str]) -> int:
    """Run the named command; each is imported only when needed."""
    match words[:1]:
        case ["fetch"]:
            from fer.commands.fetch import run_fetch  # noqa: PLC0415

            return run_fetch(words[1:])
        case ["watch"]:
            from fer.commands.watch import run_watch  # noqa: PLC0415

            return run_watch(words[1:])
        case ["--version"]:
            print(f"kv-fer {__version__}")
            return 0
        case ["page" | "dashboard" as name]:
            from fer.commands.pages import run_page  # noqa: PLC0415

            return run_page(name, words[1:])
        case ["password"]:
            from fer.commands.password import run_password  # noqa: PLC0415

            return run_password(words[1:])
        case _:
            from fer.commands.analyze import run_analyze  # noqa: PLC0415

            return run_analyze(words)


if __name__ == "__main__":
    sys.exit(main())
