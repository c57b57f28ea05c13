"""Gradio's named endpoints, which take a file and return typed JSON."""

import json
import math
import pickle
from functools import partial
from pathlib import Path
from typing import Any, cast

import gradio as gr
from gradio.events import api
from gradio.utils import get_upload_folder

from fer.folders.records import picture_record
from fer.images import UnreadableImageError, read_picture
from fer.model_card import UnknownModelError, WeightsMismatchError
from webapp.analyzers import Analyzers
from webapp.answers import PhotoAnswer, TimelineRecord
from webapp.limits import room_in_thread
from webapp.video_reading import TimelineReading, hide_places
from webapp.worker import WorkFailedError, server_worker


def add_endpoints(blocks: gr.Blocks, analyzers: Analyzers) -> None:
    """Add ``/analyze_photo`` and ``/analyze_video``; call this inside the blocks."""

    def analyze_photo(
        photo: gr.FileData,
        detector: str | None = None,
        weights: str | None = None,
        head: str | None = None,
    ) -> PhotoAnswer:
        """Find the faces of a photo and name their expressions."""
        _check_names(detector, weights, head)
        with _Upload(photo) as path:
            data = path.read_bytes()
            with room_in_thread(data):
                picture = read_picture(data)
                faces = analyzers.get(weights, detector, head=head).analyze(picture.image)
        record = picture_record(picture, faces, "")
        del record["path"]  # of no use to the caller
        return cast(PhotoAnswer, record)

    def analyze_video(
        video: gr.FileData,
        every_s: float = 0.0,
        detector: str | None = None,
        weights: str | None = None,
        head: str | None = None,
    ) -> TimelineRecord:
        """Follow the faces of a video and tell their expressions over time."""
        _check_names(detector, weights, head)
        if not isinstance(every_s, int | float) or not 0 <= every_s < math.inf:
            raise gr.Error(f"expected every_s of at least 0 seconds, got {every_s!r}", print_exception=False)
        load = pickle.dumps(partial(analyzers.get, weights, detector, head=head, live=True))
        with _Upload(video) as path:
            answer = server_worker().run(TimelineReading(path, load, every_s, 0.0))
        return cast(TimelineRecord, json.loads(answer))

    # Gradio rejects files that were not uploaded only if it launched the page itself, not if it is mounted.
    blocks.has_launched = True
    api(analyze_photo, api_name="analyze_photo", concurrency_limit=2)
    api(analyze_video, api_name="analyze_video", concurrency_limit=1)


def _check_names(*names: object) -> None:
    """Check names from a request, which may contain any JSON."""
    for name in names:
        if not (name is None or isinstance(name, str)):
            raise gr.Error(f"expected a name or null, got {str(name)[:40]}", print_exception=False)


class _Upload:
    """An uploaded file, deleted after reading; its path is never disclosed."""

    def __init__(self, file: Any) -> None:
        named = file.get("path") if isinstance(file, dict) else getattr(file, "path", None)
        folder = Path(get_upload_folder()).resolve()
        path = Path(named).resolve() if isinstance(named, str) and "\0" not in named else folder
        # A caller can name any path: only uploaded files may be read and deleted.
        if not (path.is_relative_to(folder) and path.is_file()):
            raise gr.Error("expected a file that was uploaded", print_exception=False)
        self._path = path

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._path.unlink(missing_ok=True)
        if isinstance(
            error, UnreadableImageError | WorkFailedError | UnknownModelError | WeightsMismatchError
        ):
            raise gr.Error(hide_places(str(error), self._path), print_exception=False) from error
