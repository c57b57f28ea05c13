"""Response types of Gradio's named endpoints and of ``/api``."""

from typing import Any, NotRequired

from typing_extensions import TypedDict  # required by FastAPI before Python 3.12, and installed with it


class FaceRecord(TypedDict):
    """One face: box (left, top, right, bottom) and landmarks in pixels, angles in degrees."""

    box: list[float]
    score: float
    emotion: str
    confidence: float
    unsure: bool
    other: float
    turned_away: bool
    roll: float
    yaw: float | None
    pitch: float | None
    landmarks: list[list[float]] | None
    probabilities: dict[str, float]


class PhotoAnswer(TypedDict):
    """Size of a photo in pixels with its faces, largest first; ``notes`` if its file is unusual."""

    width: int
    height: int
    faces: list[FaceRecord]
    notes: NotRequired[list[str]]


class PhotoRecord(PhotoAnswer):
    """A photo under the name that was sent along."""

    path: str


class PersonSummary(TypedDict):
    """Summary of one person in a video; of everybody where ``track_id`` is null."""

    track_id: int | None
    start_s: float
    end_s: float
    seen_s: float
    shares: dict[str, float]
    change_count: int
    mean_confidence: float


class TimelineRecord(TypedDict):
    """Expressions over time: one row for each face in each frame, and a summary for each person."""

    frame_count: int
    duration_s: float
    summary: list[PersonSummary]
    rows: list[dict[str, Any]]
