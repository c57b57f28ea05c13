"""The training of the verifier: candidates with ground truth, views, runs."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toy_scenes import ASTRONAUT_FACE, toy_place

from fer.cropping import Framing, reference_square
from fer.detection.verifier import verified_crop
from fer.faces import Detection
from training.detector import train_verifier as training
from training.detector.candidates import STORED_MARGIN, STORED_SIDE, Candidates, find_candidates
from training.detector.false_places import SecondLook
from training.detector.scenes import make_scene
from training.detector.train_verifier import VerifierConfig, main, train_verifier
from training.detector.verifier import (
    VERIFIED_MARGIN,
    VERIFIED_SIDE,
    golden_crops,
    load_verifier,
    plain_views,
    random_views,
)
from training.run_files import RunState
from training.runs import read_run

FRAMING = Framing(1.0, 0.0, 0.0)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class Teacher:
    """Sees what it is told to see."""

    name, framing = "teacher", None

    def __init__(self, *faces: Detection) -> None:
        self.faces = list(faces)

    def detect(self, image):
        return self.faces


def scene(image, *boxes, scores=(0.9,)):
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    return make_scene(image, corners, np.zeros((len(corners), 5, 2)), np.array(scores[: len(corners)]))


class TestCandidates:
    @pytest.mark.parametrize(
        ("corners", "truths"),
        [
            pytest.param((170, 60, 290, 200), [True], id="a face"),
            pytest.param((200, 80, 240, 120), [False], id="part of a face"),
            pytest.param((165, 50, 290, 100), [], id="a third of it: neither"),
            pytest.param((10, 300, 90, 380), [False], id="far from it"),
            pytest.param((285, 100, 385, 200), [], id="beside it, touching"),
            pytest.param((600, 600, 700, 700), [], id="outside the photo"),
        ],
    )
    def test_truth(self, astronaut, corners, truths):
        found = self.find(astronaut, corners)
        assert found.is_face.tolist() == truths
        assert found.crops.shape == (len(truths), STORED_SIDE, STORED_SIDE, 3)

    def test_doubtful_faces_are_neither(self, astronaut):
        for corners in (ASTRONAUT_FACE, (200, 80, 240, 120)):
            assert len(self.find(astronaut, corners, sure=0.3).is_face) == 0

    def test_a_face_that_nobody_listed_is_left_out(self, astronaut):
        seen = toy_place(30, 30, 90, 90, score=0.95)
        assert len(self.find(astronaut, (10, 300, 90, 380), teacher=Teacher(seen)).is_face) == 0

    def test_turned_photos_are_searched_at_the_first_size_alone(self, astronaut):
        asked = []

        def detect(name, image):
            asked.append(name)
            return []

        looks = [lambda image: detect("first", image), lambda image: detect("second", image)]
        photo = scene(astronaut, ASTRONAUT_FACE)
        found = find_candidates(looks, FRAMING, [photo], SecondLook(Teacher()), seed=0)
        assert asked == ["first", "second", "first", "first", "first"]
        assert len(found.is_face) == 0

    def test_of_many_false_positives_some_are_used_and_every_face(self, astronaut):
        places = [toy_place(10 * n, 300, 10 * n + 60, 360) for n in range(20)]
        places.insert(7, toy_place(*ASTRONAUT_FACE))
        found = find_candidates(
            [lambda view: places],
            FRAMING,
            [scene(astronaut, ASTRONAUT_FACE)],
            None,
            turned_count=0,
            most_false=5,
        )
        assert found.is_face.sum() == 1
        assert len(found.is_face) == 6

    def test_what_touches_a_face_is_false_only_where_all_faces_are_listed(self, astronaut):
        photo, touching = scene(astronaut, ASTRONAUT_FACE), toy_place(285, 100, 385, 200)
        for is_false, truths in ((True, [False]), (False, [])):
            found = find_candidates(
                [lambda view: [touching]], FRAMING, [photo], None, turned_count=0, is_touching_false=is_false
            )
            assert found.is_face.tolist() == truths

    def find(self, image, corners, *, sure=0.9, teacher=None) -> Candidates:
        """Return the detections for one place in the photo as it is."""
        photo = scene(image, ASTRONAUT_FACE, scores=(sure,))

        def detect(view):
            return [toy_place(*corners)] if view is image else []

        return find_candidates([detect], FRAMING, [photo], SecondLook(teacher or Teacher()), seed=0)


class TestViews:
    def test_plain_views_are_what_is_seen_in_use(self, astronaut):
        stored = self.stored(astronaut)
        [view] = plain_views(stored[None]).permute(0, 2, 3, 1).numpy()
        sizes = {"margin": VERIFIED_MARGIN, "side": VERIFIED_SIDE}
        used = verified_crop(astronaut, reference_square(toy_place(*ASTRONAUT_FACE), FRAMING), **sizes)
        # Two ways of scaling the same square: edges differ, the picture does not.
        assert np.abs(view - used.astype(float)).mean() < 6
        assert np.corrcoef(view.ravel(), used.ravel())[0, 1] > 0.98

    def test_random_views_vary_with_the_seed_alone(self, astronaut):
        crops = np.stack([self.stored(astronaut)] * 12)
        first, again, other = (random_views(crops, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert first.shape == (12, 3, VERIFIED_SIDE, VERIFIED_SIDE)
        assert 0 <= float(first.min()) < float(first.max()) <= 255
        assert float(first.std(0).mean()) > 10  # no two alike

    def test_in_some_views_the_picture_ends_near_the_face(self):
        bright, dark, half = 200, 20, STORED_SIDE * 11 // 40  # a little less than the smallest view shows
        stored = np.full((STORED_SIDE, STORED_SIDE, 3), dark, np.uint8)
        stored[STORED_SIDE // 2 - half : STORED_SIDE // 2 + half] = bright
        stored = np.minimum(stored, stored.transpose(1, 0, 2))
        views = random_views(np.stack([stored] * 600), torch.Generator().manual_seed(0)).mean(1)
        shown = ((views - views.amin((1, 2), keepdim=True)) > 60).float().mean((1, 2))
        assert 0.3 < float(shown.median()) < 0.9
        assert 0.005 < float((shown > 0.97).float().mean()) < 0.2

    def stored(self, astronaut):
        sizes = {"margin": STORED_MARGIN, "side": STORED_SIDE}
        return verified_crop(astronaut, reference_square(toy_place(*ASTRONAUT_FACE), FRAMING), **sizes)


class TestTraining:
    @pytest.fixture
    def config(self, astronaut, tmp_path, monkeypatch) -> VerifierConfig:
        """Faces and false places are told by colour: reddish skin against a dark blue."""
        rng = np.random.default_rng(0)
        crops = rng.integers(0, 60, (60, STORED_SIDE, STORED_SIDE, 3), dtype=np.uint8)
        crops[::2, :, :, 0] += 150
        is_face = np.arange(60) % 2 == 0
        found = Candidates(crops, is_face, np.full(60, 0.5, np.float32), np.arange(60) // 4)
        monkeypatch.setattr(training, "gather_candidates", lambda config: found)
        for name in ("photos", "boxed", "web"):
            (tmp_path / f"{name}.parquet").write_bytes(b"")
        return VerifierConfig(
            detector=tmp_path,
            photos=tmp_path / "photos.parquet",
            boxed_photos=tmp_path / "boxed.parquet",
            web_photos=tmp_path / "web.parquet",
            epochs=3,
            steps=40,
            batch_size=16,
            learning_rate=5e-3,
            val_share=0.3,
            runs=tmp_path / "runs",
            name="first",
        )

    def test_it_learns_and_reports(self, config):
        folder = train_verifier(config)
        run = read_run(folder)
        assert run.state is RunState.FINISHED
        assert [row["epoch"] for row in run.epochs] == [1, 2, 3]
        assert run.epochs[-1]["train_loss"] < run.epochs[0]["train_loss"]
        assert run.report["val_accuracy"] > 0.9
        assert run.report["best_epoch"] == run.epochs[-1]["epoch"]
        assert load_verifier(folder)(torch.from_numpy(golden_crops())).shape == (3,)

    def test_hand_labelled_photos_are_searched_closer_and_trusted(self, config, astronaut, monkeypatch):
        monkeypatch.undo()
        monkeypatch.setattr(training, "load_detector_card", lambda folder: SimpleNamespace(framing=FRAMING))
        monkeypatch.setattr(training, "network_file", lambda folder, card: folder)
        monkeypatch.setattr(training, "onnx_runner", lambda file: None)
        monkeypatch.setattr(training, "read_boxed_photos", lambda path, **_: [])
        monkeypatch.setattr(training, "read_photos", lambda path: [scene(astronaut)])
        monkeypatch.setattr(
            training, "read_crowds", lambda paths, teacher: [scene(astronaut, ASTRONAUT_FACE)]
        )
        monkeypatch.setattr(training, "open_teacher", lambda *_: None)
        sides = []

        def find(run, image, *, longest_side, **_):
            sides.append(longest_side)
            return [toy_place(*ASTRONAUT_FACE, score=0.6)]

        monkeypatch.setattr(training, "find_faces", find)
        looks = []
        monkeypatch.setattr(
            SecondLook, "sees_face", lambda self, scene, found: looks.append(found) is not None
        )
        faces = [scene(astronaut, ASTRONAUT_FACE)] * 2
        monkeypatch.setattr(training, "read_face_crops", lambda path, teacher: faces)
        found = training.gather_candidates(replace(config, crowds=(config.photos,), faces=(config.photos,)))
        assert {512, 640} <= set(sides)
        assert looks  # a face that nobody listed is looked for in the teacher's photos alone
        assert set(found.scenes[found.is_face]) == {1, 2, 3}
        assert sides.count(training._FACE_SIDES[0]) == 1 + len(faces)  # one for the crowd
        assert found.is_face[found.scenes == 1][:3].all()

    def test_single_faces_of_which_none_is_for_training_are_told(self, config, astronaut, monkeypatch):
        monkeypatch.undo()
        monkeypatch.setattr(training, "load_detector_card", lambda folder: SimpleNamespace(framing=FRAMING))
        monkeypatch.setattr(training, "network_file", lambda folder, card: folder)
        monkeypatch.setattr(training, "onnx_runner", lambda file: None)
        monkeypatch.setattr(training, "read_boxed_photos", lambda path, **_: [])
        monkeypatch.setattr(training, "open_teacher", lambda *_: None)
        monkeypatch.setattr(training, "read_face_crops", lambda path, teacher: iter(()))
        with pytest.raises(ValueError, match="of split 'train' or without a split, got none"):
            training.gather_candidates(replace(config, faces=(config.photos,)))

    def test_a_killed_training_goes_on(self, config, monkeypatch):
        whole = load_verifier(train_verifier(config)).state_dict()
        run_epoch = training.VerifierTrainer.run_epoch

        def die_in_second(self, epoch):
            if epoch == 2:
                raise RuntimeError("killed")
            run_epoch(self, epoch)

        config = replace(config, name="second")
        monkeypatch.setattr(training.VerifierTrainer, "run_epoch", die_in_second)
        with pytest.raises(RuntimeError):
            train_verifier(config)
        monkeypatch.setattr(training.VerifierTrainer, "run_epoch", run_epoch)
        for name, value in load_verifier(train_verifier(config)).state_dict().items():
            torch.testing.assert_close(value, whole[name])

    def test_initial_weights_are_loaded_before_anything_is_searched(self, config, monkeypatch):
        train_verifier(config)
        later = replace(config, name="second", initial_run=str(config.runs / "first"), learning_rate=1e-9)
        folder = train_verifier(replace(later, epochs=1, steps=1))
        first = load_verifier(config.runs / "first").state_dict()
        for name, value in load_verifier(folder).state_dict().items():
            if "running" not in name and "tracked" not in name:
                torch.testing.assert_close(value, first[name], atol=1e-4, rtol=0)
        assert (folder / "history" / "01" / "config.json").is_file()
        monkeypatch.setattr(training, "gather_candidates", lambda config: pytest.fail("searched first"))
        with pytest.raises(ValueError, match="has no weights yet"):
            train_verifier(replace(later, name="third", initial_run=str(config.runs)))

    def test_nothing_to_learn_from_is_told(self, config, monkeypatch, capsys):
        found = training.gather_candidates(config)
        monkeypatch.setattr(training, "gather_candidates", lambda config: found.take(found.is_face))
        words = [
            "--detector",
            str(config.detector),
            "--photos",
            str(config.photos),
            "--runs",
            str(config.runs),
        ]
        words += ["--boxed-photos", str(config.boxed_photos), "--web-photos", str(config.web_photos)]
        assert main(words) == 1
        assert "expected true and false positives" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "wrong", [{"epochs": 0}, {"batch_size": 2}, {"learning_rate": 2}, {"val_share": 0}], ids=str
    )
    def test_wrong_settings_are_refused(self, wrong, tmp_path):
        paths = dict.fromkeys(("detector", "photos", "boxed_photos", "web_photos"), tmp_path)
        with pytest.raises(ValueError, match="expected"):
            VerifierConfig(**paths, **wrong)
