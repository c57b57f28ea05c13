"""Measure tracking on recorded videos: coverage, false positives, stability, cost per frame.

    python -m benchmarks.stream ../shared/videos --detector haar --reference face_detection_yunet_2023mar.onnx

The reference detector searches every whole frame in full size; its detections are the ground truth.
"""

import platform
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import tyro

from fer import FaceAnalyzer, load_analyzer
from fer.detection import load_detector
from fer.detection.yunet import YuNetDetector
from fer.faces import Box, Detection, Face
from fer.streams.smoothing import Steadiness
from fer.streams.stream import StreamAnalyzer
from fer.streams.tracking import TrackingSettings
from fer.video import Frame, VideoFile
from training.command import run_command

SAME_FACE = 0.3  # overlap that counts as the same face: detectors frame faces differently
WINDOW_S = 3.0


@dataclass(frozen=True)
class StreamBenchmark:
    """Videos and models to measure.

    Attributes:
        videos: Video files, or a folder of them.
        reference: YuNet's file; None for the downloaded one.
        weights: Name or folder of weights; None for the default.
        detector: Name of a detector; None for the default.
        frame_rate: Maximum frames per second read of each video; 0 reads all.
        steadiness_s: Time constant of the smoothing; None for the default.
    """

    videos: tyro.conf.Positional[Path]
    reference: Path | None = None
    weights: str | None = None
    detector: str | None = None
    frame_rate: float = 0.0
    steadiness_s: float | None = None


def main(options: StreamBenchmark) -> None:
    """Print one line per video."""
    reference = YuNetDetector(options.reference, longest_side=4096)
    analyzer = load_analyzer(options.weights, options.detector)
    live = load_detector(options.detector or analyzer.detector.name, live=True)
    analyzer = FaceAnalyzer(live, analyzer.classifier)
    print(
        f"{platform.platform()}, Python {platform.python_version()}, OpenCV {cv2.__version__}, "
        f"ONNX Runtime {onnxruntime.__version__}; "
        f"detector {live.name}, weights {analyzer.classifier.card.name}"
    )
    print(
        f"{'video':24} {'frames':>6} {'coverage':>9} {'false/100':>9} {'changes/3 s':>12} {'people':>6} "
        f"{'CPU ms':>7} {'p95 wall':>8} {'detect':>7} {'classify':>8} {'track':>6}"
    )
    paths = sorted(options.videos.glob("*.mp4")) if options.videos.is_dir() else [options.videos]
    for path in paths:
        print(measure(path, analyzer, reference, options), flush=True)


def measure(path: Path, analyzer: FaceAnalyzer, reference: YuNetDetector, options: StreamBenchmark) -> str:
    """Measure one video and return its line."""
    steadiness = Steadiness() if options.steadiness_s is None else Steadiness(options.steadiness_s)
    stream = StreamAnalyzer(analyzer, tracking=TrackingSettings(steadiness=steadiness, confirm_count=2))
    with VideoFile(path) as video:
        frames = thinned(list(video.frames()), options.frame_rate)
    found = hits = truths = false = 0
    cpu_s, wall_s, stages = [], [], []
    shown: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for frame in frames:
        start_cpu, start = time.process_time(), time.perf_counter()
        people = stream.read(frame.image, frame.timestamp_s)
        cpu_s.append(time.process_time() - start_cpu)
        wall_s.append(time.perf_counter() - start)
        stages.append((stream.cost.detect_s, stream.cost.classify_s, stream.cost.track_s))
        true = reference.detect(frame.image)
        found += len(people)
        truths += len(true)
        hits += sum(any(same(person, detection) for person in people) for detection in true)
        false += sum(not any(same(person, detection) for detection in true) for person in people)
        for person in people:
            shown[person.track_id or 0].append((frame.timestamp_s, person.prediction.emotion.value))
    detect, classify, track = 1000 * np.mean(stages, axis=0)
    return (
        f"{path.stem:24} {len(frames):6} {100 * hits / max(truths, 1):8.1f}% "
        f"{100 * false / len(frames):9.1f} {changes(shown):>12} {len(shown):6} "
        f"{1000 * np.mean(cpu_s):7.1f} {1000 * np.quantile(wall_s, 0.95):8.1f} "
        f"{detect:7.1f} {classify:8.1f} {track:6.1f}"
    )


def thinned(frames: list[Frame], frame_rate: float) -> list[Frame]:
    """Drop frames above this rate."""
    kept: list[Frame] = []
    for frame in frames:
        if not frame_rate or not kept or frame.timestamp_s - kept[-1].timestamp_s >= 0.999 / frame_rate:
            kept.append(frame)
    return kept


def same(person: Face, detection: Detection) -> bool:
    """Return whether both are the same face, by overlap or by containing each other's centre."""
    found, true = person.detection.box, detection.box
    return found.iou(true) >= SAME_FACE or holds(found, true) or holds(true, found)


def holds(outer: Box, inner: Box) -> bool:
    """Return whether a box contains the centre of another one of at least half its side length."""
    x, y = inner.centre
    inside = outer.left < x < outer.right and outer.top < y < outer.bottom
    return inside and inner.area > 0.25 * outer.area


def changes(shown: dict[int, list[tuple[float, str]]]) -> str:
    """Return mean and maximum number of label changes within three seconds."""
    counts = []
    for answers in shown.values():
        times = [after[0] for before, after in pairwise(answers) if before[1] != after[1]]
        for start, _ in answers[:: max(len(answers) // 50, 1)]:
            if start + WINDOW_S <= answers[-1][0]:
                counts.append(sum(start < changed <= start + WINDOW_S for changed in times))
    return f"{np.mean(counts):.2f} (max {max(counts)})" if counts else "-"


if __name__ == "__main__":
    sys.exit(run_command(StreamBenchmark, main, "benchmarks.stream", description=__doc__))
