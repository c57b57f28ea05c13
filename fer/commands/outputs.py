"""The options of ``python -m fer``, and checks of its outputs before anything is read."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import pyarrow as pa
import pyarrow.parquet
import tyro

from fer.commands import CommandError
from fer.emotions import Emotion
from fer.timeline.export import WRITERS
from fer.video.frames import is_video_name
from fer.video.writing import OUTPUT_SUFFIXES

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Name = Annotated[str | None, tyro.conf.arg(metavar="NAME")]
File = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]

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


@dataclass(frozen=True)
class AnalyzeOptions:
    """Find faces and read their expressions in photos, folders of photos, or one video.

    Print one line per face, or with --json one object per photo. More commands:
    'python -m fer fetch yunet' downloads another face detector,
    'python -m fer watch SOURCE' watches a camera or a network stream,
    'python -m fer password FILE' makes a password file for the pages,
    'python -m fer page' and 'python -m fer dashboard' start the web page and the training dashboard.
    Installed with pip, 'kv-fer' is short for 'python -m fer'; 'kv-fer --version' prints the version.

    Attributes:
        paths: Photos, folders, or one video.
        weights: Name of shipped weights, or path of a weights folder.
        detector: Name of a face detector, such as auto or haar; an unknown name lists all.
        head: Head of the weights to use, such as seven; the card's default if not given.
        thorough: Photos: search at every scale, large photos in tiles; several times slower.
            Without it faces smaller than a fiftieth of the long side are likely to be missed.
        json: Print one JSON object per photo, or per video frame with a face.
        csv: Write a CSV table of the faces; for a video one row per face and frame.
        parquet: Write the table as Parquet; photos that are already in it are not read again.
        recursive: Folders: include subfolders.
        workers: Folders: number of processes that share the photos.
        engine: Folders: where the workers run; ray uses a running Ray cluster.
        output: Video: write an annotated copy, with sound. Photo: the copy of --anonymise.
        timeline: Video: write the timeline as .csv, .json, .parquet, .srt (subtitles) or .svg (chart).
        every: Video: seconds between analysed frames; 0 analyses every frame.
        raw: Video: each frame's own prediction, without smoothing over time.
        rest: Video: the first two seconds show resting faces; predictions are adjusted to them.
        anonymise: Photo or video: write the --output with every face covered instead of labelled.
        overwrite: Replace existing files; without it only tables written by this program are replaced.
    """

    paths: tyro.conf.Positional[tuple[Path, ...]] = ()
    weights: Name = None
    detector: Name = None
    head: Name = None
    thorough: Flag = False
    json: Flag = False
    csv: File = None
    parquet: File = None
    recursive: Flag = False
    workers: int = 1
    engine: Literal["local", "ray"] = "local"
    output: File = None
    timeline: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE")] = ()
    every: float = 0.0
    raw: Flag = False
    rest: Flag = False
    anonymise: Literal["blur", "pixelate", "box"] | None = None
    overwrite: Flag = False


def read_options(words: list[str]) -> AnalyzeOptions:
    """Parse the options; print help or an error and exit if necessary."""
    return tyro.cli(AnalyzeOptions, prog="python -m fer", args=words)


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
