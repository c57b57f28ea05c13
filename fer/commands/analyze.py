"""``python -m fer PATH…``: hands pictures, folders and videos to what reads them."""

from fer.commands import CommandError
from fer.commands.options import read_options
from fer.commands.pictures import run_pictures


def run_analyze(words: list[str]) -> int:
    """Read the words, look at the paths, run what fits them.

    Raises:
        CommandError: The words ask for nothing, or for what does not go together.
    """
    options = read_options(words)
    if not options.paths:
        raise CommandError("expected a picture, a folder or a video, got nothing; see 'python -m fer --help'")
    if options.workers < 1:
        raise CommandError(f"expected at least one worker, got {options.workers}")
    return run_pictures(options)
