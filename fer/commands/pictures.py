"""Analyse photos and folders: lines, JSON, tables."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
from PIL import Image
from tqdm import tqdm

from fer.analysis import FaceAnalyzer
from fer.anonymising import cover_photo, load_eager_detector
from fer.commands import CommandError, say, terminable
from fer.commands.options import AnalyzeOptions
from fer.commands.outputs import named_outputs, refuse_input
from fer.files import is_folder, replaced
from fer.folders.listing import FolderListing, list_folder
from fer.folders.records import (
    AnalyzerRecipe,
    Record,
    WorkerDiedError,
    read_in_processes,
    read_in_turn,
    read_on_ray,
)
from fer.folders.table import PictureJournal, TableError
from fer.images import UnreadableImageError, read_picture
from fer.printable import plain_path


def run_pictures(options: AnalyzeOptions) -> int:
    """Analyse every photo; report those that cannot be read and continue.

    Returns:
        The exit status: 1 if something could not be read, 130 if the run was stopped.
    """
    recipe = AnalyzerRecipe(options.weights, options.detector, options.head, thorough=options.thorough)
    listing = list_pictures(options.paths, recursive=options.recursive)
    paths = listing.paths
    for option, file in named_outputs(options):
        refuse_input(option, file, paths if file.exists() else ())
    analyzer = recipe.build()
    journal = _open_journal(options, analyzer)
    unread: set[str] = set()
    try:
        with ExitStack() as stack:
            stack.enter_context(terminable())
            if journal is not None:
                stack.enter_context(journal)
                paths = _not_done(paths, journal)
            bar = stack.enter_context(
                tqdm(total=len(paths), unit=" photos", disable=not sys.stderr.isatty(), leave=False)
            )
            for record in listing.errors:
                _say(record, options)
            for record in _records(analyzer, recipe, paths, options):
                if "error" in record:
                    unread.add(record["path"])
                if journal is not None:
                    journal.add(record)
                _say(record, options)
                bar.update()
            if journal is not None:
                journal.finish()
    except KeyboardInterrupt:
        if journal is not None:
            print("stopped; run the same command again to resume", file=sys.stderr)
        return 130
    except (TableError, WorkerDiedError) as error:
        raise CommandError(str(error)) from error
    for folder, found in listing.folders.items():
        _say_left_out(folder, found, unread)
    is_lost = any(folder.lost_count for folder in listing.folders.values())
    return int(bool(unread or listing.errors) or is_lost)


@dataclass(slots=True)
class Listing:
    """The image files to read.

    Attributes:
        paths: Each file once, in order.
        errors: One record per folder without images.
        folders: The listing of each folder.
    """

    paths: list[str]
    errors: list[Record]
    folders: dict[Path, FolderListing]


def list_pictures(paths: Sequence[Path], *, recursive: bool) -> Listing:
    """List the image files among the paths and in their folders."""
    found: dict[str, None] = {}
    listing = Listing([], [], {})
    for path in paths:
        if not is_folder(path):
            found[str(path)] = None
            continue
        try:
            folder = list_folder(path, recursive=recursive)
        except OSError as error:
            sentence = f"{path} cannot be listed ({error.strerror})"
            listing.errors.append({"path": plain_path(path), "error": plain_path(sentence)})
            continue
        listing.folders[path] = folder
        found.update(dict.fromkeys(map(str, folder.pictures)))
        if not folder.pictures:
            hint = "" if recursive else "; --recursive includes subfolders"
            sentence = f"{path} contains no photos such as .jpg or .png{hint}"
            listing.errors.append({"path": plain_path(path), "error": plain_path(sentence)})
    listing.paths = list(found)
    return listing


def picture_lines(record: Record) -> list[str]:
    """Return one line per face, or one line when there is none."""
    if not record["faces"]:
        return [f"{record['path']}: no face found"]
    lines = []
    for face in record["faces"]:
        left, top, right, bottom = (round(value) for value in face["box"])
        unsure = "unsure, perhaps " if face["unsure"] else ""
        lines.append(
            f"{record['path']}: {unsure}{face['emotion']} {100 * face['confidence']:.0f} %"
            f" ({right - left}×{bottom - top} pixels at {left}, {top})"
        )
    return lines


def _open_journal(options: AnalyzeOptions, analyzer: FaceAnalyzer) -> PictureJournal | None:
    wanted = {"csv": options.csv, "parquet": options.parquet}
    tables = {kind: path for kind, path in wanted.items() if path is not None}
    if not tables:
        return None
    classifier = analyzer.classifier
    origin = {
        "weights": classifier.card.name,
        "head": classifier.head.name,
        "sha256": next(iter(classifier.card.files.values()), ""),
        "detector": analyzer.detector.name,
    }
    try:
        return PictureJournal(tables, origin, classifier.head.emotions)
    except TableError as error:
        raise CommandError(str(error)) from error


def _say_left_out(folder: Path, found: FolderListing, unread: set[str]) -> None:
    unread_count = sum(plain_path(path) in unread for path in found.pictures) if unread else 0
    sentence = found.sentence(unread_count)
    if sentence is not None:
        say(f"{folder}: {sentence}", sys.stderr)


def _not_done(paths: list[str], journal: PictureJournal) -> list[str]:
    left = [path for path in paths if plain_path(path) not in journal.done]
    if len(left) < len(paths):
        print(f"{len(paths) - len(left)} of {len(paths)} photos are already in the table", file=sys.stderr)
    return left


def _records(
    analyzer: FaceAnalyzer, recipe: AnalyzerRecipe, paths: list[str], options: AnalyzeOptions
) -> Iterator[Record]:
    if options.engine == "ray":
        return read_on_ray(recipe, paths, options.workers)
    if options.workers == 1 or len(paths) < 2:
        if options.workers == 1 and len(paths) > 1:
            cv2.setNumThreads(1)  # one thread per worker, so that N workers use N cores
        return read_in_turn(analyzer, paths)
    return read_in_processes(recipe, paths, options.workers)


def _say(record: Record, options: AnalyzeOptions) -> None:
    if options.json:
        tqdm.write(json.dumps(record), file=sys.stdout)
    elif "error" in record:
        say(record["error"], sys.stderr)
    else:
        for line in picture_lines(record):
            say(line, sys.stdout)
    if not options.json:
        for note in record.get("notes", ()):
            say(f"{record['path']} {note}", sys.stderr)


_QUALITY: Final = 92


def run_covered_photo(options: AnalyzeOptions) -> int:
    """Write a copy of one photo, without its metadata, on which nobody can be recognised.

    Raises:
        CommandError: Not exactly one photo, an unreadable photo, or an unwritable output.
    """
    if len(options.paths) != 1 or is_folder(options.paths[0]):
        raise CommandError("expected one photo or video with --anonymise")
    if options.csv or options.parquet:
        raise CommandError("--anonymise writes the covered photo only; remove --csv and --parquet")
    path, output, cover = options.paths[0], options.output, options.anonymise
    if output is None or cover is None:
        raise CommandError("--anonymise needs an --output to write the covered copy to")
    finder = load_eager_detector(options.detector, thorough=options.thorough)
    try:
        picture = read_picture(path)
        covered, count = cover_photo(picture.image, finder, cover)
        with replaced(output) as temporary:
            Image.fromarray(covered).save(temporary, quality=_QUALITY)
    except UnreadableImageError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{output} cannot be written ({error.strerror or error})") from error
    for note in picture.notes:
        say(f"{path} {note}", sys.stderr)
    say(f"{path}: {count} {'place' if count == 1 else 'places'} covered in {output}", sys.stdout)
    return 0
