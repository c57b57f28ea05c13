"""``python -m fer PATH…``: analyse photos, folders and videos."""

import os
import re
from typing import Final

from fer.commands import CommandError
from fer.commands.options import AnalyzeOptions, read_options
from fer.commands.outputs import check_outputs
from fer.files import is_folder
from fer.printable import hide_password
from fer.video.frames import is_video_name

_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
_LOGIN: Final = re.compile(r"[^/]*:.*@")
"""Matches a path that may be an address without its scheme; a password in it is not printed."""


def run_analyze(words: list[str]) -> int:
    """Parse the options and run the command that fits the paths.

    Raises:
        CommandError: No path is given, or the options contradict each other.
    """
    if "" in words or any(word.endswith("=") and word.startswith("--") for word in words):
        raise CommandError("expected the name of a file or folder, got an empty one; check the quotes")
    options = read_options(words)
    for word in words:
        if word.lower().startswith("file:/"):
            raise CommandError(
                f"expected the name of a file, got the address {word}; name it without file://"
            )
        if _ADDRESS.match(word):
            raise CommandError(
                f"{hide_password(word)} is the address of a stream; use 'python -m fer watch' for streams"
            )
    for path in options.paths:
        if _LOGIN.match(str(path)) and not os.path.lexists(path):
            raise CommandError(f"{hide_password(str(path))} does not exist")
    if not options.paths:
        raise CommandError("expected a photo, a folder or a video, got nothing; see 'python -m fer --help'")
    if options.workers < 1:
        raise CommandError(f"expected at least one worker, got {options.workers}")
    check_outputs(options)
    if any(is_video_name(path) and not is_folder(path) for path in options.paths):
        from fer.commands.video import run_video  # noqa: PLC0415 - imports modules that photos do not need

        return run_video(options)
    _refuse_video_options(options)
    if options.anonymise:
        from fer.commands.pictures import run_covered_photo  # noqa: PLC0415

        return run_covered_photo(options)
    from fer.commands.pictures import run_pictures  # noqa: PLC0415

    return run_pictures(options)


def _refuse_video_options(options: AnalyzeOptions) -> None:
    asked = {
        "--output": None if options.anonymise else options.output,
        "--timeline": options.timeline,
        "--every": options.every,
        "--raw": options.raw,
    }
    for name, value in asked.items():
        if value:
            raise CommandError(
                f"{name} is for videos, but {options.paths[0]} has no video suffix (.mp4, .mov, .mkv, …)"
            )
