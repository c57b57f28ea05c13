from pathlib import Path

import numpy as np
import pytest
import torch

from fer.emotions import OTHER, SIX_EMOTIONS, Emotion
from fer.networks import ExpressionNetwork
from training.config import TrainConfig
from training.data.datasets import FaceTable
from training.data.targets import HEAD_LABELS, expressions_of
from training.loop import predict
from training.shown_answer import (
    JudgedSet,
    add_shown_heads,
    choose_shown,
    fit_shown,
    judge_left_out,
    judge_sets,
    judged_sets,
)

COUNT = 400


def made_up_logits(seed: int) -> tuple[dict[str, np.ndarray], list[Emotion]]:
    """Two heads: ``web`` knows the truth with noise, ``votes`` answers at random."""
    generator = np.random.default_rng(seed)
    truth = [expressions_of("seven")[i] for i in generator.integers(0, 7, COUNT)]
    logits = {head: generator.normal(size=(COUNT, len(HEAD_LABELS[head]))) for head in ("web", "votes")}
    for row, label in enumerate(truth):
        logits["web"][row, HEAD_LABELS["web"].index(label)] += 3
    return logits, truth


def test_the_head_that_knows_gets_the_weight() -> None:
    logits, truth = made_up_logits(0)
    shown = fit_shown(logits, [JudgedSet("a", np.arange(COUNT), truth)])
    assert shown.weights["web"] > 10 * shown.weights["votes"]
    right = [
        shown.labels[i] == label for i, label in zip(shown.logits(logits).argmax(axis=1), truth, strict=True)
    ]
    assert np.mean(right) > 0.85


def test_resting_faces_are_spared():
    """Crowds say sad where a face rests; the shown answer gives way as far as it takes, and no further."""
    logits, truth = made_up_logits(1)
    labels = list(HEAD_LABELS["web"])
    neutral = np.flatnonzero([label == Emotion.NEUTRAL for label in truth])
    disturbed = neutral[: len(neutral) // 5]
    logits["web"][disturbed, labels.index("sad")] += 3.4
    sets = [JudgedSet("a", np.arange(COUNT), truth)]
    plain, spared = fit_shown(logits, sets), choose_shown({"web": logits["web"]}, sets)
    lead = spared.labels.index(Emotion.NEUTRAL)

    def named_otherwise(shown):
        return float(np.mean(shown.logits(logits)[neutral].argmax(axis=1) != lead))

    assert named_otherwise(spared) < named_otherwise(plain)
    others = np.arange(7) != lead
    alone = fit_shown({"web": logits["web"]}, sets)
    assert spared.bias[others] == pytest.approx(alone.bias[others])
    assert 0 < spared.bias[lead] - alone.bias[lead] <= 0.6


def test_the_neutral_logit_stays_where_nothing_is_gained():
    logits, truth = made_up_logits(0)
    for row, label in enumerate(truth):
        logits["web"][row, HEAD_LABELS["web"].index(label)] += 9
    sets = [JudgedSet("a", np.arange(COUNT), truth)]
    plain, chosen = fit_shown(logits, sets), choose_shown(logits, sets)
    assert chosen.bias == pytest.approx(plain.bias)


def test_of_the_shifts_that_spare_resting_faces_the_best_for_all_sets_is_chosen():
    logits, truth = made_up_logits(2)
    rows = np.arange(COUNT)
    sets = [JudgedSet("a", rows[::2], truth[::2]), JudgedSet("b", rows[1::2], truth[1::2])]
    plain, chosen = fit_shown(logits, sets), choose_shown(logits, sets)
    lead = chosen.labels.index(Emotion.NEUTRAL)

    def headline(shift: float) -> float:
        shares = torch.from_numpy(plain.logits(logits) + shift * (np.arange(7) == lead)).softmax(dim=1)
        judged = judge_sets(shares.numpy(), chosen.labels, sets, expressions_of("six"))
        return float(np.mean([figures["balanced_accuracy"] for figures in judged.values()]))

    found = chosen.bias[lead] - plain.bias[lead]
    assert headline(found) == pytest.approx(max(map(headline, np.arange(0, 0.65, 0.05))))


def test_every_set_counts_the_same_whatever_its_size() -> None:
    """A large set that calls everything neutral must not drown a small one."""
    logits, truth = made_up_logits(1)
    small = JudgedSet("small", np.arange(40), truth[:40])
    large = JudgedSet("large", np.arange(40, COUNT), [Emotion.NEUTRAL] * (COUNT - 40))
    equal = fit_shown(logits, [small, large])
    pooled = fit_shown(logits, [JudgedSet("all", np.arange(COUNT), [*small.truth, *large.truth])])
    neutral = equal.labels.index(Emotion.NEUTRAL)
    assert equal.bias[neutral] < pooled.bias[neutral] - 0.5


def test_sets_without_the_labels_take_no_part() -> None:
    logits, truth = made_up_logits(2)
    known = JudgedSet("known", np.arange(COUNT), truth)
    unknown = JudgedSet("unknown", np.arange(5), [None, Emotion.CONTEMPTUOUS, None, None, None])
    both, one = fit_shown(logits, [known, unknown]), fit_shown(logits, [known])
    np.testing.assert_allclose(both.bias, one.bias)
    with pytest.raises(ValueError, match="expected validation images labelled angry"):
        fit_shown(logits, [unknown])


def test_a_left_out_set_is_judged_by_the_others() -> None:
    logits, truth = made_up_logits(3)
    half = COUNT // 2
    sets = [
        JudgedSet("first", np.arange(half), truth[:half]),
        JudgedSet("second", np.arange(half, COUNT), truth[half:]),
    ]
    found = judge_left_out(logits, sets, 0.0)
    assert set(found) == {"first", "second"}
    assert found["first"]["count"] == sum(label in SIX_EMOTIONS for label in truth[:half])
    # Two ways to judge the same pictures are left out together: nothing is left to fit to.
    assert judge_left_out(logits, [sets[0], JudgedSet("again", np.arange(half), truth[:half])], 0.0) == {}


def test_the_shown_heads_answer_as_they_were_fitted() -> None:
    torch.manual_seed(0)
    counts = {head: len(HEAD_LABELS[head]) for head in ("web", "votes", "fer2013")}
    network = ExpressionNetwork("kv_fast", counts, mirror_average=True).eval()
    crops = torch.randint(0, 256, (12, 1, 64, 64), dtype=torch.uint8)
    logits = {head: scores.numpy() for head, scores in predict(network, crops).items()}
    truth = [expressions_of("seven")[i % 7] for i in range(12)]
    shown = fit_shown(logits, [JudgedSet("a", np.arange(12), truth)])
    grown = add_shown_heads(network, shown).eval()
    assert list(grown.output_counts) == ["six", "seven", "web", "votes", "fer2013"]
    answers = {head: scores.numpy() for head, scores in predict(grown, crops).items()}
    expected = shown.logits(logits)
    for head in ("six", "seven"):
        names = [label for label in HEAD_LABELS[head] if label != OTHER]
        columns = [HEAD_LABELS[head].index(label) for label in names]
        wanted = expected[:, [shown.labels.index(label) for label in names]]
        np.testing.assert_allclose(answers[head][:, columns], wanted, atol=1e-4)  # single precision
    np.testing.assert_allclose(answers["web"], logits["web"], atol=1e-5)


def test_a_set_is_judged_by_the_labels_asked_for() -> None:
    logits, truth = made_up_logits(4)
    shares = torch.softmax(torch.from_numpy(logits["web"]), 1).numpy()
    each = JudgedSet("a", np.arange(COUNT), truth)
    six = judge_sets(shares, HEAD_LABELS["web"], [each], SIX_EMOTIONS)["a"]
    seven = judge_sets(shares, HEAD_LABELS["web"], [each], expressions_of("seven"))["a"]
    assert seven["count"] == COUNT
    assert six["count"] == sum(label != Emotion.DISGUSTED for label in truth)
    assert "disgusted" in seven["recall"] and "disgusted" not in six["recall"]


@pytest.mark.parametrize(
    ("teaches", "voted", "expected"),
    [
        pytest.param("a=web", False, ["a"], id="labels"),
        pytest.param("a=votes", True, ["a, votes"], id="votes"),
        pytest.param("a=votes+web", True, ["a, votes", "a"], id="both"),
        pytest.param("a=votes", False, ["a"], id="nobody voted, so labels teach the head"),
    ],
)
def test_a_set_is_judged_by_what_it_teaches(teaches: str, voted: bool, expected: list[str]) -> None:
    votes = np.full((2, 10), -1, dtype=np.int16)
    if voted:
        votes[0] = [10, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    table = FaceTable(
        ("0", "1"), ("val", "val"), (Emotion.HAPPY, Emotion.SAD), votes, (b"", b""), sources=("a", "a")
    )
    config = TrainConfig(data=(Path("a.parquet"),), heads=("web", "votes"), teaches=(teaches,))
    sets = judged_sets(table, config)
    assert [each.name for each in sets] == expected
    assert all(each.rows.tolist() == [0, 1] for each in sets)
    assert sets[0].truth[0] == (Emotion.NEUTRAL if voted else Emotion.HAPPY)
