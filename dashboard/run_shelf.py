"""Notes on runs, and runs that are put away."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from dashboard.shown_runs import ShownRun
from dashboard.spoken import st
from training.run_files import replace_text

NOTE_FILE: Final = "note.txt"
AWAY_FOLDER: Final = ".away"
"""Subfolder of the runs folder for runs that are put away; the leading dot excludes it from lists."""

_LONGEST_NOTE: Final = 2000


def read_note(folder: Path) -> str:
    """Return the note on a run; empty if there is none or it cannot be read."""
    try:
        return (folder / NOTE_FILE).read_text("utf-8")[:_LONGEST_NOTE]
    except (OSError, UnicodeDecodeError):
        return ""


def write_note(folder: Path, note: str) -> None:
    """Save a note in the run directory; an empty note deletes the file.

    Raises:
        OSError: The folder is not writable.
    """
    if note.strip():
        replace_text(folder / NOTE_FILE, note.strip()[:_LONGEST_NOTE] + "\n")
    else:
        (folder / NOTE_FILE).unlink(missing_ok=True)


def put_away(folder: Path) -> Path:
    """Move a run to the folder of runs that are put away; nothing is deleted.

    Raises:
        OSError: It cannot be moved, or a run of this name is already there.
    """
    return _move(folder, folder.parent / AWAY_FOLDER / folder.name)


def bring_back(runs: Path, name: str) -> Path:
    """Move a run back to the runs folder.

    Raises:
        OSError: It cannot be moved, or a run of this name exists.
    """
    return _move(runs / AWAY_FOLDER / Path(name).name, runs / Path(name).name)


def runs_away(runs: Path) -> list[str]:
    """Return the names of the runs that are put away, newest first."""
    folder = runs / AWAY_FOLDER
    return (
        sorted((path.name for path in folder.iterdir() if path.is_dir()), reverse=True)
        if folder.is_dir()
        else []
    )


def _move(source: Path, target: Path) -> Path:
    if target.exists():
        raise FileExistsError(f"{target} is taken; rename that folder first")
    target.parent.mkdir(exist_ok=True)
    return source.rename(target)


def show_shelf(shown: ShownRun) -> None:
    """Draw the note on a run and the button that puts it away."""
    if shown.is_shipped:
        return
    with st.expander("Note", icon=":material/edit_note:", expanded=bool(read_note(shown.run.folder))):
        note = st.text_area(
            "Note on this run", read_note(shown.run.folder), max_chars=_LONGEST_NOTE, key=f"note {shown.name}"
        )
        save, away, _ = st.columns([1, 1, 2])
        if save.button("Save note"):
            _try(lambda: write_note(shown.run.folder, note), "Saved")
        if not shown.run.is_active and away.button(
            "Put away", help="Moves the run out of sight; bring it back on the Runs page."
        ):
            _try(
                lambda: put_away(shown.run.folder), f"{shown.name} is put away; the Runs page brings it back"
            )


def show_away(runs: Path) -> None:
    """Draw the list of runs that are put away, with a button to bring each one back."""
    names = runs_away(runs)
    if not names:
        return
    with st.expander(f"{len(names)} put away", icon=":material/archive:"):
        name = st.selectbox("Run that was put away", names)
        if st.button("Bring back", icon=":material/undo:"):
            _try(lambda: bring_back(runs, name), f"{name} is back")


def _try(action: Callable[[], object], done: str) -> None:
    try:
        action()
    except OSError as error:
        st.error(f"This cannot be done: {error.strerror or error}.")
        return
    st.toast(done)
    st.rerun()
