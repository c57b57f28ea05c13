"""Translations of the pages, from one file per language."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from gettext import c2py
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs

from fer.emotions import label_name

ENGLISH: Final = "en"
COOKIE: Final = "kv-language"
LOCALES: Final = Path(__file__).parent / "locales"

Words: TypeAlias = Mapping[str, str | Mapping[str, str]]
"""English text with its translation, or with one translation per plural form; ``{names}`` are filled in."""

_GAP: Final = re.compile(r"\{(\w+)\}")
_NUMBER: Final = re.compile(r"(\d{1,3}(,\d{3})+|\d+)(\.\d+)?")
_BLOCKS: Final = re.compile(r"(\n\s*\n|\n(?=- )|\n(?=```)|```\n)")
_ROW_NAME: Final = re.compile(r"^\| ([^|\n]+?) \|", re.MULTILINE)
_SEPARATORS: Final = re.compile(r"([,;:] |[()])")


@dataclass(frozen=True)
class Catalogue:
    """The translations of one language; a text without a translation stays in English.

    Attributes:
        code: Code such as ``ru``, also the name of its file in ``locales``.
        name: Name of the language in the language itself.
        decimal: Decimal separator.
        plurals: Condition on ``n``, in gettext's syntax, for each CLDR plural form but the last.
        last_plural: Plural form of all other integers.
        expressions: Names of the expressions, by label.
        page: Texts of the page, as passed to ``say``.
        dashboard: Texts of the dashboard, with gaps already filled.
        sentences: Messages with gaps already filled, such as errors; ``{count}`` and ``{number}`` match
            digits.
    """

    code: str = ENGLISH
    name: str = "English"
    decimal: str = "."
    plurals: Mapping[str, str] = field(default_factory=dict)
    last_plural: str = "other"
    expressions: Mapping[str, str] = field(default_factory=dict)
    page: Words = field(default_factory=dict)
    dashboard: Words = field(default_factory=dict)
    sentences: Words = field(default_factory=dict)

    @cached_property
    def words(self) -> Words:
        """All translations of this language."""
        return {**self.sentences, **self.dashboard, **self.page}

    def say(self, text: str, **values: object) -> str:
        """Return a text of the page in this language, with its gaps filled.

        Args:
            text: English text, with gaps such as ``{count}``.
            values: Values of the gaps.
        """
        found = self.words.get(text, text)
        return _fill(found if isinstance(found, str) else text, values)

    def label(self, label: str) -> str:
        """Return the displayed name of a label; custom classes are not translated."""
        return self.expressions.get(label) or label_name(label)

    def number(self, value: float, digits: int) -> str:
        """Format a number with the given number of decimals."""
        return f"{value:.{digits}f}".replace(".", self.decimal)

    def word(self, text: str) -> str:
        """Translate a word, or a text without gaps."""
        known = self._small_words.get(text) or self.words.get(text)
        return known if isinstance(known, str) else text

    def translate(self, text: str) -> str:
        """Translate an English text with gaps already filled, such as an error message with a file name.

        The text is matched against all ``sentences``; the contents of its gaps are translated if known.
        """
        if self.code == ENGLISH or not text:
            return text
        if (known := self.word(text)) != text:
            return known
        if _NUMBER.fullmatch(text):
            return text.replace(",", "\u202f").replace(".", self.decimal)
        for pattern, translation in self._patterns:
            if (match := pattern.fullmatch(text)) is not None:
                gaps = match.groupdict()
                count = gaps.get("count", "").replace(",", "")
                form = self._form(translation, int(count) if count.isdecimal() else 0) or text
                return _fill(form, {name: self._translate_part(part) for name, part in gaps.items()})
        return text

    def markdown(self, text: str) -> str:
        """Translate the known parts of Markdown: paragraphs, headings, list items, names in tables."""
        if self.code == ENGLISH:
            return text
        parts = _BLOCKS.split(text)
        return "".join(part if place % 2 else self._block(part) for place, part in enumerate(parts))

    def _block(self, block: str) -> str:
        found = re.match(r"(#+ |- )?(.*?)(\s*)$", block, re.DOTALL)
        assert found is not None
        mark, words, end = found.groups(default="")
        if words.startswith("|"):  # a table: the header row comes first
            head, _, rows = words.partition("\n")
            cells = [
                f" {self.translate(cell.strip())} " if cell.strip() else cell for cell in head.split("|")
            ]
            return f"{'|'.join(cells)}\n{_ROW_NAME.sub(self._row_name, rows)}{end}"
        plain = " ".join(words.split())
        translated = self.translate(plain)
        return block if translated == plain else f"{mark}{translated}{end}"

    def _row_name(self, found: re.Match[str]) -> str:
        return f"| {self.translate(found[1])} |"

    def _translate_part(self, text: str) -> str:
        """Translate the content of a gap: a text, or a list of words."""
        whole = self.translate(text)
        return whole if whole != text else "".join(map(self.translate, _SEPARATORS.split(text)))

    def _form(self, forms: object, count: int) -> str | None:
        if not isinstance(forms, Mapping):
            return forms if isinstance(forms, str) else None
        name = next((name for name, holds in self._rules if holds(count)), self.last_plural)
        return forms.get(name)

    @cached_property
    def _rules(self) -> list[tuple[str, Callable[[int], int]]]:
        return [(name, c2py(condition)) for name, condition in self.plurals.items()]

    @cached_property
    def _small_words(self) -> dict[str, str]:
        names = {label_name(label): name for label, name in self.expressions.items()}
        return names | {english.lower(): name.lower() for english, name in names.items()}

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], str | Mapping[str, str]]]:
        """Patterns of the messages with gaps, most fixed text first."""
        messages = {**self.sentences, **self.dashboard}
        keys = sorted(filter(_GAP.search, messages), key=lambda key: -len(_GAP.sub("", key)))
        return [(_pattern(key), messages[key]) for key in keys]


def _fill(text: str, values: Mapping[str, object]) -> str:
    """Fill the gaps of a text; a gap without a value is kept."""
    return _GAP.sub(lambda gap: str(values.get(gap.group(1), gap.group())), text)


def _pattern(key: str) -> re.Pattern[str]:
    """Return a pattern that matches ``key`` with any values; repeated gaps must have equal values."""
    parts, seen = _GAP.split(key), set[str]()
    for place, part in enumerate(parts):
        if place % 2 == 0:
            parts[place] = re.escape(part)
        else:
            kind = r"[\d.,]+" if part in ("count", "number") else ".*?"
            parts[place] = f"(?P={part})" if part in seen else f"(?P<{part}>{kind})"
            seen.add(part)
    return re.compile("".join(parts), re.DOTALL)


@cache
def catalogues() -> dict[str, Catalogue]:
    """Return all languages by code: English, then one per file of ``locales``."""
    found = {ENGLISH: Catalogue()}
    for path in sorted(LOCALES.glob("*.json")):
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found[path.stem] = Catalogue(path.stem, **content)
    return found


def choose_language(*wishes: str | None) -> str:
    """Return the code of the first available language, English if none is available.

    Args:
        wishes: Codes such as ``ru`` or ``ru-RU``, or headers such as ``ru-RU,ru;q=0.9,en;q=0.8``, in order
            of precedence; None and empty strings are skipped.
    """
    for wish in wishes:
        languages = [_weighed(part) for part in (wish or "")[:400].split(",")]
        for _, code in sorted(languages, key=lambda language: -language[0]):
            if code in catalogues():
                return code
    return ENGLISH


def request_language(headers: Iterable[tuple[bytes, bytes]], query: bytes = b"") -> str:
    """Return the code of the language of a request: of its address, its cookie or its browser.

    Args:
        headers: Names in lower case, and values.
        query: What stands behind the address's question mark.
    """
    said = {name: value.decode("latin-1") for name, value in headers}
    wish = parse_qs(query.decode("latin-1")).get("language", [None])[0]
    try:
        morsel = SimpleCookie(said.get(b"cookie", "")).get(COOKIE)
    except CookieError:
        morsel = None
    return choose_language(wish, morsel.value if morsel else None, said.get(b"accept-language"))


def _weighed(part: str) -> tuple[float, str]:
    """Return the weight of a part of the header, in [0, 1], and its language code without the country."""
    tag, _, weight = part.partition(";")
    number = weight.strip().removeprefix("q=")
    share = float(number) if re.fullmatch(r"[01](\.\d{0,3})?", number) else 1.0
    return share, (tag.strip().lower().split("-")[0] if share > 0 else "")
