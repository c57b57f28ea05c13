"""The project's own detector: shipped network, card, turned and mirrored faces, rejected files."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from fer.analysis import DEFAULT_DETECTOR
from fer.cropping import Framing, crop_face, reference_square
from fer.detection import detector_names, load_detector
from fer.detection.card import DETECTOR_CARD_FILE, DetectorCard, load_detector_card
from fer.detection.decoding import prepare_image
from fer.detection.kv_face import KvFaceDetector, find_faces, kv_face_folder, network_file, onnx_runner
from fer.faces import Box, Detection
from fer.images import RgbImage
from fer.model_card import GOLDEN_FILE, INT8_FILE, ONNX_FILE, UnknownModelError, WeightsMismatchError
from fer.model_shelf import list_weights, weights_shelf

FACE = Box(178, 62, 268, 176)  # by eye: hairline to chin

pytestmark = [
    pytest.mark.golden,
    pytest.mark.skipif(not kv_face_folder().is_dir(), reason="needs the weights of kv_face"),
]


@pytest.fixture(scope="module")
def detector() -> KvFaceDetector:
    return KvFaceDetector()


def turned(image: RgbImage, degrees: float) -> RgbImage:
    """Turned clockwise around the face, whose middle stays."""
    matrix = cv2.getRotationMatrix2D(FACE.centre, -degrees, 1.0)
    size_wh = image.shape[1], image.shape[0]
    return np.asarray(cv2.warpAffine(image, matrix, size_wh, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)


def test_it_is_the_default():
    assert load_detector(DEFAULT_DETECTOR).name == "kv_face"
    assert load_detector("auto").name == "kv_face"
    assert "kv_face" in detector_names()


def test_no_list_of_classifiers_shows_it():
    assert kv_face_folder().name not in list_weights()


def test_the_network_answers_as_it_did_when_it_was_exported():
    folder = kv_face_folder()
    from safetensors.numpy import load_file  # noqa: PLC0415

    golden = load_file(folder / GOLDEN_FILE)
    cells = onnx_runner(folder / ONNX_FILE)(golden["images"])
    # Other processors add in another order; a thousandth of a cell is far below what boxes need.
    np.testing.assert_allclose(cells, golden["cells"], atol=2e-3)


@pytest.mark.parametrize("live", [False, True], ids=["photo", "live"])
def test_one_face_with_landmarks(astronaut, live):
    [face] = KvFaceDetector(live=live).detect(astronaut)
    assert face.box.iou(FACE) > 0.6
    assert face.score > 0.5
    assert abs(face.roll) < 12
    assert face.landmarks is not None
    assert face.landmarks.right_eye[0] < face.landmarks.nose[0] < face.landmarks.left_eye[0]
    assert face.landmarks.right_eye[1] < face.landmarks.nose[1] < face.landmarks.right_mouth[1]


@pytest.mark.parametrize("degrees", [-60, -45, -30, -15, 15, 30, 45, 60])
def test_turned_faces_are_found_with_their_roll(detector, astronaut, degrees):
    upright = max(detector.detect(astronaut), key=lambda face: face.score).roll
    best = max(detector.detect(turned(astronaut, degrees)), key=lambda face: face.score)
    assert best.box.iou(FACE) > 0.45
    assert abs(best.roll - upright - degrees) < 12


def test_a_turned_face_is_cropped_upright(detector, astronaut):
    crops = []
    for image in (astronaut, turned(astronaut, 40)):
        best = max(detector.detect(image), key=lambda face: face.score)
        crops.append(crop_face(image, reference_square(best, detector.framing)))
    small = [cv2.resize(crop, (24, 24), interpolation=cv2.INTER_AREA).astype(float).ravel() for crop in crops]
    # The same face at the same place: 0.85 leaves room for a few pixels and degrees.
    assert np.corrcoef(small[0], small[1])[0, 1] > 0.85


def test_a_mirrored_picture_gives_mirrored_faces(detector, astronaut):
    [face] = detector.detect(astronaut)
    [mirrored] = detector.detect(np.ascontiguousarray(astronaut[:, ::-1]))
    back = Box(512 - mirrored.box.right, mirrored.box.top, 512 - mirrored.box.left, mirrored.box.bottom)
    assert face.box.iou(back) > 0.8
    assert mirrored.landmarks is not None
    assert mirrored.landmarks.right_eye[0] < mirrored.landmarks.left_eye[0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (31, 33), (480, 640), (3000, 40)])
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_no_face_is_an_empty_list(detector, shape, grey):
    assert detector.detect(np.full((*shape, 3), grey, np.uint8)) == []


def test_fifty_faces(detector, astronaut):
    face = cv2.resize(astronaut[20:240, 110:330], (64, 64), interpolation=cv2.INTER_AREA)
    found = detector.detect(np.tile(face, (5, 10, 1)))
    assert len(found) >= 45
    assert [d.box.area for d in found] == sorted((d.box.area for d in found), reverse=True)


def test_a_face_at_the_border_is_found(detector, astronaut):
    cut = np.ascontiguousarray(astronaut[80:400, 190:])
    [face] = detector.detect(cut)
    assert face.box.iou(Box(178 - 190, 62 - 80, 268 - 190, 176 - 80)) > 0.4
    assert crop_face(cut, reference_square(face, detector.framing)).size


@pytest.mark.parametrize("share", [1.1, 0.9, 0.8])
@pytest.mark.parametrize("bars", [(0, 0), (0, 60), (60, 60)], ids=["as it is", "between bars", "framed"])
@pytest.mark.parametrize("grey", [0, 255])
def test_a_face_that_fills_the_picture_is_found(detector, astronaut, share, bars, grey):
    x, y = map(round, FACE.centre)
    half = round(share * (FACE.width + FACE.height) / 4)
    down, across = bars
    part = astronaut[y - half : y + half, x - half : x + half]
    framed = np.pad(part, ((down, down), (across, across), (0, 0)), constant_values=grey)
    [face] = detector.detect(framed)
    right, lower = half + across - x, half + down - y  # from the photo's pixels to those of the picture
    expected = Box(FACE.left + right, FACE.top + lower, FACE.right + right, FACE.bottom + lower)
    assert face.box.iou(expected) > 0.4


def group(
    astronaut: RgbImage, size_wh: tuple[int, int], face_side: int, places: list[tuple[int, int]]
) -> RgbImage:
    """A grey photo with the astronaut's head, ``face_side`` pixels with its surroundings, at each place."""
    head = cv2.resize(astronaut[0:256, 100:356], (face_side, face_side), interpolation=cv2.INTER_AREA)
    photo = np.full((size_wh[1], size_wh[0], 3), 110, np.uint8)
    for left, top in places:
        photo[top : top + face_side, left : left + face_side] = head
    return photo


@pytest.mark.parametrize("live", [False, True])
def test_fewer_candidates_of_live_frames_are_verified(live, astronaut, monkeypatch):
    detector, asked = KvFaceDetector(live=live), []

    def find(*_, least_score, **__):
        asked.append(least_score)
        return []

    monkeypatch.setattr("fer.detection.kv_face.find_faces", find)
    assert detector.detect(astronaut) == []
    settings = detector.card.verification
    assert asked[0] == (settings.live_candidate_score if live else settings.candidate_score)
    assert settings.candidate_score < settings.live_candidate_score


def test_small_faces_beside_others_are_looked_for_again(detector, astronaut):
    places = [(left, top) for top in range(20, 620, 136) for left in range(20, 1180, 136)]
    photo = group(astronaut, (1280, 720), 80, places)
    assert len(detector.detect(photo)) == len(places)
    photo = group(astronaut, (1280, 720), 60, places)
    assert len(KvFaceDetector(live=True).detect(photo)) < 0.7 * len(places)
    assert len(detector.detect(photo)) == len(places)


def test_parts_of_a_large_photo_find_each_face_once(astronaut):
    places = [(left, top) for top in range(10, 1800, 170) for left in range(10, 2800, 170)]
    photo = group(astronaut, (3000, 2000), 90, places)
    found = KvFaceDetector(thorough=True).detect(photo)
    expected = [Box(left + 27, top + 22, left + 59, top + 62) for left, top in places]
    assert all(sum(face.box.iou(box) > 0.3 for face in found) == 1 for box in expected)
    assert len(found) <= 1.01 * len(places)


def test_a_thorough_search_finds_a_small_face_alone_in_a_large_photo(detector, astronaut):
    photo = group(astronaut, (3000, 2000), 70, [(2500, 1400)])
    assert detector.detect(photo) == []
    [face] = KvFaceDetector(thorough=True).detect(photo)
    assert face.box.iou(Box(2521, 1417, 2546, 1448)) > 0.4


@pytest.mark.parametrize(
    ("settings", "size", "count"),
    [({}, (640, 480), 1), ({}, (1500, 1000), 2), ({"live": True}, (1500, 1000), 1), ({"eager": True}, (900, 600), 1),
     ({"thorough": True}, (300, 200), 1), ({"thorough": True}, (640, 480), 3), ({"thorough": True}, (3000, 2000), 14)],
    ids=str,
)  # fmt: skip
def test_looks_at_a_photo_without_faces(settings, size, count):
    detector, shapes = KvFaceDetector(**settings), []
    run = detector._run
    detector._run = lambda images: (shapes.append(images.shape), run(images))[1]
    assert detector.detect(np.full((size[1], size[0], 3), 90, np.uint8)) == []
    assert len(shapes) == count
    assert max(shape[2] * shape[3] for shape in shapes) <= 1024**2


def test_from_many_threads(detector, astronaut):
    images = [astronaut[:, :side] for side in (300, 400, 512)] * 6
    expected = [detector.detect(image) for image in images[:3]] * 6
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(detector.detect, images)) == expected


@pytest.mark.parametrize("degrees", [0, 40])
def test_eight_bit_integers_find_the_face_where_single_precision_does(astronaut, degrees):
    folder, image = kv_face_folder(), turned(astronaut, degrees)
    settings = {"longest_side": 352, "least_score": 0.55}
    [single] = find_faces(onnx_runner(folder / ONNX_FILE), image, **settings)
    [integers] = find_faces(onnx_runner(folder / INT8_FILE), image, **settings)
    assert integers.box.iou(single.box) > 0.85
    assert integers.roll == pytest.approx(single.roll, abs=5)


class TestFiles:
    @pytest.fixture
    def copied(self, tmp_path):
        return shutil.copytree(kv_face_folder(), tmp_path / "kv_face.copy")

    def test_another_network_is_refused(self, copied):
        used = network_file(copied, load_detector_card(copied))
        used.write_bytes(used.read_bytes() + b" ")
        with pytest.raises(WeightsMismatchError, match="does not match its card"):
            KvFaceDetector(copied)

    def test_a_classifier_is_no_detector(self, copied):
        classifier = next(path.parent for path in weights_shelf().glob("*/card.json"))
        with pytest.raises(WeightsMismatchError, match="is not a detector"):
            onnx_runner(classifier / ONNX_FILE)

    @pytest.mark.parametrize("missing", [INT8_FILE, DETECTOR_CARD_FILE])
    def test_missing_files_are_named(self, copied, missing):
        (copied / missing).unlink()
        with pytest.raises(UnknownModelError, match=missing):
            KvFaceDetector(copied)

    @pytest.mark.parametrize(
        "change", [{"format": 99}, {"least_score": 0}, {"photo_side": 1}, {"surprise": 1}, {"framing": 3}]
    )
    def test_a_card_that_makes_no_sense_is_refused(self, copied, change):
        path = copied / DETECTOR_CARD_FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(UnknownModelError, match="is not a valid card"):
            load_detector_card(copied)

    def test_a_card_is_read_as_it_was_written(self, tmp_path):
        card = DetectorCard("kv_face.x", "kv_face", 0.4, 480, 320, Framing(1.1, 0.0, 0.02), {"a": "b"})
        card.save(tmp_path)
        assert load_detector_card(tmp_path) == card


@pytest.mark.parametrize("size", [(1, 40_000), (40_000, 1), (2, 70_000), (300, 33_000)], ids=str)
def test_strips_longer_than_opencv_warps_are_searched(size):
    batch, enlarge = prepare_image(np.full((*size, 3), 90, np.uint8), 320)
    assert batch.shape[2:] == tuple(32 if side < 1000 else 320 for side in size)
    assert enlarge == pytest.approx(max(size) / 320)  # one division less or more
    assert batch.max() == 90


def test_a_place_that_only_the_coarser_look_sees_is_dropped(monkeypatch):
    face, cloth = Detection(Box(10, 10, 40, 50), 0.9), Detection(Box(100, 60, 160, 130), 0.85)
    doubt, huge = Detection(Box(12, 10, 40, 48), 0.1), Detection(Box(200, 140, 640, 640), 0.9)
    detector = KvFaceDetector(thorough=True)
    looks = {320: [huge, face, cloth], 512: [doubt], 640: []}
    monkeypatch.setattr(detector, "_look", lambda image, side: looks[side])
    assert detector.detect(np.zeros((640, 640, 3), np.uint8)) == [huge, face]
