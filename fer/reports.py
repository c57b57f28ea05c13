"""The record of a face: one set of fields for JSON, tables, timelines, watch logs and the page."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import Any, Final

from fer.emotions import Label
from fer.faces import Face, Landmarks
from fer.head_turn import head_turn

_SIDES: Final = ("left", "top", "right", "bottom")
_LANDMARKS: Final = tuple(field.name for field in fields(Landmarks))
_LANDMARK_COLUMNS: Final = tuple(f"{point}_{axis}" for point in _LANDMARKS for axis in ("x", "y"))

_VALUES: Final[Mapping[str, type]] = MappingProxyType(
    {
        "score": float,
        "emotion": str,
        "confidence": float,
        "unsure": bool,
        "other": float,
        "turned_away": bool,
        "roll": float,
        "yaw": float,
        "pitch": float,
    }
)
"""Fields with one value each; they keep their names as columns."""

FACE_COLUMNS: Final[Mapping[str, type]] = MappingProxyType(
    {**dict.fromkeys(_SIDES, float), **_VALUES, **dict.fromkeys(_LANDMARK_COLUMNS, float)}
)
"""Columns of a face in every table, with their types; one column per expression follows."""


def face_to_dict(face: Face) -> dict[str, Any]:
    """Return the record of one face; docs/api.md lists its fields.

    Returns:
        Values for ``json.dumps``, not rounded: ``box`` as left, top, right, bottom and ``landmarks`` as five
        pairs of x, y in pixels, ``roll``, ``yaw`` and ``pitch`` in degrees, ``probabilities`` by expression
        in the order of the model's labels; ``track_id`` first if there is one. Landmarks, yaw and pitch are
        None if the detector gives no landmarks.
    """
    detection, prediction = face.detection, face.prediction
    landmarks = detection.landmarks
    turn = None if landmarks is None else head_turn(landmarks)
    record: dict[str, Any] = {} if face.track_id is None else {"track_id": face.track_id}
    return record | {
        "box": list(detection.box.as_tuple()),
        "score": detection.score,
        "emotion": prediction.emotion.value,
        "confidence": prediction.confidence,
        "unsure": bool(prediction.is_unsure),
        "other": float(prediction.other),
        "turned_away": bool(prediction.turned_away),
        "roll": detection.roll,
        "yaw": None if turn is None else turn.yaw,
        "pitch": None if turn is None else turn.pitch,
        "landmarks": None if landmarks is None else landmarks.as_array().tolist(),
        "probabilities": {emotion.value: share for emotion, share in prediction.by_emotion().items()},
    }


def faces_to_dict(faces: Sequence[Face], width: int, height: int, path: str | None = None) -> dict[str, Any]:
    """Return one image as the object that ``python -m fer --json`` prints.

    Args:
        faces: The faces in output order; empty if there are none.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        path: Path of the image; None if it has none, the key is then omitted.
    """
    picture: dict[str, Any] = {} if path is None else {"path": path}
    return picture | {"width": width, "height": height, "faces": [face_to_dict(face) for face in faces]}


def face_columns(emotions: Sequence[Label]) -> dict[str, type]:
    """Return the columns of a face table, in order, with the type of each.

    Args:
        emotions: The probability columns.
    """
    return {**FACE_COLUMNS, **{emotion.value: float for emotion in emotions}}


def flat_face(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a face as the cells of one row, by column.

    Args:
        record: From :func:`face_to_dict`; fields unknown to older versions may be missing.

    Returns:
        The known columns of :func:`face_columns`, without ``track_id``.
    """
    landmarks = record.get("landmarks")
    points = [] if landmarks is None else [value for point in landmarks for value in point]
    return {
        **dict(zip(_SIDES, record["box"], strict=True)),
        **{name: record[name] for name in _VALUES if record.get(name) is not None},
        **dict(zip(_LANDMARK_COLUMNS, points, strict=False)),
        **record["probabilities"],
    }


def record_rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the table rows of one image, one per face.

    Args:
        record: From :func:`faces_to_dict`, or ``path`` with ``error``.

    Returns:
        ``path, width, height, face`` and the columns of a face; an image without faces, or with an
        ``error``, is one row without those. Unknown cells are omitted.
    """
    start = {key: record[key] for key in ("path", "width", "height", "error") if key in record}
    faces = record.get("faces") or []
    return [start | {"face": number} | flat_face(face) for number, face in enumerate(faces, 1)] or [start]
