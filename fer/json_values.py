"""The border of JSON files: text of bounded depth, then dataclasses whose fields have their types."""

import json
import math
import types
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

MAX_DEPTH: Final = 64
"""Deeper nesting is refused: no file of ours has ten levels."""

MAX_NUMBER: Final = 2**63
"""Larger whole numbers have no counterpart in arrays and tables."""


def parse_json(text: str | bytes) -> Any:
    """Parse JSON of bounded depth.

    Raises:
        ValueError: It is no JSON, no UTF-8, or nested too deeply.
    """
    try:
        value = json.loads(text, parse_constant=lambda _: None)  # NaN and infinities are no JSON: unknown
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
    """Make a dataclass from a JSON object, after each field was checked against its type.

    Args:
        kind: A dataclass whose fields are plain values, tuples, mappings or such dataclasses.
        data: The object as parsed; fields that may be missing have defaults.
        name: Of the object within the file, for messages.

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
    """Return a value of the hint's type; JSON's lists become tuples, whole numbers become floats."""
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
    """Check the items of a tuple of one type or of a mapping from text."""
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
