"""``python -m fer password``: write a user's hashed password for ``--auth`` of the pages."""

import getpass
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from fer.commands import CommandError
from fer.passwords import PasswordFileError, add_user


@dataclass(frozen=True)
class PasswordOptions:
    """Add a user to a password file or change a password, read from a prompt or standard input.

    Attributes:
        file: Password file for --auth of the pages; created if missing.
        user: Name of the user.
    """

    file: tyro.conf.Positional[Path]
    user: str = "visitor"


def run_password(words: Sequence[str]) -> int:
    """Ask for the password and write its hash."""
    options = tyro.cli(PasswordOptions, prog="python -m fer password", args=words)
    if sys.stdin.isatty():
        password = getpass.getpass(f"Password of {options.user}: ")
        if getpass.getpass("Once more: ") != password:
            raise CommandError("expected the same password twice; nothing was written")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    try:
        add_user(options.file, options.user, password)
    except (PasswordFileError, OSError) as error:
        raise CommandError(str(error)) from error
    print(f"{options.file} knows {options.user}; start a page with --auth {options.file}")
    return 0
