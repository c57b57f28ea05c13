"""Read images into the records that ``--json`` prints: in this process, in several, or on a Ray cluster."""

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from typing import Any, Final

import cv2

from fer.analysis import FaceAnalyzer, load_analyzer
from fer.faces import Face, enlarge_face
from fer.images import Picture, UnreadableImageError, read_picture
from fer.printable import plain_path
from fer.reports import faces_to_dict

Record = dict[str, Any]
"""``path, width, height, faces`` as in :func:`fer.reports.faces_to_dict`, or ``path, error``.

``notes`` describe anything unusual about the way an image was read.
"""

_CHUNK: Final = 8
"""Images per task: few enough to balance the load at the end, enough to keep overhead low."""

_ANALYSIS_ERRORS: Final = (cv2.error, ArithmeticError, MemoryError, ValueError)


class WorkerDiedError(RuntimeError):
    """A worker process that ended without a result."""


@dataclass(frozen=True)
class AnalyzerRecipe:
    """Everything a process needs to build its own analyzer; names as in :func:`fer.load_analyzer`.

    Attributes:
        weights: Name or folder of weights; None for the default.
        detector: Name of a detector; None for the default.
        head: Name of a head; None for the card's default.
        live: Use the detector settings for live frames instead of those for photos.
        thorough: Search photos for small faces at every scale.
    """

    weights: str | None = None
    detector: str | None = None
    head: str | None = None
    live: bool = False
    thorough: bool = False

    def build(self) -> FaceAnalyzer:
        """Load the models."""
        return load_analyzer(self.weights, self.detector, self.head, self.live, self.thorough)


def read_record(analyzer: FaceAnalyzer, path: str) -> Record:
    """Analyse one image file; an unreadable file gives a record with ``error``."""
    try:
        picture = read_picture(path)
    except UnreadableImageError as error:
        return {"path": plain_path(path), "error": plain_path(str(error))}
    try:
        faces = analyzer.analyze(picture.image)
    except _ANALYSIS_ERRORS as error:  # skip this image only
        sentence = f"{path} cannot be searched for faces ({type(error).__name__}); save it in another size"
        return {"path": plain_path(path), "error": plain_path(sentence)}
    return picture_record(picture, faces, plain_path(path))


def picture_record(picture: Picture, faces: Sequence[Face], name: str) -> Record:
    """Return the record of a decoded image, in pixels of its file.

    Args:
        picture: The image, decoded at full or reduced size.
        faces: Its faces, in pixels of the decoded image.
        name: Becomes ``path``.
    """
    height, width = (side * picture.reduced for side in picture.image.shape[:2])
    faces = [enlarge_face(face, picture.reduced) for face in faces]
    record = faces_to_dict(faces, width, height, name)
    return record | ({"notes": list(picture.notes)} if picture.notes else {})


def read_in_turn(analyzer: FaceAnalyzer, paths: Sequence[str]) -> Iterator[Record]:
    """Read images in this process."""
    for path in paths:
        yield read_record(analyzer, path)


def read_in_processes(recipe: AnalyzerRecipe, paths: Sequence[str], worker_count: int) -> Iterator[Record]:
    """Read images with several processes of one thread each.

    Args:
        recipe: Each process builds its own analyzer from it.
        paths: Image files.
        worker_count: Number of processes.

    Yields:
        Records in the order of the paths; a few chunks are read ahead.

    Raises:
        WorkerDiedError: A process was killed, most likely for lack of memory.
    """
    chunks = chunked(paths)
    pool = ProcessPoolExecutor(
        worker_count, get_context("spawn"), initializer=_begin_worker, initargs=(recipe,)
    )
    waiting: deque[Future[list[Record]]] = deque()
    try:
        for chunk in chunks:
            waiting.append(pool.submit(_read_chunk, chunk))
            if len(waiting) > 3 * worker_count:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool as error:
        raise WorkerDiedError(
            "a worker process ended without a result, most likely for lack of memory; try fewer --workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def chunked(paths: Sequence[str]) -> Iterator[list[str]]:
    """Split the paths into chunks for the workers."""
    for start in range(0, len(paths), _CHUNK):
        yield list(paths[start : start + _CHUNK])


_analyzer: FaceAnalyzer | None = None  # set in worker processes only


def _begin_worker(recipe: AnalyzerRecipe) -> None:
    """Set up a worker process: one thread, Ctrl-C ignored, ends with its parent."""
    global _analyzer  # noqa: PLW0603 - a pool passes no other state to its processes
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    _analyzer = recipe.build()


def end_with_parent() -> None:
    """Exit when the parent ends: a killed parent cannot stop its workers."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _read_chunk(paths: list[str]) -> list[Record]:
    if _analyzer is None:
        raise RuntimeError("expected a worker that was set up, got one without an analyzer")
    return [read_record(_analyzer, path) for path in paths]


class _RayWorker:
    """A worker on the cluster with one analyzer and one thread."""

    def __init__(self, recipe: AnalyzerRecipe) -> None:
        cv2.setNumThreads(1)
        self._analyzer = recipe.build()

    def read(self, paths: list[str]) -> list[Record]:
        return [read_record(self._analyzer, path) for path in paths]


def read_on_ray(recipe: AnalyzerRecipe, paths: Sequence[str], worker_count: int) -> Iterator[Record]:
    """Read images on a Ray cluster; images and weights must have the same paths on every node.

    Args:
        recipe: Each worker builds its own analyzer from it.
        paths: Image files.
        worker_count: Number of workers, one core each.

    Yields:
        Records in the order of the paths; a few chunks are read ahead.

    Raises:
        WorkerDiedError: Ray is not installed, no cluster runs, or a worker died.
    """
    try:
        import ray  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise WorkerDiedError("--engine ray needs Ray; install it: pip install 'ray>=2.40'") from error
    try:
        ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise WorkerDiedError("no Ray cluster is running here; start one: ray start --head") from error
    try:
        actor: Any = ray.remote(num_cpus=1)(_RayWorker)
        workers = [actor.remote(recipe) for _ in range(worker_count)]
        waiting: deque[Any] = deque()
        for number, chunk in enumerate(chunked(paths)):
            waiting.append(workers[number % worker_count].read.remote(chunk))
            if len(waiting) > 3 * worker_count:
                yield from ray.get(waiting.popleft())
        while waiting:
            yield from ray.get(waiting.popleft())
    except ray.exceptions.RayError as error:
        raise WorkerDiedError(f"a worker on the Ray cluster failed: {str(error).splitlines()[0]}") from error
    finally:
        ray.shutdown()
