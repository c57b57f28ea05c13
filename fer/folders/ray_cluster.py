"""Read images with the workers of a running Ray cluster."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import cv2

from fer.folders.records import AnalyzerRecipe, Record, WorkerDiedError, chunked, read_record


class _Worker:
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
        actor: Any = ray.remote(num_cpus=1)(_Worker)
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
