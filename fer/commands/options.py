"""Options of ``python -m fer``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Name = Annotated[str | None, tyro.conf.arg(metavar="NAME")]
File = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]


@dataclass(frozen=True)
class AnalyzeOptions:
    """Find faces and name their expressions in pictures, folders of pictures, or one video.

    Print one line per face, or with --json one object per picture. More commands:
    'python -m fer fetch yunet' downloads another face detector,
    'python -m fer watch SOURCE' watches a camera or a network stream,
    'python -m fer password FILE' makes a password file for the pages,
    'python -m fer page' and 'python -m fer dashboard' start the web page and the training dashboard.
    Installed with pip, 'kv-fer' is short for 'python -m fer'; 'kv-fer --version' prints the version.

    Attributes:
        paths: Pictures, folders, or one video.
        weights: Name of shipped weights, or path of a weights folder.
        detector: Name of a face detector, such as auto or haar; a wrong name lists all.
        head: Which answer of the weights to give, such as seven; the weights' own by default.
        thorough: Pictures: look for faces at every size, in parts of large ones; several times slower.
            Without it faces smaller than a fiftieth of the long side are likely to be missed.
        json: Print one JSON object per picture, or per frame with a face.
        csv: Write a table of the faces as CSV; for a video one row for each face in each frame.
        parquet: Write it as Parquet; pictures that are in it are not read again.
        recursive: Folders: read those below, too.
        workers: Folders: processes that share the pictures.
        engine: Folders: where the workers run; ray uses a Ray cluster that is running.
        output: Video: write an annotated copy, with its sound. Photo: the copy of --anonymise.
        timeline: Video: write the timeline as .csv, .json, .parquet, .srt (subtitles) or .svg (chart).
        every: Video: look at a frame every so many seconds; 0 looks at every frame.
        raw: Video: each frame's own answer, without steadying it over time.
        rest: Video: its first two seconds show resting faces; answers are adjusted to them.
        anonymise: Photo or video: write the --output with every face covered instead of labelled.
        overwrite: Replace files that are there already; without it only tables written here are replaced.
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
    """The options from the words; prints help or what is wrong with them, as command lines do."""
    return tyro.cli(AnalyzeOptions, prog="python -m fer", args=words)
