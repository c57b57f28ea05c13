"""The password file of the pages: salted scrypt hashes, one user per line."""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fer.files import replaced

_COST: Final = {"n": 2**14, "r": 8, "p": 1}
"""16 MB and about 50 ms per guess."""

_USER: Final = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
LEAST_LENGTH: Final = 8


class PasswordFileError(ValueError):
    """A password file that cannot be used."""


def add_user(path: Path, user: str, password: str) -> None:
    """Write or replace a user's line; only the file's owner may read it.

    Raises:
        PasswordFileError: The name or the password is invalid.
        OSError: The file cannot be written.
    """
    if not _USER.fullmatch(user):
        raise PasswordFileError(f"expected a name of letters, digits, '_', '-', '.' and '@', got {user!r}")
    if len(password) < LEAST_LENGTH:
        raise PasswordFileError(f"expected a password of at least {LEAST_LENGTH} characters")
    users = dict(read_users(path)) if path.exists() else {}
    salt = secrets.token_bytes(16)
    users[user] = f"scrypt${_text(salt)}${_text(_hash(password, salt))}"
    with replaced(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text("".join(f"{name}:{line}\n" for name, line in users.items()), encoding="utf-8")


def read_users(path: Path) -> Mapping[str, str]:
    """Return the hash line of each user.

    Raises:
        PasswordFileError: The file is missing or is not a password file.
    """
    make = f"make one with 'python -m fer password {path}'"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise PasswordFileError(f"{path} cannot be read as a password file ({error}); {make}") from error
    users = {}
    for number, line in enumerate(lines, start=1):
        user, _, stored = line.partition(":")
        if not re.fullmatch(r"scrypt\$[A-Za-z0-9+/=]{24}\$[A-Za-z0-9+/=]{44}", stored):
            raise PasswordFileError(f"line {number} of {path} is not a user with a hashed password; {make}")
        users[user] = stored
    if not users:
        raise PasswordFileError(f"{path} names no user; {make}")
    return users


def is_right(users: Mapping[str, str], user: str, password: str) -> bool:
    """Return whether a user has this password; unknown users take as long as wrong passwords."""
    stored = users.get(user, f"scrypt${_text(bytes(16))}${_text(bytes(32))}")
    _, salt, expected = stored.split("$")
    found = _hash(password, base64.b64decode(salt))
    return hmac.compare_digest(found, base64.b64decode(expected)) and user in users


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, dklen=32, **_COST)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
