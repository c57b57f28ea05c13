"""Names and addresses as they may be shown, written into tables and logged."""

import re
import unicodedata
from pathlib import Path
from typing import Final

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
