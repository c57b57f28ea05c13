"""The complete pipeline with the shipped weights on real faces."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer import Emotion, FaceAnalyzer, load_analyzer
from fer.images import RgbImage, UnreadableImageError
from fer.model_shelf import find_weights, list_shipped_weights, weights_shelf
from training.evaluate import EvaluateOptions, evaluate
from training.weights_folder import check_golden

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module", params=["haar", "auto"])
def analyzer(request: pytest.FixtureRequest) -> FaceAnalyzer:
    return load_analyzer(detector=request.param)


def test_the_astronaut_is_one_happy_face(analyzer: FaceAnalyzer, astronaut: RgbImage) -> None:
    (face,) = analyzer.analyze(astronaut)
    assert face.prediction.emotion is Emotion.HAPPY
    assert face.prediction.confidence > 0.6
    assert face.track_id is None
    x, y = face.detection.box.centre
    assert abs(x - 222) < 25  # the middle between the eyes of this photograph
    assert abs(y - 120) < 35


def test_mirroring_changes_little(analyzer: FaceAnalyzer, astronaut: RgbImage) -> None:
    mirrored = np.ascontiguousarray(astronaut[:, ::-1])
    (face,) = analyzer.analyze(mirrored)
    assert face.prediction.emotion is Emotion.HAPPY


@pytest.mark.parametrize("turns", [1, 2, 3], ids=["90", "180", "270"])
def test_photos_stored_sideways_are_read_upright(
    analyzer: FaceAnalyzer, astronaut: RgbImage, turns: int, tmp_path: Path
) -> None:
    from fer.images import read_image  # noqa: PLC0415

    exif = Image.Exif()
    exif[0x0112] = {1: 6, 2: 3, 3: 8}[turns]
    Image.fromarray(np.rot90(astronaut, turns)).save(tmp_path / "a.png", exif=exif)
    (face,) = analyzer.analyze(read_image(tmp_path / "a.png"))
    assert face.prediction.emotion is Emotion.HAPPY


def test_a_face_that_the_border_cuts_off_needs_more_confidence(
    analyzer: FaceAnalyzer, astronaut: RgbImage
) -> None:
    (whole,) = analyzer.analyze(astronaut)
    box, head = whole.detection.box, analyzer.classifier.head
    middle = round(box.centre[0])
    cut = replace(box, left=box.left - middle, right=box.right - middle)
    (face,) = analyzer.read_faces(astronaut[:, middle:], [replace(whole.detection, box=cut)])
    assert whole.prediction.unsure_below == head.unsure_below
    assert face.prediction.unsure_below == head.unsure_below_small > head.unsure_below


def test_no_face_is_an_empty_list(analyzer: FaceAnalyzer) -> None:
    assert analyzer.analyze(np.full((240, 320, 3), 128, dtype=np.uint8)) == []
    assert analyzer.analyze(np.zeros((1, 1, 3), dtype=np.uint8)) == []


def test_what_is_no_image_is_refused(analyzer: FaceAnalyzer) -> None:
    with pytest.raises(UnreadableImageError, match="uint8"):
        analyzer.analyze(np.zeros((10, 10, 3), dtype=np.float32))


@pytest.mark.parametrize("name", list_shipped_weights())
def test_shipped_weights_answer_as_on_the_day_of_their_export(name: str) -> None:
    check_golden(weights_shelf() / name)


def test_the_shell_names_the_astronaut(astronaut: RgbImage, tmp_path: Path) -> None:
    Image.fromarray(astronaut).save(tmp_path / "a.jpg", quality=95)
    done = subprocess.run(
        [sys.executable, "-m", "fer", str(tmp_path / "a.jpg"), "--json"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    record = json.loads(done.stdout)
    assert (record["width"], record["height"]) == (512, 512)
    (face,) = record["faces"]
    assert face["emotion"] == "happy"
    assert face["confidence"] > 0.6
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.shared
@pytest.mark.slow
def test_the_default_weights_are_as_good_as_their_card_says(shared: Path) -> None:
    """Two sets of the stored suite, judged again by the command for single data sets."""
    stored = json.loads((find_weights("kv_fast.crowd") / "run" / "suite.json").read_text(encoding="utf-8"))
    assert stored["mean_balanced_accuracy"] >= 0.65
    for name, file, votes in (
        ("publictest_votes", "fer2013_publictest.parquet", True),
        ("rafdb", "rafdb.parquet", False),
    ):
        options = EvaluateOptions(
            weights="kv_fast.crowd", data=shared / "data" / file, split="val", votes=votes, classes="six"
        )
        report, expected = evaluate(options), stored["sets"][name]
        assert report["count"] == expected["count"]
        for figure in ("accuracy", "balanced_accuracy", "ece"):  # eight-bit sums differ between processors
            assert report[figure] == pytest.approx(expected[figure], abs=0.01)
