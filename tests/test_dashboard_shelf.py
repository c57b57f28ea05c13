"""Notes on runs, and runs that are put away."""

import pytest

from dashboard.run_shelf import NOTE_FILE, bring_back, put_away, read_note, runs_away, write_note
from training.runs import RunStore, RunWriter


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "runs" / "first"
    with RunWriter(folder, {"architecture": "kv_fast"}, {}, 1) as writer:
        writer.add_epoch({"epoch": 1, "val_loss": 0.5})
    return folder


def test_a_note_is_kept_with_the_run_and_an_empty_one_goes(run):
    assert read_note(run) == ""
    write_note(run, "  with the new crops, žluťoučký\n")
    assert read_note(run) == "with the new crops, žluťoučký\n"
    write_note(run, " ")
    assert not (run / NOTE_FILE).exists()
    (run / NOTE_FILE).write_bytes(b"\xff\xfe")
    assert read_note(run) == ""


def test_a_run_that_is_put_away_is_listed_no_more_and_comes_back_whole(run):
    store = RunStore(run.parent)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    put_away(run)
    assert (store.runs(), runs_away(run.parent)) == ([], ["first"])
    bring_back(run.parent, "first")
    assert [each.name for each in store.runs()] == ["first"]
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert runs_away(run.parent) == []


def test_a_taken_name_loses_nothing(run):
    put_away(run)
    run.mkdir()
    with pytest.raises(FileExistsError, match="is taken"):
        bring_back(run.parent, "first")
    with pytest.raises(FileExistsError, match="is taken"):
        put_away(run)
    assert runs_away(run.parent) == ["first"]


def test_no_name_leads_out_of_the_folder(run, tmp_path):
    (tmp_path / "secret").mkdir()
    with pytest.raises(FileNotFoundError):
        bring_back(run.parent, "../../secret")
    assert (tmp_path / "secret").is_dir()
