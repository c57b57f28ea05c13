"""Exported and adopted weights: complete, correct, and rejected if corrupt."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from toy_faces import SIX_WORDS, toy_face

from fer.classification import EmotionClassifier
from fer.faces import Prediction
from fer.model_card import (
    INT8_FILE,
    ONNX_FILE,
    UnknownModelError,
    WeightsMismatchError,
    load_card,
)
from fer.networks import ExpressionNetwork
from fer.preprocessing import prepare_crops
from training import adopt, evaluate, export, weights_folder
from training.run_files import RunState
from training.runs import read_run


def test_exported_weights_answer_like_the_trained_network(weights: Path, data: Path) -> None:
    weights_folder.check_golden(weights)
    face = np.repeat(toy_face("happy", 5)[:, :, None], 3, axis=2)
    by_onnx = EmotionClassifier(weights, engine="onnx-float32").classify([face])[0]
    by_torch = EmotionClassifier(weights, engine="torch").classify([face])[0]
    np.testing.assert_allclose(by_onnx.probabilities, by_torch.probabilities, atol=1e-4)  # two engines
    assert by_onnx.emotion == "happy"
    assert float(by_onnx.probabilities.sum()) == pytest.approx(1, abs=1e-5)
    assert 0 <= by_onnx.other <= 1


def test_weights_folder_is_complete_and_names_no_folder_of_this_machine(weights: Path) -> None:
    names = {str(path.relative_to(weights)) for path in weights.rglob("*") if path.is_file()}
    assert names - {INT8_FILE} == {  # integers are left out where they cost accuracy
        "README.md", "card.json", "golden.safetensors", "model.onnx", "model.safetensors",
        "run/config.json", "run/environment.json", "run/epochs.jsonl", "run/report.json",
    }  # fmt: skip
    here = Path(export.__file__).parent.parent
    for path in (*(weights / "run").iterdir(), weights / ONNX_FILE, weights / "card.json"):
        content = path.read_bytes()
        assert str(weights.parent.parent).encode() not in content
        assert str(here).encode() not in content
    assert read_run(weights / "run").state is RunState.FINISHED


def test_all_faces_in_one_batch_are_read_as_one_by_one(weights: Path) -> None:
    classifier = EmotionClassifier(weights)
    faces = [np.repeat(toy_face(word, 3)[:, :, None], 3, axis=2) for word in SIX_WORDS]
    together, alone = classifier.classify(faces), [classifier.classify([face])[0] for face in faces]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)  # other batch size
    assert classifier.classify([]) == []


def test_permuting_the_cards_labels_permutes_predictions(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / weights.name
    shutil.copytree(weights, folder)
    card = load_card(folder)
    head = card.head("crowd")
    turned = replace(head, labels=(*head.labels[1:-1], head.labels[0], head.labels[-1]))
    replace(card, heads=(turned, *card.heads[1:])).save(folder)
    face = np.repeat(toy_face("happy", 5)[:, :, None], 3, axis=2)

    def ordered(at: Path) -> Prediction:
        return EmotionClassifier(at).classify([face])[0]

    plain, permuted = ordered(weights), ordered(folder)
    np.testing.assert_array_equal(plain.probabilities, permuted.probabilities)
    assert permuted.emotion == turned.labels[head.labels.index(plain.emotion)]


def _spoil(folder: Path) -> None:
    for name in (ONNX_FILE, INT8_FILE):
        with (folder / name).open("ab") as file:
            file.write(b"x")


def _remove_networks(folder: Path) -> None:
    for path in folder.glob("*.onnx"):
        path.unlink()


def _drop_label(folder: Path) -> None:
    card = load_card(folder)
    head = card.head("crowd")
    replace(card, heads=(replace(head, labels=head.labels[1:]), *card.heads[1:])).save(folder)


@pytest.mark.parametrize(
    ("damage", "error", "expected"),
    [
        pytest.param(_remove_networks, UnknownModelError, "no model.*onnx", id="no network"),
        pytest.param(lambda f: (f / "card.json").unlink(), UnknownModelError, "no card.json", id="no card"),
        pytest.param(lambda f: (f / "card.json").write_text("{"), UnknownModelError, "is not a valid card", id="half a card"),
        pytest.param(_spoil, WeightsMismatchError, "does not match its card",
                     id="another network"),
        pytest.param(lambda f: _drop_label(f), WeightsMismatchError, "has outputs", id="other labels than outputs"),
    ],
)  # fmt: skip
def test_unusable_weights_are_refused(weights: Path, tmp_path: Path, damage, error, expected: str) -> None:
    folder = tmp_path / weights.name
    shutil.copytree(weights, folder)
    damage(folder)
    with pytest.raises(error, match=expected):
        EmotionClassifier(folder)


def test_the_origins_weight_file_becomes_a_model(tmp_path: Path) -> None:
    network = ExpressionNetwork("kv_cnn", {"x": 6}, channels=3).eval()
    tensors = {k: v for k, v in network.state_dict().items() if k.startswith(("trunk.", "heads."))}
    torch.save(
        {"state_dict": {f"renamed{i}": t for i, t in enumerate(tensors.values())}}, tmp_path / "old.pth"
    )
    words = ["Happy", "angry", "sadness", "neutral", "surprise", "fear"]
    arguments = [str(tmp_path / "old.pth"), "--labels", *words, "--mean", "0.5", "0.4", "0.3",
                 "--std", "0.2", "0.2", "0.2", "--weights", str(tmp_path / "weights")]  # fmt: skip
    assert adopt.main(arguments) == 0
    classifier = EmotionClassifier(tmp_path / "weights" / "kv_cnn.adopted")
    assert classifier.head.labels == ("happy", "angry", "sad", "neutral", "surprised", "fearful")
    crop = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    batch = prepare_crops([crop], classifier.card.preprocessing)
    pixels = torch.from_numpy(batch).float() / 255
    means = torch.tensor([0.5, 0.4, 0.3])[:, None, None]
    features = network.trunk((pixels - means) / 0.2)
    expected = torch.softmax(network.heads["x"](features), dim=1).detach().numpy()
    np.testing.assert_allclose(classifier.probabilities(batch), expected, atol=1e-4)  # two engines


@pytest.mark.parametrize(
    ("state", "labels", "expected"),
    [
        pytest.param({"a": torch.zeros(3)}, ["happy", "sad"], "begin with a convolution", id="another network"),
        pytest.param([1, 2], ["happy", "sad"], "expected a state dictionary", id="no dictionary"),
        pytest.param({"a": torch.zeros(64, 3, 3, 3)}, ["happy", "glum"], "unknown expression 'glum'", id="label"),
    ],
)  # fmt: skip
def test_other_weight_files_are_refused(tmp_path: Path, capsys, state, labels, expected: str) -> None:
    torch.save(state, tmp_path / "x.pth")
    assert adopt.main([str(tmp_path / "x.pth"), "--labels", *labels, "--weights", str(tmp_path / "w")]) == 1
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_golden_check_notices_another_network(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / weights.name
    shutil.copytree(weights, folder)
    from safetensors.torch import load_file  # noqa: PLC0415

    golden = load_file(folder / "golden.safetensors")
    golden["probabilities.crowd"] = golden["probabilities.crowd"].roll(1, dims=1)
    save_file(golden, folder / "golden.safetensors")
    with pytest.raises(WeightsMismatchError, match="differs from the trained network"):
        weights_folder.check_golden(folder)


def test_the_exported_head_has_shift_and_temperature_inside(run: Path, weights: Path, data: Path) -> None:
    stored = read_run(run).report
    assert stored is not None
    assert max(abs(value) for value in stored["heads"]["crowd"]["logit_shift"]) > 0
    options = evaluate.EvaluateOptions(weights=str(weights), data=data, split="val", engine="onnx-float32")
    again = evaluate.evaluate(options)
    for name in ("accuracy", "nll", "ece"):
        assert again[name] == pytest.approx(stored["heads"]["crowd"][name], abs=1e-3)  # two engines
