"""Measure frames per second and memory of video analysis, compared with the ``fer`` package if there is one."""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av

from fer import __version__
from fer.folders.records import AnalyzerRecipe
from fer.streams.recorded import analyze_video
from fer.timeline.export import write_timeline
from fer.video import VideoFile
from training.command import run_command

PEER = """
import json, sys, time, cv2
from fer.fer import FER
detector = FER(mtcnn=False)
clip = cv2.VideoCapture(sys.argv[1])
frames = []
while len(frames) < int(sys.argv[2]):
    read, frame = clip.read()
    if not read:
        break
    frames.append(frame)
detector.detect_emotions(frames[0])  # loading is not counted
start, cpu, faces = time.perf_counter(), time.process_time(), 0
for frame in frames:
    faces += len(detector.detect_emotions(frame)) > 0
answer = {"frames": len(frames), "wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu}
print(json.dumps(answer | {"with_face": faces}))
"""


@dataclass(frozen=True)
class VideoBenchmark:
    """Videos and settings to measure.

    Attributes:
        clip: A video.
        detector: Name of a detector.
        threads: Number of frames analysed in parallel.
        repeats: Number of runs; the median is reported.
        peer: Python of an environment with the fer package, which analyses the same clip alternately.
        peer_frames: Number of frames for the peer.
        minutes: Lengths of looped copies of the clip for the memory measurement; none by default.
        child: Internal: run one memory measurement in this process.
    """

    clip: Path
    detector: str = "haar"
    threads: int = os.cpu_count() or 1
    repeats: int = 3
    peer: Path | None = None
    peer_frames: int = 150
    minutes: tuple[float, ...] = ()
    child: Literal["read", "analyze"] | None = None


def main(options: VideoBenchmark) -> None:
    if options.child is not None:
        measure_child(options)
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, version {__version__}")
    measure_speed(options)
    for kind in ("read", "analyze"):
        measure_memory(options, kind)


def measure_speed(options: VideoBenchmark) -> None:
    analyzer = AnalyzerRecipe(detector=options.detector, live=True).build()
    runs: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.repeats):
            runs.setdefault("timeline", []).append(once(analyzer, options, None))
            runs.setdefault("timeline and annotated copy", []).append(
                once(analyzer, options, Path(folder) / "copy.mp4")
            )
            if options.peer is not None:
                runs.setdefault("fer package", []).append(once_peer(options))
    for name, results in runs.items():
        rates = sorted(result["frames"] / result["wall_s"] for result in results)
        cpu = sorted(1000 * result["cpu_s"] / result["frames"] for result in results)
        seen = results[0]["with_face"] / results[0]["frames"]
        middle = len(rates) // 2
        print(
            f"{name}: {rates[middle]:.1f} frames/s ({rates[0]:.1f} to {rates[-1]:.1f}), "
            f"{cpu[middle]:.1f} ms CPU per frame, face in {seen:.0%} of {results[0]['frames']:.0f} frames"
        )


def once(analyzer, options: VideoBenchmark, output: Path | None) -> dict[str, float]:
    start, cpu = time.perf_counter(), time.process_time()
    with VideoFile(options.clip) as video:
        timeline = analyze_video(analyzer, video, output=output, thread_count=options.threads)
    return {
        "frames": timeline.frame_count,
        "wall_s": time.perf_counter() - start,
        "cpu_s": time.process_time() - cpu,
        "with_face": timeline.table()["frame"].nunique(),
    }


def once_peer(options: VideoBenchmark) -> dict[str, float]:
    words = [str(options.peer), "-c", PEER, str(options.clip.resolve()), str(options.peer_frames)]
    with tempfile.TemporaryDirectory() as folder:  # same package name: it must not import this repository
        answer = subprocess.run(words, capture_output=True, text=True, cwd=folder, check=True)
    return json.loads(answer.stdout.splitlines()[-1])


def measure_memory(options: VideoBenchmark, kind: str) -> None:
    """Print the peak memory of a process that reads a copy of each length; one frame per second is analysed."""
    for minutes in options.minutes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "looped.mp4"
            loop(options.clip, path, 60 * minutes)
            words = ["--clip", str(path), "--detector", options.detector, "--child", kind]
            answer = subprocess.run(
                [sys.executable, "-m", "benchmarks.video", *words], capture_output=True, text=True, check=True
            )
        print(f"{kind}, {minutes:g} minutes: {answer.stdout.strip()}")


def measure_child(options: VideoBenchmark) -> None:
    start = time.perf_counter()
    with VideoFile(options.clip) as video:
        if options.child == "read":
            frame_count = sum(1 for _ in video.frames())
        else:
            analyzer = AnalyzerRecipe(detector=options.detector, live=True).build()
            timeline = analyze_video(analyzer, video, every_s=1.0, thread_count=options.threads)
            write_timeline(timeline, options.clip.with_suffix(".csv"))
            frame_count = timeline.frame_count
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    wall_s = time.perf_counter() - start
    print(f"peak {peak_mb:.1f} MB, {frame_count} frames in {wall_s:.0f} s")


def loop(clip: Path, path: Path, length_s: float) -> None:
    """Repeat a clip's video packets without decoding them."""
    with av.open(str(path), "w") as target:
        stream, offset, base = None, 0, 0
        while float(offset * base) < length_s:
            with av.open(str(clip)) as source:
                track = source.streams.video[0]
                stream = stream or target.add_stream_from_template(track)
                first = end = None
                base = track.time_base
                for packet in source.demux(track):
                    if packet.dts is None:
                        continue
                    first = packet.dts if first is None else first  # below 0 if frames depend on later ones
                    end = packet.dts + (packet.duration or 1)
                    packet.pts += offset
                    packet.dts += offset
                    packet.stream = stream
                    target.mux(packet)
                offset += end - first


if __name__ == "__main__":
    sys.exit(run_command(VideoBenchmark, main, "benchmarks.video", description=__doc__))
