"""The export of a detector's run to a weights folder: card, network, golden sample, history."""

import io
import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from fer.cropping import Framing
from fer.detection.card import load_detector_card
from fer.detection.kv_face import KvFaceDetector, kv_face_folder, network_file
from fer.detection.verifier import VERIFIER_INT8_FILE
from fer.model_card import INT8_FILE, ONNX_FILE, WeightsMismatchError
from training.detector.export import DetectorExport, check_golden, export_run, main
from training.detector.network import ExportedDetector, KvFaceNetwork
from training.detector.quantisation import add_integers, share_alike
from training.detector.verifier import VERIFIED_SIDE, VerifierNetwork
from training.run_files import BEST_FILE
from training.runs import RunWriter

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network() -> KvFaceNetwork:
    torch.manual_seed(0)
    return KvFaceNetwork().eval()


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    root = tmp_path_factory.mktemp("detector")
    environment = {"data": {"photos.parquet": "abc"}}
    with RunWriter(
        root / "run", {"architecture": "kv_face", "photos": "/far/photos.parquet"}, environment, 1
    ) as run:
        save_file(
            {name: value.contiguous() for name, value in network.state_dict().items()}, run.folder / BEST_FILE
        )
        run.add_epoch({"epoch": 1, "train_loss": 2.0})
        run.add_report({"val_web_recall": 0.5})
    return export_run(DetectorExport(run=root / "run", tag="test", weights=root / "weights", scale=1.2))


def test_the_folder_is_whole(exported):
    assert exported.name == "kv_face.test"
    assert {path.name for path in exported.iterdir()} == {
        "README.md", "detector.json", "golden.safetensors", "model.onnx", "model.safetensors", "run",
    }  # fmt: skip
    assert "Not measured yet" in (exported / "README.md").read_text()
    config = json.loads((exported / "run" / "config.json").read_text())
    assert config == {"architecture": "kv_face", "photos": "photos.parquet"}  # no machine's folders
    assert b"training/detector" not in (exported / ONNX_FILE).read_bytes()  # nor its source files
    card = KvFaceDetector(exported).card
    assert card.framing == Framing(1.2, 0.0, 0.0)
    assert card.data_sets == ({"name": "photos.parquet", "sha256": "abc"},)


@pytest.mark.parametrize("shape", [(64, 64), (64, 96), (256, 320), (736, 96)])
def test_any_size_answers_as_the_network_does(exported, network, shape):
    images = np.random.default_rng(0).integers(0, 256, (1, 3, *shape), dtype=np.uint8)
    with torch.inference_mode():
        expected = ExportedDetector(network)(torch.from_numpy(images)).numpy()
    found = KvFaceDetector(exported)._run(images)
    np.testing.assert_allclose(found, expected, atol=1e-3)  # additions in another order


@pytest.mark.parametrize("shape", [(1, 1), (30, 500), (31, 33), (600, 20)])
def test_pictures_of_any_shape_are_searched(exported, shape):
    assert isinstance(KvFaceDetector(exported).detect(np.zeros((*shape, 3), np.uint8)), list)


def test_another_network_is_noticed(exported):
    path = exported / ONNX_FILE
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-1])
        with pytest.raises(WeightsMismatchError):
            check_golden(exported)
    finally:
        path.write_bytes(content)


def test_integers_are_kept_where_they_find_the_same_boxes(
    network, exported, astronaut, tmp_path, monkeypatch
):
    """A network without training finds nothing: alike. Where two find different boxes the integers go."""
    buffer = io.BytesIO()
    Image.fromarray(astronaut).save(buffer, "PNG")
    photos = tmp_path / "photos.parquet"
    pd.DataFrame({"image": [{"bytes": buffer.getvalue()}] * 2, "faces": ["[]"] * 2}).to_parquet(photos)
    options = DetectorExport(
        run=exported.parent.parent / "run", weights=tmp_path, photos=str(photos), photo_side=96
    )
    kept = export_run(options)
    assert network_file(kept, load_detector_card(kept)).name == INT8_FILE
    assert isinstance(KvFaceDetector(kept).detect(astronaut), list)
    monkeypatch.setattr("training.detector.quantisation.share_alike", lambda *_, **__: 0.9)
    refused = export_run(options)
    assert network_file(refused, load_detector_card(refused)).name == ONNX_FILE
    assert not (refused / INT8_FILE).exists()


def test_the_verifier_keeps_integers_that_decide_alike(network, astronaut, tmp_path, monkeypatch, caplog):
    torch.manual_seed(0)
    for name, trained in (("run", network), ("verifier", VerifierNetwork().eval())):
        with RunWriter(tmp_path / name, {}, {}, 1) as run:
            save_file(
                {key: value.contiguous() for key, value in trained.state_dict().items()},
                run.folder / BEST_FILE,
            )
    folder = export_run(
        DetectorExport(run=tmp_path / "run", verifier=(tmp_path / "verifier",), weights=tmp_path)
    )
    card = load_detector_card(folder)
    crops = np.random.default_rng(0).integers(0, 256, (70, VERIFIED_SIDE, VERIFIED_SIDE, 3), np.uint8)
    module = "training.detector.quantisation"
    monkeypatch.setattr(f"{module}._candidate_crops", lambda *_: crops)
    caplog.set_level("INFO")
    kept = add_integers(folder, card, [astronaut] * 2)
    assert VERIFIER_INT8_FILE in kept.files
    assert "verifier.int8.onnx decides alike on" in caplog.text
    kept.save(folder)
    assert isinstance(KvFaceDetector(folder).detect(astronaut), list)
    monkeypatch.setattr(f"{module}._candidate_crops", lambda *_: crops[:0])  # nothing to compare
    (folder / VERIFIER_INT8_FILE).unlink()
    assert VERIFIER_INT8_FILE not in add_integers(folder, card, [astronaut] * 2).files
    assert not (folder / VERIFIER_INT8_FILE).exists()


@pytest.mark.golden
def test_networks_are_compared_by_the_boxes_that_both_find(exported, astronaut):
    networks = [kv_face_folder() / name for name in (ONNX_FILE, INT8_FILE)]
    if not networks[1].is_file():
        pytest.skip("needs the weights of kv_face")
    settings = {"longest_side": 320, "least_score": 0.55}
    empty = np.zeros_like(astronaut)
    assert share_alike(*networks, [astronaut, empty], **settings) == 1.0
    assert share_alike(*networks, [empty], **settings) == 1.0
    assert share_alike(networks[0], exported / ONNX_FILE, [astronaut], **settings) == 0.0


def test_a_run_without_weights_is_told(tmp_path, capsys):
    with RunWriter(tmp_path / "run", {}, {}, 1):
        pass
    assert main(["--run", str(tmp_path / "run"), "--weights", str(tmp_path)]) == 1
    assert "no weights yet" in capsys.readouterr().err
