"""Generated images of every supported kind."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.folders.listing import list_folder
from fer.images import (
    MAX_PIXELS,
    UnreadableImageError,
    as_rgb,
    decoding_bytes,
    read_image,
    shrink_blocks,
)

RED = (220, 30, 20)


def encoded(image: Image.Image, format_: str, **settings) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **settings)
    return buffer.getvalue()


def picture(mode: str = "RGB", size: tuple[int, int] = (32, 24)) -> Image.Image:
    return Image.new("RGB", size, RED).convert(mode)


def animation() -> bytes:
    frames = [Image.new("RGB", (32, 24), colour) for colour in (RED, (0, 0, 255))]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def rgb_of_kind(kind: str) -> bytes:
    transparent = Image.new("RGBA", (32, 24), (*RED, 255))
    match kind:
        case "jpeg":
            return encoded(picture(), "JPEG", quality=95)
        case "png":
            return encoded(picture(), "PNG")
        case "webp":
            return encoded(picture(), "WEBP", lossless=True)
        case "cmyk jpeg":
            return encoded(picture("CMYK"), "JPEG", quality=95)
        case "palette png":
            return encoded(picture("P"), "PNG")
        case "palette with transparency":
            return encoded(transparent.convert("P"), "PNG")
        case "alpha png":
            return encoded(transparent, "PNG")
        case "animated gif":
            return animation()
        case "tiff":
            return encoded(picture(), "TIFF")
    raise ValueError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        "jpeg",
        "png",
        "webp",
        "cmyk jpeg",
        "palette png",
        "palette with transparency",
        "alpha png",
        "animated gif",
        "tiff",
    ],
)
def test_red_stays_red_from_every_kind(kind):
    image = read_image(rgb_of_kind(kind))
    assert image.shape == (24, 32, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    # JPEG, the web palette (steps of 51) and CMYK move colours a little, never red to blue.
    assert np.abs(image.reshape(-1, 3).mean(axis=0) - RED).max() < 30


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(np.full((4, 4), 65535, np.uint16), 255, id="white"),
        pytest.param(np.full((4, 4), 0, np.uint16), 0, id="black"),
        pytest.param(np.full((4, 4), 257 * 100, np.uint16), 100, id="grey"),
        pytest.param(np.full((4, 4), 200, np.uint16), 1, id="dark stays dark"),
    ],
)
def test_sixteen_bits_become_eight(values, expected):
    image = read_image(encoded(Image.fromarray(values), "PNG"))
    assert image.shape == (4, 4, 3)
    assert np.unique(image).tolist() == [expected]


def test_sixteen_bits_of_three_channels_become_eight(tmp_path):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "deep.png"
    blue_green_red = np.full((4, 4, 3), (0, 0, 65535), np.uint16)  # OpenCV writes BGR
    assert cv2.imwrite(str(path), blue_green_red)
    assert read_image(path)[0, 0].tolist() == [255, 0, 0]


def test_bilevel_is_black_or_white():
    image = read_image(encoded(Image.new("1", (4, 4), 1), "PNG"))
    assert image.shape == (4, 4, 3)
    assert np.unique(image).tolist() == [255]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode):
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0)).convert(mode)
    assert np.unique(read_image(encoded(clear, "PNG"))).tolist() == [255]


def test_first_frame_of_an_animation_is_taken():
    red, _, blue = read_image(animation())[0, 0]
    assert red > 200 > 60 > blue


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "size"),
    [(1, (32, 24)), (3, (32, 24)), (6, (24, 32)), (8, (24, 32)), (5, (24, 32))],
)
def test_exif_orientation_is_undone(orientation, size, kind):
    upright = np.zeros((size[1], size[0], 3), np.uint8)
    upright[:8] = 255  # white at the top, whatever way the camera was held
    back = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}
    back |= {8: Image.Transpose.ROTATE_270, 5: Image.Transpose.TRANSPOSE}
    stored = Image.fromarray(upright)
    if back[orientation] is not None:
        stored = stored.transpose(back[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_image(encoded(stored, kind, quality=100, exif=exif))
    assert image.shape == upright.shape
    assert image[:6].min() > 200  # JPEG blurs the edge of the stripe
    assert image[12:].max() < 60


def test_smallest_picture_is_read():
    assert read_image(encoded(Image.new("RGB", (1, 1), RED), "PNG")).tolist() == [[list(RED)]]


def test_broken_exif_does_not_hide_the_picture():
    content = encoded(picture(), "JPEG", exif=b"Exif\x00\x00MM\x00*garbage that is no directory")
    assert read_image(content).shape == (24, 32, 3)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size without holding the pixels."""
    content = bytearray(encoded(Image.new("L", (1, 1)), "PNG"))
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    crc = __import__("zlib").crc32(bytes(content[12:29]))
    content[29:33] = crc.to_bytes(4, "big")
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(b"", "is empty", id="0 bytes"),
        pytest.param(b"Dear reader, this is text.", "not an image", id="text"),
        pytest.param(b"\xff\xd8\xff\xe0", "cannot be decoded|damaged", id="only a JPEG's start"),
        pytest.param(encoded(picture(size=(200, 200)), "JPEG")[:400], "damaged", id="truncated JPEG"),
        pytest.param(encoded(Image.effect_noise((64, 64), 90), "PNG")[:900], "damaged", id="truncated PNG"),
        pytest.param(png_header(10_000, 10_000), "100 megapixels", id="bomb"),
        pytest.param(png_header(60_000, 60_000), "megapixels", id="bomb above Pillow's own limit"),
        pytest.param(png_header(0, 0), "cannot be decoded|damaged|no pixels|with pixels", id="0×0"),
    ],
)
def test_bad_pictures_are_refused_in_one_sentence(content, sentence, tmp_path):
    path = tmp_path / "holiday.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=sentence) as caught:
        read_image(path)
    assert "holiday.png" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(UnreadableImageError, match="the file"):
        read_image(content)


def test_the_limit_itself_is_read_from_the_header_alone():
    assert MAX_PIXELS == 80_000_000
    with pytest.raises(UnreadableImageError, match="damaged"):  # within the limit, but without pixels
        read_image(png_header(8000, 10_000))


@pytest.mark.parametrize(
    ("place", "sentence"),
    [("missing.jpg", "does not exist"), (".", "is a folder"), ("bad\0name.jpg", "damaged|does not exist")],
)
def test_places_without_a_picture(place, sentence, tmp_path):
    with pytest.raises(UnreadableImageError, match=sentence):
        read_image(tmp_path / place)


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        pytest.param(np.zeros((5, 4), np.uint8), (5, 4, 3), id="grey"),
        pytest.param(np.zeros((5, 4, 1), np.uint8), (5, 4, 3), id="grey with a channel"),
        pytest.param(np.zeros((5, 4, 3), np.uint8), (5, 4, 3), id="RGB"),
        pytest.param(np.zeros((5, 4, 4), np.uint8), (5, 4, 3), id="RGBA"),
        pytest.param(np.zeros((1, 1, 3), np.uint8), (1, 1, 3), id="smallest"),
        pytest.param(np.zeros((5, 8, 3), np.uint8)[:, ::2], (5, 4, 3), id="strided"),
    ],
)
def test_arrays_get_one_shape(array, shape):
    image = as_rgb(array)
    assert image.shape == shape
    assert image.flags.c_contiguous


def test_rgb_arrays_are_not_copied():
    array = np.zeros((5, 4, 3), np.uint8)
    assert as_rgb(array) is array


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        pytest.param(np.zeros((5, 4, 3), np.float32), "float32", id="floats"),
        pytest.param(np.zeros((5, 4, 2), np.uint8), r"\(5, 4, 2\)", id="two channels"),
        pytest.param(np.zeros((2, 5, 4, 3), np.uint8), r"\(2, 5, 4, 3\)", id="a batch"),
        pytest.param(np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)", id="no rows"),
        pytest.param([[1]], "list", id="a list"),
    ],
)
def test_other_arrays_are_refused(array, sentence):
    with pytest.raises(UnreadableImageError, match=sentence):
        as_rgb(array)


def test_pictures_of_a_folder(tmp_path: Path):
    for name in ("b.JPG", "a.png", ".hidden.png", "notes.txt", "below/c.webp"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_folder(tmp_path).pictures] == ["a.png", "b.JPG"]
    assert [path.name for path in list_folder(tmp_path, recursive=True).pictures] == [
        "a.png",
        "b.JPG",
        "c.webp",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "PPM", "AVIF"])
def test_damaged_bytes_never_end_in_another_error(format_):
    """Flipped and cut-off bytes give a picture or the one error that callers handle."""
    rng = np.random.default_rng(1)
    intact = encoded(Image.effect_noise((40, 40), 90).convert("RGB"), format_)
    refused = 0
    for _ in range(200):
        damaged = np.frombuffer(intact, np.uint8).copy()
        damaged[rng.integers(0, len(damaged), 5)] = rng.integers(0, 256, 5)
        damaged[rng.integers(0, 60, 2)] = rng.integers(0, 256, 2)
        try:
            assert read_image(damaged[: rng.integers(1, len(damaged) + 1)].tobytes()).dtype == np.uint8
        except UnreadableImageError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize(("shape", "times"), [((6, 9), 3), ((7, 8), 3), ((1, 5), 4), ((5, 5), 1)], ids=str)
def test_blocks_are_averaged_and_edges_repeated(shape, times):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    small = shrink_blocks(image, times)
    height, width = (-(-side // times) for side in shape)
    assert small.shape == (height, width, 3)
    padded = np.pad(
        image, ((0, height * times - shape[0]), (0, width * times - shape[1]), (0, 0)), mode="edge"
    )
    expected = padded.reshape(height, times, width, times, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(small, expected, atol=1)  # rounded


def peak_bytes(path: Path) -> int:
    """Memory at the peak of reading a picture in a process of its own, beside what importing takes."""
    code = (
        "import resource, sys; from fer.images import read_image; import numpy, cv2\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "read_image(sys.argv[1])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=120, check=True
    )
    return int(answer.stdout) * 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts memory in Linux's units")
@pytest.mark.parametrize("mode", ["I;16", "RGB", "RGBA"])
def test_reading_takes_no_more_memory_than_was_estimated(mode, tmp_path):
    """Before, 16-bit grey took 20 bytes a pixel: float64 on the way."""
    path = tmp_path / "large.png"
    Image.new(mode, (5000, 4000), 900 if mode == "I;16" else None).save(path, compress_level=1)
    estimate = decoding_bytes(path)
    assert 100_000_000 < estimate < 300_000_000
    assert peak_bytes(path) < 1.25 * estimate  # importing decoders is no part of it


def test_what_is_refused_costs_nothing():
    assert decoding_bytes(b"no picture") == 0


def test_a_kilobyte_of_webp_does_not_unpack_to_a_gigabyte():
    content = io.BytesIO()
    frames = [Image.new("RGBA", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(content, "WEBP", save_all=True, append_images=frames[1:])
    data = bytearray(content.getvalue())
    place = data.index(b"VP8X") + 12  # the canvas: three bytes of width - 1, three of height - 1
    data[place : place + 6] = (8000 - 1).to_bytes(3, "little") + (8000 - 1).to_bytes(3, "little")
    with pytest.raises(UnreadableImageError, match="64 megapixels, which is too large for WebP"):
        read_image(bytes(data))
