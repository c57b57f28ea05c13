"""Folders of the dashboard, and what it caches of them between page loads."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dashboard.spoken import st
from fer.detection import FaceDetector, load_detector
from fer.model_shelf import user_folder
from training.data.datasets import FaceTable, read_table
from training.runs import RunStore


@dataclass(frozen=True, slots=True)
class Places:
    """Folders and access options of the dashboard.

    Attributes:
        runs: Run directories.
        data: Uploaded and collected images, one folder per data set.
        auth: Password file of the permitted users; None to permit this machine only.
        trusted_hosts: Additional host names of the dashboard.
    """

    runs: Path
    data: Path
    auth: Path | None = None
    trusted_hosts: tuple[str, ...] = ()


def parse_places(arguments: Sequence[str]) -> Places:
    """Parse the dashboard's options; ignore unknown arguments."""
    parser = argparse.ArgumentParser("streamlit_app.py", description="Training dashboard.")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of run directories")
    parser.add_argument("--data", type=Path, default=None, help="folder for uploaded and recorded pictures")
    parser.add_argument("--auth", type=Path, default=None, help="password file; admits other machines")
    parser.add_argument("--trusted-host", action="append", default=[], help="another host name of this page")
    chosen, _ = parser.parse_known_args(list(arguments))
    data = user_folder() / "data" if chosen.data is None else chosen.data
    return Places(chosen.runs.absolute(), data.absolute(), chosen.auth, tuple(chosen.trusted_host))


@st.cache_resource(max_entries=8)
def run_store(root: Path) -> RunStore:
    """Return the store of a folder of runs, which rereads a run only when its files change."""
    return RunStore(root)


@st.cache_resource
def detector() -> FaceDetector:
    """Return the face detector for photos; may be used from several threads."""
    return load_detector("auto")


def read_data(path: Path) -> FaceTable:
    """Read a data set; cached until its folder changes.

    Raises:
        DatasetError: It cannot be used.
        OSError: It may not be read.
    """
    return _read_table(path, _stamp(path))


@st.cache_resource(max_entries=4, show_spinner=False)
def _read_table(path: Path, stamp: tuple[int, ...]) -> FaceTable:  # noqa: ARG001 - the stamp is part of the cache key
    return read_table(path)


def _stamp(path: Path) -> tuple[int, ...]:
    """Return the modification times of the folder and of its subfolders down to two levels."""
    if not path.is_dir():
        return (path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else ()
    folders = [path, *(p for p in path.glob("*")), *(p for p in path.glob("*/*") if p.is_dir())]
    return tuple(folder.stat().st_mtime_ns for folder in folders)
