"""Sanitise untrusted text: names and addresses shown or logged, table cells, Markdown."""

import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:/*", re.IGNORECASE)

_SETTING: Final = re.compile(
    r"(?P<key>(?:(?<=[/?&;_,#])|^)[a-z][a-z0-9.-]*)=(?P<value>.*?)(?=[&;,#]|[/?_][a-z][a-z0-9.-]*=|$)",
    re.IGNORECASE,
)
"""A setting in a path or query; some cameras separate them by ``_``, which passwords may contain, too."""

_SHOWN_SETTINGS: Final = frozenset(
    {"camera", "camid", "channel", "channelid", "chn", "codec", "fps", "height", "mode", "profile", "quality"}
    | {"res", "resolution", "stream", "streamid", "streamtype", "subtype", "transport", "unicast", "width"}
)
"""Settings known to be harmless; all other values are hidden, since names of passwords vary."""

_PAIR: Final = re.compile(r"(?<=/)[^/?&=:]+:[^/?&=]+(?=[/?]|$)")
"""``user:password`` as a part of a path."""

_CONTROL: Final = frozenset({"Cc", "Cf", "Zl", "Zp"})


def plain_path(path: str | Path) -> str:
    r"""Return a file's name as valid Unicode: bytes outside UTF-8 become ``\udcff``, as on a terminal."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def plain_line(text: str) -> str:
    """Escape all characters that could control a terminal or break the line."""
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if unicodedata.category(char) in _CONTROL and char not in "\u200c\u200d"
        else char
        for char in plain_path(text)
    )


def hide_password(source: str) -> str:
    """Remove user names and passwords from an address, so that it may be shown and logged.

    Hides everything before the last ``@``, every setting whose name is not known to be harmless, and
    ``user:password`` in the path. If in doubt, it hides more.
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
    """Return Markdown that loads nothing and runs nothing: images become links, HTML becomes text."""
    text = text.replace("<", "&lt;")
    text = _DANGEROUS.sub(lambda found: f"{found[1]}\\:", text)
    return _PICTURE.sub("", text)


if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

_FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Excel, Calc and Sheets evaluate cells that begin with these; the wide ones count in Japanese versions."""


def plain_cell(value: T) -> T | str:
    """Prefix text that a spreadsheet would evaluate with an apostrophe; numbers stay, True becomes ``true``.

    File names and column values are untrusted: ``=HYPERLINK(…)`` is a possible file name.
    """
    if isinstance(value, str) and value.startswith(_FORMULA_SIGNS):
        return f"'{value}"
    if isinstance(value, bool):
        return str(value).lower()
    return value


def plain_cells(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with sanitised text cells."""
    return {name: plain_cell(value) for name, value in row.items()}


def plain_table(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table with sanitised text cells and column names."""
    return table.map(plain_cell).rename(columns=plain_cell)
