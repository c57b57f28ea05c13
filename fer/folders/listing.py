"""List a folder's files: images to read, and skipped files with the reason."""

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fer.images import IMAGE_SUFFIXES

_SYSTEM_NAMES: Final = frozenset(
    {"__macosx", "@eadir", "@recycle", "#recycle", "$recycle.bin", "system volume information", "lost+found"}
    | {"__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
)
"""Folders and files created by operating systems and network drives, lower case; never a user's photos."""

_OTHER_PICTURES: Final = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcm", ".dcr", ".dng", ".eps", ".erf", ".exr", ".fits", ".gpr"}
    | {".hdr", ".iiq", ".jxl", ".jxr", ".kdc", ".mef", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".psb", ".raf"}
    | {".raw", ".rw2", ".rwl", ".sr2", ".srw", ".svg", ".wdp", ".x3f", ".xcf"}
)
"""Suffixes of unsupported image formats; a folder that contains such files is not read completely."""

_STARTS: Final = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8|II\*\0|MM\0\*|RIFF....WEBP|BM|\0\0\0\x0c(jP  |JXL )"
    rb"|....ftyp(hei|hev|mif1|avi[fs])",
    re.DOTALL,
)

_ICLOUD_SUFFIX: Final = ".icloud"
"""Ending of the hidden file that macOS keeps for a photo which is still to be downloaded."""


@dataclass(slots=True)
class FolderListing:
    """Contents of a folder.

    Attributes:
        pictures: Files to read, sorted.
        left_out: Number of skipped files and folders by reason.
        lost_count: Number of these that are, or may contain, images.
    """

    pictures: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    lost_count: int = 0

    def leave(self, reason: str, *, is_lost: bool = False) -> None:
        """Count one skipped file or folder."""
        self.left_out[reason] += 1
        self.lost_count += is_lost

    def sentence(self, unread_count: int = 0) -> str | None:
        """Return the counts, such as ``3 photos read, 2 skipped (1 .txt, 1 dangling link)``.

        Args:
            unread_count: Number of images that could not be decoded.

        Returns:
            None if everything in the folder was read.
        """
        if not self.left_out and not unread_count:
            return None
        read_count = len(self.pictures) - unread_count
        parts = [f"{read_count:,} {'photo' if read_count == 1 else 'photos'} read"]
        if unread_count:
            parts.append(f"{unread_count:,} could not be read")
        if self.left_out:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.left_out.items()))
            parts.append(f"{self.left_out.total():,} skipped ({reasons})")
        return ", ".join(parts)


def is_system_name(name: str) -> bool:
    """Return whether a file or folder is hidden, or was created by the system."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def list_folder(folder: Path, *, recursive: bool = False) -> FolderListing:
    """List a folder, with its subfolders if ``recursive``; links to folders are not followed.

    Raises:
        OSError: The folder itself cannot be listed.
    """
    listing = FolderListing()
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:
            if place == folder:
                raise
            listing.leave("folder that cannot be opened", is_lost=True)
            continue
        for entry in entries:
            if _is_real_folder(entry):
                waiting.extend(_folder_below(Path(entry.path), listing, recursive))
            else:
                _take_file(entry, listing, recursive)
    listing.pictures.sort()
    return listing


def _is_real_folder(entry: "os.DirEntry[str]") -> bool:
    return entry.is_dir(follow_symlinks=False)


def _folder_below(folder: Path, listing: FolderListing, recursive: bool) -> list[Path]:
    if is_system_name(folder.name):
        listing.leave("system folder")
    elif recursive:
        return [folder]
    else:
        listing.leave("subfolder (--recursive includes it)")
    return []


def _take_file(entry: "os.DirEntry[str]", listing: FolderListing, recursive: bool) -> None:
    path = Path(entry.path)
    suffix = path.suffix.lower()
    is_picture = suffix in IMAGE_SUFFIXES
    if suffix == _ICLOUD_SUFFIX:
        listing.leave("not yet downloaded from iCloud", is_lost=True)
    elif is_system_name(entry.name):
        listing.leave("hidden or system file")
    elif entry.is_dir():
        listing.leave("linked folder", is_lost=recursive)
    elif not path.exists():
        listing.leave("dangling link", is_lost=is_picture or suffix in _OTHER_PICTURES)
    elif not path.is_file():
        listing.leave("pipe or device")
    elif is_picture:
        listing.pictures.append(path)
    elif suffix in _OTHER_PICTURES:
        listing.leave(suffix, is_lost=True)
    elif _starts_like_a_picture(path):
        listing.leave(f"image named {suffix or 'without suffix'}", is_lost=True)
    else:
        listing.leave(suffix or "without suffix")


def _starts_like_a_picture(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError:
        return False
    return _STARTS.match(start) is not None
