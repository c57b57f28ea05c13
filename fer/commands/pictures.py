"""Pictures and folders: lines, JSON, tables."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import cv2
from tqdm import tqdm

from fer.analysis import FaceAnalyzer
from fer.commands import CommandError, terminable
from fer.commands.options import AnalyzeOptions
from fer.images import find_images
from fer.picture_records import AnalyzerRecipe, Record, WorkerDiedError, read_in_processes, read_in_turn
from fer.picture_table import PictureJournal, TableError


def run_pictures(options: AnalyzeOptions) -> int:
    """Read every picture; what cannot be read is named, the others go on.

    Returns:
        The exit status: 1 where something could not be read, 130 when it was stopped.
    """
    recipe = AnalyzerRecipe(options.weights, options.detector)
    analyzer = recipe.build()
    paths, errors = list_pictures(options.paths, recursive=options.recursive)
    journal = _open_journal(options, analyzer)
    failed = bool(errors)
    try:
        with ExitStack() as stack:
            stack.enter_context(terminable())
            if journal is not None:
                stack.enter_context(journal)
                paths = _not_done(paths, journal)
            bar = stack.enter_context(
                tqdm(total=len(paths), unit=" pictures", disable=not sys.stderr.isatty(), leave=False)
            )
            for record in errors:
                _say(record, options, analyzer)
            for record in _records(analyzer, recipe, paths, options):
                failed |= "error" in record
                if journal is not None:
                    journal.add(record)
                _say(record, options, analyzer)
                bar.update()
            if journal is not None:
                journal.finish()
    except KeyboardInterrupt:
        if journal is not None:
            print("stopped; the same command goes on where this one stopped", file=sys.stderr)
        return 130
    except (TableError, WorkerDiedError) as error:
        raise CommandError(str(error)) from error
    return int(failed)


def list_pictures(paths: Sequence[Path], *, recursive: bool) -> tuple[list[str], list[Record]]:
    """The picture files that are meant, each once, and a record for each folder without any."""
    found: dict[str, None] = {}
    errors: list[Record] = []
    for path in paths:
        if not path.is_dir():
            found[str(path)] = None
            continue
        try:
            pictures = find_images(path, recursive=recursive)
        except OSError as error:
            errors.append({"path": str(path), "error": f"{path} cannot be listed ({error.strerror})"})
            continue
        found.update(dict.fromkeys(map(str, pictures)))
        if not pictures:
            hint = "" if recursive else "; --recursive looks in the folders below, too"
            errors.append(
                {"path": str(path), "error": f"{path} holds no pictures such as .jpg or .png{hint}"}
            )
    return list(found), errors


def picture_lines(record: Record, unsure_below: float = 0.0) -> list[str]:
    """What is said about a picture: a line a face, or one line when there is none."""
    if not record["faces"]:
        return [f"{record['path']}: no face found"]
    lines = []
    for face in record["faces"]:
        left, top, right, bottom = (round(value) for value in face["box"])
        unsure = "unsure, perhaps " if face["confidence"] < unsure_below else ""
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


def _not_done(paths: list[str], journal: PictureJournal) -> list[str]:
    left = [path for path in paths if path not in journal.done]
    if len(left) < len(paths):
        print(f"{len(paths) - len(left)} of {len(paths)} pictures are in the table already", file=sys.stderr)
    return left


def _records(
    analyzer: FaceAnalyzer, recipe: AnalyzerRecipe, paths: list[str], options: AnalyzeOptions
) -> Iterator[Record]:
    if options.engine == "ray":
        from fer.ray_engine import read_on_ray  # noqa: PLC0415 - an extra that need not be installed

        return read_on_ray(recipe, paths, options.workers)
    if options.workers == 1 or len(paths) < 2:
        if options.workers == 1 and len(paths) > 1:
            cv2.setNumThreads(1)  # a worker is one thread everywhere, so that N of them fill N cores
        return read_in_turn(analyzer, paths)
    return read_in_processes(recipe, paths, options.workers)


def _say(record: Record, options: AnalyzeOptions, analyzer: FaceAnalyzer) -> None:
    if options.json:
        tqdm.write(json.dumps(record), file=sys.stdout)
    elif "error" in record:
        tqdm.write(record["error"], file=sys.stderr)
    else:
        for line in picture_lines(record, analyzer.classifier.head.unsure_below):
            tqdm.write(line, file=sys.stdout)
