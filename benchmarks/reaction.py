"""Measure the delay of a label after a change of expression, and its stability on a still face.

    python -m benchmarks.reaction ../shared/data/affectnet96.parquet --videos ../shared/videos/one_*.mp4

Composes clips on a fixed backdrop: faces that crossfade at known times, and faces that stay for 20 seconds, clear
and borderline ones separately, with camera noise, varying light and position, and JPEG compression. Each clip is
processed by the live path and, as an H.264 file, by the recorded path. The predictions of single frames are stored, so
that filters can be compared on the same predictions in seconds.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from tqdm import tqdm

from benchmarks.composed_clips import Clip, StillFace, compose, fit, in_turn, write_clip
from benchmarks.filters import CANDIDATES, Shown, replay, shipped
from fer.analysis import FaceAnalyzer, load_analyzer
from fer.detection import load_detector
from fer.emotions import Emotion
from fer.faces import Detection, Face, Prediction
from fer.images import RgbImage
from fer.streams.recorded import analyze_video
from fer.streams.stream import StreamAnalyzer
from fer.video import Frame, VideoFile
from training.command import run_command
from training.data.datasets import pixels_of, read_table

STILL_S = 20.0
WINDOW_S = 3.0
CLEAR_ABOVE = 0.8
BORDERLINE_GAP = 0.12
MOST_LOOKED_AT = 2000


@dataclass(frozen=True)
class Options:
    """Faces and clips to measure.

    Attributes:
        faces: Data set of face images with some space around the faces.
        videos: Videos of single people, in which label changes are counted.
        weights: Name or folder of weights; None for the default.
        detector: Name of a detector; None for the default.
        changes: Number of changes of expression with holds of 1, 2 and 4 seconds.
        stills: Number of clear still faces, and of borderline ones.
        frame_rate: Frame rate of the clips.
        candidates: Compare the other filters, too.
        answers: Store the predictions of single frames in this file, or load them from it if it exists.
        paths: Processing paths to measure.
    """

    faces: tyro.conf.Positional[Path]
    videos: tuple[Path, ...] = ()
    weights: str | None = None
    detector: str | None = None
    changes: tuple[int, int, int] = (120, 50, 30)
    stills: int = 8
    frame_rate: float = 30.0
    candidates: bool = False
    answers: Path | None = None
    paths: tuple[Literal["live", "recorded"], ...] = ("live", "recorded")


@dataclass(frozen=True)
class Answers:
    """One clip's predictions for the largest face: unsmoothed, and as shown.

    Attributes:
        clip: Name of the clip.
        path: ``live`` or ``recorded``.
        changes: Middle of each crossfade in seconds, with the expression that follows.
        times: Times of the frames in seconds.
        raw: Each frame's own prediction; None without a face.
        shown: The label shown, and whether it is unsure; None if nothing is shown.
    """

    clip: str
    path: str
    changes: tuple[tuple[float, Emotion], ...]
    times: tuple[float, ...]
    raw: tuple[Prediction | None, ...]
    shown: tuple[Shown, ...]


def main(options: Options) -> None:
    """Print the table of both paths, at full and at a third of the frame rate, and of candidates on request."""
    if options.answers is not None and options.answers.exists():
        measured = np.load(options.answers, allow_pickle=True)["answers"].tolist()
    else:
        measured = measure(options)
    print(heading())
    for path in options.paths:
        of_path = [each for each in measured if each.path == path]
        print(row(path, [(each, each.shown) for each in of_path]))
        sparse = [thinned(each, 3) for each in of_path]
        print(row(f"{path}, every third frame", [(each, each.shown) for each in sparse]))
    if options.candidates:
        live = [each for each in measured if each.path == "live"]
        for name, build in CANDIDATES.items():
            print(row(name, [(each, replay(each.times, each.raw, build)) for each in live]), flush=True)


def measure(options: Options) -> list[Answers]:
    """Process every clip with both paths."""
    analyzer = load_analyzer(options.weights, options.detector)
    analyzer = FaceAnalyzer(
        load_detector(options.detector or analyzer.detector.name, live=True), analyzer.classifier
    )
    measured: list[Answers] = []
    for path in options.videos:
        with VideoFile(path) as video:
            frames = list(video.frames())
        measured += through(options.paths, analyzer, f"video {path.stem}", (), frames, path)
    for clip in tqdm(clips(options, analyzer), unit=" clips"):
        frames = [Frame(image, time_s) for time_s, image in compose(clip, options.frame_rate)]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mp4"
            if "recorded" in options.paths:
                write_clip(path, frames, options.frame_rate)
            measured += through(options.paths, analyzer, clip.name, tuple(clip.changes), frames, path)
        if options.answers is not None:
            np.savez(options.answers, answers=np.array(measured, dtype=object))
    return measured


def through(
    paths: Sequence[str],
    analyzer: FaceAnalyzer,
    name: str,
    changes: tuple[tuple[float, Emotion], ...],
    frames: Sequence[Frame],
    file: Path,
) -> Iterator[Answers]:
    """Process the same frames with each path."""
    for path in paths:
        if path == "live":
            yield through_live(analyzer, name, changes, frames)
        else:
            yield through_file(analyzer, name, changes, file)


class _Keeper(FaceAnalyzer):
    """An analyzer that stores the prediction of each frame."""

    def __init__(self, analyzer: FaceAnalyzer) -> None:
        super().__init__(analyzer.detector, analyzer.classifier)
        self.raw: list[Prediction | None] = []

    def read_faces(self, image: RgbImage, detections: list[Detection]) -> list[Face]:
        faces = super().read_faces(image, detections)
        self.raw.append(largest(faces))
        return faces


def through_live(
    analyzer: FaceAnalyzer, name: str, changes: tuple[tuple[float, Emotion], ...], frames: Sequence[Frame]
) -> Answers:
    """Process frame by frame, like the live page."""
    keeper = _Keeper(analyzer)
    stream = StreamAnalyzer(keeper)
    shown = [as_shown(largest(stream.read(frame.image, frame.timestamp_s))) for frame in frames]
    times = tuple(frame.timestamp_s for frame in frames)
    return Answers(name, "live", changes, times, tuple(keeper.raw), tuple(shown))


def through_file(
    analyzer: FaceAnalyzer, name: str, changes: tuple[tuple[float, Emotion], ...], path: Path
) -> Answers:
    """Process a file, like any recorded video."""
    keeper = _Keeper(analyzer)
    times: list[float] = []
    shown: list[Shown] = []

    def watch(frame: Frame, faces: list[Face]) -> None:
        times.append(frame.timestamp_s)
        shown.append(as_shown(largest(faces)))

    with VideoFile(path) as video:
        analyze_video(keeper, video, watcher=watch)
    return Answers(name, "recorded", changes, tuple(times), tuple(keeper.raw), tuple(shown))


def thinned(answers: Answers, step: int) -> Answers:
    """Return what the shipped filter shows if it gets only every ``step``-th frame."""
    times, raw = answers.times[::step], answers.raw[::step]
    return replace(answers, times=times, raw=raw, shown=tuple(replay(times, raw, shipped())))


def largest(faces: Sequence[Face]) -> Prediction | None:
    """Return the prediction for the largest face."""
    return max(faces, key=lambda face: face.detection.box.area).prediction if faces else None


def as_shown(prediction: Prediction | None) -> Shown:
    return None if prediction is None else (prediction.emotion, prediction.is_unsure)


def clips(options: Options, analyzer: FaceAnalyzer) -> Iterator[Clip]:
    """Yield clips of changing faces with three hold times, then of still ones."""
    rng = np.random.default_rng(0)
    clear, borderline = choose_faces(options, analyzer)
    for hold_s, count in zip((1.0, 2.0, 4.0), options.changes, strict=True):
        for part in range(0, count, 30):  # short clips, whose frames fit into memory
            yield Clip(f"holds of {hold_s:g} s", in_turn(clear, min(30, count - part) + 1, rng), hold_s, part)
    for name, faces in (("clear", clear), ("borderline", borderline)):
        for number, face in enumerate(faces[: options.stills]):
            yield Clip(name, (face,), STILL_S, number)


def choose_faces(options: Options, analyzer: FaceAnalyzer) -> tuple[list[StillFace], list[StillFace]]:
    """Choose faces with a clear prediction, equally many per expression, and borderline ones."""
    clear: dict[Emotion, list[StillFace]] = {}
    borderline: list[StillFace] = []
    table = read_table(options.faces)
    wanted = max(options.stills, 6)
    for index in np.random.default_rng(1).permutation(len(table))[:MOST_LOOKED_AT]:
        face = StillFace(fit(pixels_of(table.pictures[index])), Emotion.NEUTRAL)
        answer = look(analyzer, face, 1)
        if answer is None or is_between(answer) or (len(borderline) >= wanted and not is_clear(answer)):
            continue
        if is_clear(answer) and len(clear.get(answer.emotion, ())) >= wanted:
            continue
        answer = look(analyzer, face, 4)
        if answer is None or is_between(answer):
            continue
        face = StillFace(face.picture, answer.emotion)
        (clear.setdefault(face.emotion, []) if is_clear(answer) else borderline).append(face)
        if (
            sum(len(faces) >= wanted for faces in clear.values()) == len(answer.labels)
            and len(borderline) >= wanted
        ):
            break
    return [
        faces[number] for number in range(wanted) for faces in clear.values() if number < len(faces)
    ], borderline


def look(analyzer: FaceAnalyzer, face: StillFace, count: int) -> Prediction | None:
    """Return the mean prediction over some frames of a still face; None if a frame has no detection."""
    frames = compose(Clip("look", (face,), 1.0, 0), float(count))
    found = [largest(analyzer.analyze(image)) for _, image in frames]
    if any(prediction is None for prediction in found):
        return None
    return replace(found[0], probabilities=np.mean([each.probabilities for each in found if each], axis=0))


def is_clear(answer: Prediction) -> bool:
    return answer.confidence >= CLEAR_ABOVE


def is_between(answer: Prediction) -> bool:
    """Return whether a prediction is neither clear nor borderline."""
    best, second = np.sort(answer.probabilities)[:-3:-1]
    return best < CLEAR_ABOVE and best - second > BORDERLINE_GAP


def heading() -> str:
    return (
        "| | never shown, 1 / 2 / 4 s | delay median / 90th percentile s, 1 s | 2 s | 4 s "
        "| changes per minute: clear | borderline | videos: changes, most in 3 s |\n" + "|---" * 8 + "|"
    )


def row(name: str, measured: Sequence[tuple[Answers, Sequence[Shown]]]) -> str:
    """Return one line of the table."""
    never, late = [], []
    for hold_s in (1.0, 2.0, 4.0):
        delays = [
            delay
            for each, shown in measured
            if each.clip == f"holds of {hold_s:g} s"
            for delay in delays_of(each, shown, hold_s)
        ]
        seen = [delay for delay in delays if delay is not None]
        never.append(f"{100 * (1 - len(seen) / len(delays)):.1f}" if delays else "–")
        late.append(f"{np.median(seen):.2f} / {np.quantile(seen, 0.9):.2f}" if seen else "–")
    rates = [
        f"{rate_of([shown for each, shown in measured if each.clip == kind]):.1f}"
        for kind in ("clear", "borderline")
    ]
    videos = [
        f"{len(times)}, {most_in_window(times)}"
        for each, shown in measured
        if each.clip.startswith("video")
        for times in [change_times(each.times, shown)]
    ]
    cells = [name, " / ".join(never) + " %", *late, *rates, "; ".join(videos)]
    return "| " + " | ".join(cells) + " |"


def delays_of(answers: Answers, shown: Sequence[Shown], hold_s: float) -> Iterator[float | None]:
    """Yield the delay from each crossfade's middle to the first frame with the new label; None for never."""
    for start_s, emotion in answers.changes:
        named = [
            time_s - start_s
            for time_s, label in zip(answers.times, shown, strict=True)
            if start_s <= time_s < start_s + hold_s and label is not None and label[0] == emotion
        ]
        yield named[0] if named else None


def rate_of(shown: Sequence[Sequence[Shown]]) -> float:
    """Return the changes per minute of the label or of being unsure, after the first second."""
    count = sum(sum(is_change(a, b) for a, b in pairwise(each[len(each) // 20 :])) for each in shown)
    return count / max(len(shown) * STILL_S * 19 / 20 / 60, 1e-9)


def change_times(times: Sequence[float], shown: Sequence[Shown]) -> list[float]:
    """Return the times at which the label differs from that of the previous frame."""
    return [
        time_s
        for time_s, (a, b) in zip(times[1:], pairwise(shown), strict=True)
        if a is not None and b is not None and a[0] != b[0]
    ]


def most_in_window(times: Sequence[float]) -> int:
    return max((sum(start <= time_s < start + WINDOW_S for time_s in times) for start in times), default=0)


def is_change(before: Shown, after: Shown) -> bool:
    return before is not None and after is not None and before != after


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.reaction", description=__doc__))
