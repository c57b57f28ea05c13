"""The border of pixels: whatever comes in leaves as RGB ``uint8``."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

RgbImage: TypeAlias = NDArray[np.uint8]
"""Shape (H, W, 3), RGB, C-contiguous."""

MAX_PIXELS: Final = 80_000_000
"""Larger pictures are refused before they are decoded: 240 MB as RGB is what a photo may cost."""

IMAGE_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif"}
)
"""Endings that are taken for pictures when a folder is read."""

_FORMATS: Final = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")

_WHITE: Final = (255, 255, 255)

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
"""What Pillow's decoders answer damaged files with; found by feeding them thousands."""


class UnreadableImageError(ValueError):
    """A picture that cannot be decoded, is empty or is too large."""


def read_image(source: str | Path | bytes) -> RgbImage:
    """Decode a picture file, upright by its EXIF orientation, as RGB.

    The first frame of an animation is taken, transparency is laid on white, 16-bit values become 8-bit ones.

    Args:
        source: A path, or the encoded bytes.

    Raises:
        UnreadableImageError: Missing, no picture, truncated, or above ``MAX_PIXELS``.
    """
    name = "the picture" if isinstance(source, bytes) else str(source)
    try:
        with (
            _without_warnings(),
            Image.open(
                io.BytesIO(source) if isinstance(source, bytes) else source, formats=_decoders()
            ) as image,
        ):
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UnreadableImageError(
                    f"{name} has {width * height / 1e6:.0f} megapixels; "
                    f"at most {MAX_PIXELS / 1e6:.0f} are read, scale it down first"
                )
            image.load()
            _turn_upright(image)
            return _to_rgb(image)
    except UnreadableImageError:
        raise
    except FileNotFoundError as error:
        raise UnreadableImageError(f"{name} does not exist") from error
    except IsADirectoryError as error:
        raise UnreadableImageError(f"{name} is a folder, not a picture") from error
    except PermissionError as error:
        raise UnreadableImageError(f"{name} may not be read by this user") from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(
            f"{name} is not a picture that can be decoded; expected JPEG, PNG, WebP, BMP, GIF or TIFF"
        ) from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(
            f"{name} has too many pixels; at most {MAX_PIXELS / 1e6:.0f} megapixels are read, "
            "scale it down first"
        ) from error
    except _DECODER_ERRORS as error:
        raise UnreadableImageError(
            f"{name} is damaged or cut off ({error}); save it again and retry"
        ) from error


def _decoders() -> list[str]:
    """The decoders of the formats that are promised; Pillow has forty more that strangers could reach."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Pillow warns of sizes and of metadata; a picture is read or refused here, never both."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _turn_upright(image: Image.Image) -> None:
    """Undo the EXIF orientation in place; metadata that cannot be read is no reason to lose the picture."""
    with suppress(*_DECODER_ERRORS):
        ImageOps.exif_transpose(image, in_place=True)


def _to_rgb(image: Image.Image) -> RgbImage:
    if image.mode.startswith(("I", "F")):
        return as_rgb(_to_eight_bits(np.asarray(image)))
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (*_WHITE, 255))
        image = Image.alpha_composite(ground, layer)
    return as_rgb(np.asarray(image.convert("RGB")))


def _to_eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale 16-bit integers by 257, anything else by its own range."""
    if values.dtype == np.uint16 or (values.dtype.kind in "iu" and 255 < values.max(initial=0) <= 65535):
        return np.round(values.clip(0, 65535) / 257).astype(np.uint8)
    if values.dtype.kind in "iu" and values.max(initial=0) <= 255:
        return values.clip(0, 255).astype(np.uint8)
    values = np.nan_to_num(values)
    low, high = float(values.min()), float(values.max())
    return np.asarray(np.round((values - low) / (high - low or 1.0) * 255), dtype=np.uint8)


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


def find_images(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The picture files of a folder by their endings, sorted; hidden files are left out."""
    found = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(
        path
        for path in found
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


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
