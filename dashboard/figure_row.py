"""Key figures in a row that wraps in narrow windows, and tables of shares."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from dashboard.spoken import st


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
