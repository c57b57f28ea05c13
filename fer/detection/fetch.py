"""Download files that are not shipped, only on request."""

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import platformdirs

from fer.model_card import file_hash

_TIMEOUT_S: Final = 30.0


class FetchError(OSError):
    """A file that could not be downloaded, or is not the expected one."""


def cache_folder() -> Path:
    """Return the user's folder for downloaded files; it may not exist."""
    return Path(platformdirs.user_cache_dir("kv-facerecognition", appauthor=False))


@dataclass(frozen=True, slots=True)
class Download:
    """A file to download.

    Attributes:
        name: File name in the cache folder.
        address: URL.
        size: Size in bytes.
        sha256: Hash as hexadecimal digits.
    """

    name: str
    address: str
    size: int
    sha256: str

    def fetch(self, folder: Path) -> Path:
        """Download the file into a folder, under a temporary name until its hash is verified.

        Returns:
            Its path; nothing is downloaded if the right file already exists.

        Raises:
            FetchError: The file cannot be reached, has the wrong hash, or cannot be written.
        """
        path = folder / self.name
        try:
            if path.is_file() and file_hash(path) == self.sha256:
                return path
            folder.mkdir(parents=True, exist_ok=True)
            content = self._read()
            handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{self.name}.", suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                Path(temporary).replace(path)
            finally:
                Path(temporary).unlink(missing_ok=True)
        except FetchError:
            raise
        except OSError as error:
            raise FetchError(f"{path} cannot be written ({error.strerror or error})") from error
        return path

    def _read(self) -> bytes:
        try:
            with urllib.request.urlopen(self.address, timeout=_TIMEOUT_S) as answer:
                content: bytes = answer.read(self.size + 1)  # one more byte reveals a larger file
        except (OSError, ValueError) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it holds the answer and its connection
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise FetchError(
                f"{self.address} cannot be reached ({reason}); connect to the internet and try again, "
                f"or put the file there by hand"
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if len(content) != self.size or found != self.sha256:
            amount = f"more than {self.size}" if len(content) > self.size else str(len(content))
            raise FetchError(
                f"{self.address} served another file: {amount} bytes with SHA-256 {found[:12]}… "
                f"instead of {self.size} with {self.sha256[:12]}…; nothing was kept"
            )
        return content
