"""``python -m fer fetch``: downloads a detector that does not come along."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from fer.commands import CommandError
from fer.detection.yunet import fetch_yunet


@dataclass(frozen=True)
class FetchOptions:
    """Download a face detector into the user's cache folder.

    Attributes:
        name: yunet: OpenCV's small neural detector (0.2 MB, MIT licence), used by itself once it is there.
    """

    name: tyro.conf.Positional[Literal["yunet"]]


def run_fetch(words: Sequence[str]) -> int:
    """Download the named detector, say where it lies."""
    tyro.cli(FetchOptions, prog="python -m fer fetch", args=words)
    try:
        path = fetch_yunet()
    except (OSError, ValueError) as error:
        raise CommandError(f"yunet was not fetched: {error}") from error
    print(f"yunet lies in {path}; the next call uses it")
    return 0
