"""Folders that the dashboard reads and writes, and what is kept of them between page loads."""

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
    """Folders of one dashboard.

    Attributes:
        runs: Run directories.
        data: Pictures that people upload or take, one folder a data set.
        auth: File with the users who are let in; None where only this machine is.
        trusted_hosts: Further names under which the dashboard may be reached.
    """

    runs: Path
    data: Path
    auth: Path | None = None
    trusted_hosts: tuple[str, ...] = ()


def parse_places(arguments: Sequence[str]) -> Places:
    """Read the dashboard's options; words for somebody else are left alone."""
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
    """The store of a folder of runs; reads a run again only when its files changed."""
    return RunStore(root)


@st.cache_resource
def detector() -> FaceDetector:
    """The face detector for photos; may be called from several threads."""
    return load_detector("auto")


def read_data(path: Path) -> FaceTable:
    """A data set, kept in memory until something in its folder changes.

    Raises:
        DatasetError: It cannot be used.
        OSError: It may not be read.
    """
    return _read_table(path, _stamp(path))


@st.cache_resource(max_entries=4, show_spinner=False)
def _read_table(path: Path, stamp: tuple[int, ...]) -> FaceTable:  # noqa: ARG001 - the stamp is part of the key
    return read_table(path)


def _stamp(path: Path) -> tuple[int, ...]:
    """Times of the folder and the folders two levels below, where pictures come and go."""
    if not path.is_dir():
        return (path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else ()
    folders = [path, *(p for p in path.glob("*")), *(p for p in path.glob("*/*") if p.is_dir())]
    return tuple(folder.stat().st_mtime_ns for folder in folders)
