import io
import json
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fer.emotions import Emotion
from fer.images import RgbImage
from training import crop_faces, crop_others
from training.crop_faces import LabelledCrop, write_crops
from training.datasets import read_table
from training.targets import head_targets


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


def test_what_is_no_list_of_photos_is_told(tmp_path: Path, capsys) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    assert crop_others.main(["--photos", str(tmp_path / "a.parquet"), "--output", str(tmp_path / "b")]) == 1
    assert "expected image and faces or boxes" in capsys.readouterr().err
