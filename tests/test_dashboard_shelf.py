"""The shelf of runs: notes, rename, archive, delete with undo."""

import json

import pytest
from dashboard_pages import button, fine, open_page
from filelock import FileLock
from toy_runs import write_toy_run

from dashboard.run_shelf import (
    ARCHIVE,
    NOTE_FILE,
    TRASH,
    ShelfError,
    archive_run,
    archived_runs,
    delete_run,
    deleted_runs,
    empty_trash,
    read_note,
    rename_run,
    restore_run,
    write_note,
)
from training.run_files import JOB_LOCK_FILE
from training.runs import RunStore, RunWriter


@pytest.fixture
def run(tmp_path, shelves):
    folder = tmp_path / "runs" / "first"
    with RunWriter(folder, {"architecture": "kv_fast", "name": "first"}, {}, 1) as writer:
        writer.add_epoch({"epoch": 1, "val_loss": 0.5})
    return folder


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(runs):
    return [run.name for run in RunStore(runs).runs()]


def test_a_note_is_kept_with_the_run_and_an_empty_one_goes(run):
    assert read_note(run) == ""
    write_note(run, "  with the new crops, žluťoučký\n")
    assert read_note(run) == "with the new crops, žluťoučký\n"
    write_note(run, " ")
    assert not (run / NOTE_FILE).exists()
    (run / NOTE_FILE).write_bytes(b"\xff\xfe")
    assert read_note(run) == ""


@pytest.mark.parametrize(("hide", "hidden"), [(archive_run, archived_runs), (delete_run, deleted_runs)])
def test_a_hidden_run_is_not_listed_and_comes_back_whole(run, hide, hidden):
    before = files(run)
    away = hide(run)
    assert away.is_relative_to(run.parent)
    assert names(run.parent) == []
    assert hidden(run.parent) == [away]
    assert restore_run(run.parent, away) == run
    assert names(run.parent) == ["first"]
    assert files(run) == before
    assert hidden(run.parent) == []


def test_two_deleted_runs_of_one_name_are_both_kept(run):
    older = delete_run(run)
    write_toy_run(run, 2)
    newer = delete_run(run)
    assert deleted_runs(run.parent) == [newer, older]
    restore_run(run.parent, older)
    with pytest.raises(ShelfError, match="there is a run named first already"):
        restore_run(run.parent, newer)
    assert deleted_runs(run.parent) == [newer]


def test_the_trash_is_emptied_on_request_alone(run, tmp_path):
    (tmp_path / "precious.txt").write_text("keep me")
    (run / "link").symlink_to(tmp_path, target_is_directory=True)
    delete_run(run)
    archive_run(write_toy_run(run.with_name("second"), 2))
    empty_trash(run.parent)
    assert deleted_runs(run.parent) == []
    assert [folder.name for folder in archived_runs(run.parent)] == ["second"]
    assert (tmp_path / "precious.txt").read_text() == "keep me"
    empty_trash(run.parent)


def test_a_renamed_run_has_its_new_name_in_its_settings(run):
    renamed = rename_run(run, "best-2")
    assert names(run.parent) == ["best-2"]
    assert json.loads((renamed / "config.json").read_text())["name"] == "best-2"


@pytest.mark.parametrize(
    "name", ["", " ", ".hidden", "..", "a/b", "../out", "a\\b", "/tmp/out", "a" * 81, "Ж", "a\nb"]
)
def test_no_other_name_is_accepted(run, tmp_path, name):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ShelfError, match="expected a name of at most 80 letters") as caught:
        rename_run(run, name)
    assert len(str(caught.value)) < 300
    assert sorted(tmp_path.rglob("*")) == before


def test_no_name_is_taken_twice(run, tmp_path):
    write_toy_run(run.with_name("second"), 2)
    write_toy_run(tmp_path / "shipped" / "kv_fast.crowd" / "run", 2)
    (tmp_path / "shipped" / "kv_fast.crowd" / "card.json").write_text("{}")
    for name in ("first", "second", "kv_fast.crowd"):
        with pytest.raises(ShelfError, match=f"there is a run named {name} already; choose another name"):
            rename_run(run, name)
    archive_run(run)
    run.mkdir()
    with pytest.raises(ShelfError, match="there is an archived run named first already; rename this one"):
        archive_run(run)
    assert len(archived_runs(run.parent)) == 1


@pytest.mark.parametrize("move", [archive_run, delete_run, lambda folder: rename_run(folder, "other")])
@pytest.mark.parametrize("kind", ["training", "ending"])
def test_a_training_run_stays_where_it_is(run, move, kind):
    active = RunWriter(run, {}, {}, 9) if kind == "training" else FileLock(run / JOB_LOCK_FILE)
    with active, pytest.raises(ShelfError, match="the run first is training or queued; stop it before"):
        move(run)
    assert names(run.parent) == ["first"]
    move(run)
    assert "first" not in names(run.parent)


@pytest.mark.parametrize("place", [ARCHIVE, TRASH])
def test_nothing_leads_out_of_the_runs_folder(run, tmp_path, place):
    outside = tmp_path / "outside"
    write_toy_run(outside / "theirs", 2)
    for folder in (outside / "theirs", run.parent / place / ".." / ".." / "outside" / "theirs"):
        with pytest.raises(ShelfError, match="no longer in the archive"):
            restore_run(run.parent, folder)
    (run.parent / place).symlink_to(outside, target_is_directory=True)
    action = {ARCHIVE: lambda: archive_run(run), TRASH: lambda: delete_run(run)}[place]
    with pytest.raises(ShelfError, match="got a link"):
        action()
    with pytest.raises(ShelfError, match="got a link"):
        empty_trash(run.parent) if place == TRASH else archived_runs(run.parent)
    assert (outside / "theirs" / "config.json").is_file()
    assert "got a link" in fine(open_page("runs", tmp_path)).lower()


def chosen(page):
    value = page.query_params["run"]
    return value[0] if isinstance(value, list) else value


def page_of(folder):
    return open_page("run", folder.parent.parent, run=folder.name)


def test_the_page_renames_a_run_and_undoes_it(run):
    page = page_of(run)
    page.text_input[0].input("better")
    button(page, "Rename").click().run()
    assert "first is now better." in fine(page)
    assert chosen(page) == "better"
    assert names(run.parent) == ["better"]
    button(page, "Undo").click().run()
    assert chosen(page) == "first"
    assert names(run.parent) == ["first"]
    assert json.loads((run / "config.json").read_text())["name"] == "first"
    assert "is now" not in fine(page)


@pytest.mark.parametrize("label", ["Archive", "Delete"])
def test_the_page_hides_a_run_and_undoes_it(run, label):
    write_toy_run(run.with_name("0"), 2)
    page = page_of(run)
    button(page, label).click().run()
    assert "first is " in fine(page)
    assert chosen(page) == "0"
    assert names(run.parent) == ["0"]
    button(page, "Undo").click().run()
    assert chosen(page) == "first"
    assert names(run.parent) == ["first", "0"]


def test_the_last_run_can_be_deleted_and_brought_back(run):
    page = page_of(run)
    button(page, "Delete").click().run()
    assert "No runs yet" in fine(page)
    button(page, "Undo").click().run()
    assert names(run.parent) == ["first"]


def test_a_bad_name_is_a_sentence_on_the_page(run):
    page = page_of(run)
    page.text_input[0].input("../out")
    button(page, "Rename").click().run()
    assert "Expected a name of at most 80 letters" in fine(page)
    assert names(run.parent) == ["first"]


def test_a_run_that_began_to_train_since_the_page_was_drawn_is_left_alone(run):
    page = page_of(run)
    with RunWriter(run, {}, {}, 9):
        button(page, "Delete").click().run()
        assert "stop it before you rename, archive or delete it" in fine(page)
        assert not {"Rename", "Archive", "Delete"} & {each.label for each in page.button}
    assert names(run.parent) == ["first"]


def test_an_unreadable_run_can_be_deleted(run):
    (run / "config.json").write_text("{")
    button(page_of(run), "Delete").click().run()
    assert [folder.name for folder in deleted_runs(run.parent)] == ["first"]


def test_the_page_of_all_runs_restores_runs_and_empties_the_trash(run, tmp_path):
    archive_run(run)
    delete_run(write_toy_run(run.with_name("second"), 2))
    delete_run(write_toy_run(run.with_name("third"), 2))
    page = open_page("runs", tmp_path)
    said = fine(page)
    assert "1 archived" in said
    assert "2 in the trash" in said
    assert "until you empty it" in said
    page.button(key="restore Archived run").click().run()
    assert names(run.parent) == ["first"]
    page.button(key="restore Deleted run").click().run()
    assert names(run.parent) == ["third", "first"]
    button(page, "Delete for good").click().run()
    assert "in the trash" not in fine(page)
    assert deleted_runs(run.parent) == []
    assert names(run.parent) == ["third", "first"]
