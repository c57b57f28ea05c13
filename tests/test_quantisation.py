import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fer.classification import EmotionClassifier
from fer.model_card import INT8_FILE, ONNX_FILE, Head, ModelCard, Preprocessing, load_card
from fer.model_shelf import DEFAULT_WEIGHTS, find_weights
from fer.networks import ExpressionNetwork
from fer.onnx_session import open_session
from tests.toy_faces import WORDS, toy_face
from training import weights_folder
from training.data.targets import HEAD_LABELS
from training.metrics import other_limit
from training.quantisation import SAMPLE_FILE, accuracies, quantise, save_sample


def toy_crops(count: int) -> np.ndarray:
    return np.stack([toy_face(WORDS[i % len(WORDS)], i)[None] for i in range(count)])


def make_network(*, mirror: bool, inner: float = 1.0) -> ExpressionNetwork:
    torch.manual_seed(0)
    return ExpressionNetwork("kv_fast", {"crowd": 7}, mirror_average=mirror, inner_view=inner).eval()


def make_card(*, mirror: bool, inner: float = 1.0) -> ModelCard:
    return ModelCard(
        "kv_fast.toy",
        "kv_fast",
        Preprocessing(),
        (Head("crowd", HEAD_LABELS["crowd"]),),
        "crowd",
        mirror_average=mirror,
        inner_view=inner,
    )


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    crops = toy_crops(40)
    labels = [HEAD_LABELS["crowd"][i % 6] for i in range(40)]
    save_sample(tmp_path / SAMPLE_FILE, crops, crops, {"crowd": labels})
    return tmp_path / SAMPLE_FILE


@pytest.fixture
def exported(tmp_path: Path, sample: Path) -> Path:
    card, network = make_card(mirror=True, inner=0.83), make_network(mirror=True, inner=0.83)
    weights_folder.write_weights(tmp_path / card.name, network, weights_folder.Export(card, sample=sample))
    return tmp_path / card.name


def test_a_mirror_image_gets_the_same_answer_where_both_are_averaged() -> None:
    crops = torch.from_numpy(toy_crops(6))
    with torch.inference_mode():
        averaged, plain = make_network(mirror=True), make_network(mirror=False)
        here, there = averaged.probabilities(crops)["crowd"], averaged.probabilities(crops.flip(-1))["crowd"]
        torch.testing.assert_close(here, there, atol=1e-5, rtol=0)  # sums in another order
        assert (plain.probabilities(crops)["crowd"] - here).abs().max() > 1e-4
        both = (plain(crops)["crowd"] + plain(crops.flip(-1))["crowd"]) / 2
        torch.testing.assert_close(averaged.judged_logits(crops)["crowd"], both, atol=1e-4, rtol=0)


def test_the_middle_of_a_crop_is_looked_at_besides() -> None:
    crops = torch.from_numpy(toy_crops(6))
    plain, closer = make_network(mirror=False), make_network(mirror=False, inner=40 / 48)
    whole, inner = closer.views(crops)
    assert whole.shape == inner.shape == crops.shape
    # A corner of the middle is a corner of the view: both are the same face, the second one nearer.
    torch.testing.assert_close(inner[0, 0, 0, 0], crops[0, 0, 4, 4].float(), atol=2.0, rtol=0)
    with torch.inference_mode():
        both = (plain(whole)["crowd"] + plain(inner)["crowd"]) / 2
        torch.testing.assert_close(closer.judged_logits(crops)["crowd"], both, atol=1e-4, rtol=0)
        assert (plain(crops)["crowd"] - both).abs().max() > 1e-4


def test_all_views_of_a_face_are_mirrored() -> None:
    views = make_network(mirror=True, inner=0.75).views(torch.from_numpy(toy_crops(2)))
    assert len(views) == 4
    assert all(torch.equal(views[i].flip(-1), views[i + 2]) for i in range(2))


@pytest.mark.parametrize("engine", ["onnx", "onnx-float32", "torch"])
def test_every_engine_averages_both_images(exported: Path, engine) -> None:
    classifier = EmotionClassifier(exported, engine=engine)
    crops = toy_crops(5)
    mirrored = np.ascontiguousarray(crops[..., ::-1])
    here, there = classifier.probabilities(crops), classifier.probabilities(mirrored)
    np.testing.assert_allclose(here, there, atol=1e-4)


def test_integers_ship_with_their_figures_where_they_cost_nothing(exported: Path, sample: Path) -> None:
    figures = json.loads((exported / "run" / "report.json").read_text())["int8"]
    assert figures["shipped"] == (INT8_FILE in load_card(exported).files) == (exported / INT8_FILE).is_file()
    assert figures["float32_accuracy"] == accuracies(exported, sample, ONNX_FILE)
    crops = toy_crops(8)
    single = EmotionClassifier(exported, engine="onnx-float32").probabilities(crops)
    integers = EmotionClassifier(exported).probabilities(crops)
    np.testing.assert_allclose(integers, single, atol=0.1)  # an untrained network, eight bits


def test_the_integers_favour_no_expression(tmp_path: Path) -> None:
    folder = find_weights(DEFAULT_WEIGHTS)
    preprocessing = load_card(folder).preprocessing
    shape = (preprocessing.channel_count, preprocessing.size, preprocessing.size)
    crops = np.stack([np.broadcast_to(cv2.resize(crop[0], shape[1:]), shape) for crop in toy_crops(64)])
    quantise(folder / ONNX_FILE, tmp_path / INT8_FILE, crops)
    single, integers = (
        np.log(open_session(path).run(["six"], {"crops": crops})[0])
        for path in (folder / ONNX_FILE, tmp_path / INT8_FILE)
    )
    shift = (integers - single).mean(axis=0)
    assert np.abs(shift - shift.mean()).max() < 0.002  # 0.024 without the correction


def test_traces_of_weight_decay_are_zero_in_exported_weights(tmp_path: Path) -> None:
    card, network = make_card(mirror=False), make_network(mirror=False)
    crops = torch.from_numpy(toy_crops(3))
    with torch.inference_mode():
        network.trunk[0].weight[0] = 1e-39
        network.heads["crowd"].weight[2, 5] = -1e-25
        network.heads["crowd"].weight[2, 6] = -1e-6
        before = network.probabilities(crops)["crowd"].clone()
    weights_folder.write_weights(tmp_path / card.name, network, weights_folder.Export(card))
    stored = load_file(tmp_path / card.name / "model.safetensors")
    assert stored["heads.crowd.weight"][2, 5:7].tolist() == [0.0, pytest.approx(-1e-6)]
    assert not stored["trunk.0.weight"][0].any()
    after = EmotionClassifier(tmp_path / card.name, engine="onnx-float32").probabilities(crops.numpy())
    np.testing.assert_allclose(after, before.numpy(), atol=1e-5)


def test_integers_that_cost_accuracy_stay_behind(tmp_path: Path, sample: Path, monkeypatch) -> None:
    monkeypatch.setattr(weights_folder, "LARGEST_LOSS", -1.0)
    card = make_card(mirror=False)
    weights_folder.write_weights(
        tmp_path / card.name, make_network(mirror=False), weights_folder.Export(card, sample=sample)
    )
    assert not (tmp_path / card.name / INT8_FILE).exists()
    assert INT8_FILE not in load_card(tmp_path / card.name).files
    weights_folder.check_golden(tmp_path / card.name)


def test_golden_check_looks_at_the_integers(exported: Path) -> None:
    card = load_card(exported)
    if INT8_FILE not in card.files:
        pytest.skip("the toy network lost accuracy to integers here")
    other = make_network(mirror=True)
    with torch.no_grad():
        other.heads["crowd"].bias += torch.tensor([5.0, 0, 0, 0, 0, 0, 0])
    crop = torch.from_numpy(weights_folder.golden_crop(card.preprocessing))
    with torch.inference_mode():
        golden = {"crop": crop, "probabilities.crowd": other.probabilities(crop)["crowd"]}
    save_file(golden, exported / "golden.safetensors")
    replace(card, files={k: v for k, v in card.files.items() if "golden" not in k}).save(exported)
    with pytest.raises(ValueError, match="differs from the trained network"):
        weights_folder.check_golden(exported)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        pytest.param([], 1.0, id="no faces: never"),
        pytest.param([0.0] * 999 + [0.9], 0.5, id="one in a thousand may go"),
        pytest.param([0.0] * 90 + [0.8] * 10, 0.8, id="a tenth may not"),
    ],
)
def test_the_limit_of_other_keeps_nearly_all_faces(shares: list[float], expected: float) -> None:
    assert other_limit(np.array(shares)) == pytest.approx(expected)


def test_a_few_images_without_a_face_do_not_let_every_false_detection_pass() -> None:
    shares = [0.0] * 900 + [0.7] * 95 + [0.999] * 5
    assert other_limit(np.array(shares)) == pytest.approx(0.7)
