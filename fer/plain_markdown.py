"""Model cards as strangers write them: words, without pictures, HTML or addresses that run something."""

import re
from typing import Final

_PICTURE: Final = re.compile(r"!(?=\[)")
_DANGEROUS: Final = re.compile(r"(?i)\b(javascript|data|vbscript|file)(\s|&[#\w]+;?)*(:|&colon;)")


def plain_markdown(text: str) -> str:
    """Return Markdown that loads nothing and runs nothing: pictures become links, HTML becomes text."""
    text = text.replace("<", "&lt;")
    text = _DANGEROUS.sub(lambda found: f"{found[1]}\\:", text)
    return _PICTURE.sub("", text)
