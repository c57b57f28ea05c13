"""The verifier in use: size, joint score, exported files."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from toy_scenes import ASTRONAUT_FACE, toy_place

from fer.cropping import Framing, reference_square
from fer.detection.card import load_detector_card
from fer.detection.kv_face import KvFaceDetector
from fer.detection.verifier import (
    VERIFIER_FILE,
    FaceVerifier,
    Verification,
    verified_crop,
)
from fer.model_card import ONNX_FILE, WeightsMismatchError
from training.detector.export import DetectorExport, check_golden, export_run
from training.detector.network import KvFaceNetwork
from training.detector.verifier import (
    VERIFIED_MARGIN,
    VERIFIED_SIDE,
    VerifierNetwork,
    golden_crops,
    load_verifier,
    mean_verifier,
    verification_of,
    write_verifier,
)
from training.run_files import BEST_FILE
from training.runs import RunWriter

FRAMING = Framing(1.0, 0.0, 0.0)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def verification(trust=1.0) -> Verification:
    return Verification(0.2, trust, VERIFIED_SIDE, VERIFIED_MARGIN)


def test_the_network_fits_beside_the_detector():
    count = sum(p.numel() for net in (VerifierNetwork(), KvFaceNetwork()) for p in net.parameters())
    assert count <= 1_600_000


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("verifier")
    write_verifier(VerifierNetwork().eval(), folder)
    return folder / VERIFIER_FILE


class TestMirrorImages:
    def test_candidates_that_the_first_view_rejects_are_not_viewed_again(self, path, astronaut, monkeypatch):
        counts = []

        def logits(self, crops):
            counts.append(len(crops))
            return np.where(crops[:, 0, 0, 0] < 255, 1.0, -9.0).astype(np.float32)

        monkeypatch.setattr(FaceVerifier, "logits", logits)
        image = astronaut.copy()
        image[300:, :100] = 255
        places = [toy_place(*ASTRONAUT_FACE, score=0.5), toy_place(10, 400, 60, 450, score=0.5)]
        face, other = FaceVerifier(path, verification(), FRAMING).verify(image, places)
        assert counts == [2, 1]
        assert face.score > 0.5 > other.score

    def test_the_mirrored_crop_may_show_more(self, path, astronaut):
        place = toy_place(*ASTRONAUT_FACE)
        settings = replace(verification(), mirrored_margin=0.8)
        crop, wide = (
            FaceVerifier(path, settings, FRAMING).crops(astronaut, [place], mirrored=mirrored)[0]
            for mirrored in (False, True)
        )
        expected = verified_crop(astronaut, reference_square(place, FRAMING), margin=0.8, side=VERIFIED_SIDE)
        np.testing.assert_array_equal(wide[:, ::-1], expected)
        assert np.abs(wide[:, ::-1].astype(int) - crop).mean() > 5
        alike = FaceVerifier(path, verification(), FRAMING).crops(astronaut, [place], mirrored=True)[0]
        np.testing.assert_array_equal(alike[:, ::-1], crop)


def test_the_weights_of_several_trainings_are_averaged(tmp_path):
    runs = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        with RunWriter(tmp_path / str(seed), {}, {}, 1) as run:
            save_file({name: value.contiguous() for name, value in VerifierNetwork().state_dict().items()},
                      run.folder / BEST_FILE)  # fmt: skip
        runs.append(tmp_path / str(seed))
    one, other = (load_verifier(run).state_dict() for run in runs)
    mean = mean_verifier(runs)
    assert not mean.training
    for name, value in mean.state_dict().items():
        torch.testing.assert_close(value, ((one[name].double() + other[name].double()) / 2).to(value.dtype))


class TestPicturesThatAFaceFills:
    @pytest.mark.parametrize(
        ("side", "margin"),
        [
            pytest.param(400, VERIFIED_MARGIN, id="with surroundings"),
            pytest.param(200, (200 / 137.5 - 1) / 2, id="no larger than the picture"),
            pytest.param(110, 0.0, id="the reference square at least"),
        ],
    )
    def test_the_crop_is_no_larger_than_the_picture(self, path, astronaut, side, margin):
        left, top, right, bottom = ASTRONAUT_FACE  # a reference square of 137.5 pixels
        x, y = (round((left + right) / 2), round((top + bottom) / 2))
        picture = np.ascontiguousarray(
            astronaut[max(y - side // 2, 0) :, max(x - side // 2, 0) :][:side, :side]
        )
        place = toy_place(left - max(x - side // 2, 0), top - max(y - side // 2, 0),
                          right - max(x - side // 2, 0), bottom - max(y - side // 2, 0))  # fmt: skip
        [crop] = FaceVerifier(path, verification(), FRAMING).crops(picture, [place])
        square = reference_square(place, FRAMING)
        np.testing.assert_array_equal(crop, verified_crop(picture, square, margin=margin, side=VERIFIED_SIDE))


class TestJointScore:
    def test_trust_moves_between_both_looks(self, path, astronaut):
        places = [toy_place(*ASTRONAUT_FACE, score=score) for score in (0.3, 0.9)]
        alone = FaceVerifier(path, verification(0.0), FRAMING).verify(astronaut, places)
        assert alone[0].score == pytest.approx(alone[1].score)
        joint = FaceVerifier(path, verification(), FRAMING).verify(astronaut, places)
        odds = [face.score / (1 - face.score) for face in (*alone[:1], *joint)]
        assert odds[1] / odds[0] == pytest.approx(0.3 / 0.7, rel=1e-3)
        assert odds[2] / odds[0] == pytest.approx(0.9 / 0.1, rel=1e-3)

    def test_a_place_outside_the_image_is_left_out(self, path, astronaut):
        verifier = FaceVerifier(path, verification(), FRAMING)
        places = [
            toy_place(900, 900, 950, 950),
            toy_place(*ASTRONAUT_FACE),
            toy_place(-60, -60, 8, 8, roll=40),
        ]
        assert [face.box for face in verifier.verify(astronaut, places)] == [p.box for p in places[1:]]
        assert verifier.verify(astronaut, places[:1]) == []

    def test_evidence_is_counted_from_the_even_score(self, path, astronaut):
        settings = replace(verification(), even_score=0.9)
        (face,) = FaceVerifier(path, settings, FRAMING).verify(astronaut, [toy_place(*ASTRONAUT_FACE)])
        assert face.score / (1 - face.score) == pytest.approx(9 * np.exp(face.evidence), rel=1e-3)
        (face,) = FaceVerifier(path, verification(), FRAMING).verify(astronaut, [toy_place(*ASTRONAUT_FACE)])
        assert face.evidence == 0.0

    def test_certainty_stays_finite(self, path, astronaut):
        verifier = FaceVerifier(path, verification(3.0), FRAMING)
        scores = [
            face.score
            for face in verifier.verify(astronaut, [toy_place(*ASTRONAUT_FACE, score=s) for s in (0.0, 1.0)])
        ]
        assert 0 <= scores[0] < scores[1] <= 1

    def test_any_number_of_crops(self, path):
        verifier = FaceVerifier(path, verification(), FRAMING)
        crops = golden_crops().transpose(0, 2, 3, 1)
        np.testing.assert_allclose(verifier.logits(crops)[:1], verifier.logits(crops[:1]), atol=1e-4)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"candidate_score": 0},
            {"candidate_score": 1},
            {"trust": -1},
            {"side": 8},
            {"margin": -0.1},
            {"mirrored_margin": 2.5},
            {"even_score": 1.0},
            {"live_candidate_score": 1},
        ],
        ids=str,
    )
    def test_wrong_numbers_are_refused(self, wrong):
        with pytest.raises(ValueError, match="expected"):
            Verification(**{"candidate_score": 0.2, "trust": 1.0} | wrong)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Networks as they begin: the detector finds next to nothing, the verifier believes half of it."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("export")
    for name, network in (("detector", KvFaceNetwork()), ("verifier", VerifierNetwork())):
        with RunWriter(root / name, {"photos": "/far/photos.parquet"}, {}, 1) as run:
            state = {key: value.contiguous() for key, value in network.state_dict().items()}
            save_file(state, run.folder / BEST_FILE)
            run.add_epoch({"epoch": 1, "train_loss": 2.0})
    options = DetectorExport(
        run=root / "detector", verifier=(root / "verifier",), trust=0.7, weights=root / "weights"
    )
    return export_run(options)


@pytest.mark.slow
class TestExport:
    def test_the_folder_is_whole(self, exported):
        card = load_detector_card(exported)
        assert card.verification == verification_of(0.25, 0.7)
        assert VERIFIER_FILE in card.files
        assert {path.name for path in (exported / "run" / "verifier").iterdir()} == {
            "config.json", "environment.json", "epochs.jsonl",
        }  # fmt: skip
        assert "0.7 times the detector's" in (exported / "README.md").read_text()
        assert (
            json.loads((exported / "run" / "verifier" / "config.json").read_text())["photos"]
            == "photos.parquet"
        )
        assert b"training/detector" not in (exported / VERIFIER_FILE).read_bytes()
        check_golden(exported)

    def test_it_is_used(self, exported, astronaut):
        assert isinstance(KvFaceDetector(exported).detect(astronaut), list)

    def test_another_verifier_is_refused(self, exported):
        path = exported / VERIFIER_FILE
        content = path.read_bytes()
        try:
            path.write_bytes(content + b" ")
            with pytest.raises(WeightsMismatchError, match="does not match its card"):
                KvFaceDetector(exported)
        finally:
            path.write_bytes(content)

    def test_a_detector_is_no_verifier(self, exported):
        with pytest.raises(WeightsMismatchError, match="is not a verifier"):
            FaceVerifier(exported / ONNX_FILE, verification(), FRAMING)

    def test_a_run_without_weights_is_told(self, tmp_path):
        with RunWriter(tmp_path / "run", {}, {}, 1):
            pass
        with pytest.raises(ValueError, match="no weights yet"):
            load_verifier(tmp_path / "run")

    def test_a_run_of_an_earlier_network_is_told(self, tmp_path):
        with RunWriter(tmp_path / "run", {"architecture": "kv_face_verifier"}, {}, 1) as run:
            save_file({"head.weight": torch.zeros(1, 48)}, run.folder / BEST_FILE)
        with pytest.raises(
            ValueError, match="trained with an earlier network of the verifier; train it again"
        ):
            load_verifier(tmp_path / "run")

    def test_runs_that_are_exchanged_are_told(self, tmp_path):
        for name, architecture in (("detector", "kv_face"), ("verifier", "kv_face_verifier")):
            with RunWriter(tmp_path / name, {"architecture": architecture}, {}, 1) as run:
                (run.folder / BEST_FILE).touch()
        with pytest.raises(
            ValueError, match=r"expected a run of training\.detector\.train_verifier, got kv_face"
        ):
            load_verifier(tmp_path / "detector")
        with pytest.raises(ValueError, match="got a verifier"):
            export_run(DetectorExport(run=tmp_path / "verifier", weights=tmp_path / "weights"))
