"""The shelf of runs: a note on each, rename, archive, delete with undo.

Archived and deleted runs are moved to hidden folders of the runs folder. Deleted runs stay there until the
visitor empties the trash; nothing else removes them.
"""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dashboard.shown_runs import ShownRun, shipped_runs
from dashboard.spoken import st
from fer.model_shelf import is_plain_name
from training.run_files import CONFIG_FILE, read_object, replace_text, write_json
from training.runs import is_in_use

NOTE_FILE: Final = "note.txt"
ARCHIVE: Final = ".archive"
"""Subfolder of the runs folder for archived runs; the leading dot excludes it from lists."""
TRASH: Final = ".trash"
"""The same for deleted runs: one folder per deletion, named by its time, that contains the run."""

_LONGEST_NOTE: Final = 2000
_TIME: Final = "%Y%m%d-%H%M%S-%f"
_UNDO: Final = "shelf_undo"


class ShelfError(ValueError):
    """A run that cannot be renamed, archived, deleted or restored."""


@dataclass(frozen=True, slots=True)
class _Move:
    """A move of a run that can be undone: what was done, its folder now and before."""

    text: str
    now: Path
    before: Path


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


def rename_run(folder: Path, name: str) -> Path:
    """Rename a run, also in its settings.

    Args:
        folder: The run directory.
        name: The new name, valid as a folder name.

    Returns:
        The new run directory.

    Raises:
        ShelfError: The name is invalid or taken, or the run is active.
        OSError: It cannot be renamed.
    """
    if not is_plain_name(name):
        raise ShelfError(
            "expected a name of at most 80 letters, digits, '_', '-' and '.' that begins with a letter or "
            f"digit, got {name[:100]!r}; choose another one"
        )
    if name in {shown.name for shown in shipped_runs()}:
        raise ShelfError(f"there is a run named {name} already; choose another name")
    target = _move(folder, folder.with_name(name))
    with suppress(OSError, ValueError):  # an unreadable run has no settings to change
        write_json(target / CONFIG_FILE, read_object(target / CONFIG_FILE) | {"name": name})
    return target


def archive_run(folder: Path) -> Path:
    """Move a run to the archive and return its directory there.

    Raises:
        ShelfError: The run is active, or an archived run has this name.
        OSError: It cannot be moved.
    """
    return _move(folder, _hidden(folder.parent, ARCHIVE) / folder.name)


def delete_run(folder: Path) -> Path:
    """Move a run to the trash and return its directory there.

    Raises:
        ShelfError: The run is active.
        OSError: It cannot be moved.
    """
    return _move(folder, _hidden(folder.parent, TRASH) / f"{datetime.now(UTC):{_TIME}}" / folder.name)


def restore_run(runs: Path, folder: Path) -> Path:
    """Move an archived or deleted run back to the runs folder.

    Args:
        runs: The runs folder.
        folder: One of the directories in ``archived_runs`` or ``deleted_runs``.

    Raises:
        ShelfError: There is no such run, or a run has its name.
        OSError: It cannot be moved.
    """
    if folder not in (*archived_runs(runs), *deleted_runs(runs)):
        raise ShelfError(
            f"the run {folder.name} is no longer in the archive or in the trash; reload the page"
        )
    target = _move(folder, runs / folder.name)
    if folder.parent.name != ARCHIVE:
        with suppress(OSError):  # something else was put there
            folder.parent.rmdir()
    return target


def archived_runs(runs: Path) -> list[Path]:
    """Return the directories of the archived runs, by name, newest first."""
    return _folders(_hidden(runs, ARCHIVE))


def deleted_runs(runs: Path) -> list[Path]:
    """Return the directories of the deleted runs, last deleted first."""
    return [folder for deletion in _folders(_hidden(runs, TRASH)) for folder in _folders(deletion)]


def empty_trash(runs: Path) -> None:
    """Delete all runs in the trash for good.

    Raises:
        ShelfError: The trash is a link to another folder.
        OSError: A file cannot be deleted.
    """
    if (trash := _hidden(runs, TRASH)).is_dir():
        shutil.rmtree(trash)  # does not follow links


def _hidden(runs: Path, name: str) -> Path:
    """Return a hidden folder of the runs folder, which may not exist yet.

    Raises:
        ShelfError: It is a link, which may lead out of the runs folder.
    """
    folder = runs / name
    if folder.is_symlink():
        raise ShelfError(f"expected a folder of its own, got a link: {folder}; remove the link")
    return folder


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(found, key=lambda path: path.name, reverse=True)


def _move(source: Path, target: Path) -> Path:
    if is_in_use(source):
        raise ShelfError(
            f"the run {source.name} is training or queued; stop it before you rename, archive or delete it"
        )
    if os.path.lexists(target):
        if target.parent.name == ARCHIVE:
            raise ShelfError(f"there is an archived run named {target.name} already; rename this one first")
        raise ShelfError(f"there is a run named {target.name} already; choose another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    return source.rename(target)


def show_shelf(shown: ShownRun) -> None:
    """Draw the note on a run, its name, and the buttons that rename, archive and delete it."""
    if shown.is_shipped:
        return
    folder = shown.run.folder
    with st.expander("Manage this run", icon=":material/edit_note:", expanded=bool(read_note(folder))):
        note = st.text_area(
            "Note on this run", read_note(folder), max_chars=_LONGEST_NOTE, key=f"note {shown.name}"
        )
        if st.button("Save note"):
            _try(lambda: write_note(folder, note), "Saved")
        if shown.run.is_active:
            st.caption("This run is training or queued; stop it before you rename, archive or delete it.")
            return
        with st.container(horizontal=True, vertical_alignment="bottom"):
            name = st.text_input("Name", shown.name, key=f"rename {shown.name}", width=340).strip()
            if st.button("Rename", icon=":material/edit:"):
                _shift(lambda: rename_run(folder, name), folder, f"{shown.name} is now {name}.")
            if st.button("Archive", icon=":material/archive:", help="Restore it on the page of all runs."):
                _shift(lambda: archive_run(folder), folder, f"{shown.name} is archived.")
            if st.button(
                "Delete", icon=":material/delete:", help="Moves it to the trash; restore it from there."
            ):
                _shift(lambda: delete_run(folder), folder, f"{shown.name} is in the trash.")


def show_undo(runs: Path) -> None:
    """Draw the last move of a run by this visitor, with a button to undo it."""
    move: _Move | None = st.session_state.get(_UNDO)
    if move is None or not move.now.is_dir() or move.before.exists():
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.info(move.text, width="stretch")
        if st.button("Undo", icon=":material/undo:"):
            _try(lambda: _go_back(runs, move), f"{move.before.name} is back")


def _go_back(runs: Path, move: _Move) -> None:
    renamed = move.now.parent == runs
    back = rename_run(move.now, move.before.name) if renamed else restore_run(runs, move.now)
    del st.session_state[_UNDO]
    st.query_params["run"] = back.name


def show_kept(runs: Path) -> None:
    """Draw the archive and the trash, with buttons to restore runs and to empty the trash."""
    try:
        archived, deleted = archived_runs(runs), deleted_runs(runs)
    except ShelfError as error:
        st.error(_sentence(error))
        return
    if archived:
        with st.expander(f"{len(archived)} archived", icon=":material/archive:"):
            _show_restore("Archived run", runs, {folder: folder.name for folder in archived})
    if deleted:
        with st.expander(f"{len(deleted)} in the trash", icon=":material/delete:"):
            _show_restore("Deleted run", runs, {folder: _deletion_text(folder) for folder in deleted})
            st.caption("Deleted runs stay in the trash until you empty it.")
            with st.popover("Empty the trash"):
                st.write("Delete these runs for good? This cannot be undone.")
                if st.button("Delete for good", type="primary"):
                    _try(lambda: empty_trash(runs), "The trash is empty")


def _show_restore(label: str, runs: Path, texts: dict[Path, str]) -> None:
    chosen = st.selectbox(label, list(texts), format_func=texts.__getitem__)
    if st.button("Restore", key=f"restore {label}", icon=":material/undo:"):
        _try(lambda: restore_run(runs, chosen), f"{chosen.name} is back")


def _deletion_text(folder: Path) -> str:
    try:
        moment = datetime.strptime(folder.parent.name, _TIME)
    except ValueError:
        return folder.name
    return f"{folder.name} · deleted {moment:%Y-%m-%d %H:%M} UTC"


def _shift(action: Callable[[], Path], folder: Path, text: str) -> None:
    """Move a run, remember how to undo it, and draw the page of the moved run or, if hidden, of another."""

    def run() -> None:
        now = action()
        st.session_state[_UNDO] = _Move(text, now, folder)
        if now.parent == folder.parent:
            st.query_params["run"] = now.name
        else:
            del st.query_params["run"]

    _try(run)


def _try(action: Callable[[], object], done: str = "") -> None:
    try:
        action()
    except ShelfError as error:
        st.error(_sentence(error))
        return
    except OSError as error:
        st.error(f"This cannot be done: {error.strerror or error}.")
        return
    if done:
        st.toast(done)
    st.rerun()


def _sentence(error: ShelfError) -> str:
    text = str(error)
    return f"{text[0].upper()}{text[1:]}."
