"""Detection and removal of labels that contradict similar images; everything else is unchanged."""

import json

import pandas as pd
import pyarrow.parquet as pq
import pytest
from toy_faces import SIX_WORDS, WORDS, encode_png, toy_face, write_parquet

from training.clean_labels import CleanOptions, clean_labels, main

COUNT = 20
VOTE_WORDS = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "nf",
)  # fmt: skip
VOTES = dict(zip(SIX_WORDS, ("anger", "fear", "happiness", "sadness", "surprise", "neutral"), strict=True))


@pytest.fixture
def data(tmp_path):
    """Twenty pictures an expression, of which the first happy one is called sad."""
    words = [word for word in SIX_WORDS for _ in range(COUNT)]
    faces = [encode_png(toy_face(word, seed)) for seed, word in enumerate(words)]
    labels = [WORDS.index(word) for word in words]
    labels[SIX_WORDS.index("happy") * COUNT] = WORDS.index("sad")
    labels[1] = len(WORDS)  # contempt, which the networks do not know
    votes = {vote: [10 if VOTES.get(word) == vote else 0 for word in words] for vote in VOTE_WORDS}
    return write_parquet(tmp_path / "fer_train.parquet", faces, labels, votes)


@pytest.mark.slow
def test_a_wrong_label_is_emptied_and_listed(data, tmp_path, capsys):
    output = tmp_path / "cleaned.parquet"
    words = ["--data", str(data), "--output", str(output), "--epochs", "12", "--batch-size", "16"]
    assert main([*words, "--learning-rate", "0.05", "--thread-count", "1", "--least-for-other", "0.6"]) == 0
    listed = pd.read_csv(tmp_path / "cleaned.csv")
    wrong = SIX_WORDS.index("happy") * COUNT
    assert wrong in set(listed["row"])
    assert listed.set_index("row").loc[wrong, ["label", "other"]].tolist() == ["sad", "happy"]
    assert len(listed) < COUNT / 2
    before, after = pq.read_table(data), pq.read_table(output)
    assert after.schema == before.schema
    emptied = {row for row, label in enumerate(after["label"].to_pylist()) if label is None}
    assert emptied == set(listed["row"])
    assert after.drop_columns(["label"]) == before.drop_columns(["label"])
    assert json.loads(after.schema.metadata[b"huggingface"])
    assert f"{len(listed)} labels emptied" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [{"folds": 1}, {"most_for_label": 0.9}], ids=str)
def test_wrong_settings_are_refused(wrong, tmp_path):
    with pytest.raises(ValueError, match="expected"):
        CleanOptions(data=tmp_path, output=tmp_path, **wrong)


def test_other_forms_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a parquet file"):
        clean_labels(CleanOptions(data=tmp_path / "fer.csv", output=tmp_path / "out.parquet"))


def test_missing_data_is_told(tmp_path, capsys):
    assert main(["--data", str(tmp_path / "no.parquet"), "--output", str(tmp_path / "out.parquet")]) == 1
    assert "error: no data at" in capsys.readouterr().err
