"""Text cells of CSV files that no spreadsheet takes for a formula."""

from typing import TYPE_CHECKING, Any, Final, TypeVar

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
