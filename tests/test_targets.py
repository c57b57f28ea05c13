import numpy as np
import pytest

from fer.emotions import Emotion
from training.data.targets import HEAD_LABELS, VOTE_WORDS, head_targets, majority


def votes(**counts: int) -> list[int]:
    return [counts.get(word, 0) for word in VOTE_WORDS]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        pytest.param({"happiness": 10}, Emotion.HAPPY, id="all agree"),
        pytest.param({"happiness": 6, "neutral": 4}, Emotion.HAPPY, id="clear majority"),
        pytest.param({"happiness": 5, "neutral": 5}, None, id="exactly half is none"),
        pytest.param({"anger": 4, "neutral": 2, "fear": 1, "sadness": 1, "nf": 1, "surprise": 1}, Emotion.ANGRY,
                     id="single votes are dropped before counting"),
        pytest.param({"unknown": 8, "fear": 2}, None, id="unknown wins"),
        pytest.param({"nf": 10}, None, id="not a face wins"),
        pytest.param({"contempt": 9, "fear": 1}, Emotion.CONTEMPTUOUS, id="contempt is an answer"),
        pytest.param({}, None, id="no votes"),
    ],
)  # fmt: skip
def test_majority(counts: dict[str, int], expected: Emotion | None) -> None:
    assert majority(np.array([votes(**counts)])) == [expected]


def test_crowd_targets_take_votes_before_labels() -> None:
    rows = np.array([votes(happiness=6, neutral=2, fear=1, contempt=2), votes(), [-1] * len(VOTE_WORDS)])
    shares, weights = head_targets("crowd", [Emotion.SAD, Emotion.SAD, Emotion.DISGUSTED], rows)
    by_label = dict(zip(HEAD_LABELS["crowd"], shares.T, strict=True))
    assert by_label[Emotion.HAPPY][0] == pytest.approx(0.6)
    assert by_label[Emotion.NEUTRAL][0] == pytest.approx(0.2)
    assert by_label["other"].tolist() == pytest.approx([0.2, 1, 1])
    assert by_label[Emotion.SAD].tolist() == [0, 0, 0]
    assert weights.tolist() == [1, 1, 1]


def test_a_head_learns_nothing_from_pictures_without_its_labels() -> None:
    shares, weights = head_targets("fer2013", [Emotion.HAPPY, None, Emotion.CONTEMPTUOUS], None)
    assert weights.tolist() == [1, 0, 0]
    assert shares[0].argmax() == HEAD_LABELS["fer2013"].index(Emotion.HAPPY)
    assert head_targets("crowd", [None], None)[1].tolist() == [0]


def test_unknown_head_is_named() -> None:
    with pytest.raises(ValueError, match="unknown head 'nose'"):
        head_targets("nose", [], None)


def test_votes_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        majority(np.zeros((2, 8), dtype=int))


def test_shares_of_six_expressions_are_blended_targets() -> None:
    votes = np.full((3, 10), -1, dtype=np.int16)
    votes[0] = [0, 0, 0, 20, 0, 10, 0, 0, 0, 0]  # 30 votes: sadness and disgust
    votes[1] = 0
    labels = [Emotion.SAD, Emotion.HAPPY, None]
    shares, weights = head_targets("web", labels, votes)
    names = HEAD_LABELS["web"]
    np.testing.assert_allclose(shares[0, [names.index("sad"), names.index("disgusted")]], [2 / 3, 1 / 3])
    assert shares[1].tolist() == [float(name == "happy") for name in names]
    assert weights.tolist() == [1, 1, 0]


def test_disgust_is_an_expression_for_the_head_that_has_it() -> None:
    votes = np.array([[0, 0, 0, 0, 0, 8, 0, 0, 2, 0]], dtype=np.int16)
    seven, _ = head_targets("votes", [Emotion.DISGUSTED], votes)
    six, _ = head_targets("crowd", [Emotion.DISGUSTED], votes)
    assert seven[0, HEAD_LABELS["votes"].index("disgusted")] == pytest.approx(0.8)
    assert six[0, HEAD_LABELS["crowd"].index("other")] == pytest.approx(1)
