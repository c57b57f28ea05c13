"""Measure photos per second for a folder job with several numbers of workers, and its resumption after a kill."""

import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet

from fer import __version__
from fer.folders.listing import list_folder
from training.command import run_command


@dataclass(frozen=True)
class FolderBenchmark:
    """Folder size and worker counts to measure.

    Attributes:
        source: A folder of photos, or Parquet files in Hugging Face's layout with a column image.
        count: Number of photos to read; those of the source are repeated under other names.
        workers: Numbers of workers.
        detector: Name of a detector.
        kill: Also kill a run with SIGKILL halfway, restart it and compare the tables.
    """

    source: tuple[Path, ...]
    count: int = 2000
    workers: tuple[int, ...] = (1, 2)
    detector: str = "haar"
    kill: bool = True


def main(options: FolderBenchmark) -> None:
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, version {__version__}")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        photos = root / "photos"
        lay_out(options, photos)
        rates = {}
        for worker_count in options.workers:
            table = root / f"faces{worker_count}.parquet"
            start, cpu_s = time.perf_counter(), children_cpu_s()
            words = command(photos, table, worker_count, options)
            subprocess.run(words, stdout=subprocess.DEVNULL, check=False)
            wall_s = time.perf_counter() - start
            rates[worker_count] = options.count / wall_s
            cpu_ms = 1000 * (children_cpu_s() - cpu_s) / options.count
            print(
                f"{worker_count} workers: {rates[worker_count]:.1f} photos/s, {wall_s:.1f} s, "
                f"{cpu_ms:.0f} ms CPU per photo, {describe(table)}"
            )
        first = rates[options.workers[0]]
        for worker_count in options.workers[1:]:
            print(f"{worker_count} workers are {rates[worker_count] / first:.2f} times as fast")
        if options.kill:
            compare_with_killed(options, photos, root)


def compare_with_killed(options: FolderBenchmark, photos: Path, root: Path) -> None:
    table, worker_count = root / "killed.parquet", options.workers[-1]
    journal = table.with_name(table.name + ".partial.jsonl")
    words = command(photos, table, worker_count, options)
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as job:
        while not journal.exists() or journal.read_bytes().count(b"\n") < options.count // 2:
            time.sleep(0.1)
        os.kill(job.pid, signal.SIGKILL)
    done_count = journal.read_bytes().count(b"\n") - 1
    print(f"killed after {done_count} photos; table exists: {table.exists()}")
    subprocess.run(words, stdout=subprocess.DEVNULL, check=False)
    whole = pyarrow.parquet.read_table(root / f"faces{worker_count}.parquet")
    print(f"same table as an uninterrupted run: {pyarrow.parquet.read_table(table).equals(whole)}")


def command(photos: Path, table: Path, worker_count: int, options: FolderBenchmark) -> list[str]:
    words = [str(photos), "--parquet", str(table), "--workers", str(worker_count)]
    return [sys.executable, "-m", "fer", *words, "--detector", options.detector]


def children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def describe(table: Path) -> str:
    rows = pyarrow.parquet.read_table(table, columns=["path", "face"])
    return f"{len(set(rows['path'].to_pylist()))} photos, {len(rows) - rows['face'].null_count} faces"


def lay_out(options: FolderBenchmark, folder: Path) -> None:
    """Write the photos, repeated up to the count."""
    folder.mkdir()
    originals = folder.parent / "originals"
    originals.mkdir()
    for source in options.source:
        if source.is_dir():
            for path in list_folder(source, recursive=True).pictures:
                shutil.copy(path, originals / f"{len(list(originals.iterdir())):05}{path.suffix}")
            continue
        for number, row in enumerate(
            pyarrow.parquet.read_table(source, columns=["image"])["image"].to_pylist()
        ):
            (originals / f"{source.stem}_{number:05}.jpg").write_bytes(row["bytes"])
    paths = sorted(originals.iterdir())
    for number in range(options.count):
        os.link(paths[number % len(paths)], folder / f"{number:05}_{paths[number % len(paths)].name}")


if __name__ == "__main__":
    sys.exit(run_command(FolderBenchmark, main, "benchmarks.folder", description=__doc__))
