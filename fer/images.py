"""The border of pixels: whatever comes in leaves as RGB ``uint8``."""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fer.picture_decoding import (
    FORMAT_SUFFIXES,
    bytes_per_pixel,
    go_to_best_page,
    mended_jpeg,
    missing_share,
    open_picture,
    reduce_jpeg,
    to_pixels,
    turn_upright,
)

RgbImage: TypeAlias = NDArray[np.uint8]
"""Shape (H, W, 3), RGB, C-contiguous."""

MAX_PIXELS: Final = 80_000_000
"""Larger pictures are refused before they are decoded: 240 MB as RGB is what a photo may cost."""

IMAGE_SUFFIXES: Final = frozenset(suffix for suffixes in FORMAT_SUFFIXES.values() for suffix in suffixes)
"""Endings that are taken for pictures when a folder is read."""

MAX_REDUCED_PIXELS: Final = 256_000_000
"""Of a JPEG, which is decoded at a fraction of its size: phones take photos of 108 and 200 megapixels."""

MAX_MEMORY_BYTES: Final = 950_000_000
"""Pictures that take more to be read are refused: WebP, of which a kilobyte can unpack to 80 megapixels."""

_MOST_MISSING: Final = 0.5
"""A JPEG that lacks more of its rows is damaged rather than cut off."""

_STRANGERS: Final = (
    (
        re.compile(rb"....ftyp(hei|hev|mif1|msf1)", re.DOTALL),
        "is a HEIC picture that cannot be decoded; 'pip install pi-heif' adds a decoder, or save it as JPEG",
    ),
    (
        re.compile(
            rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI |OggS|FLV\x01|\x06\x0e\x2b\x34|YUV4MPEG2|\x30\x26\xb2\x75",
            re.DOTALL,
        ),
        "is a video or sound, not a picture; name it like one, such as .mp4 or .mkv",
    ),
    (
        re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "),
        "is a JPEG XL picture, which is not read; save it as JPEG or PNG",
    ),
    (re.compile(rb"%PDF"), "is a PDF document, not a picture; save its pages as PNG"),
    (re.compile(rb"\s*<(\?xml|svg)"), "is a drawing such as SVG, not a picture; save it as PNG"),
)
"""First bytes of files that are often mistaken for images, with the sentence to show."""

_DECODER_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""Errors that Pillow's decoders raise for damaged files; found by fuzzing."""


class UnreadableImageError(ValueError):
    """A picture that cannot be decoded, is empty or is too large."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded file.

    Attributes:
        image: RGB, upright.
        reduced: How many times smaller its sides are than those of the file.
        notes: What people should know of the way it was read, each to follow the file's name.
    """

    image: RgbImage = field(repr=False)
    reduced: int = 1
    notes: tuple[str, ...] = ()


def read_image(
    source: str | Path | bytes | bytearray | memoryview, max_pixels: int | None = None
) -> RgbImage:
    """Decode a picture file as :func:`read_picture` does, and give its pixels."""
    return read_picture(source, max_pixels).image


def decoding_bytes(source: str | Path | bytes) -> int:
    """Estimate the memory that reading a picture takes at its peak, from the size that it declares.

    Returns:
        Bytes; 0 for what is refused before it is decoded.
    """
    try:
        with _without_warnings(), _opened(source) as file, open_picture(file) as image:
            reduce_jpeg(image, MAX_PIXELS)
            pixels = image.size[0] * image.size[1]
            return pixels * bytes_per_pixel(image) if pixels <= MAX_PIXELS else 0
    except (*_DECODER_ERRORS, Image.DecompressionBombError):
        return 0


def read_picture(
    source: str | Path | bytes | bytearray | memoryview, max_pixels: int | None = None
) -> Picture:
    """Decode a picture file, upright by its EXIF orientation, as sRGB.

    The largest page of a document is read and the first frame of an animation that shows something.
    Transparency is laid on white, deeper values become 8-bit ones. JPEGs above ``MAX_PIXELS`` are read at a
    fraction of their size.

    Args:
        source: A path, or the encoded bytes.
        max_pixels: Larger pictures are refused, JPEGs are read at a fraction; None for ``MAX_PIXELS``.

    Raises:
        UnreadableImageError: Missing, no picture, truncated, or above ``max_pixels``.
    """
    if isinstance(source, bytearray | memoryview):
        source = bytes(source)
    if not isinstance(source, str | Path | bytes):
        raise UnreadableImageError(
            f"expected a path or the bytes of a picture file, got {type(source).__name__}"
        )
    name = "the picture" if isinstance(source, bytes) else str(source)
    if not name:
        raise UnreadableImageError("expected the path of a picture, got an empty one")
    try:
        return _decode(source, name, MAX_PIXELS if max_pixels is None else max_pixels)
    except UnreadableImageError:
        raise
    except FileNotFoundError as error:
        raise UnreadableImageError(f"{name} does not exist") from error
    except IsADirectoryError as error:
        raise UnreadableImageError(f"{name} is a folder, not a picture") from error
    except PermissionError as error:
        raise UnreadableImageError(f"{name} may not be read by this user") from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(f"{name} {_what_else(source)}") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(
            f"{name} has too many pixels; at most {MAX_PIXELS / 1e6:.0f} megapixels are read, "
            "scale it down first"
        ) from error
    except _DECODER_ERRORS as error:
        raise UnreadableImageError(
            f"{name} is damaged or cut off ({str(error).strip()}); save it again and retry"
        ) from error


def _decode(source: str | Path | bytes, name: str, max_pixels: int) -> Picture:
    with _without_warnings(), _opened(source) as file:
        try:
            return _decode_file(file, name, max_pixels)
        except OSError as error:
            file.seek(0)
            if file.read(3) != b"\xff\xd8\xff" or "truncated" not in str(error):
                raise
            file.seek(0)
            mended = _decode_file(io.BytesIO(mended_jpeg(file.read())), name, max_pixels)
            if missing_share(mended.image) > _MOST_MISSING:
                raise
            return replace(mended, notes=(*mended.notes, "is cut off at its end; what is left was read"))


def _decode_file(file: BinaryIO, name: str, max_pixels: int) -> Picture:
    with open_picture(file) as image:
        if (
            image.format == "WEBP"
            and image.size[0] * image.size[1] * bytes_per_pixel(image) > MAX_MEMORY_BYTES
        ):
            raise UnreadableImageError(
                f"{name} has {image.size[0] * image.size[1] / 1e6:.0f} megapixels, which is more than can be "
                "read as WebP; save it as PNG or JPEG, or scale it down"
            )
        note = go_to_best_page(image)
        notes = [] if note is None else [note]
        megapixels = image.size[0] * image.size[1] / 1e6
        reduced = reduce_jpeg(image, max_pixels)
        if image.size[0] * image.size[1] > max_pixels or megapixels > MAX_REDUCED_PIXELS / 1e6:
            raise UnreadableImageError(
                f"{name} has {megapixels:.0f} megapixels; "
                f"at most {max_pixels / 1e6:.0f} are read, scale it down first"
            )
        if reduced > 1:
            notes.append(
                f"has {megapixels:.0f} megapixels and was read at 1/{reduced} of its width and height"
            )
        pixels = to_pixels(image, lambda picture: turn_upright(picture, _DECODER_ERRORS))
        return Picture(as_rgb(pixels), reduced, tuple(notes))


def _opened(source: str | Path | bytes) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb")


def _what_else(source: str | Path | bytes) -> str:
    """Name the kind of a file that is no image, and the way out."""
    try:
        with _opened(source) as file:
            start = file.read(64)
    except OSError:
        start = b""
    for pattern, sentence in _STRANGERS:
        if pattern.match(start):
            return sentence
    return "is not a picture that can be decoded; expected JPEG, PNG, WebP, HEIC, AVIF, TIFF, BMP or GIF"


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Pillow warns of sizes and of metadata; a picture is read or refused here, never both."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def as_rgb(image: NDArray[Any]) -> RgbImage:
    """Check an array and give it the one shape used inside.

    Args:
        image: ``uint8`` of shape (H, W), (H, W, 1), (H, W, 3) in RGB, or (H, W, 4) in RGBA (laid on white).

    Returns:
        The same pixels as RGB; the array itself where nothing had to change.

    Raises:
        UnreadableImageError: Another type or shape, or no pixels.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        found = f"dtype {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
        raise UnreadableImageError(
            f"expected an image as a uint8 array of shape (H, W, 3) in RGB, got {found}"
        )
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        raise UnreadableImageError(f"expected an image of shape (H, W, 3) in RGB, got shape {image.shape}")
    if image.shape[0] == 0 or image.shape[1] == 0:
        raise UnreadableImageError(f"expected an image with pixels, got shape {image.shape}")
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    elif image.shape[2] == 4:
        alpha = image[:, :, 3:].astype(np.float32) / 255
        image = np.round(image[:, :, :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.ascontiguousarray(image)


def shrink_blocks(image: RgbImage, times: int) -> RgbImage:
    """Average blocks of ``times`` × ``times`` pixels: several times faster than any factor that is not whole.

    Args:
        image: ``uint8`` of shape (H, W, 3).
        times: At least 1; blocks that reach over the edge repeat its pixels.

    Returns:
        Shape (ceil(H / times), ceil(W / times), 3); the image itself where ``times`` is 1.
    """
    if times == 1:
        return image
    height, width = (-(-side // times) for side in image.shape[:2])
    below, beside = height * times - image.shape[0], width * times - image.shape[1]
    blocks = cv2.copyMakeBorder(image, 0, below, 0, beside, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(blocks, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
