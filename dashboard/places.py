"""Folders that the dashboard reads and writes."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fer.model_shelf import user_folder


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
