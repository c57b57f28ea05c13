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
