"""Files and folders take their place whole, or not at all."""

import pytest

from fer.files import replaced, replaced_folder


def test_a_file_is_replaced_at_the_end(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with replaced(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.suffix == ".csv"
    assert [each.read_text() for each in tmp_path.iterdir()] == ["new"]


def test_long_names_that_begin_alike_are_written_side_by_side(tmp_path):
    one, other = (tmp_path / f"{'a' * 60}{number}.csv" for number in (1, 2))
    with replaced(one) as first, replaced(other) as second:
        first.write_text("1")
        second.write_text("2")
    assert (one.read_text(), other.read_text()) == ("1", "2")


def test_an_error_keeps_the_old_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(OSError, match="full"), replaced(path) as temporary:
        temporary.write_text("half")
        raise OSError("the disk is full")
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("exists", [False, True], ids=["first", "again"])
def test_a_folder_is_replaced_whole(tmp_path, exists):
    folder = tmp_path / "weights" / "toy"
    if exists:
        folder.mkdir(parents=True)
        (folder / "old").touch()
    with replaced_folder(folder) as draft:
        (draft / "new").touch()
        assert folder.exists() == exists
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "weights",
        "weights/toy",
        "weights/toy/new",
    ]


def test_an_error_keeps_the_old_folder(tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "old").touch()
    with pytest.raises(ValueError, match="wrong"), replaced_folder(folder) as draft:
        (draft / "new").touch()
        raise ValueError("the outputs are wrong")
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["toy", "old"]
