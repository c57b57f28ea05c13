"""Write a timeline as CSV, JSON, Parquet, chart or subtitles, which show the spans of one expression."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet

from fer.emotions import Label, label_of
from fer.files import replaced
from fer.palette import label_colours
from fer.printable import plain_cell
from fer.timeline.table import Summary, Timeline

_GAP_S: Final = 0.5
"""Longest gap within a span."""


@dataclass(frozen=True, slots=True)
class Span:
    """One expression of one face, kept from ``start_s`` to ``end_s``.

    Attributes:
        track_id: The person; None if faces were not tracked.
        emotion: The expression.
        start_s: Time of the first frame.
        end_s: Start of the next span, or end of the last frame.
    """

    track_id: int | None
    emotion: Label
    start_s: float
    end_s: float


def spans(timeline: Timeline) -> list[Span]:
    """Return all spans, sorted by person and time; an empty list without faces."""
    durations = timeline.frame_durations()
    found: list[Span] = []
    open_: dict[int | None, Span] = {}
    for table in timeline.chunks():
        tracks = (
            None if track is None else int(track)
            for track in table["track_id"].astype(object).where(table["track_id"].notna(), None)
        )
        for track, word, start_s, frame in zip(
            tracks, table["emotion"], table["timestamp_s"].tolist(), table["frame"].tolist(), strict=True
        ):
            emotion, end_s = label_of(word), start_s + float(durations[frame])
            span = open_.get(track)
            if span is not None and start_s - span.end_s <= _GAP_S:
                if span.emotion == emotion:
                    open_[track] = Span(track, emotion, span.start_s, end_s)
                    continue
                span = Span(track, span.emotion, span.start_s, start_s)
            if span is not None:
                found.append(span)
            open_[track] = Span(track, emotion, start_s, end_s)
    found.extend(open_.values())
    return sorted(found, key=lambda span: (span.track_id or 0, span.start_s))


def subtitles(timeline: Timeline) -> str:
    """Return the spans as a SubRip file; people are numbered if there are several."""
    found = spans(timeline)
    are_several = len({span.track_id for span in found}) > 1
    edges = sorted({span.start_s for span in found} | {span.end_s for span in found})
    cues: list[tuple[float, float, str]] = []
    opening = sorted(found, key=lambda span: span.start_s)
    shown: list[Span] = []
    next_ = 0
    for start_s, end_s in pairwise(edges):
        while next_ < len(opening) and opening[next_].start_s <= start_s:
            shown.append(opening[next_])
            next_ += 1
        shown = [span for span in shown if span.end_s > start_s]
        text = "\n".join(
            _cue_text(span, are_several) for span in sorted(shown, key=lambda span: span.track_id or 0)
        )
        if not text:
            continue
        if cues and cues[-1][1:] == (start_s, text):
            cues[-1] = (cues[-1][0], end_s, text)
        else:
            cues.append((start_s, end_s, text))
    return _subrip(cues)


def _cue_text(span: Span, is_numbered: bool) -> str:
    name = span.emotion.display_name
    return f"Person {span.track_id}: {name}" if is_numbered else name


def _subrip(cues: Sequence[tuple[float, float, str]]) -> str:
    return "".join(
        f"{number}\n{_clock(start_s)} --> {_clock(end_s)}\n{text}\n\n"
        for number, (start_s, end_s, text) in enumerate(cues, start=1)
    )


def _clock(time_s: float) -> str:
    """Format a time as hours:minutes:seconds,milliseconds."""
    milliseconds = round(max(time_s, 0.0) * 1000)
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02},{milliseconds:03}"


def write_timeline(timeline: Timeline, path: Path) -> None:
    """Write a timeline to a file, under a temporary name first.

    Args:
        timeline: The timeline.
        path: Ends in .csv, .json, .parquet, .srt or .svg.

    Raises:
        ValueError: Unknown suffix.
        OSError: The file cannot be written.
    """
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise ValueError(f"expected a file that ends in {', '.join(WRITERS)}, got {path}")
    with replaced(path) as temporary:
        write(timeline, temporary)


def summary_to_dict(summary: Summary) -> dict[str, Any]:
    """Convert a summary to values for ``json.dumps``."""
    return asdict(summary) | {"shares": {emotion.value: share for emotion, share in summary.shares.items()}}


def timeline_to_dict(timeline: Timeline) -> dict[str, Any]:
    """Convert frames, summaries and rows to values for ``json.dumps``; nothing is rounded."""
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
    with path.open("wb") as file:  # Arrow itself accepts file names in UTF-8 only
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
"""Writer for each suffix."""


PLOT_LEFT: Final = 90
PLOT_WIDTH: Final = 850
_WIDTH: Final = PLOT_LEFT + PLOT_WIDTH + 20
_BAND: Final = 30
_LEGEND_STEP: Final = 110
_TOP: Final = 34
_MOST_PEOPLE: Final = 12
_STEPS_S: Final = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)


def timeline_chart(timeline: Timeline) -> str:
    """Draw the chart as SVG for light and dark pages, with the twelve people seen longest.

    The plot starts at ``PLOT_LEFT`` and is ``PLOT_WIDTH`` units wide; the attribute ``data-end`` is the time
    at its right edge, in seconds.
    """
    end_s = max(timeline.end_s + (timeline.frame_durations()[-1] if timeline.frame_count else 0.0), 1e-3)
    by_person: dict[int | None, list[Span]] = {}
    for span in spans(timeline):
        by_person.setdefault(span.track_id, []).append(span)
    longest = sorted(by_person, key=lambda track: -sum(s.end_s - s.start_s for s in by_person[track]))
    shown = sorted(longest[:_MOST_PEOPLE], key=lambda track: by_person[track][0].start_s)
    hidden_count = len(longest) - len(shown)
    height = _TOP + _BAND * max(len(shown), 1) + (50 if hidden_count else 34)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="100%" '
        f'data-end="{end_s:.3f}" role="img" aria-label="Expressions over time" '
        'font-family="system-ui, sans-serif" font-size="13" fill="currentColor">'
    ]
    parts.append(_legend(timeline.emotions))
    colours = label_colours(timeline.emotions)
    for row, track in enumerate(shown):
        parts.append(_band(by_person[track], track, _TOP + row * _BAND, end_s, colours))
    if not shown:
        parts.append(f'<text x="{PLOT_LEFT}" y="{_TOP + 20}">No face was found in this video.</text>')
    if hidden_count:
        parts.append(
            f'<text x="{_WIDTH - 20}" y="{height - 4}" text-anchor="end" opacity="0.7">'
            f"and {hidden_count} more {'person' if hidden_count == 1 else 'people'}, seen more briefly</text>"
        )
    parts.append(_axis(end_s, _TOP + _BAND * max(len(shown), 1)))
    return "".join([*parts, "</svg>"])


def _legend(emotions: tuple[Label, ...]) -> str:
    colours = label_colours(emotions)
    step = min(_LEGEND_STEP, PLOT_WIDTH // len(emotions))
    return "".join(
        f'<rect x="{PLOT_LEFT + i * step}" y="8" width="13" height="13" rx="3" fill="{colours[emotion]}"/>'
        f'<text x="{PLOT_LEFT + 19 + i * step}" y="19">{escape(emotion.display_name)}</text>'
        for i, emotion in enumerate(emotions)
    )


def _band(person: list[Span], track: int | None, top: float, end_s: float, colours: Mapping[str, str]) -> str:
    name = "Faces" if track is None else f"Person {track}"
    bars = [f'<text x="{PLOT_LEFT - 8}" y="{top + 18}" text-anchor="end">{name}</text>']
    for span in person:
        left = PLOT_LEFT + PLOT_WIDTH * span.start_s / end_s
        width = max(PLOT_WIDTH * (span.end_s - span.start_s) / end_s, 0.5)
        bars.append(
            f'<rect x="{left:.2f}" y="{top + 3}" width="{width:.2f}" height="{_BAND - 8}" '
            f'fill="{colours[span.emotion]}"><title>{escape(span.emotion.display_name)}, '
            f"{span.start_s:.1f}–{span.end_s:.1f} s</title></rect>"
        )
    return "".join(bars)


def _axis(end_s: float, top: float) -> str:
    step = next((step for step in _STEPS_S if end_s / step <= 10), _STEPS_S[-1])
    marks = []
    for number in range(int(end_s / step + 1e-9) + 1):
        x = PLOT_LEFT + PLOT_WIDTH * number * step / end_s
        marks.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + 5}" stroke="currentColor" opacity="0.5"/>'
            f'<text x="{x:.1f}" y="{top + 18}" text-anchor="middle" opacity="0.8">'
            f"{_time(number * step)}</text>"
        )
    return "".join(marks)


def _time(time_s: float) -> str:
    minutes, seconds = divmod(time_s, 60)
    hours, minutes = divmod(int(minutes), 60)
    if not hours and not minutes and time_s < 60:
        return f"{seconds:g} s"
    return f"{hours}:{minutes:02}:{seconds:02.0f}" if hours else f"{minutes}:{seconds:02.0f}"
