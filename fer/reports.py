"""Records of the faces of one image, as plain values for JSON and tables."""

from collections.abc import Sequence
from typing import Any

from fer.faces import Face


def faces_to_dict(faces: Sequence[Face], width: int, height: int, path: str | None = None) -> dict[str, Any]:
    """One picture as the object that ``python -m fer --json`` prints.

    Args:
        faces: In the order in which they are listed; empty when there are none.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
        path: Where the picture lies; None for one that has no path, the key is then left out.

    Returns:
        Values that ``json.dumps`` takes; nothing is rounded.
    """
    picture: dict[str, Any] = {} if path is None else {"path": path}
    return picture | {"width": width, "height": height, "faces": [face_to_dict(face) for face in faces]}


def face_to_dict(face: Face) -> dict[str, Any]:
    """One face as ``box, score, emotion, confidence, probabilities``; ``track_id`` too where there is one."""
    prediction = face.prediction
    values: dict[str, Any] = {} if face.track_id is None else {"track_id": face.track_id}
    return values | {
        "box": list(face.detection.box.as_tuple()),
        "score": face.detection.score,
        "emotion": prediction.emotion.value,
        "confidence": prediction.confidence,
        "probabilities": {emotion.value: share for emotion, share in prediction.by_emotion().items()},
    }


def face_rows(faces: Sequence[Face], path: str | None = None) -> list[dict[str, Any]]:
    """The faces as rows of a table, one a face: place, expression, and one column for each probability."""
    rows = []
    for number, face in enumerate(faces, start=1):
        values = face_to_dict(face)
        left, top, right, bottom = values.pop("box")
        probabilities = values.pop("probabilities")
        rows.append(
            ({} if path is None else {"path": path})
            | {"face": number, "left": left, "top": top, "right": right, "bottom": bottom}
            | values
            | probabilities
        )
    return rows
