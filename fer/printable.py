"""Text of strangers made harmless: names and addresses shown or logged, cells of tables, Markdown."""

import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:/*", re.IGNORECASE)

_SETTING: Final = re.compile(
    r"(?P<key>(?:(?<=[/?&;_,#])|^)[a-z][a-z0-9.-]*)=(?P<value>.*?)(?=[&;,#]|[/?_][a-z][a-z0-9.-]*=|$)",
    re.IGNORECASE,
)
"""A setting in a path or query; some cameras part them by ``_``, which passwords may hold, too."""

_SHOWN_SETTINGS: Final = frozenset(
    {"camera", "camid", "channel", "channelid", "chn", "codec", "fps", "height", "mode", "profile", "quality"}
    | {"res", "resolution", "stream", "streamid", "streamtype", "subtype", "transport", "unicast", "width"}
)
"""Settings that are no secret; every other value is hidden, for cameras name passwords in many ways."""

_PAIR: Final = re.compile(r"(?<=/)[^/?&=:]+:[^/?&=]+(?=[/?]|$)")
"""``user:password`` as a part of a path."""

_CONTROL: Final = frozenset({"Cc", "Cf", "Zl", "Zp"})


def plain_path(path: str | Path) -> str:
    r"""Return a file's name as valid Unicode: bytes outside UTF-8 become ``\udcff``, as on a terminal."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def plain_line(text: str) -> str:
    """A text without anything that could steer a terminal or break its line; such characters are escaped."""
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if unicodedata.category(char) in _CONTROL and char not in "\u200c\u200d"
        else char
        for char in plain_path(text)
    )


def hide_password(source: str) -> str:
    """An address without what names a user or a password, fit to be shown and logged.

    Hidden are all before the last ``@``, every setting whose name is not known to be harmless, and
    ``user:password`` as a part of the path; rather too much than too little.
    """
    scheme = match.group() if (match := _SCHEME.match(source)) and "/" in match.group() else ""
    rest = source.removeprefix(scheme)
    hidden = "***@" if "@" in rest else ""
    rest = _SETTING.sub(_hide_setting, rest.rpartition("@")[2])
    host, slash, path = rest.partition("/")
    return scheme + hidden + host + _PAIR.sub("***", slash + path)


def _hide_setting(match: re.Match[str]) -> str:
    key, value = match["key"], match["value"]
    return f"{key}={value if key.lower() in _SHOWN_SETTINGS and len(value) <= 9 else '***'}"


_PICTURE: Final = re.compile(r"!(?=\[)")
_DANGEROUS: Final = re.compile(r"(?i)\b(javascript|data|vbscript|file)(\s|&[#\w]+;?)*(:|&colon;)")


def plain_markdown(text: str) -> str:
    """Return Markdown that loads nothing and runs nothing: pictures become links, HTML becomes text."""
    text = text.replace("<", "&lt;")
    text = _DANGEROUS.sub(lambda found: f"{found[1]}\\:", text)
    return _PICTURE.sub("", text)


if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

_FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Excel, Calc and Sheets calculate cells that begin so; the wide signs count in Japanese versions."""


def plain_cell(value: T) -> T | str:
    """Put an apostrophe before text that a spreadsheet would calculate; numbers stay, truth is ``true``.

    File names and column values are written by strangers: ``=HYPERLINK(…)`` is a possible name of a photo.
    """
    if isinstance(value, str) and value.startswith(_FORMULA_SIGNS):
        return f"'{value}"
    if isinstance(value, bool):
        return str(value).lower()
    return value


def plain_cells(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose text cells are plain."""
    return {name: plain_cell(value) for name, value in row.items()}


def plain_table(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table whose text cells and column names are plain."""
    return table.map(plain_cell).rename(columns=plain_cell)
