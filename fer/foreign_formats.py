"""Name files that are not supported images, by their first bytes, and say what to do with them."""

import re
from typing import Final

from fer.picture_decoding import add_heif

START_BYTES: Final = 256
"""Number of first bytes that tell the formats apart."""

_CANON_RAW: Final = re.compile(rb"II\*\0....CR", re.DOTALL)
RAW_SENTENCE: Final = "is a raw photo of a camera, which is not supported; export it as JPEG"

_ICON: Final = (re.compile(rb"\0\0[\x01\x02]\0[^\0]|icns"), "is an icon, not a photo; save it as PNG")

_STRANGERS: Final = (
    (
        re.compile(rb"....ftypavi[fs]", re.DOTALL),
        "is an AVIF image that is damaged or cut off; save it again",
    ),
    (
        re.compile(rb"....ftypcrx |FUJIFILMCCD|IIRO|IIRS|MMOR|IIU\0|FOVb|\0MRM", re.DOTALL),
        RAW_SENTENCE,
    ),
    (
        re.compile(
            rb"....ftyp|\x1aE\xdf\xa3|RIFF....(AVI |WAVE)|OggS|FLV\x01|\x06\x0e\x2b\x34|YUV4MPEG2"
            rb"|\x30\x26\xb2\x75|\0\0\x01[\xb3\xba]|ID3|fLaC|G.{187}G",
            re.DOTALL,
        ),
        "is a video or sound, not an image; give it a video's suffix, such as .mp4 or .mkv",
    ),
    (
        re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "),
        "is a JPEG XL image, which is not supported; save it as JPEG or PNG",
    ),
    (re.compile(rb"%PDF"), "is a PDF document, not an image; save its pages as PNG"),
    (
        re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html)", re.IGNORECASE),
        "is a web page, not an image; open it in a browser and save the picture itself",
    ),
    (
        re.compile(rb"(\xef\xbb\xbf)?\s*<(\?xml|svg)|%!PS|\xc5\xd0\xd3\xc6"),
        "is a drawing such as SVG or EPS, not an image; save it as PNG",
    ),
    (
        re.compile(rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf|BZh|\xfd7zXZ"),
        "is an archive or a document, not an image; unpack it, or save its pictures as PNG",
    ),
    (
        re.compile(rb"version https://git-lfs"),
        "is a pointer of Git LFS, not an image; 'git lfs pull' fetches the image",
    ),
    _ICON,
    (
        re.compile(rb"v/1\x01|#\?R|.{128}DICM", re.DOTALL),
        "is an OpenEXR, HDR or DICOM image, which is not supported; save it as PNG",
    ),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "is a TIFF image that cannot be decoded; save it as PNG or JPEG"),
    (re.compile(rb"$"), "is empty; copy or download it again"),
    (re.compile(rb"\0+$"), "contains zeros instead of an image; copy or download it again"),
    (re.compile(rb"(\xef\xbb\xbf)?[\t\n\f\r\x20-\x7e]+$"), "is text, not an image; choose a photo"),
)
"""First bytes of files that are often mistaken for images, with the sentence to show."""

_HEIC: Final = re.compile(rb"....ftyp(hei|hev|mif1|msf1)", re.DOTALL)


def name_format(start: bytes) -> str:
    """Return what a file is, if not an image, and what to do; worded to follow its name.

    Args:
        start: Its first ``START_BYTES``, or all if there are fewer.
    """
    if _HEIC.match(start):
        if add_heif():
            return "is a HEIC image that is damaged or cut off; save it again"
        return (
            "is a HEIC image that cannot be decoded; 'pip install pi-heif' adds a decoder, or save it as JPEG"
        )
    for pattern, sentence in _STRANGERS:
        if pattern.match(start):
            return sentence
    return "cannot be decoded as an image; expected JPEG, PNG, WebP, HEIC, AVIF, TIFF, BMP or GIF"


def is_canon_raw(start: bytes) -> bool:
    """Return whether a file is a raw photo of Canon, which Pillow takes for a TIFF."""
    return _CANON_RAW.match(start) is not None


def is_icon(start: bytes) -> bool:
    """Return whether a file is an icon, which Pillow may take for a TGA."""
    return _ICON[0].match(start) is not None
