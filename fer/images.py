"""Read and validate images; the result is always RGB ``uint8``."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fer.files import odd_kind
from fer.foreign_formats import RAW_SENTENCE, START_BYTES, is_canon_raw, is_icon, name_format
from fer.picture_decoding import (
    FORMAT_SUFFIXES,
    bytes_per_pixel,
    go_to_best_page,
    is_raw,
    mended_jpeg,
    missing_share,
    open_picture,
    reduce_jpeg,
    to_pixels,
    turn_upright,
)
from fer.picture_structure import CostlyFileError, MeteredFile

RgbImage: TypeAlias = NDArray[np.uint8]
"""Shape (H, W, 3), RGB, C-contiguous."""

MAX_PIXELS: Final = 80_000_000
"""Larger images are rejected before decoding: 240 MB as RGB is the limit."""

IMAGE_SUFFIXES: Final = frozenset(suffix for suffixes in FORMAT_SUFFIXES.values() for suffix in suffixes)
"""File suffixes that count as images when a folder is read."""

MAX_REDUCED_PIXELS: Final = 256_000_000
"""Limit for JPEGs, which are decoded at reduced size: phones take photos of 108 and 200 megapixels."""

MAX_MEMORY_BYTES: Final = 950_000_000
"""Images that need more memory to decode are rejected: a kilobyte of WebP can unpack to 80 megapixels."""

_MOST_MISSING: Final = 0.5
"""A JPEG with a larger share of missing rows counts as damaged, not as cut off."""

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
    """An image that cannot be decoded, is empty or is too large."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded image file.

    Attributes:
        image: RGB, upright.
        reduced: Factor by which its sides are smaller than those of the file.
        notes: Remarks for people on how it was decoded, each worded to follow the file's name.
    """

    image: RgbImage = field(repr=False)
    reduced: int = 1
    notes: tuple[str, ...] = ()


def read_image(
    source: str | Path | bytes | bytearray | memoryview, max_pixels: int | None = None
) -> RgbImage:
    """Decode an image file like :func:`read_picture` and return its pixels."""
    return read_picture(source, max_pixels).image


def decoding_bytes(source: str | Path | bytes) -> int:
    """Estimate the peak memory for decoding an image, from its declared size.

    Returns:
        Bytes; 0 for a file that is rejected before decoding.
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
    """Decode an image file as sRGB, upright according to its EXIF orientation.

    Of a document the largest page is read, of an animation the first frame that is not blank. Transparency is
    blended onto white and deeper values are scaled to 8 bits. JPEGs above ``MAX_PIXELS`` are decoded at
    reduced size.

    Args:
        source: A path, or the encoded bytes.
        max_pixels: Larger images are rejected, JPEGs are reduced; None for ``MAX_PIXELS``.

    Raises:
        UnreadableImageError: The file is missing, not an image, truncated, or above ``max_pixels``.
    """
    source, name = _named(source)
    try:
        return _decode(source, name, MAX_PIXELS if max_pixels is None else max_pixels)
    except UnreadableImageError:
        raise
    except FileNotFoundError as error:
        raise UnreadableImageError(f"{name} does not exist") from error
    except IsADirectoryError as error:
        raise UnreadableImageError(f"{name} is a folder, not an image") from error
    except PermissionError as error:
        raise UnreadableImageError(f"{name} cannot be read by this user (permission denied)") from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(f"{name} {name_format(_start(source))}") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(
            f"{name} has too many pixels; at most {MAX_PIXELS / 1e6:.0f} megapixels are read, "
            "scale it down first"
        ) from error
    except CostlyFileError as error:
        raise UnreadableImageError(
            f"{name} is damaged or forged ({error}); save it again with an image editor and retry"
        ) from error
    except _DECODER_ERRORS as error:
        if is_icon(start := _start(source)):  # taken for TGA, which has no signature
            raise UnreadableImageError(f"{name} {name_format(start)}") from error
        raise UnreadableImageError(
            f"{name} is damaged or cut off ({str(error).strip()}); save it again and retry"
        ) from error


def _named(source: str | Path | bytes | bytearray | memoryview) -> tuple[str | Path | bytes, str]:
    """Return a readable source, and its name for people."""
    if isinstance(source, bytearray | memoryview):
        source = bytes(source)
    if not isinstance(source, str | Path | bytes):
        raise UnreadableImageError(
            f"expected a path or the bytes of an image file, got {type(source).__name__}"
        )
    name = "the file" if isinstance(source, bytes) else str(source)
    if not name:
        raise UnreadableImageError("expected the path of an image, got an empty one")
    if not isinstance(source, bytes) and (kind := odd_kind(source)) is not None:
        raise UnreadableImageError(f"{name} {kind}")
    return source, name


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
            return replace(
                mended, notes=(*mended.notes, "is cut off at its end; the remaining part was read")
            )


def _decode_file(file: BinaryIO, name: str, max_pixels: int) -> Picture:
    if is_canon_raw(file.read(START_BYTES)):
        raise UnreadableImageError(f"{name} {RAW_SENTENCE}")
    file.seek(0)
    with open_picture(file) as image:
        if (
            image.format == "WEBP"
            and image.size[0] * image.size[1] * bytes_per_pixel(image) > MAX_MEMORY_BYTES
        ):
            raise UnreadableImageError(
                f"{name} has {image.size[0] * image.size[1] / 1e6:.0f} megapixels, which is too large for "
                "WebP; save it as PNG or JPEG, or scale it down"
            )
        if is_raw(image):
            raise UnreadableImageError(f"{name} {RAW_SENTENCE}")
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


@contextmanager
def _opened(source: str | Path | bytes) -> Iterator[BinaryIO]:
    with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
        yield cast(BinaryIO, MeteredFile(file))


def _start(source: str | Path | bytes) -> bytes:
    try:
        with _opened(source) as file:
            return file.read(START_BYTES)
    except (OSError, ValueError):
        return b""


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence Pillow's warnings about sizes and metadata: here an image is either read or rejected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def as_rgb(image: NDArray[Any]) -> RgbImage:
    """Validate an array and convert it to RGB.

    Args:
        image: ``uint8`` of shape (H, W), (H, W, 1), (H, W, 3) in RGB, or (H, W, 4) in RGBA (blended onto
            white).

    Returns:
        The same pixels as RGB; the array itself if no conversion is needed.

    Raises:
        UnreadableImageError: Wrong type or shape, or no pixels.
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
    """Average blocks of ``times`` × ``times`` pixels: several times faster than a fractional factor.

    Args:
        image: ``uint8`` of shape (H, W, 3).
        times: At least 1; blocks that extend beyond the edge repeat its pixels.

    Returns:
        Shape (ceil(H / times), ceil(W / times), 3); the image itself if ``times`` is 1.
    """
    if times == 1:
        return image
    height, width = (-(-side // times) for side in image.shape[:2])
    below, beside = height * times - image.shape[0], width * times - image.shape[1]
    blocks = cv2.copyMakeBorder(image, 0, below, 0, beside, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(blocks, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
