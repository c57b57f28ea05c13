"""Tasks of the process that reads videos: timeline, annotated copy and summary."""

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from fer.analysis import FaceAnalyzer
from fer.anonymising import Cover, CoverPlan, copy_covered, load_eager_detector
from fer.faces import Face
from fer.palette import label_styles
from fer.streams.recorded import Watcher, analyze_video
from fer.timeline.export import (
    PLOT_LEFT,
    PLOT_WIDTH,
    WRITERS,
    summary_to_dict,
    timeline_chart,
    timeline_to_dict,
    write_timeline,
)
from fer.timeline.table import Timeline
from fer.translation import ENGLISH
from fer.video import Frame, UnreadableVideoError, VideoFile
from webapp.worker import Tell

MAX_LENGTH_S: Final = 600.0
MAX_PIXELS: Final = 4096 * 2304
MAX_FRAMES: Final = 144_000
"""Ten minutes of slow motion at 240 frames per second."""

ANNOTATED: Final = "annotated.mp4"

_SEARCHED_SHARE: Final = 0.7
"""Share of the progress at which the search for faces ends and writing the covered copy begins."""


@dataclass(frozen=True, slots=True)
class TimelineReading:
    """A task that returns the timeline of a video as JSON.

    Attributes:
        source: The video.
        load: Pickled function that returns the analyzer; unpickled once, so that its models stay loaded.
        every_s: Minimum time between two analysed frames.
        rest_s: Seconds of resting faces at the start of the video.
        language: Code of the language of the annotated copy.
    """

    source: Path
    load: bytes
    every_s: float
    rest_s: float
    language: str = field(default=ENGLISH, kw_only=True)

    def __call__(self, tell: Tell) -> bytes:
        """Read the video and return its timeline as JSON."""
        return json.dumps(timeline_to_dict(self.read(tell)[0])).encode()

    def read(
        self, tell: Tell, output: Path | None = None, watcher: Watcher | None = None
    ) -> tuple[Timeline, list[str]]:
        """Read the video and report the progress; return the timeline with notes on anything unusual."""
        with VideoFile(
            self.source, max_pixels=MAX_PIXELS, max_length_s=MAX_LENGTH_S, max_frames=MAX_FRAMES
        ) as video:
            check_limits(video)
            length_s = video.info.duration_s

            def watch(frame: Frame, faces: list[Face]) -> None:
                tell(min(frame.timestamp_s / length_s, 1.0) if length_s else None)
                if watcher is not None:
                    watcher(frame, faces)

            timeline = analyze_video(
                _loader(self.load)(),
                video,
                output=output,
                every_s=self.every_s,
                rest_s=self.rest_s,
                watcher=watch,
                language=self.language,
            )
            return timeline, list(video.notes)


@dataclass(frozen=True, slots=True)
class PageReading(TimelineReading):
    """A task that writes the files of a video and returns the page's answer.

    Attributes:
        folder: Folder for the annotated video and the timelines.
        name: Name of the uploaded file.
        cover: Cover for every face of the copy, instead of a label; None to label.
    """

    folder: Path
    name: str
    cover: Cover | None = None

    def __call__(self, tell: Tell) -> bytes:
        """Read the video and write the files."""
        if self.cover is None:
            timeline, notes = self.read(tell, self.folder / ANNOTATED)
        else:
            timeline, notes = self._read_covered(tell, self.cover)
        for suffix in WRITERS:
            tell(1.0)
            write_timeline(timeline, self.folder / f"timeline{suffix}")
        return json.dumps(_shown(timeline, notes, self.name)).encode()

    def _read_covered(self, tell: Tell, cover: Cover) -> tuple[Timeline, list[str]]:
        """Read the video, find every face with an eager detector, then write the covered copy."""
        finder = load_eager_detector(_loader(self.load)().detector.name)
        plan = CoverPlan()
        timeline, notes = self.read(
            lambda share: tell(share and share * _SEARCHED_SHARE),
            watcher=lambda frame, _: plan.add(frame.timestamp_s, finder.detect(frame.image)),
        )
        end_s = max(timeline.end_s, 1e-3)

        def watch(frame: Frame) -> None:
            written = min(frame.timestamp_s / end_s, 1.0)
            tell(_SEARCHED_SHARE + (1 - _SEARCHED_SHARE) * written)

        return timeline, notes + copy_covered(self.source, self.folder / ANNOTATED, plan, cover, watch)


def _shown(timeline: Timeline, notes: list[str], name: str) -> dict[str, Any]:
    """Return the page's answer for a finished video."""
    return {
        "state": "finished",
        "share": 1.0,
        "left_s": None,
        "problem": None,
        "name": name,
        "frame_count": timeline.frame_count,
        "row_count": len(timeline),
        "notes": notes,
        "labels": label_styles(timeline.emotions),
        "summary": [summary_to_dict(summary) for summary in timeline.summaries()],
        "chart": {"svg": timeline_chart(timeline), "left": PLOT_LEFT, "width": PLOT_WIDTH},
    }


@lru_cache(maxsize=4)
def _loader(pickled: bytes) -> Callable[[], FaceAnalyzer]:
    load: Callable[[], FaceAnalyzer] = pickle.loads(pickled)  # trusted: pickled by the server itself
    return load


def hide_places(sentence: str, source: Path, folder: Path | None = None) -> str:
    """Return a message without this machine's paths."""
    sentence = sentence.replace(str(source), "the file")
    return (
        sentence
        if folder is None
        else sentence.replace(f"{folder}/{ANNOTATED}", "the annotated copy").replace(
            str(folder), "the server"
        )
    )


def check_limits(video: VideoFile) -> None:
    """Reject videos that would take too long.

    Raises:
        UnreadableVideoError: The video is too long or too large.
    """
    info = video.info
    if info.duration_s is not None and info.duration_s > MAX_LENGTH_S:
        raise UnreadableVideoError(
            f"the video is {info.duration_s / 60:.0f} minutes long; at most {MAX_LENGTH_S / 60:.0f} are read "
            "here, 'python -m fer' on the command line reads any length"
        )
    if info.width * info.height > MAX_PIXELS:
        raise UnreadableVideoError(
            f"the video has frames of {info.width}×{info.height} pixels; at most 4096×2304 are read here, "
            "scale it down first"
        )
