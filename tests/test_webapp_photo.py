import base64
import csv
import io

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from page_fakes import FakeAnalyzers, encoded
from PIL import Image

from fer.analysis import FaceAnalyzer
from fer.anonymising import cover_photo
from fer.detection import load_detector
from fer.images import Picture, read_image
from webapp.page import ASSETS, build_routes
from webapp.photo import TAB, ReadPhoto, read_photo


@pytest.fixture(scope="module")
def client():
    return TestClient(build_routes([TAB], FakeAnalyzers()))


def picture_of(address):
    head, data = address.split(",", maxsplit=1)
    assert head == "data:image/jpeg;base64"
    return read_image(base64.b64decode(data))


def test_photo_with_a_face(client, astronaut):
    answer = client.post("/kv/photo", params={"name": "a.png"}, content=encoded(astronaut)).json()
    record = answer["record"]
    assert (record["path"], record["width"], record["height"]) == ("a.png", 512, 512)
    (face,) = record["faces"]
    left, top, right, bottom = face["box"]
    assert left < 225 < right  # the nose of the photograph
    assert top < 115 < bottom
    assert face["emotion"] == "happy"
    assert answer["record"]["faces"][0]["unsure"] is False
    (row,) = csv.DictReader(io.StringIO(answer["csv"]))
    assert row["emotion"] == "happy"
    assert float(row["left"]) == left
    picture = picture_of(answer["picture"])
    assert picture.shape == (960, 960, 3)


def test_red_stays_red_in_the_picture_that_comes_back(client):
    red = np.zeros((200, 300, 3), dtype=np.uint8)
    red[:, :, 0] = 230
    picture = picture_of(client.post("/kv/photo", content=encoded(red)).json()["picture"])
    assert picture.mean(axis=(0, 1)) == pytest.approx([230, 0, 0], abs=4)  # JPEG


@pytest.mark.parametrize("cover", ["blur", "pixelate", "box"])
def test_a_photo_comes_back_covered_as_the_command_covers_it(client, astronaut, cover):
    answer = client.post("/kv/covered", params={"cover": cover}, content=encoded(astronaut))
    covered = picture_of(answer.json()["picture"])
    finder = FakeAnalyzers().finder()
    expected, count = cover_photo(astronaut, finder, cover)
    assert count
    assert covered.shape == astronaut.shape
    assert np.abs(covered.astype(int) - expected).mean() < 4  # JPEG
    assert np.abs(covered[90:150, 200:250].astype(int) - astronaut[90:150, 200:250]).mean() > 20  # her face


@pytest.mark.parametrize(
    ("words", "sentence"),
    [({}, "cover"), ({"cover": "smear"}, "blur"), ({"cover": "box", "detector": "yunet"}, "fetch it")],
    ids=["nothing", "another cover", "a detector that is not here"],
)
def test_a_cover_that_cannot_be_had_is_told(client, astronaut, words, sentence):
    answer = client.post("/kv/covered", params=words, content=encoded(astronaut))
    assert answer.status_code == 422
    assert sentence in answer.json()["error"]


@pytest.mark.parametrize("path", ["photo", "covered"])
@pytest.mark.parametrize("words", [{}, {"thorough": "true"}], ids=["fast", "thorough"])
def test_the_switch_for_small_faces_reaches_the_detector(astronaut, path, words):
    asked = []

    class Watched(FakeAnalyzers):
        def get(self, *names, thorough=False, **others):
            asked.append(thorough)
            return super().get(*names, thorough=thorough, **others)

        def finder(self, *names, thorough=False):
            asked.append(thorough)
            return super().finder(*names, thorough=thorough)

    answer = TestClient(build_routes([TAB], Watched())).post(
        f"/kv/{path}", params={"cover": "box"} | words, content=encoded(astronaut)
    )
    assert answer.status_code == 200
    assert asked == [bool(words)]


@pytest.fixture
def large(monkeypatch, astronaut):
    """A JPEG that is read at half its sides, as one of 108 megapixels would be."""
    monkeypatch.setattr("fer.images.MAX_PIXELS", 1000 * 1000)
    return encoded(cv2.resize(astronaut, (1024, 1024)), "JPEG")


def test_a_photo_read_reduced_is_answered_in_pixels_of_its_file(client, large):
    answer = client.post("/kv/photo", content=large).json()
    record = answer["record"]
    assert (record["width"], record["height"]) == (1024, 1024)
    (face,) = record["faces"]
    left, top, right, bottom = face["box"]
    assert left < 450 < right  # the nose of the photograph, at twice its place
    assert top < 230 < bottom
    assert right - left > 150
    (note,) = record["notes"]
    assert "1/2 of its width" in note
    assert picture_of(answer["picture"]).shape == (960, 960, 3)
    place = {"left": left, "top": top, "right": right, "bottom": bottom}
    explanation = client.post("/kv/explain", params=place, content=large)
    assert explanation.status_code == 200
    place = {"left": left / 2, "top": top / 2, "right": right / 2, "bottom": bottom / 2}
    assert (
        explanation.json()["picture"]
        != client.post("/kv/explain", params=place, content=large).json()["picture"]
    )


def test_photo_without_a_face(client):
    answer = client.post("/kv/photo", content=encoded(np.full((90, 120, 3), 99, dtype=np.uint8))).json()
    assert answer["record"]["faces"] == []
    assert answer["csv"] == ""


def test_rotated_photo_is_upright(client, astronaut):
    turned = Image.fromarray(np.rot90(astronaut).copy())
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    turned.save(buffer, "JPEG", exif=exif)
    assert len(client.post("/kv/photo", content=buffer.getvalue()).json()["record"]["faces"]) == 1


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"hello", id="text"),
        pytest.param(encoded(np.zeros((50, 50, 3), dtype=np.uint8))[:60], id="cut off"),
    ],
)
def test_what_is_no_picture_gets_a_sentence(client, content):
    answer = client.post("/kv/photo", content=content)
    assert answer.status_code == 422
    assert len(answer.json()["error"]) > 20
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("size", [(1, 1), (1, 3000)], ids=str)
def test_extreme_sizes(client, size):
    content = encoded(np.zeros((*size, 3), dtype=np.uint8))
    assert client.post("/kv/photo", content=content).json()["record"]["faces"] == []


def test_too_large_a_file_is_refused(client, monkeypatch):
    monkeypatch.setattr("webapp.uploads.MAX_PHOTO_BYTES", 1 << 20)
    answer = client.post("/kv/photo", content=b"0" * ((1 << 20) + 1))
    assert answer.status_code == 413
    assert "at most 1 MB" in answer.json()["detail"]


def test_detector_that_is_not_there_gets_a_sentence(client, astronaut):
    answer = client.post("/kv/photo", params={"detector": "yunet"}, content=encoded(astronaut))
    assert answer.status_code == 422
    assert "fetch" in answer.json()["error"]


def test_large_photo_comes_back_as_a_screenful():
    photo = read_photo(encoded(np.zeros((3000, 4000, 3), dtype=np.uint8), "JPEG"), FakeAnalyzers().get())
    assert picture_of(photo.annotated_jpeg()).shape == (1200, 1600, 3)


@pytest.mark.parametrize(("count", "is_bare"), [(6, False), (7, True)])
def test_names_do_not_hide_a_crowd(astronaut, count, is_bare):
    (face,) = FakeAnalyzers().get().analyze(astronaut)
    shown = picture_of(ReadPhoto(Picture(astronaut), [face] * count).annotated_jpeg())
    bare = picture_of(ReadPhoto(Picture(astronaut), []).annotated_jpeg())
    assert np.array_equal(shown, bare) == is_bare


def test_explanation_of_a_face(client, astronaut):
    place = {"left": 177, "top": 66, "right": 274, "bottom": 163, "roll": 0}
    answer = client.post("/kv/explain", params=place, content=encoded(astronaut)).json()
    assert picture_of(answer["picture"]).shape == (320, 320, 3)
    assert "80 %" in answer["text"]  # the fixed classifier's answer, whatever is hidden


@pytest.mark.parametrize(
    "place",
    [
        {"left": 900, "top": 0, "right": 950, "bottom": 50},
        {"left": 9, "top": 9, "right": 3, "bottom": 3},
        {"left": "nan", "top": 0, "right": 3, "bottom": 3},
        {"left": 1, "top": 0, "right": 3, "bottom": 3, "roll": "nan"},
        {"left": 1, "top": 0, "right": 3, "bottom": 3, "roll": "inf"},
        {"left": 1, "top": 0, "right": 3},
        {"left": -1e9, "top": -1e9, "right": 1e9, "bottom": 1e9},
    ],
    ids=["outside", "inside out", "not a number", "roll", "endless roll", "missing", "huge"],
)
def test_explanation_of_no_face_gets_a_sentence(client, astronaut, place):
    answer = client.post("/kv/explain", params=place, content=encoded(astronaut))
    assert answer.status_code == 422
    assert "expected" in answer.json()["error"]


def test_nothing_in_the_assets_points_outside():
    for asset in ASSETS.iterdir():
        if asset.suffix not in (".js", ".css", ".html", ".svg"):
            continue
        text = asset.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text


@pytest.mark.parametrize("size", [(1, 40_000), (100_000, 1)], ids=str)
def test_strips_are_answered(size, astronaut):
    """With the detector that comes along: others shrink in another way."""
    analyzer = FaceAnalyzer(load_detector("kv_face"), FakeAnalyzers().classifier)
    photo = read_photo(encoded(np.full((*size, 3), 90, np.uint8)), analyzer)
    assert photo.as_answer("strip.png")["record"]["faces"] == []
