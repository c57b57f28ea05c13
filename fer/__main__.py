"""The command line: ``python -m fer PATH…``; ``fetch``, ``watch``, ``password``, ``page``, ``dashboard``."""

import os
import sys
from collections.abc import Sequence

from fer import __version__
from fer.commands import CommandError
from fer.model_card import UnknownModelError, WeightsMismatchError
from fer.printable import plain_line


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
    try:
        status = _run(words)
        sys.stdout.flush()  # a full disk may refuse the last lines only here
        return status
    except (CommandError, UnknownModelError, WeightsMismatchError) as error:
        print(plain_line(f"error: {error}"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - discards output flushed at exit
        return 1
    except OSError as error:
        place = "the output" if error.filename is None else plain_line(str(error.filename))
        if error.filename is None:
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - discards what would fail again at exit
        print(f"error: {place} cannot be used ({error.strerror or error})", file=sys.stderr)
        return 1


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
