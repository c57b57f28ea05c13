"""Analyse a recorded video: a summary, a timeline, an annotated copy."""

import json
import math
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from fer.anonymising import CoverPlan, copy_covered, load_eager_detector
from fer.commands import CommandError, say, terminable
from fer.commands.options import AnalyzeOptions
from fer.commands.outputs import named_outputs
from fer.detection import FaceDetector
from fer.faces import Face
from fer.folders.records import AnalyzerRecipe
from fer.printable import plain_path
from fer.reports import faces_to_dict
from fer.streams.recorded import analyze_video
from fer.streams.resting import REST_S
from fer.streams.smoothing import Steadiness
from fer.timeline.export import write_timeline
from fer.timeline.table import Summary, Timeline
from fer.video import Frame, UnreadableVideoError, UnwritableVideoError, VideoFile

_LARGE: Final = 4096 * 2304
_BRIEF_S: Final = 1.0
"""Faces seen for less are not counted as people in the summary, as on the page; tables include them."""

_AS_IT_IS: Final = Steadiness(time_constant_s=0.0)


def run_video(options: AnalyzeOptions) -> int:
    """Analyse one video, print its summary and write the requested files.

    Raises:
        CommandError: Contradictory options, an unreadable video, or an unwritable file.
    """
    path = _the_video(options)
    files = [file for option, file in named_outputs(options) if option != "--output"]
    analyzer = AnalyzerRecipe(options.weights, options.detector, options.head, live=True).build()
    try:
        with ExitStack() as stack:
            stack.enter_context(terminable())
            video = stack.enter_context(VideoFile(path))
            _warn_of_size(video)
            finder = load_eager_detector(options.detector) if options.anonymise else None
            watcher = stack.enter_context(_Watcher(path, video, options.json, finder))
            timeline = analyze_video(
                analyzer,
                video,
                output=None if options.anonymise else options.output,
                every_s=options.every,
                steadiness=_AS_IT_IS if options.raw else None,
                rest_s=REST_S if options.rest else 0.0,
                thread_count=os.cpu_count() or 1,
                watcher=watcher,
            )
            if options.anonymise and options.output is not None:
                video.notes.extend(copy_covered(path, options.output, watcher.plan, options.anonymise))
        for file in files:
            write_timeline(timeline, file)
    except (UnreadableVideoError, UnwritableVideoError) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"the timeline cannot be written ({error.strerror or error})") from error
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    for note in video.notes:
        say(f"{path} {note}", sys.stderr)
    _warn_of_damage(video, timeline, options.every)
    if not options.json:
        for line in summary_lines(path, timeline):
            say(line, sys.stdout)
    return 0


def summary_lines(path: Path, timeline: Timeline) -> list[str]:
    """Return the printed summary of a video: one line for the video, then one per person."""
    summaries = timeline.summaries()
    count = timeline.frame_count
    start = f"{path}: {count:,} {'frame' if count == 1 else 'frames'}, {timeline.end_s:.1f} s"
    if not summaries:
        return [f"{start}, no face found"]
    people, brief = part_brief(summaries[1:])
    lines = [f"{start}, {len(people)} {'person' if len(people) == 1 else 'people'}"]
    lines += [_person_line(path, person) for person in people]
    if brief:
        each = " each" if len(brief) > 1 else ""
        lines.append(f"{path}: {len(brief)} more, seen for less than {_BRIEF_S:g} s{each}")
    return lines


def part_brief(people: Sequence[Summary]) -> tuple[list[Summary], list[Summary]]:
    """Split off people seen only briefly, often a poster or a hand; if all are brief, none are split off."""
    stay = [person for person in people if person.seen_s >= _BRIEF_S]
    return (stay, [person for person in people if person not in stay]) if stay else (list(people), [])


def _person_line(path: Path, person: Summary) -> str:
    ranked = sorted(person.shares.items(), key=lambda item: -item[1])
    shares = ", ".join(f"{emotion.value} {100 * share:.0f} %" for emotion, share in ranked if share >= 0.005)
    changes = "1 change" if person.change_count == 1 else f"{person.change_count} changes"
    return (
        f"{path}: person {person.track_id}, {person.start_s:.1f} to {person.end_s:.1f} s: {shares} "
        f"({changes}, mean confidence {100 * person.mean_confidence:.0f} %)"
    )


class _Watcher:
    """A callback that shows progress and, with ``--json``, prints frames."""

    def __init__(
        self, path: Path, video: VideoFile, as_json: bool, finder: FaceDetector | None = None
    ) -> None:
        self._path = path
        self._as_json = as_json
        self._finder = finder
        self.plan = CoverPlan()
        self._bar = tqdm(
            total=video.info.duration_s and round(video.info.duration_s, 2),
            unit=" s",
            disable=not sys.stderr.isatty(),
            leave=False,
            bar_format=None
            if video.info.duration_s is None
            else "{l_bar}{bar}| {n:.0f}/{total:.0f} s [{remaining} left]",
        )

    def __enter__(self) -> "_Watcher":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, frame: Frame, faces: list[Face]) -> None:
        self._bar.update(frame.timestamp_s - self._bar.n)
        if self._finder is not None:
            self.plan.add(frame.timestamp_s, self._finder.detect(frame.image))
        if self._as_json and faces:
            tqdm.write(json.dumps(frame_record(self._path, frame, faces)), file=sys.stdout)


def frame_record(path: Path, frame: Frame, faces: list[Face]) -> dict[str, Any]:
    """Return a frame's ``--json`` object: that of a photo, with ``timestamp_s``."""
    height, width = frame.image.shape[:2]
    record = faces_to_dict(faces, width, height, plain_path(path))
    return {"path": record.pop("path"), "timestamp_s": frame.timestamp_s} | record


def _the_video(options: AnalyzeOptions) -> Path:
    if len(options.paths) != 1:
        raise CommandError(f"expected one video and nothing else, got {len(options.paths)} paths")
    if not 0 <= options.every < math.inf:
        raise CommandError(f"expected --every of at least 0 seconds, got {options.every:g}")
    if options.thorough:
        raise CommandError("--thorough is for photos; omit it for a video")
    if options.workers != 1 or options.engine != "local":
        raise CommandError("--workers and --engine are for folders of photos; a video always uses all cores")
    return options.paths[0]


def _warn_of_size(video: VideoFile) -> None:
    info = video.info
    if info.width * info.height > _LARGE:
        say(
            f"{video.path} has frames of {info.width}×{info.height} pixels, which is slow; "
            f"'ffmpeg -i {video.path} -vf scale=1920:-2 smaller.mp4' makes a faster copy",
            sys.stderr,
        )


def _warn_of_damage(video: VideoFile, timeline: Timeline, every_s: float) -> None:
    if video.skipped_count:
        say(f"{video.path} is damaged; {video.skipped_count} packets were skipped", sys.stderr)
    length_s = video.info.duration_s
    step_s = max(every_s, 1 / (video.info.frame_rate or 1))  # the last frame stays until the end
    if length_s is not None and timeline.end_s + step_s < 0.9 * length_s - 1:
        say(
            f"{video.path} is cut off: {timeline.end_s:.1f} of {length_s:.1f} s could be read",
            sys.stderr,
        )
