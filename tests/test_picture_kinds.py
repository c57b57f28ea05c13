"""Images as stored by phones, scanners and editors."""

import base64
import io
import struct
from importlib.util import find_spec

import numpy as np
import pytest
from fakes import fake_analyzer, red_face
from PIL import Image, ImageCms, TiffImagePlugin, TiffTags

from fer.folders.records import read_record
from fer.images import IMAGE_SUFFIXES, UnreadableImageError, read_image, read_picture
from fer.picture_decoding import FORMAT_SUFFIXES, add_heif

HEIC = """
AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA
ACJpbG9jAAAAAERAAAEAAQAAAAABegABAAAAAAAAAKAAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRt
AAAAAAABAAAA1mlwcnAAAAC3aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMA
AAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoDCBBZbqSSmubgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xy
bmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABgAAAAQAAAABBwaXhpAAAAAAMICAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAAKht
ZGF0AAAAnCgBrwngITl1X//8gj///GI3IfwJzUkEp//iozO/inU//uqcNYsombT065jGuh2UsVJuiMl362QEE1/8pOo6cuz+f6R5
A3/mokCoEiaorynJ/TzbjsOeNjms0fUBf6/Bw/Hiv1g/L01FD0QuPf+Aw+Q/VO32b+R+8dGOzATjHyNh552NNrU/ez8a/4fKhbCX
T18/n1H7rC+Mu2tg4A==
"""
"""96×64, the left half red, the right half blue."""


def halves(size: tuple[int, int] = (96, 64)) -> Image.Image:
    """The left half red, the right half blue."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[:, : size[0] // 2], pixels[:, size[0] // 2 :] = (220, 30, 30), (20, 20, 200)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str, **settings) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def is_halves(image: np.ndarray) -> bool:
    height, width = image.shape[:2]
    red, blue = image[height // 2, width // 4], image[height // 2, 3 * width // 4]
    return bool(np.abs(red - (220.0, 30, 30)).max() < 16 and np.abs(blue - (20.0, 20, 200)).max() < 16)


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "JPEG2000", "MPO", "TGA", "DIB"])
def test_kinds_are_read_by_their_content(kind, tmp_path):
    if kind == "HEIF":
        if not any(map(find_spec, ("pi_heif", "pillow_heif"))):
            pytest.skip("needs pi-heif")
        content = base64.b64decode(HEIC)
    else:
        content = encoded(halves(), kind, **({"quality": 95} if kind in {"AVIF", "MPO"} else {}))
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    assert read_image(path).shape == (64, 96, 3)
    assert is_halves(read_image(path))
    assert is_halves(read_image(bytearray(content)))
    assert is_halves(read_image(memoryview(content)))


def test_every_ending_has_a_decoder_that_is_reached():
    add_heif()
    Image.init()
    known = Image.registered_extensions()
    for name, suffixes in FORMAT_SUFFIXES.items():
        if name == "HEIF" and name not in Image.OPEN:
            continue  # needs pi-heif
        assert name in Image.OPEN or name == "MPO"  # Pillow opens MPO as the JPEG it begins with
        assert {known.get(suffix) for suffix in suffixes} == {name}


def test_endings_of_phones_and_cameras_are_known():
    assert {".heic", ".heif", ".hif", ".avif", ".jp2", ".mpo", ".tga", ".apng"} <= IMAGE_SUFFIXES


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA", "I;16"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_tiffs_are_alike_by_path_and_by_bytes(mode, orientation, tmp_path):
    dark_left = np.full((20, 30), 40, np.uint8)
    dark_left[:, 10:] = 220
    image = Image.fromarray(dark_left)
    image = Image.fromarray(dark_left.astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    path = tmp_path / "a.tif"
    image.save(path, tiffinfo={274: orientation})
    read = read_image(path)[:, :, 0]
    ways = (None, None, np.fliplr, lambda a: np.rot90(a, 2), np.flipud, np.transpose)
    ways += (lambda a: np.rot90(a, -1), lambda a: np.rot90(a, 2).T, lambda a: np.rot90(a, 1))
    expected = dark_left if ways[orientation] is None else ways[orientation](dark_left)
    assert np.array_equal(read_image(path.read_bytes())[:, :, 0], read)
    assert read.shape == expected.shape
    assert np.abs(read.astype(int) - expected).max() <= 1


def test_the_largest_page_is_read(tmp_path):
    path = tmp_path / "scan.tif"
    Image.new("RGB", (10, 8)).save(path, save_all=True, append_images=[halves(), Image.new("RGB", (5, 5))])
    picture = read_picture(path)
    assert is_halves(picture.image)
    assert picture.notes == ("has 3 pages; page 2, the largest, was read",)


@pytest.mark.parametrize("tags", [{50706: b"\1\4\0\0"}, {254: 1, 330: 8}], ids=["DNG", "preview"])
def test_the_preview_in_a_raw_photo_is_not_taken_for_it(tags):
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for number, value in tags.items():
        info[number] = value
        info.tagtype[number] = TiffTags.BYTE if isinstance(value, bytes) else TiffTags.LONG
    with pytest.raises(UnreadableImageError, match="is a raw photo"):
        read_picture(encoded(halves(), "TIFF", tiffinfo=info))


def layered(count: int) -> bytes:
    """A PSD file of some small layers, with the whole picture after them."""
    layer = struct.pack(">4IH", 0, 0, 4, 4, 3) + b"".join(struct.pack(">hI", each, 18) for each in range(3))
    layer += b"8BIMnorm\xff\0\0\0" + struct.pack(">I", 12) + bytes(8) + b"\2ab\0"
    layers = struct.pack(">h", count) + layer * count + (bytes(2) + bytes(16)) * 3 * count
    section = struct.pack(">I", len(layers)) + layers + bytes(4)
    pixels = np.asarray(halves()).transpose(2, 0, 1).tobytes()
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 64, 96, 8, 3) + bytes(8)
    return head + struct.pack(">I", len(section)) + section + bytes(2) + pixels


@pytest.mark.parametrize("count", [1, 2, 5])
def test_layers_are_read_together(count):
    picture = read_picture(layered(count))
    assert is_halves(picture.image)
    assert picture.notes == ()


def test_of_two_views_of_a_camera_the_first_is_read():
    larger = Image.new("RGB", (300, 300), (128, 128, 128))
    picture = read_picture(encoded(halves(), "MPO", quality=95, save_all=True, append_images=[larger]))
    assert is_halves(picture.image)
    assert picture.notes == ()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_a_frame_that_shows_something_is_read_and_said(kind):
    blank = Image.new("RGB", (96, 64), (255, 255, 255))
    content = encoded(blank, kind, save_all=True, append_images=[halves(), halves().rotate(180)])
    picture = read_picture(content)
    assert is_halves(picture.image)
    assert picture.notes == (
        "is an animation; frame 2 of 3 was read; convert it to MP4 to analyse all frames",
    )


@pytest.mark.parametrize("lost", [2, 40])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_last_bytes_is_read_and_said(lost, progressive):
    noise = Image.effect_noise((400, 400), 60).convert("RGB")
    content = encoded(noise, "JPEG", progressive=progressive)
    picture = read_picture(content[:-lost])
    assert picture.image.shape == (400, 400, 3)
    assert np.abs(picture.image[:200].astype(int) - read_image(content)[:200]).mean() < 3
    assert picture.notes == ("is cut off at its end; the remaining part was read",)


def test_half_a_jpeg_is_damaged():
    content = encoded(Image.effect_noise((400, 400), 60).convert("RGB"), "JPEG")
    with pytest.raises(UnreadableImageError, match="damaged or cut off"):
        read_image(content[: len(content) // 3])


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
def test_photos_of_phones_above_the_limit_are_read_reduced(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("fer.images.MAX_PIXELS", 2000)
    face = Image.fromarray(red_face(220)).resize((256, 192))
    path = tmp_path / "large.jpg"
    path.write_bytes(encoded(face, kind, quality=95))
    picture = read_picture(path)
    assert (picture.reduced, picture.image.shape) == (8, (24, 32, 3))
    assert picture.notes == ("has 0 megapixels and was read at 1/8 of its width and height",)
    record = read_record(fake_analyzer(), str(path))
    assert (record["width"], record["height"]) == (256, 192)
    left, _, right, _ = record["faces"][0]["box"]
    assert 40 < left < 90 < right < 200  # in pixels of the file, not of what was decoded


def test_wide_gamut_colours_become_those_of_screens():
    """A profile whose red and green are exchanged: ignored, red would stay red."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    profile = bytearray(srgb.tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    name = "sRGB".encode("utf-16-be")
    content = bytes(profile).replace(name, "Own!".encode("utf-16-be"))
    for kind, image in (("PNG", halves()), ("PNG", halves().convert("RGBA")), ("TIFF", halves())):
        shown = read_image(encoded(image, kind, icc_profile=content))[32, 20]
        assert shown[1] > 180 > 60 > shown[0], kind
        assert is_halves(read_image(encoded(image, kind, icc_profile=srgb.tobytes())))
        assert is_halves(read_image(encoded(image, kind, icc_profile=b"no profile")))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([0.0, 0.5, 1.0], [0, 128, 255], id="floats"),
        pytest.param([0.0, 0.5, 1.0, np.inf], [0, 128, 255, 255], id="infinite"),
        pytest.param([0.0, 0.5, 1.0, -np.inf, np.nan], [0, 128, 255, 0, 0], id="minus infinite and none"),
        pytest.param([0.0, 0.5, 1.0, 3e38], [0, 128, 255, 255], id="one huge value"),
    ],
)
def test_floats_are_scaled_by_their_content(values, expected):
    picture = np.resize(np.array([0.0, 0.5, 1.0], np.float32), (60, 60))
    picture[0, : len(values)] = values
    read = read_image(encoded(Image.fromarray(picture), "TIFF"))
    assert np.abs(read[0, : len(values), 0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("full", [1023, 4095, 16383, 65535])
def test_deep_pictures_are_scaled_by_the_bits_they_use(channels, full, tmp_path):
    cv2 = pytest.importorskip("cv2")
    ramp = np.linspace(0, full, 4000).astype(np.uint16).reshape(40, 100)
    ramp[3, 3] = 65535  # one hot pixel
    pixels = ramp if channels == 1 else np.stack([ramp // 4, ramp, ramp], axis=2)  # OpenCV writes BGR
    path = tmp_path / "deep.png"
    assert cv2.imwrite(str(path), pixels)
    read = read_image(path)
    assert abs(int(read[-1, -1, 0]) - 255) <= 1
    assert abs(int(read[20, 0, 0]) - 128) <= 1
    if channels == 3:
        assert abs(int(read[-1, -1, 2]) - 64) <= 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC|damaged"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp42", "is a video or sound"),
        (b"%PDF-1.7\n", "PDF document"),
        (b"<svg xmlns='x'/>", "drawing such as SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><svg/>", "drawing such as SVG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "drawing such as SVG or EPS"),
        (b"\n<!DOCTYPE html><title>404</title>", "web page"),
        (b"PK\x03\x04" + bytes(30), "an archive or a document"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (encoded(halves(), "ICO"), "is an icon"),
        (encoded(halves(), "AVIF")[:200], "AVIF image that is damaged"),
        (encoded(halves(), "TIFF").replace(b"II*\0\x08\0\0\0", b"II*\0\x10\0\0\0CR\x02\0"), "a raw photo"),
        (b"FUJIFILMCCD-RAW 0201FF383501", "a raw photo"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "a raw photo"),
        (b"ID3\x04" + bytes(30), "is a video or sound"),
        (b"\0\0\x01\xba" + bytes(30), "is a video or sound"),
        (bytes(128) + b"DICM" + bytes(99), "DICOM"),
        (b"II*\0" + b"\xff" * 60, "a TIFF image that cannot be decoded"),
        (b"", "is empty"),
        (bytes(5000), "zeros instead of an image"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    ],
)
def test_other_files_are_named(content, sentence):
    with pytest.raises(UnreadableImageError, match=sentence):
        read_image(content)


@pytest.mark.parametrize("source", [5, None, np.zeros((4, 4, 3), np.uint8), ""])
def test_other_sources_are_refused(source):
    with pytest.raises(UnreadableImageError, match=r"^expected"):
        read_image(source)
