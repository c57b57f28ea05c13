"""Parse untrusted JSON: bounded depth, then dataclasses with checked field types."""

import json
import math
import types
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

MAX_DEPTH: Final = 64
"""Deeper nesting is rejected: no file of this project has ten levels."""

MAX_NUMBER: Final = 2**63
"""Larger integers do not fit into arrays and tables."""


def parse_json(text: str | bytes) -> Any:
    """Parse JSON of bounded depth.

    Raises:
        ValueError: The text is not JSON, not UTF-8, or nested too deeply.
    """
    try:
        value = json.loads(text, parse_constant=lambda _: None)  # NaN and infinities are not JSON
    except RecursionError as error:
        raise ValueError(f"expected at most {MAX_DEPTH} levels of nesting, got more") from error
    level = [value]
    for _ in range(MAX_DEPTH):
        if any(isinstance(item, int) and abs(item) > MAX_NUMBER for item in level):
            raise ValueError("expected whole numbers of at most 64 bits, got a larger one")
        level = [
            item
            for outer in level
            if isinstance(outer, dict | list)
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return value
    raise ValueError(f"expected at most {MAX_DEPTH} levels of nesting, got more")


def build(kind: type[T], data: object, name: str = "") -> T:
    """Build a dataclass from a JSON object and check each field against its type.

    Args:
        kind: A dataclass whose fields are plain values, tuples, mappings or such dataclasses.
        data: The parsed object; only fields with defaults may be missing.
        name: Name of the object within the file, for error messages.

    Raises:
        ValueError: A field is missing, unknown, or of another type; the message names it.
    """
    if not isinstance(data, dict):
        raise ValueError(f"expected an object in {name or 'the file'}, got {_said(data)}")
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    where = f"{name}." if name else ""
    if unknown := sorted(set(data) - set(known)):
        raise ValueError(f"expected no field {where}{unknown[0]}")
    for field in known.values():
        if field.name not in data and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"expected a field {where}{field.name}, got none")
    return kind(**{key: _checked(hints[key], value, f"{where}{key}") for key, value in data.items()})


def _checked(hint: Any, value: object, name: str) -> Any:
    """Return a value of the hint's type; lists become tuples, integers become floats where expected."""
    origin, words = get_origin(hint), get_args(hint)
    if hint is Any or (value is None and types.NoneType in words):
        return value
    if origin in (Union, types.UnionType):
        (wanted,) = (word for word in words if word is not types.NoneType)
        return _checked(wanted, value, name)
    if origin is Literal:
        if not (isinstance(value, str) and value in words):
            raise ValueError(f"expected one of {', '.join(words)} in {name}, got {_said(value)}")
        return value
    if origin is not None:
        return _checked_items(origin, words, value, name)
    if is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, name)
    return _plain(hint, value, name)


def _checked_items(origin: type, words: tuple[Any, ...], value: object, name: str) -> Any:
    """Check the items of a homogeneous tuple or of a mapping with string keys."""
    if issubclass(origin, tuple):
        if not isinstance(value, list):
            raise ValueError(f"expected a list in {name}, got {_said(value)}")
        return tuple(_checked(words[0], item, f"{name}[{row}]") for row, item in enumerate(value))
    if not isinstance(value, dict):
        raise ValueError(f"expected an object in {name}, got {_said(value)}")
    return {key: _checked(words[1], item, f"{name}.{key}") for key, item in value.items()}


def _plain(kind: type, value: object, name: str) -> Any:
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e300:
        value = float(value)
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"expected {words.get(kind, kind.__name__)} in {name}, got {_said(value)}")
    return value


def _said(value: object) -> str:
    text = (
        repr(value)
        if not isinstance(value, dict | list)
        else ("an object", "a list")[isinstance(value, list)]
    )
    return text if len(text) <= 60 else f"{text[:57]}…"
