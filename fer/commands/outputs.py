"""Check the outputs of a command before anything is read, so that no file is destroyed."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet

from fer.commands import CommandError
from fer.commands.options import AnalyzeOptions
from fer.emotions import Emotion
from fer.timeline.export import WRITERS
from fer.video.frames import is_video_name
from fer.video.writing import OUTPUT_SUFFIXES

PHOTO_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp")

_ENDINGS: Final = {
    "--csv": (".csv",),
    "--parquet": (".parquet",),
    "--timeline": tuple(WRITERS),
    "--output": tuple(sorted(OUTPUT_SUFFIXES, key=lambda suffix: (suffix != ".mp4", suffix))),
}

_MOST_NAME_BYTES: Final = 240
"""File systems allow 255; the journal of a table takes some more."""

_WORDS: Final = "|".join(emotion.display_name for emotion in Emotion)
_OURS: Final = {
    ".csv": re.compile(rb'"?(path"?,"?width|timestamp_s"?,"?frame)'),
    ".json": re.compile(rb'\{"frame_count"'),
    ".srt": re.compile(rf"1\r?\n[0-9:,]+ --> [0-9:,]+\r?\n(Person \d+: )?({_WORDS})\r?\n".encode()),
    ".svg": re.compile(rb'<svg [^>]*aria-label="Expressions over time"'),
}
"""First bytes of files written by this program, by suffix; a later run may replace them."""


def check_outputs(options: AnalyzeOptions) -> None:
    """Refuse outputs that cannot be written, are inputs, or would replace another program's file.

    Raises:
        CommandError: An output is refused; the message names the file and what to do.
    """
    outputs = list(named_outputs(options))
    if options.anonymise and options.output is None:
        raise CommandError("--anonymise needs an --output to write the covered copy to")
    if options.anonymise and options.every:
        raise CommandError("--anonymise covers every frame; remove --every")
    for option, file in outputs:
        _check_ending(option, file, options)
    for number, (option, file) in enumerate(outputs):
        refuse_input(option, file, options.paths)
        for other_option, other in outputs[:number]:
            if same_file(file, other):
                raise CommandError(
                    f"{other_option} and {option} both name {file}; choose a different file for each"
                )
        _check_place(file)
        if not options.overwrite and _is_strange(file):
            is_table = file.suffix.lower() in {*_OURS, ".parquet"}
            reason = " and is not a table written by this program" if is_table else ""
            raise CommandError(
                f"{file} already exists{reason}; name another file after {option}, "
                "or add --overwrite to replace it"
            )


def named_outputs(options: AnalyzeOptions) -> Iterator[tuple[str, Path]]:
    """Yield each option that names an output file, with the file."""
    for option, file in (
        ("--csv", options.csv),
        ("--parquet", options.parquet),
        ("--output", options.output),
        *(("--timeline", file) for file in options.timeline),
    ):
        if file is not None:
            yield option, file


def refuse_input(option: str, file: Path, inputs: Iterable[Path | str]) -> None:
    """Refuse an output that is one of the inputs, even under another name.

    Raises:
        CommandError: The output is an input; the message names it.
    """
    for path in inputs:
        if same_file(file, Path(path)):
            is_video = option == "--output" and is_video_name(Path(path))
            what = "the video itself" if is_video else "an input"
            raise CommandError(f"{file} after {option} is {what} ({path}); name another file to write")


def same_file(one: Path, other: Path) -> bool:
    """Return whether two paths are the same file: links are followed and case is ignored."""
    if os.path.realpath(one).casefold() == os.path.realpath(other).casefold():
        return True
    try:
        return one.samefile(other)
    except OSError:  # one of them does not exist
        return False


def _check_ending(option: str, file: Path, options: AnalyzeOptions) -> None:
    name_bytes = len(os.fsencode(file.name))
    if name_bytes > _MOST_NAME_BYTES:
        raise CommandError(
            f"the name of the file after {option} has {name_bytes} bytes; "
            f"at most {_MOST_NAME_BYTES} can be written, choose a shorter one"
        )
    endings = _ENDINGS[option]
    if option == "--output" and options.anonymise and not any(map(is_video_name, options.paths)):
        endings = PHOTO_SUFFIXES
    if file.suffix.lower() in endings:
        return
    if file.is_dir():
        raise CommandError(f"{file} is a folder; name a file to write after {option}")
    wanted = f"expected a file that ends in {', '.join(endings)} after {option}, got {file}"
    if file.is_file() and options.paths:
        wanted += f"; a shell's * gives {option} the first of its files, so name the file to write there"
    raise CommandError(wanted)


def _check_place(file: Path) -> None:
    if file.is_dir():
        raise CommandError(f"{file} is a folder; name a file to write")
    if not os.access(file.parent, os.W_OK):
        reason = "may not be written by this user" if file.parent.is_dir() else "does not exist"
        raise CommandError(f"{file} cannot be written: the folder {file.parent} {reason}")


def _is_strange(file: Path) -> bool:
    """Return whether the file exists and was not written by this program."""
    try:
        with file.open("rb") as content:
            start = content.read(4096)
    except OSError:
        return file.is_symlink() and not file.exists()
    if file.suffix.lower() == ".parquet" and start:
        return not _holds_our_columns(file)
    pattern = _OURS.get(file.suffix.lower())
    return bool(start) and (pattern is None or not pattern.match(start))


def _holds_our_columns(table: Path) -> bool:
    try:
        with table.open("rb") as file:
            return pyarrow.parquet.read_schema(file).names[:2] in (
                ["path", "width"],
                ["timestamp_s", "frame"],
            )
    except (OSError, pa.ArrowException):
        return False
