import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer.emotions import SIX_EMOTIONS
from fer.faces import Box, Detection, Face, Landmarks, Prediction
from fer.folders.table import table_schema
from fer.reports import face_columns, face_to_dict, faces_to_dict, flat_face, record_rows
from fer.timeline.table import Timeline

SHARES = np.array([0.05, 0.05, 0.6, 0.1, 0.1, 0.1], dtype=np.float32)
FACE = Face(Detection(Box(1.5, 2, 30, 40), 0.97), Prediction(SIX_EMOTIONS, SHARES))


def test_one_face_has_the_documented_shape():
    picture = json.loads(json.dumps(faces_to_dict([FACE], 640, 480, "a.jpg")))
    assert list(picture) == ["path", "width", "height", "faces"]
    (face,) = picture["faces"]
    fixed = ["box", "score", "emotion", "confidence", "unsure", "other", "turned_away"]
    held = ["roll", "yaw", "pitch", "landmarks"]
    assert list(face) == [*fixed, *held, "probabilities"]
    assert face["box"] == [1.5, 2, 30, 40]
    assert face["emotion"] == "happy"
    assert list(face["probabilities"]) == [emotion.value for emotion in SIX_EMOTIONS]
    assert face["confidence"] == face["probabilities"]["happy"] == float(SHARES[2])  # nothing is rounded


@pytest.mark.parametrize(("path", "keys"), [(None, ["width", "height", "faces"]), ("b", ["path"])])
def test_path_is_left_out_where_there_is_none(path, keys):
    assert list(faces_to_dict([], 1, 1, path))[: len(keys)] == keys


def test_no_faces_is_an_empty_list():
    record = faces_to_dict([], 3, 2)
    assert record["faces"] == []
    assert record_rows(record) == [{"width": 3, "height": 2}]


POINTS = Landmarks((1, 2), (3, 4), (5, 6), (7, 8), (9, 10))


@pytest.mark.parametrize("is_unsure", [True, False])
def test_a_record_says_what_is_doubtful_and_how_the_head_is_held(is_unsure):
    prediction = Prediction(SIX_EMOTIONS, SHARES, other=0.25, unsure_below=0.61 if is_unsure else 0.59)
    record = face_to_dict(Face(Detection(FACE.detection.box, 0.97, POINTS, roll=12.5), prediction))
    assert json.loads(json.dumps(record)) == record
    assert (record["unsure"], record["other"], record["roll"]) == (is_unsure, 0.25, 12.5)
    assert record["landmarks"] == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]
    cells = flat_face(record)
    assert list(cells) == list(face_columns(SIX_EMOTIONS))
    assert (cells["right_eye_x"], cells["left_mouth_y"]) == (1, 10)


def test_rows_are_flat_and_numbered():
    faces = [FACE, Face(FACE.detection, FACE.prediction, track_id=7)]
    first, second = record_rows(faces_to_dict(faces, 640, 480, "a.jpg"))
    assert (first["path"], first["face"], first["left"], first["emotion"]) == ("a.jpg", 1, 1.5, "happy")
    assert (first["happy"], first["unsure"]) == (float(SHARES[2]), False)
    assert second["face"] == 2
    assert face_to_dict(faces[1])["track_id"] == 7
    assert "track_id" not in face_to_dict(FACE)


def test_every_output_writes_the_columns_of_the_record():
    columns = list(face_columns(SIX_EMOTIONS))
    timeline = Timeline(SIX_EMOTIONS)
    timeline.add([FACE], 0.0)
    assert (
        timeline.columns == list(timeline.table().columns) == ["timestamp_s", "frame", "track_id", *columns]
    )
    assert table_schema(SIX_EMOTIONS).names == ["path", "width", "height", "face", *columns, "error"]


def test_the_documentation_lists_every_field_and_column():
    text = (Path(__file__).parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
    section = text.split("## The record of a face")[1].split("\n## ")[0]
    record = face_to_dict(replace(FACE, track_id=1))
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    assert [row[1].strip(" `") for row in rows[: len(record)]] == list(record)
    assert set(face_columns(())) <= set(re.findall(r"`(\w+)`", " ".join(row[1] + row[2] for row in rows)))
    order = section.split("Columns come in the order")[1].split("the landmarks")[0]
    assert re.findall(r"`(\w+)`", order) == list(face_columns(()))[: -2 * 5]
