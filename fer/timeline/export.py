"""A timeline as a file: CSV, JSON, Parquet, subtitles or chart, by the ending."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet

from fer.files import replaced
from fer.printable import plain_cell
from fer.timeline.chart import timeline_chart
from fer.timeline.spans import subtitles
from fer.timeline.table import Summary, Timeline


def write_timeline(timeline: Timeline, path: Path) -> None:
    """Write under a temporary name, then rename.

    Args:
        timeline: What was seen.
        path: Ends in .csv, .json, .parquet, .srt or .svg.

    Raises:
        ValueError: Another ending.
        OSError: The place cannot be written.
    """
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise ValueError(f"expected a file that ends in {', '.join(WRITERS)}, got {path}")
    with replaced(path) as temporary:
        write(timeline, temporary)


def summary_to_dict(summary: Summary) -> dict[str, Any]:
    """A summary as values that ``json.dumps`` takes."""
    return asdict(summary) | {"shares": {emotion.value: share for emotion, share in summary.shares.items()}}


def timeline_to_dict(timeline: Timeline) -> dict[str, Any]:
    """Frames, summaries and rows as values that ``json.dumps`` takes; nothing is rounded."""
    rows = [
        row
        for table in timeline.chunks()
        for row in table.astype(object).where(table.notna(), None).to_dict("records")
    ]
    return {
        "frame_count": timeline.frame_count,
        "duration_s": timeline.end_s,
        "summary": [summary_to_dict(summary) for summary in timeline.summaries()],
        "rows": rows,
    }


def _write_csv(timeline: Timeline, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for number, table in enumerate(timeline.chunks()):
            words = {str(name): table[name].map(plain_cell) for name in table.select_dtypes(bool)}
            table.assign(**words).to_csv(file, index=False, header=number == 0)


def _write_json(timeline: Timeline, path: Path) -> None:
    path.write_text(json.dumps(timeline_to_dict(timeline)) + "\n", encoding="utf-8")


def _write_parquet(timeline: Timeline, path: Path) -> None:
    writer: Any = None
    with path.open("wb") as file:  # Arrow itself takes names in UTF-8 only
        try:
            for table in timeline.chunks():
                rows = pa.Table.from_pandas(table, preserve_index=False)
                writer = writer or pyarrow.parquet.ParquetWriter(file, rows.schema)
                writer.write_table(rows)
        finally:
            if writer is not None:
                writer.close()


def _write_subtitles(timeline: Timeline, path: Path) -> None:
    path.write_text(subtitles(timeline), encoding="utf-8")


def _write_chart(timeline: Timeline, path: Path) -> None:
    chart = timeline_chart(timeline).replace('fill="currentColor"', 'fill="#333" color="#333"', 1)
    path.write_text(chart, encoding="utf-8")


WRITERS: Final[Mapping[str, Callable[[Timeline, Path], None]]] = {
    ".csv": _write_csv,
    ".json": _write_json,
    ".parquet": _write_parquet,
    ".srt": _write_subtitles,
    ".svg": _write_chart,
}
"""Writer for each ending."""
