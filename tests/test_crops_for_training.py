import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from page_fakes import encoded
from PIL import Image
from toy_faces import write_folder

from fer.emotions import Emotion
from fer.images import RgbImage
from fer.model_card import Preprocessing
from fer.networks import ExpressionNetwork
from training import crop_faces, crop_others, other_output, train
from training.config import TrainConfig
from training.crop_faces import CropFacesOptions, LabelledCrop, write_crops
from training.data import augmentation
from training.data.augmentation import Damage
from training.data.datasets import DatasetError, DecodedFaces, decode, read_table
from training.data.parquet_files import write_parquet_faces
from training.data.targets import head_targets
from training.loop import predict
from training.other_output import fit_other


def test_faces_are_cut_out_with_their_labels_and_the_rest_is_named(
    astronaut: RgbImage, tmp_path: Path, capsys
) -> None:
    for word, image in (("happy", astronaut), ("sad", np.full((80, 80, 3), 90, dtype=np.uint8))):
        (tmp_path / "in" / word).mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / "in" / word / "a.png")
    output = tmp_path / "out_train.parquet"
    arguments = ["--data", str(tmp_path / "in"), "--output", str(output), "--detector", "haar"]
    assert crop_faces.main(arguments) == 0
    assert "sad/a.png: no face found" in capsys.readouterr().err
    table = read_table(output)
    assert table.labels == (Emotion.HAPPY,)
    assert table.splits == ("train",)
    assert not table.has_votes
    crop = crop_faces.open_picture(table.pictures[0])
    assert crop.shape[0] == crop.shape[1] < 200  # a face of the 512-pixel picture


def test_votes_are_kept(astronaut: RgbImage, tmp_path: Path) -> None:
    votes = np.array([[3, 0, 0, 4, 0, 0, 3, 0, 0, 0], [0, 10, 0, 0, 0, 0, 0, 0, 0, 0]], np.int16)
    picture = encoded(astronaut)
    write_parquet_faces(
        tmp_path / "a.parquet", [picture] * 2, [Emotion.SAD, None], list(Emotion), votes=votes
    )
    options = CropFacesOptions(data=tmp_path / "a.parquet", output=tmp_path / "b.parquet", detector="haar")
    assert crop_faces.crop_labelled_faces(options) == (2, [])
    table = read_table(tmp_path / "b.parquet")
    assert table.labels == (Emotion.SAD, None)
    np.testing.assert_array_equal(table.votes, votes)


@pytest.mark.parametrize("detector", ["haar", "kv_face"])
def test_known_faces_are_never_taken_for_others(
    detector: Literal["haar", "kv_face"], astronaut: RgbImage, tmp_path: Path
) -> None:
    buffer = io.BytesIO()
    Image.fromarray(astronaut).save(buffer, "PNG")

    def count(boxes: list[dict[str, list[int]]]) -> int:
        images = pa.array([{"bytes": buffer.getvalue(), "path": None}])
        table = pa.table({"image": images, "faces": pa.array([json.dumps(boxes)])})
        pq.write_table(table, tmp_path / "photos.parquet")
        options = crop_others.CropOthersOptions(
            photos=tmp_path / "photos.parquet",
            output=tmp_path / "others_train.parquet",
            most=50,
            detector=detector,
        )
        return crop_others.crop_others(options)

    assert count([{"box": [0, 0, 512, 512]}, {"box": [165, 50, 290, 200]}]) < count([])


def test_crops_without_a_face_teach_other(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    write_crops(tmp_path / "others_train.parquet", [LabelledCrop(noise, None, is_face=False)])
    table = read_table(tmp_path / "others_train.parquet")
    shares, weights = head_targets("crowd", list(table.labels), table.votes)
    assert shares[0, -1] == weights[0] == 1
    assert head_targets("fer2013", list(table.labels), table.votes)[1].tolist() == [0]


def test_boxes_without_area_are_skipped_and_broken_ones_told(astronaut, tmp_path: Path) -> None:
    def photos(*boxes: list[float]) -> Path:
        image = {"bytes": encoded(astronaut), "path": "a.png"}
        pq.write_table(pa.table({"image": [image], "boxes": [json.dumps(boxes)]}), tmp_path / "a.parquet")
        return tmp_path / "a.parquet"

    ((_, known),) = crop_others.known_photos(photos([165, 50, 290, 200], [481.2, 1.9, 481.2, 2.5]))
    assert [box.as_tuple() for box in known] == [(165, 50, 290, 200)]
    with pytest.raises(DatasetError, match="left, top, right, bottom"):
        list(crop_others.known_photos(photos([165, 50, 290])))


def test_what_is_no_list_of_photos_is_told(tmp_path: Path, capsys) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    assert crop_others.main(["--photos", str(tmp_path / "a.parquet"), "--output", str(tmp_path / "b")]) == 1
    assert "expected image and faces or boxes" in capsys.readouterr().err


class TestOtherOutput:
    """Faces have bars, places are noise; the expressions stay as they were, ``other`` learns the noise."""

    @pytest.fixture
    def places(self, tmp_path: Path) -> Path:
        rng = np.random.default_rng(0)
        noise = [rng.integers(0, 256, (48, 48, 3), dtype=np.uint8) for _ in range(60)]
        path = tmp_path / "others_train.parquet"
        write_crops(path, [LabelledCrop(crop, None, is_face=False) for crop in noise])
        return path

    @pytest.fixture
    def faces(self, tmp_path: Path) -> DecodedFaces:
        return decode(read_table(write_folder(tmp_path / "faces", count=6)).split("train"), Preprocessing())

    @pytest.mark.parametrize("mirror_average", [False, True])
    def test_it_is_told_from_every_expression_alike(self, places, faces, mirror_average):
        torch.manual_seed(0)
        network = ExpressionNetwork(
            "kv_fast", {"crowd": 7, "fer2013": 7}, mirror_average=mirror_average
        ).eval()
        noise = decode(read_table(places), Preprocessing()).crops
        before = [predict(network, torch.from_numpy(crops)) for crops in (faces.crops, noise)]
        fitted = fit_other(network, faces, [places], Preprocessing())["crowd"]
        after = [predict(network, torch.from_numpy(crops)) for crops in (faces.crops, noise)]
        assert fitted["place_count"] == 60
        assert len(faces.crops) < fitted["face_count"] < 2 * len(faces.crops)  # some also damaged
        assert fitted["loss_after"] < fitted["loss_before"]
        for first, second in zip(before, after, strict=True):
            torch.testing.assert_close(first["fer2013"], second["fer2013"])
            torch.testing.assert_close(first["crowd"][:, :-1], second["crowd"][:, :-1])
        shares = [torch.softmax(logits["crowd"], 1)[:, -1] for logits in after]
        assert float(shares[0].mean()) < 0.2 < 0.8 < float(shares[1].mean())
        again = fit_other(network, faces, [places], Preprocessing())["crowd"]
        assert again["loss_before"] == pytest.approx(fitted["loss_after"], abs=1e-3)
        assert again["loss_after"] == pytest.approx(fitted["loss_after"], abs=1e-3)

    @pytest.mark.parametrize("kind", ["COVER_SHARE", "BLUR_SHARE"])
    def test_damaged_faces_are_learned_as_faces(self, kind, places, faces, monkeypatch):
        for each in ("COVER_SHARE", "BLUR_SHARE"):
            monkeypatch.setattr(augmentation, each, 0.8 * (each == kind))
        crops, is_damaged = Damage(torch.Generator().manual_seed(7))(
            torch.from_numpy(faces.crops).repeat(8, 1, 1, 1)
        )

        def share_of_other(weight: float) -> float:
            monkeypatch.setattr(other_output, "_DAMAGED_WEIGHT", weight)
            torch.manual_seed(0)
            network = ExpressionNetwork("kv_fast", {"crowd": 7}).eval()
            fit_other(network, faces, [places], Preprocessing())
            logits = predict(network, crops[is_damaged])["crowd"]
            return float(torch.softmax(logits, 1)[:, -1].mean())

        assert share_of_other(0.5) < share_of_other(0.0) - 0.02

    def test_a_network_without_it_is_refused(self, places, faces):
        network = ExpressionNetwork("kv_fast", {"fer2013": 7})
        with pytest.raises(ValueError, match="expected a network with the head 'crowd'"):
            fit_other(network, faces, [places], Preprocessing())


def test_the_setting_asks_for_the_head_that_has_the_output(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="other_places"):
        TrainConfig(data=(tmp_path,), heads=("fer2013",), other_places=(tmp_path,))
    config = TrainConfig(data=(tmp_path,), other_places=(tmp_path / "a.parquet",))
    assert TrainConfig.from_dict(config.to_dict()) == config
    earlier = {name: value for name, value in config.to_dict().items() if name != "other_places"}
    assert TrainConfig.from_dict(earlier).other_places == ()


@pytest.mark.parametrize("content", [None, b"no parquet"], ids=["missing", "damaged"])
def test_places_that_cannot_be_read_are_told_before_the_first_epoch(content, tmp_path: Path, capsys) -> None:
    places = tmp_path / "others_train.parquet"
    if content is not None:
        places.write_bytes(content)
    words = ["--data", str(write_folder(tmp_path / "faces")), "--other-places", str(places)]
    words += ["--epochs", "1", "--warmup-epochs", "0"]
    assert train.main([*words, "--runs", str(tmp_path / "runs"), "--name", "first"]) == 1
    assert str(places) in capsys.readouterr().err
    assert not list(tmp_path.rglob("epochs.jsonl"))


def test_copies_of_photos_for_choosing_are_left_out(astronaut: RgbImage, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(astronaut).save(buffer, "PNG")
    images = pa.array([{"bytes": buffer.getvalue(), "path": None}])
    path = tmp_path / "photos.parquet"
    pq.write_table(pa.table({"image": images, "faces": pa.array(["[]"])}), path)
    options = crop_others.CropOthersOptions(photos=path, output=tmp_path / "others_train.parquet")
    assert crop_others.crop_others(options) > 0
    assert crop_others.crop_others(replace(options, choosing=(path,))) == 0
