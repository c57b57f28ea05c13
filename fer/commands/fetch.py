"""``python -m fer fetch``: download a detector that is not shipped."""

from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from fer.commands import CommandError
from fer.detection import DETECTORS
from fer.detection.fetch import cache_folder


@dataclass(frozen=True)
class FetchOptions:
    """Download a face detector into the user's cache folder.

    Attributes:
        name: yunet: OpenCV's small neural detector (0.2 MB, MIT licence).
    """

    name: tyro.conf.Positional[str]


def run_fetch(words: Sequence[str]) -> int:
    """Download the named detector and print its path."""
    name = tyro.cli(FetchOptions, prog="python -m fer fetch", args=words).name
    downloads = {kind.name: kind.download for kind in DETECTORS if kind.download is not None}
    if name not in downloads:
        raise CommandError(f"expected a detector that can be fetched ({', '.join(downloads)}), got {name!r}")
    try:
        path = downloads[name].fetch(cache_folder())
    except (OSError, ValueError) as error:
        raise CommandError(f"{name} was not fetched: {error}") from error
    print(f"{name} is now in {path}; use it with --detector {name}")
    return 0
