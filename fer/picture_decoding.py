"""Convert Pillow's images to upright 8-bit sRGB of limited size."""

import io
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, BinaryIO, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, JpegImagePlugin

from fer.picture_structure import check_jpeg, check_metadata

_JPEG_START: Final = b"\xff\xd8\xff"
_RAW_EXIF: Final = "Raw profile type exif"
"""Name under which Pillow keeps the EXIF that some programs store in a PNG as text."""

_WHITE: Final = (255, 255, 255)
_DEPTHS: Final = (1023, 4095, 16383)
"""Maximum values of cameras and scanners that store 10, 12 or 14 bits in 16."""

_STRIP_PIXELS: Final = 4_000_000
_SAMPLES: Final = 1_000_000
_MOST_PAGES: Final = 200
_MOST_LOOKED_AT: Final = 30
_MOST_LOOKED_AT_PIXELS: Final = 80_000_000
_DNG_VERSION: Final = 50706
_SUBFILE_TYPE: Final = 254
_SUB_IMAGES: Final = 330
_PLAIN: Final = 3.0
"""A frame with a lower standard deviation (of 255) counts as blank."""


FORMAT_SUFFIXES: Final[Mapping[str, tuple[str, ...]]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".mpo",),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".pbm", ".pfm", ".pgm", ".pnm", ".ppm"),
    "TGA": (".tga",),
    "JPEG2000": (".j2c", ".j2k", ".jp2", ".jpc", ".jpf", ".jpx"),
    "HEIF": (".heic", ".heif", ".hif"),
    "AVIF": (".avif", ".avifs"),
    "PSD": (".psd",),
}
"""Supported formats by Pillow's names, with their suffixes; untrusted files cannot reach its forty others."""


_BYTES_PER_PIXEL: Final[Mapping[str, int]] = {"JPEG2000": 20, "WEBP": 18}
_DEEP_BYTES_PER_PIXEL: Final = 23
_USUAL_BYTES_PER_PIXEL: Final = 11
"""Peak memory of decoding an image, measured on 20 and 80 megapixels of each format."""


@cache
def _decoders() -> tuple[str, ...]:
    """Return the installed decoders, including HEIF's."""
    add_heif()
    Image.init()
    return tuple(name for name in FORMAT_SUFFIXES if name in Image.OPEN)


@cache
def add_heif() -> bool:
    """Register HEIC and HEIF with Pillow; return False if no decoder for them is installed."""
    try:
        from pi_heif import register_heif_opener  # noqa: PLC0415 - needed only when an image is read
    except ImportError:
        try:
            from pillow_heif import register_heif_opener  # noqa: PLC0415 - the same with an encoder
        except ImportError:
            return False
    register_heif_opener()
    return True


def open_picture(file: BinaryIO) -> Image.Image:
    """Open an image by its content; also JPEGs above Pillow's limit, which can be decoded at reduced size.

    Args:
        file: An open file or bytes, never a path: Pillow maps raw TIFFs of a path into memory and shears
            those that are stored rotated.

    Raises:
        CostlyFileError: The file would cost far more to read than files of its size do.
    """
    start = file.read(12)
    if start.startswith(_JPEG_START):
        file.seek(0)
        check_jpeg(file.read())
    elif start[4:8] == b"ftyp":  # Pillow reads the EXIF of AVIF while it opens the file
        file.seek(0)
        check_metadata(file.read())
    file.seek(0)
    try:
        return Image.open(file, formats=_decoders())
    except Image.DecompressionBombError:
        file.seek(0)
        if file.read(3) != _JPEG_START:
            raise
        file.seek(0)
        return JpegImagePlugin.JpegImageFile(file)


def bytes_per_pixel(image: Image.Image) -> int:
    """Return the peak memory per pixel for decoding an opened image."""
    if _deep_content(image) is not None:
        return _DEEP_BYTES_PER_PIXEL
    return _BYTES_PER_PIXEL.get(image.format or "", _USUAL_BYTES_PER_PIXEL)


def is_raw(image: Image.Image) -> bool:
    """Return whether a TIFF is a camera's raw photo, of which only a small preview could be decoded."""
    tags = getattr(image, "tag_v2", {})
    is_preview = tags.get(_SUBFILE_TYPE) == 1 and _SUB_IMAGES in tags
    return image.format == "TIFF" and (_DNG_VERSION in tags or is_preview)


def go_to_best_page(image: Image.Image) -> str | None:
    """Seek to the largest page of a document, or to the first frame of an animation that is not blank.

    Of an MPO file, two views from one camera, the first is kept; of a PSD file, all layers together.

    Returns:
        A note for people if other pages or frames are ignored.
    """
    if image.format == "TIFF":
        areas = _page_areas(image)
        page = areas.index(max(areas))
        image.seek(page)
        pages = f"{len(areas)}" if len(areas) < _MOST_PAGES else f"at least {len(areas)}"
        return f"has {pages} pages; page {page + 1}, the largest, was read" if len(areas) > 1 else None
    count = getattr(image, "n_frames", 1)
    is_still = image.format in {"HEIF", "AVIF"} and not getattr(image, "is_animated", False)
    if count < 2 or is_still or image.format in {"MPO", "PSD"}:
        return None
    frame = _first_frame_with_content(image, min(count, _MOST_LOOKED_AT))
    image.seek(frame)
    return f"is an animation; frame {frame + 1} of {count} was read; convert it to MP4 to analyse all frames"


def reduce_jpeg(image: Image.Image, max_pixels: int) -> int:
    """Decode a large JPEG at a half, quarter or eighth of its size.

    Returns:
        Factor by which the sides are smaller; 1 if the image fits or is not a JPEG.
    """
    width, height = image.size
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or width * height <= max_pixels:
        return 1
    for times in (2, 4, 8):
        if width * height / times**2 <= max_pixels:
            image.draft(image.mode, (width // times, height // times))
            return round(width / image.size[0])
    return 1


def mended_jpeg(content: bytes) -> bytes:
    """Append the end marker that a truncated JPEG lacks."""
    return content + b"\xff\xd9"


def missing_share(pixels: NDArray[np.uint8]) -> float:
    """Return the share of rows, from the bottom, that the decoder filled with one colour."""
    plain = pixels.max(axis=1) - pixels.min(axis=1) <= 2
    rows = plain.all(axis=-1) if plain.ndim > 1 else plain
    return float(np.argmin(rows[::-1]) / len(rows)) if not rows.all() else 1.0


def to_pixels(image: Image.Image, upright: Callable[[Image.Image], None]) -> NDArray[np.uint8]:
    """Return decoded pixels, upright, in sRGB, as ``uint8`` of shape (H, W) or (H, W, 3)."""
    content = _deep_content(image)
    image.load()
    if content is not None:
        image = _shallow(content, image)
    upright(image)
    if image.mode.startswith(("I", "F")):
        return to_eight_bits(np.asarray(image))
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    step = max(
        _STRIP_PIXELS // image.width, 1
    )  # intermediate copies of the whole image would take several times its memory
    for top in range(0, image.height, step):
        bottom = min(top + step, image.height)
        strip = image if step >= image.height else image.crop((0, top, image.width, bottom))
        pixels[top:bottom] = np.asarray(_opaque(strip))
    return pixels


def _opaque(image: Image.Image) -> Image.Image:
    """Blend an image onto white and convert its colours to sRGB."""
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        profile = image.info.get("icc_profile")
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (*_WHITE, 255))
        image = Image.alpha_composite(ground, layer).convert("RGB")
        image.info["icc_profile"] = profile
    image = _to_srgb(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def turn_upright(image: Image.Image, errors: tuple[type[BaseException], ...]) -> None:
    """Apply the EXIF orientation in place; unreadable metadata is ignored."""
    with suppress(*errors):
        for name in ("exif", _RAW_EXIF):
            if content := image.info.get(name):
                check_metadata(_raw_bytes(content))
        ImageOps.exif_transpose(image, in_place=True)


def _raw_bytes(content: bytes | str) -> bytes:
    """Return EXIF as bytes, also if it is text: a heading of three lines, then hexadecimal digits."""
    return content if isinstance(content, bytes) else bytes.fromhex("".join(content.split("\n")[3:]))


def to_eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale 16-bit integers by their actual depth, other types by the range of nearly all values."""
    if values.dtype.kind in "iu" and values.max(initial=0) <= 255 and values.dtype != np.uint16:
        return values.clip(0, 255).astype(np.uint8)
    sample = values.reshape(-1)[:: max(values.size // _SAMPLES, 1)]
    if values.dtype.kind in "iu" and values.max(initial=0) <= 65535:
        high = float(np.quantile(sample, 0.999))
        depth = next((depth for depth in _DEPTHS if 255 < high <= depth), 65535)
        return _by_strips(values, lambda strip: np.round(np.clip(strip, 0, depth) * (255 / depth)))
    finite = sample[np.isfinite(sample)].astype(np.float64)
    low, high = np.quantile(finite, (0.001, 0.999)) if len(finite) else (0.0, 1.0)
    if high <= low:
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    factor = 255 / ((high - low) or 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        return _by_strips(
            values,
            lambda strip: np.nan_to_num(np.round((strip.astype(np.float64).clip(low, high) - low) * factor)),
        )


def _by_strips(values: NDArray[Any], scale: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[np.uint8]:
    """Scale in strips of rows: floats of the whole image would take eight times the result's memory."""
    scaled = np.empty(values.shape, np.uint8)
    step = max(_STRIP_PIXELS // max(values[:1].size, 1), 1)
    for top in range(0, len(values), step):
        scaled[top : top + step] = scale(values[top : top + step])
    return scaled


def _deep_content(image: Image.Image) -> bytes | None:
    """Return the file content of a 16-bit colour image, of which Pillow keeps the upper eight bits only."""
    mode = next((str(tile.args) for tile in getattr(image, "tile", []) if tile.args), "")
    file = getattr(image, "fp", None)
    if image.mode != "RGB" or "RGB;16" not in mode or file is None:
        return None
    place = file.tell()
    file.seek(0)
    content: bytes = file.read()
    file.seek(place)
    return content


def _shallow(content: bytes, loaded: Image.Image) -> Image.Image:
    """Convert a 16-bit image to eight bits by its actual depth; return Pillow's version if OpenCV fails."""
    values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.shape != (*loaded.size[::-1], 3):
        return loaded
    rgb = np.ascontiguousarray(values[:, :, ::-1])  # OpenCV orders channels the other way round
    picture = Image.fromarray(to_eight_bits(rgb))
    picture.info = dict(loaded.info)
    with suppress(OSError, SyntaxError, ValueError, LookupError, TypeError, struct.error):
        picture.info["exif"] = loaded.getexif().tobytes()
    return picture


def _to_srgb(image: Image.Image) -> Image.Image:
    """Convert a wide-gamut image to sRGB; an unreadable profile is ignored."""
    content = image.info.get("icc_profile")
    if not content or image.mode not in {"RGB", "CMYK", "LAB"}:
        return image
    with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        if "srgb" not in ImageCms.getProfileDescription(profile).lower():
            turned = ImageCms.profileToProfile(
                image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            return turned if turned is not None else image
    return image


def _page_areas(image: Image.Image) -> list[int]:
    """Return the number of pixels of each page, of the first ones in a long document."""
    areas: list[int] = []
    with suppress(EOFError):
        for page in range(_MOST_PAGES):
            image.seek(page)
            areas.append(image.size[0] * image.size[1])
    return areas


def _first_frame_with_content(image: Image.Image, count: int) -> int:
    """Return the index of the first frame that is not blank, 0 if there is none among those looked at."""
    pixels = image.size[0] * image.size[1]
    step = max(int((pixels / _SAMPLES) ** 0.5), 1)
    for frame in range(min(count, max(_MOST_LOOKED_AT_PIXELS // pixels, 1))):
        image.seek(frame)
        if np.asarray(image.convert("L"))[::step, ::step].std() >= _PLAIN:
            return frame
    return 0
