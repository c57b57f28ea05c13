import json

import numpy as np
import pytest

from fer.emotions import SIX_EMOTIONS
from fer.faces import Box, Detection, Face, Prediction
from fer.reports import face_rows, faces_to_dict

SHARES = np.array([0.05, 0.05, 0.6, 0.1, 0.1, 0.1], dtype=np.float32)
FACE = Face(Detection(Box(1.5, 2, 30, 40), 0.97), Prediction(SIX_EMOTIONS, SHARES))


def test_one_face_has_the_documented_shape():
    picture = json.loads(json.dumps(faces_to_dict([FACE], 640, 480, "a.jpg")))
    assert list(picture) == ["path", "width", "height", "faces"]
    (face,) = picture["faces"]
    assert list(face) == ["box", "score", "emotion", "confidence", "probabilities"]
    assert face["box"] == [1.5, 2, 30, 40]
    assert face["emotion"] == "happy"
    assert list(face["probabilities"]) == [emotion.value for emotion in SIX_EMOTIONS]
    assert face["confidence"] == face["probabilities"]["happy"] == float(SHARES[2])  # nothing is rounded


@pytest.mark.parametrize(("path", "keys"), [(None, ["width", "height", "faces"]), ("b", ["path"])])
def test_path_is_left_out_where_there_is_none(path, keys):
    assert list(faces_to_dict([], 1, 1, path))[: len(keys)] == keys


def test_no_faces_is_an_empty_list():
    assert faces_to_dict([], 3, 2)["faces"] == []
    assert face_rows([]) == []


def test_rows_are_flat_and_numbered():
    first, second = face_rows([FACE, Face(FACE.detection, FACE.prediction, track_id=7)], "a.jpg")
    assert (first["path"], first["face"], first["left"], first["emotion"]) == ("a.jpg", 1, 1.5, "happy")
    assert first["happy"] == float(SHARES[2])
    assert "track_id" not in first
    assert (second["face"], second["track_id"]) == (2, 7)
