import io
import stat
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image
from toy_faces import write_csv

from dashboard import archives
from dashboard.archives import ArchiveError, keep_upload
from training.data.datasets import read_table


def png(level=90):
    content = io.BytesIO()
    Image.fromarray(np.full((48, 48), level, np.uint8)).save(content, "png")
    return content.getvalue()


PICTURE = png()
GOOD = {"happy/a.png": PICTURE, "sad/b.png": PICTURE}


def zipped(files, compression=zipfile.ZIP_DEFLATED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    content.seek(0)
    return content


def kept(folder, files, **named):
    return keep_upload(zipped(files), "a.zip", folder, "mine", **named)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        pytest.param(GOOD, ["happy/a.png", "sad/b.png"], id="classes"),
        pytest.param({f"mine/{n}": d for n, d in GOOD.items()}, ["happy/a.png", "sad/b.png"], id="wrapped"),
        pytest.param(
            {f"a/b/{n}": d for n, d in GOOD.items()}, ["happy/a.png", "sad/b.png"], id="wrapped twice"
        ),
        pytest.param(
            {"train/happy/a.png": PICTURE, "Validation/SAD/b.png": PICTURE},
            ["Validation/SAD/b.png", "train/happy/a.png"],
            id="splits",
        ),
        pytest.param(
            {"Happiness/a.png": PICTURE, "anger/b.JPG": PICTURE},
            ["Happiness/a.png", "anger/b.JPG"],
            id="spellings",
        ),
        pytest.param(
            GOOD | {"__MACOSX/happy/._a.png": b"x", "happy/.DS_Store": b"x", "happy/Thumbs.db": b"x"},
            ["happy/a.png", "sad/b.png"],
            id="system files",
        ),
        pytest.param(
            {n.replace("/", "\\"): d for n, d in GOOD.items()}, ["happy/a.png", "sad/b.png"], id="backslashes"
        ),
        pytest.param(
            {"train/mine/happy/a.png": PICTURE, "test/mine/sad/b.png": PICTURE},
            ["test/sad/b.png", "train/happy/a.png"],
            id="wrapped below the splits",
        ),
        pytest.param({"train/happy/a.png": PICTURE}, ["train/happy/a.png"], id="one split is no wrapper"),
        pytest.param({"happy/a.png": PICTURE}, ["happy/a.png"], id="one class is no wrapper"),
    ],
)
def test_pictures_are_kept_in_their_classes(tmp_path, files, names):
    unpacked = kept(tmp_path, files)
    assert (
        sorted(str(p.relative_to(unpacked.folder)) for p in unpacked.folder.rglob("*") if p.is_file())
        == names
    )
    assert unpacked.kept_count == len(names) == len(read_table(unpacked.folder))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        pytest.param(GOOD | {"../evil.png": PICTURE}, "outside of its folder", id="parent"),
        pytest.param(GOOD | {"happy/../../evil.png": PICTURE}, "outside of its folder", id="parent inside"),
        pytest.param(GOOD | {"..\\evil.png": PICTURE}, "outside of its folder", id="backslash"),
        pytest.param(GOOD | {"/etc/evil.png": PICTURE}, "outside of its folder", id="absolute"),
        pytest.param(GOOD | {"C:/evil.png": PICTURE}, "outside of its folder", id="drive"),
        pytest.param(
            {"grumpy/a.png": PICTURE, "happy/b.png": PICTURE}, "unknown expression 'grumpy'", id="class"
        ),
        pytest.param(
            {"a.png": PICTURE, "b.png": PICTURE}, "outside of class folders: 2, such as", id="loose"
        ),
        pytest.param(
            {"inner.zip": b"PK", "more.tar.gz": b"x"}, "contains other archives (inner.zip)", id="nested"
        ),
        pytest.param(
            {"train/happy/a.png": PICTURE, "eval/happy/b.png": PICTURE}, "unknown split 'eval'", id="split"
        ),
        pytest.param(GOOD | {"happy\\a.png": PICTURE}, "2 files named happy/a.png", id="twice"),
        pytest.param(GOOD | {f"sad/{'x' * 300}.png": PICTURE}, "a name of 304 bytes, at most 255", id="long"),
        pytest.param({"readme.txt": b"hello"}, "no pictures in the zip", id="no pictures"),
        pytest.param({}, "no pictures in the zip", id="empty"),
    ],
)
def test_what_cannot_be_trusted_is_refused_whole(tmp_path, files, words):
    with pytest.raises(ArchiveError) as caught:
        kept(tmp_path / "data", files)
    assert words in str(caught.value)
    assert list((tmp_path / "data").iterdir()) == []
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_damaged_zip_is_a_sentence(tmp_path, compression):
    """A byte is changed, now here, now there: in names, offsets, sizes and packed data."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 8, 1500, dtype=np.uint8).tobytes()
    whole = zipped({"happy/a.png": noise, "sad/b.png": noise}, compression).getvalue()
    refused = 0
    for number in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(damaged))] ^= int(rng.integers(1, 256))
        with suppress(ArchiveError):
            keep_upload(io.BytesIO(bytes(damaged)), "a.zip", tmp_path, f"mine{number}")
            continue
        refused += 1
        assert not (tmp_path / f"mine{number}").exists()
    assert refused > 150


def test_an_unknown_compression_is_a_sentence(tmp_path):
    content = bytearray(zipped({"happy/a.png": b"abc"}, zipfile.ZIP_STORED).getvalue())
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):  # local and central header
        at = content.index(signature) + offset
        content[at : at + 2] = (99).to_bytes(2, "little")
    with pytest.raises(ArchiveError, match=r"can be unpacked \(That compression method"):
        keep_upload(io.BytesIO(bytes(content)), "a.zip", tmp_path, "mine")
    assert list(tmp_path.iterdir()) == []


def test_links_are_refused(tmp_path):
    content = zipped(GOOD)
    with zipfile.ZipFile(content, "a") as archive:
        link = zipfile.ZipInfo("happy/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    content.seek(0)
    with pytest.raises(ArchiveError, match="contains a link"):
        keep_upload(content, "a.zip", tmp_path, "mine")


def test_a_locked_zip_is_refused(tmp_path):
    content = bytearray(zipped(GOOD).getvalue())
    for sign, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(sign) + offset] |= 1
    with pytest.raises(ArchiveError, match="password"):
        keep_upload(io.BytesIO(bytes(content)), "a.zip", tmp_path, "mine")


def test_a_bomb_is_refused_by_what_it_says(tmp_path):
    bomb = zipped(GOOD | {"happy/big.png": bytes(30_000_000)})
    assert len(bomb.getvalue()) < 100_000
    with pytest.raises(ArchiveError, match=r"unpacks to 30\.0 MB; at most 1\.0 MB"):
        keep_upload(bomb, "a.zip", tmp_path, "mine", limit_bytes=1_000_000)


def test_a_bomb_that_lies_is_stopped_while_it_unpacks(tmp_path, monkeypatch):
    monkeypatch.setattr(
        archives, "_check_entries", lambda entries, limit: None
    )  # as if the sizes said nothing
    with pytest.raises(ArchiveError, match="unpacks to more than 1 MB"):
        kept(tmp_path, GOOD | {"happy/big.png": bytes(30_000_000)}, limit_bytes=1_000_000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden"])
def test_names_that_are_no_folder_are_refused(tmp_path, name):
    with pytest.raises(ArchiveError, match="expected a name"):
        keep_upload(zipped(GOOD), "a.zip", tmp_path, name)


def test_nothing_is_written_over(tmp_path):
    kept(tmp_path, GOOD)
    with pytest.raises(ArchiveError, match="already"):
        kept(tmp_path, GOOD)


def test_half_a_zip_is_refused(tmp_path):
    content = zipped(GOOD).getvalue()
    for broken in (content[: len(content) // 2], b"", b"PK"):
        with pytest.raises(ArchiveError, match="no zip file"):
            keep_upload(io.BytesIO(broken), "a.zip", tmp_path, "mine")


def test_tables_are_kept_or_refused_by_line(tmp_path):
    path = write_csv(tmp_path / "fer2013.csv")
    unpacked = keep_upload(io.BytesIO(path.read_bytes()), "fer2013.csv", tmp_path / "data", "csv")
    assert len(read_table(unpacked.folder)) == len(read_table(path))
    short = "emotion,pixels,Usage\n3,1 2 3 4,Training\n3,1 2 3,Training\n"
    with pytest.raises(ArchiveError, match="line 3"):
        keep_upload(io.BytesIO(short.encode()), "short.csv", tmp_path / "data", "short")
    with pytest.raises(ArchiveError, match="parquet"):
        keep_upload(io.BytesIO(b"PAR1"), "x.parquet", tmp_path / "data", "x")
    with pytest.raises(ArchiveError, match=r"expected a .zip"):
        keep_upload(io.BytesIO(b""), "x.rar", tmp_path / "data", "x")
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["csv"]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def refuse(source, out, limit, name):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives, "_copy", refuse)
    with pytest.raises(OSError, match="No space"):
        kept(tmp_path, GOOD)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_kept_is_counted(tmp_path):
    more = {"happy/c.xyz": b"x", "sad/d.xyz": b"x", "fer2013.csv": b"emotion,pixels", "loose.png": PICTURE}
    unpacked = kept(tmp_path, GOOD | more | {"__MACOSX/happy/._a.png": b"x"})
    assert unpacked.kept_count == 2
    assert unpacked.left_out == (
        "2 files with .xyz, neither images nor tables, such as happy/c.xyz",
        "1 image outside of class folders, such as loose.png",
        "1 table beside the class folders, such as fer2013.csv",
    )


MIXED = {"happy/a.png": PICTURE, "focused/b.png": PICTURE}


@pytest.mark.parametrize("wrapper", ["", "mine/", "a/b/"], ids=["bare", "wrapped", "wrapped twice"])
def test_a_list_of_classes_in_a_zip_counts_as_in_a_folder(tmp_path, wrapper):
    files = {f"{wrapper}{name}": data for name, data in MIXED.items()}
    with pytest.raises(ArchiveError, match="'focused'"):
        kept(tmp_path, files)
    unpacked = kept(tmp_path, files | {f"{wrapper}classes.txt": b"\xef\xbb\xbfhappy\r\nfocused\r\n"})
    assert (unpacked.kept_count, unpacked.left_out) == (2, ())
    assert (unpacked.folder / "classes.txt").is_file()
    assert set(read_table(unpacked.folder).labels) == {"happy", "focused"}

    folder = tmp_path / "folder"
    for name, data in (files | {f"{wrapper}classes.txt": b"happy\nfocused\n"}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    assert set(read_table(folder).labels) == {"happy", "focused"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"happy\nfocussed\n", r"focused is not one of the classes in classes.txt: happy, focussed"),
        ("happy\nконцентрация".encode("cp1251"), "classes.txt cannot be read .* as UTF-8"),
        (b"happy\ntest\n", "got the split 'test'"),
        (b"x" * 70_000, "classes.txt is larger than 64 kB"),
    ],
    ids=["another name", "not UTF-8", "a split", "huge"],
)
def test_a_list_of_classes_that_does_not_fit_is_told(tmp_path, content, sentence):
    with pytest.raises(ArchiveError, match=sentence):
        kept(tmp_path, MIXED | {"classes.txt": content})
    assert list(tmp_path.iterdir()) == []


def test_a_list_that_is_not_above_all_classes_is_left_out_by_name(tmp_path):
    unpacked = kept(tmp_path, GOOD | {"happy/classes.txt": b"bored\nfocused\n"})
    assert unpacked.left_out == ("1 file with .txt, neither images nor tables, such as happy/classes.txt",)
