"""The pages' words in the visitor's language, from one file per language."""

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
_SEPARATORS: Final = re.compile(r"([,;:] |[()])")


@dataclass(frozen=True)
class Catalogue:
    """The words of one language; a text without a translation stays as it is.

    Attributes:
        code: Such as ``ru``; one file of ``locales`` has it as its name.
        name: The language in its own words.
        decimal: What stands before the decimals of a number.
        plurals: A condition on ``n``, as gettext writes them, for each plural form of CLDR but the last one.
        last_plural: The form of all other whole numbers.
        expressions: Names of the expressions, by their labels.
        page: Words of the page, such as those of ``say``.
        dashboard: Words of the dashboard, which comes finished, too.
        sentences: Messages that come to the pages finished, such as errors; ``{count}`` and
            ``{number}`` are digits.
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
        """All texts of the pages and of the packages below them."""
        return {**self.sentences, **self.dashboard, **self.page}

    def say(self, text: str, **values: object) -> str:
        """Return a text of the pages in this language, its gaps filled.

        Args:
            text: English, with gaps such as ``{count}``.
            values: For the gaps.
        """
        found = self.words.get(text, text)
        return _fill(found if isinstance(found, str) else text, values)

    def say_count(self, count: int, one: str, many: str, **values: object) -> str:
        """Return the form of a text that fits a number.

        Args:
            count: The number; fills the gap ``{count}``.
            one: English for one.
            many: English for any other number; the forms of this language are found under it.
            values: For further gaps.
        """
        return _fill(self._form(self.words.get(many), count) or (one if count == 1 else many), values, count)

    def label(self, label: str) -> str:
        """Return the name of a label as it is shown to people; classes of somebody's own stay as they are."""
        return self.expressions.get(label) or label_name(label)

    def number(self, value: float, digits: int) -> str:
        """Return a number with so many decimals."""
        return f"{value:.{digits}f}".replace(".", self.decimal)

    def word(self, text: str) -> str:
        """Return a word, or a text without gaps, in this language."""
        known = self._small_words.get(text) or self.words.get(text)
        return known if isinstance(known, str) else text

    def translate(self, text: str) -> str:
        """Return a finished English text in this language, such as an error with a file's name in it.

        Its gaps are found by comparing it with all ``sentences``; what stands in them is translated if known.
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
        """Return Markdown with known paragraphs, headings, items of lists and heads of tables translated."""
        if self.code == ENGLISH:
            return text
        parts = _BLOCKS.split(text)
        return "".join(part if place % 2 else self._block(part) for place, part in enumerate(parts))

    def _block(self, block: str) -> str:
        found = re.match(r"(#+ |- )?(.*?)(\s*)$", block, re.DOTALL)
        assert found is not None
        mark, words, end = found.groups(default="")
        if words.startswith("|"):  # a table, the names of its columns first
            head, _, rows = words.partition("\n")
            cells = [
                f" {self.translate(cell.strip())} " if cell.strip() else cell for cell in head.split("|")
            ]
            return f"{'|'.join(cells)}\n{rows}{end}"
        plain = " ".join(words.split())
        translated = self.translate(plain)
        return block if translated == plain else f"{mark}{translated}{end}"

    def _translate_part(self, text: str) -> str:
        """Translate what stands in a gap: a text, or a list of words."""
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
        """Messages with gaps, those with most words of their own first."""
        messages = {**self.sentences, **self.dashboard}
        keys = sorted(filter(_GAP.search, messages), key=lambda key: -len(_GAP.sub("", key)))
        return [(_pattern(key), messages[key]) for key in keys]


def _fill(text: str, values: Mapping[str, object], count: int | None = None) -> str:
    """Fill the gaps of a text; a gap without a value stays."""
    given = values if count is None else {"count": count, **values}
    return _GAP.sub(lambda gap: str(given.get(gap.group(1), gap.group())), text)


def _pattern(key: str) -> re.Pattern[str]:
    """Match what ``key`` may be filled to; a gap that stands twice has the same text twice."""
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
    """Return all languages by their codes, English first; each further one is a file of ``locales``."""
    found = {ENGLISH: Catalogue()}
    for path in sorted(LOCALES.glob("*.json")):
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found[path.stem] = Catalogue(path.stem, **content)
    return found


def choose_language(*wishes: str | None) -> str:
    """Return the code of the first wish that can be met, English where none can.

    Args:
        wishes: Codes such as ``ru`` or ``ru-RU``, or headers such as ``ru-RU,ru;q=0.9,en;q=0.8``, the most
            important first; None and empty ones say nothing.
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
    """Return how much a part of the header is wanted, in [0, 1], with its code without the country."""
    tag, _, weight = part.partition(";")
    number = weight.strip().removeprefix("q=")
    share = float(number) if re.fullmatch(r"[01](\.\d{0,3})?", number) else 1.0
    return share, (tag.strip().lower().split("-")[0] if share > 0 else "")
