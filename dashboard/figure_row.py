"""Figures for display: formatted numbers, key figures in a row, and tables of shares."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from dashboard.spoken import st


def duration_text(seconds: float | None) -> str:
    """Format a duration, such as ``45 s``, ``12 min``, ``3 h 20 min``; a dash if unknown."""
    if seconds is None:
        return "–"
    if seconds < 0.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def percent_text(share: float | None) -> str:
    """Format a share in [0, 1] in percent with one decimal; a dash if unknown."""
    return "–" if share is None else f"{share * 100:.1f} %"


def size_text(byte_count: float) -> str:
    """Format a size, such as ``3.2 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if byte_count < 1000 or unit == "GB":
            return f"{byte_count:.0f} {unit}" if unit == "bytes" else f"{byte_count:.1f} {unit}"
        byte_count /= 1000
    raise AssertionError


def show_figures(figures: Iterable[tuple[str, str, str | None]]) -> None:
    """Draw label, value and optional help text of each figure."""
    with st.container(horizontal=True, gap="medium"):
        for label, value, help_text in figures:
            st.metric(label, value, help=help_text, width="content")


def show_table(table: pd.DataFrame, shares: Sequence[str], *, hide_index: bool = True) -> None:
    """Draw a table, with a dash for unknown values.

    Args:
        table: The table.
        shares: Columns with values in [0, 1].
        hide_index: Whether to hide the row names.
    """
    st.dataframe(
        in_percent(table, shares),
        hide_index=hide_index,
        column_config=percent_columns(shares),
        placeholder="–",
    )


def in_percent(table: pd.DataFrame, shares: Sequence[str]) -> pd.DataFrame:
    """Return a copy with shares in percent, as the browser would mix 85.8 % and 86.72 % in one column."""
    return table.assign(**{name: pd.to_numeric(table[name]) * 100 for name in shares})


def percent_columns(shares: Sequence[str]) -> Mapping[str, Any]:
    """Return the column format for shares converted by ``in_percent``."""
    return dict.fromkeys(shares, st.column_config.NumberColumn(format="%.1f %%"))
