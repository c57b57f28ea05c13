"""Time spans in which a face keeps one expression, as data and as subtitles."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from fer.emotions import Label, label_of
from fer.timeline.table import Timeline

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
