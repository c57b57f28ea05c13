"""Image files whose structure costs far more than their bytes or pixels say."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from fer.images import UnreadableImageError, read_picture
from fer.picture_decoding import go_to_best_page

PAGE = [(256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
PAGE += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, 1, 1)]
"""Entries of a TIFF page of one grey pixel."""


def encoded(kind: str, **settings) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (64, 64), 128).save(buffer, kind, **settings)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*chunks: bytes) -> bytes:
    whole = encoded("PNG")
    return whole[:33] + b"".join(chunks) + whole[33:]


def many_scans() -> bytes:
    whole = encoded("JPEG", progressive=True)
    scan = whole[whole.rfind(b"\xff\xda") : -2]
    return whole[:-2] + scan * 10_000 + b"\xff\xd9"


def scans_of_a_second_view() -> bytes:
    buffer = io.BytesIO()
    pages = [Image.new("L", (64, 64), 128), Image.new("L", (128, 128), 128)]
    pages[0].save(buffer, "MPO", save_all=True, append_images=pages[1:], progressive=True)
    whole = buffer.getvalue()
    scan = whole[whole.rfind(b"\xff\xda") : -2]
    return whole[:-2] + scan * 10_000 + b"\xff\xd9"


def many_segments() -> bytes:
    whole = encoded("JPEG")
    return whole[:2] + b"\xff\xee\x00\x02" * 300_000 + whole[2:]


def many_frames() -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + (b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00") * 300_000 + b";"


def shared_values(entries: list[tuple[int, int, int, int]], count: int, size: int) -> bytes:
    """TIFF whose further entries all refer to the same bytes."""
    entries = entries + [(1000 + number, 7, size, 0) for number in range(count)]
    place = 8 + 2 + 12 * len(entries) + 4
    packed = [struct.pack("<HHII", *entry[:3], entry[3] or place) for entry in entries]
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(packed) + bytes(4 + size)


def many_pages() -> bytes:
    size = 2 + 12 * len(PAGE) + 4
    entries = struct.pack("<H", len(PAGE)) + b"".join(struct.pack("<HHII", *entry) for entry in PAGE)
    pages = [entries + struct.pack("<I", 16 + size * (page + 1)) for page in range(20_000)]
    return b"II*\0\x10\0\0\0" + bytes(8) + b"".join(pages)[:-4] + bytes(4)


COSTLY = {
    "scans": many_scans,
    "segments": many_segments,
    "frames": many_frames,
    "text chunks": lambda: png(chunk(b"tEXt", b"k\0v") * 300_000),
    "data chunks": lambda: png(chunk(b"IDAT", b"") * 300_000),
    "bytes of a comment": lambda: b"P5\n#" + b"a" * 300_000 + b"\n4 4 255\n" + bytes(16),
    "boxes": lambda: encoded("JPEG2000")[:32] + b"\0\0\0\x08free" * 300_000,
    "shared values": lambda: shared_values(PAGE, 4000, 100_000),
    "shared EXIF values": lambda: (
        b"\xff\xd8\xff\xe1\xfb\0Exif\0\0" + shared_values([], 2000, 40_000)[:64_248]
    ),
}


@pytest.mark.parametrize("kind", COSTLY)
def test_a_costly_structure_is_refused_before_it_costs(kind):
    with pytest.raises(UnreadableImageError, match=r"damaged or forged .*far too"):
        read_picture(COSTLY[kind]())


def test_the_second_view_is_never_decoded():
    assert read_picture(scans_of_a_second_view()).image.shape == (64, 64, 3)


@pytest.mark.parametrize("is_text", [False, True])
def test_metadata_of_shared_values_is_ignored(is_text):
    exif = shared_values([(0x0112, 3, 1, 6)], 3000, 30_000)
    if is_text:
        name = b"Raw profile type exif\0\0" + zlib.compress(f"\nexif\n{len(exif)}\n{exif.hex()}".encode())
        file = png(chunk(b"zTXt", name))
    else:
        file = png(chunk(b"eXIf", exif))
    tracemalloc.start()
    try:
        assert read_picture(file).image.shape == (64, 64, 3)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_of_a_long_document_the_first_pages_are_looked_at():
    assert read_picture(many_pages()).notes == ("has at least 200 pages; page 1, the largest, was read",)


def test_of_a_large_animation_few_frames_are_looked_at():
    class Blank:
        size, format, n_frames = (9000, 8000), "PNG", 30
        seen: list[int]

        def seek(self, frame: int) -> None:
            self.seen.append(frame)

        def convert(self, _: str) -> Image.Image:
            return Image.new("L", (90, 80))

    blank = Blank()
    blank.seen = []
    assert "frame 1 of 30" in str(go_to_best_page(blank))  # type: ignore[arg-type]
    assert set(blank.seen) == {0}


def test_ordinary_files_of_many_parts_are_read():
    noise = np.random.default_rng(0).integers(0, 255, (700, 700, 3), np.uint8)
    picture = Image.fromarray(noise)
    for settings in ({"progressive": True}, {"progressive": True, "restart_marker_blocks": 1}):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0", **settings)
        assert read_picture(buffer.getvalue()).image.shape == noise.shape
    frames = [Image.new("L", (8, 8), shade % 255) for shade in range(1000)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert "of 1000 was read" in read_picture(buffer.getvalue()).notes[0]
