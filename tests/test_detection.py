"""All detectors on the astronaut photo: upright, turned, mirrored, red and blue swapped, many threads."""

import json
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from fer import detection
from fer.__main__ import main as fer_main
from fer.cropping import Framing, crop_face, reference_square
from fer.detection import detector_names, load_detector
from fer.detection.haar import LIVE, PHOTO, HaarDetector
from fer.detection.kv_face import KvFaceDetector
from fer.detection.yunet import YuNetDetector, yunet_path
from fer.faces import Box, Detection
from fer.images import RgbImage
from fer.model_card import UnknownModelError, WeightsMismatchError
from webapp.analyzers import AnalyzerShelf
from webapp.page import build_routes

FACE = Box(178, 62, 268, 176)  # by eye: hairline to chin


def turned(image: RgbImage, degrees: float) -> RgbImage:
    """Turned clockwise around the face, whose middle stays."""
    matrix = cv2.getRotationMatrix2D(FACE.centre, -degrees, 1.0)
    size_wh = image.shape[1], image.shape[0]
    return np.asarray(cv2.warpAffine(image, matrix, size_wh, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Nobody's fetched files take part."""
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *args, **kwargs: str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def yunet(shared) -> YuNetDetector:
    return YuNetDetector(shared / "models" / "face_detection_yunet_2023mar.onnx")


def test_names():
    assert {"auto", "haar", "yunet"} <= set(detector_names())


class MiddleDetector:
    """Takes the middle of every picture for a face: a detector that somebody adds."""

    name, title, download, framing = "middle", "Middle (toy)", None, Framing()

    @classmethod
    def missing(cls):
        return None

    @classmethod
    def create(cls, *, live=False, eager=False, thorough=False):
        return cls()

    def detect(self, image):
        height, width = image.shape[:2]
        return [Detection(Box(width / 4, height / 4, width * 3 / 4, height * 3 / 4), 0.9)]

    def close_up(self):
        return self


def test_a_new_detector_takes_its_class_and_a_place_in_the_list(astronaut, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("fer.detection.DETECTORS", (*detection.DETECTORS, MiddleDetector))
    assert detector_names()[-1] == "middle"
    astronaut = np.ascontiguousarray(astronaut[5:233, 88:358])  # the face fills the middle
    [face] = load_detector("middle", live=True).detect(astronaut)
    assert face.score == 0.9
    path = tmp_path / "astronaut.png"
    Image.fromarray(astronaut).save(path)
    assert fer_main(["--detector", "middle", "--json", str(path)]) == 0
    [read] = json.loads(capsys.readouterr().out)["faces"]
    assert read["box"] == list(face.box.as_tuple())
    analyzers = AnalyzerShelf()
    choices = TestClient(build_routes([], analyzers)).get("/kv/choices").json()["detectors"]
    assert choices[-1] == {"id": "middle", "name": "Middle (toy)", "is_ready": True}


def test_the_first_detector_that_is_ready_is_the_automatic_one(monkeypatch):
    assert detection.detector_class("auto") is detection.DETECTORS[0]
    monkeypatch.setattr(KvFaceDetector, "missing", classmethod(lambda cls: "restore it"))
    assert load_detector("auto").name == "haar"  # YuNet was not fetched


@pytest.mark.parametrize("name", ["", "Haar", "retina", "../haar"])
def test_an_unknown_name_is_told(name):
    with pytest.raises(UnknownModelError, match=r"expected one of .*haar"):
        load_detector(name)


@pytest.mark.parametrize("live", [True, False], ids=["live", "photo"])
def test_haar_finds_the_face(astronaut, live):
    [face] = load_detector("haar", live=live).detect(astronaut)
    assert face.box.iou(FACE) > 0.5
    assert 0.5 < face.score <= 1.0
    assert face.roll == 0.0
    assert face.landmarks is None


@pytest.mark.parametrize("degrees", [-30.0, -25.0, -20.0, 20.0, 25.0, 30.0])
@pytest.mark.parametrize("settings", [PHOTO, LIVE], ids=["photo", "live"])
def test_haar_finds_tilted_heads_where_they_are(astronaut, degrees, settings):
    found = HaarDetector(settings).detect(turned(astronaut, degrees))
    assert found
    best = max(found, key=lambda face: face.score)
    assert abs(best.roll - degrees) <= 10.0 or abs(degrees) == 20.0  # which it may still find upright
    assert best.box.iou(FACE) > 0.5  # in pixels of the picture, not of the turned one


def test_a_tilted_head_is_cropped_upright(astronaut):
    detector = HaarDetector()
    [upright] = detector.detect(astronaut)
    best = max(detector.detect(turned(astronaut, 25.0)), key=lambda face: face.score)
    crops = [
        crop_face(image, reference_square(face, detector.framing))
        for image, face in ((astronaut, upright), (turned(astronaut, 25.0), best))
    ]
    small = [cv2.resize(crop, (24, 24), interpolation=cv2.INTER_AREA).astype(float).ravel() for crop in crops]
    # The same face at the same place: 0.85 leaves room for a box that is a few pixels off.
    assert np.corrcoef(small[0], small[1])[0, 1] > 0.85


def test_small_doubtful_boxes_go(astronaut):
    from fer.detection.haar import _drop_small_doubtful  # noqa: PLC0415

    sure = Detection(Box(0, 0, 100, 100), 0.95)
    small_doubtful = Detection(Box(0, 0, 30, 30), 0.5)
    small_sure = Detection(Box(200, 0, 230, 30), 0.9)
    large_doubtful = Detection(Box(200, 0, 290, 90), 0.5)
    kept = _drop_small_doubtful([sure, small_doubtful, small_sure, large_doubtful])
    assert kept == [sure, small_sure, large_doubtful]
    assert _drop_small_doubtful([small_doubtful]) == [small_doubtful]


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (19, 19), (200, 300), (3000, 40)])
def test_no_face_is_an_empty_list(shape):
    assert HaarDetector().detect(np.full((*shape, 3), 128, np.uint8)) == []


def test_a_huge_picture_is_searched_in_its_own_pixels(astronaut):
    large = np.asarray(cv2.resize(astronaut, (3072, 3072), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    best = max(HaarDetector().detect(large), key=lambda face: face.score)
    assert best.box.iou(FACE.scale(6)) > 0.5


def test_haar_from_many_threads(astronaut):
    detector = HaarDetector()
    expected = detector.detect(astronaut)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(detector.detect, [astronaut] * 24):
            assert found == expected


@pytest.mark.parametrize("missing", ["class", "file"])
def test_opencv_without_cascades_says_what_to_install(missing, monkeypatch, tmp_path):
    if missing == "class":
        monkeypatch.delattr(cv2, "CascadeClassifier")
    else:
        monkeypatch.setattr(cv2.data, "haarcascades", str(tmp_path))
    with pytest.raises(UnknownModelError, match='opencv-python-headless<5"'):
        HaarDetector()


def test_yunet_before_it_was_fetched():
    with pytest.raises(UnknownModelError, match="python -m fer fetch yunet"):
        load_detector("yunet")


def test_another_file_is_not_run_as_yunet():
    yunet_path().parent.mkdir(parents=True)
    yunet_path().write_bytes(b"something else")
    with pytest.raises(WeightsMismatchError, match="python -m fer fetch yunet"):
        load_detector("yunet")


@pytest.mark.shared
def test_yunet_finds_the_face_with_landmarks(yunet, astronaut):
    [face] = yunet.detect(astronaut)
    assert face.box.iou(FACE) > 0.6
    assert face.landmarks is not None
    assert face.landmarks.right_eye[0] < face.landmarks.nose[0] < face.landmarks.left_eye[0]
    assert face.landmarks.right_eye[1] < face.landmarks.nose[1] < face.landmarks.right_mouth[1]
    assert abs(face.roll) < 5


@pytest.mark.shared
@pytest.mark.parametrize("degrees", [-30.0, -20.0, 20.0, 30.0])
def test_yunet_finds_tilted_heads_where_they_are(yunet, astronaut, degrees):
    best = max(yunet.detect(turned(astronaut, degrees)), key=lambda face: face.score)
    assert best.box.iou(FACE) > 0.5


@pytest.mark.shared
def test_yunet_sees_rgb(yunet, astronaut):
    exchanged = np.ascontiguousarray(astronaut[..., ::-1])
    assert yunet.detect(astronaut)[0].score > yunet.detect(exchanged)[0].score


@pytest.mark.shared
@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (2000, 3), (20, 900), (40, 900), (200, 300)])
def test_yunet_without_a_face(yunet, shape):
    # Other pictures in between leave other remains in memory that a strip's search must not read.
    rng = np.random.default_rng(0)
    for _ in range(10):
        yunet.detect(rng.integers(0, 256, (*rng.integers(100, 600, 2), 3), np.uint8))
        assert yunet.detect(np.full((*shape, 3), 128, np.uint8)) == []


@pytest.mark.shared
def test_yunet_from_many_threads_with_many_sizes(yunet, astronaut):
    images = [astronaut[:, :side] for side in (300, 400, 512)] * 6
    expected = [yunet.detect(image) for image in images[:3]] * 6
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(yunet.detect, images)) == expected
