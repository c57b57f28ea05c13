"""Expressions over time: one row per face and frame."""

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer.emotions import Label
from fer.faces import Face
from fer.reports import face_columns, face_to_dict, flat_face

_CHUNK_ROWS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Summary:
    """Summary of the expressions of one person or of everybody.

    Attributes:
        track_id: The person; None for everybody.
        start_s: Time of the first detection.
        end_s: Time of the last detection.
        seen_s: Time for which the face was visible, each frame counted until the next; summed over people.
        shares: Share of that time with each expression; sum 1.
        change_count: Number of changes of expression.
        mean_confidence: Mean confidence, weighted by time.
    """

    track_id: int | None
    start_s: float
    end_s: float
    seen_s: float
    shares: dict[Label, float]
    change_count: int
    mean_confidence: float


class Timeline:
    """A table that grows frame by frame; stored in columns, about 120 bytes per row.

    Args:
        emotions: The probability columns.
    """

    def __init__(self, emotions: Sequence[Label]) -> None:
        self.emotions = tuple(emotions)
        self.frame_count = 0
        self._times = array("d")  # of every frame, with faces or without
        self._row_frames = array("l")
        self._tracks = array("l")
        self._labels = array("b")
        self._kinds = face_columns(self.emotions)
        self._number_columns = [name for name, kind in self._kinds.items() if kind is not str]
        self._numbers = array("f")  # of the columns above, row by row; NaN if unknown

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._tracks)

    @property
    def columns(self) -> list[str]:
        """The columns of the table, in order."""
        return ["timestamp_s", "frame", "track_id", *self._kinds]

    def add(self, faces: Sequence[Face], timestamp_s: float) -> None:
        """Add one frame.

        Args:
            faces: Tracked faces; an empty list for a frame without faces.
            timestamp_s: Time of the frame, later than the previous one.
        """
        if self._times and timestamp_s <= self._times[-1]:
            raise ValueError(f"expected a time after {self._times[-1]} s, got {timestamp_s} s")
        for face in faces:
            cells = flat_face(face_to_dict(face))
            self._row_frames.append(self.frame_count)
            self._tracks.append(-1 if face.track_id is None else face.track_id)
            self._labels.append(self.emotions.index(face.prediction.emotion))
            self._numbers.extend(cells.get(name, math.nan) for name in self._number_columns)
        self._times.append(timestamp_s)
        self.frame_count += 1

    @property
    def end_s(self) -> float:
        """The time of the last frame; 0 if there is none."""
        return self._times[-1] if self._times else 0.0

    def table(self, start: int = 0, stop: int | None = None) -> pd.DataFrame:
        """Return the rows from ``start`` to ``stop``, by time; ``track_id`` is empty for untracked faces."""
        rows = slice(start, len(self) if stop is None else stop)
        frames = np.asarray(self._row_frames, dtype=np.int64)[rows]
        tracks = pd.Series(np.asarray(self._tracks, dtype=np.int64)[rows], dtype="Int64")
        numbers = np.asarray(self._numbers, dtype=np.float32).reshape(-1, len(self._number_columns))[rows]
        words = np.array([emotion.value for emotion in self.emotions])
        cells = {
            "timestamp_s": np.asarray(self._times, dtype=np.float64)[frames],
            "frame": frames,
            "track_id": tracks.mask(tracks < 0),
            "emotion": words[np.asarray(self._labels, dtype=np.int64)[rows]],
        }
        for column, name in enumerate(self._number_columns):
            cells[name] = numbers[:, column].astype(bool if self._kinds[name] is bool else np.float32)
        return pd.DataFrame({name: cells[name] for name in self.columns})

    def chunks(self) -> Iterator[pd.DataFrame]:
        """Yield the table in chunks of limited size; at least one, empty without faces."""
        for start in range(0, max(len(self), 1), _CHUNK_ROWS):
            yield self.table(start, min(start + _CHUNK_ROWS, len(self)))

    def resample(self, step_s: float) -> pd.DataFrame:
        """Return means over time steps: one row per step and person seen in it.

        Args:
            step_s: Length of a step.

        Returns:
            ``timestamp_s`` (start of the step), ``track_id``, ``emotion`` (of the largest mean),
            ``confidence``, the mean probabilities, ``frame_count``.
        """
        if not step_s > 0:
            raise ValueError(f"expected a step above 0 s, got {step_s}")
        table = self.table()
        words = [emotion.value for emotion in self.emotions]
        table["timestamp_s"] = np.floor(table["timestamp_s"] / step_s + 1e-9) * step_s
        groups = table.groupby(["timestamp_s", "track_id"], dropna=False)[words]
        means = groups.mean()
        if means.empty:
            return pd.DataFrame(
                columns=["timestamp_s", "track_id", "emotion", "confidence", *words, "frame_count"]
            )
        means.insert(0, "emotion", means[words].idxmax(axis=1))
        means.insert(1, "confidence", means[words].max(axis=1))
        means["frame_count"] = groups.size()
        return means.reset_index()

    def summaries(self) -> list[Summary]:
        """Return the summary of everybody, then of each person by first appearance; empty without faces."""
        if not len(self):
            return []
        tracks = np.asarray(self._tracks, dtype=np.int64)
        order = list(dict.fromkeys(tracks.tolist()))
        people = [self._summary(tracks == track, None if track < 0 else track) for track in order]
        everybody = self._summary(np.ones(len(tracks), dtype=bool), None)
        changes = sum(person.change_count for person in people)
        return [
            Summary(
                None,
                everybody.start_s,
                everybody.end_s,
                everybody.seen_s,
                everybody.shares,
                changes,
                everybody.mean_confidence,
            ),
            *(person for person in people if person.track_id is not None),
        ]

    def frame_durations(self) -> NDArray[np.float64]:
        """Return the duration of each frame in seconds; the last one gets the median duration."""
        gaps = np.diff(np.asarray(self._times, dtype=np.float64))
        return np.append(gaps, float(np.median(gaps)) if len(gaps) else 0.0)

    def _summary(self, chosen: NDArray[np.bool_], track_id: int | None) -> Summary:
        frames = np.asarray(self._row_frames, dtype=np.int64)[chosen]
        labels = np.asarray(self._labels, dtype=np.int64)[chosen]
        column = self._number_columns.index("confidence")
        confidence = np.asarray(self._numbers, dtype=np.float64).reshape(len(self), -1)[chosen, column]
        durations = self.frame_durations()
        weights = durations[frames]
        total = float(weights.sum())
        if total == 0.0:  # a single frame
            weights = np.ones(len(frames))
        shares = np.bincount(labels, weights, len(self.emotions)) / weights.sum()
        times = np.asarray(self._times, dtype=np.float64)[frames]
        return Summary(
            track_id,
            float(times[0]),
            float(times[-1]),
            total,
            {emotion: float(share) for emotion, share in zip(self.emotions, shares, strict=True)},
            int(np.count_nonzero(np.diff(labels))),
            float(np.average(confidence, weights=weights)),
        )
