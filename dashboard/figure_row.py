"""Figures in a row that wraps where the window is narrow, and tables of shares."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from dashboard.spoken import st


def show_figures(figures: Iterable[tuple[str, str, str | None]]) -> None:
    """Draw a label, a value and, where there is one, a word of help for each figure."""
    with st.container(horizontal=True, gap="medium"):
        for label, value, help_text in figures:
            st.metric(label, value, help=help_text, width="content")


def show_table(table: pd.DataFrame, shares: Sequence[str], *, hide_index: bool = True) -> None:
    """Draw a table; a dash where nothing is known.

    Args:
        table: What to draw.
        shares: Its columns with values in [0, 1].
        hide_index: Leave out the names of the rows.
    """
    st.dataframe(
        in_percent(table, shares),
        hide_index=hide_index,
        column_config=percent_columns(shares),
        placeholder="–",
    )


def in_percent(table: pd.DataFrame, shares: Sequence[str]) -> pd.DataFrame:
    """A copy with shares as percent: the browser would print 85.8 % and 86.72 % below each other."""
    return table.assign(**{name: pd.to_numeric(table[name]) * 100 for name in shares})


def percent_columns(shares: Sequence[str]) -> Mapping[str, Any]:
    """Return the column format of shares made by ``in_percent``."""
    return dict.fromkeys(shares, st.column_config.NumberColumn(format="%.1f %%"))
