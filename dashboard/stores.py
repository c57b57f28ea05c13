"""State that all visitors of the dashboard share in one process."""

from pathlib import Path

import streamlit as st

from fer.detection import FaceDetector, load_detector
from training.datasets import FaceTable, read_table
from training.runs import RunStore


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
