import numpy as np
import pytest

from fer.emotions import OTHER, SIX_EMOTIONS, Emotion
from training.final_report import _limit_of_small_faces, fit_temperature, prior_shift
from training.metrics import (
    confidence_for_accuracy,
    confidence_for_wrong_share,
    coverage_risk,
    reliability,
    report_head,
    restrict,
)
from training.shown_answer import JudgedSet

HEAD = (*SIX_EMOTIONS, OTHER)


def one_hot(*labels: str, sure: float = 0.7) -> np.ndarray:
    rows = np.full((len(labels), len(HEAD)), (1 - sure) / (len(HEAD) - 1))
    for row, label in enumerate(labels):
        rows[row, HEAD.index(label)] = sure
    return rows


def test_report_against_numbers_worked_out_by_hand() -> None:
    truth = [Emotion.HAPPY, Emotion.HAPPY, Emotion.SAD, Emotion.SAD, Emotion.DISGUSTED, None]
    guesses = one_hot("happy", "happy", "sad", "happy", "happy", "sad")
    report = report_head(guesses, HEAD, truth)
    assert (report["count"], report["skipped"]) == (4, 2)
    assert report["accuracy"] == pytest.approx(0.75)
    assert report["balanced_accuracy"] == pytest.approx((1 + 0.5) / 2)  # absent classes do not count
    assert report["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert report["per_class"]["happy"] == {
        "precision": pytest.approx(2 / 3),
        "recall": 1,
        "f1": pytest.approx(0.8),
        "count": 2,
    }
    sad = report["labels"].index("sad")
    assert report["confusion"][sad][report["labels"].index("happy")] == 1
    low, high = report["intervals_95"]["accuracy"]
    assert low <= 0.75 <= high


def test_other_is_shared_out_before_judging() -> None:
    shares = restrict(np.array([[0.2, 0.1, 0, 0, 0, 0.1, 0.6]]), HEAD, SIX_EMOTIONS)
    np.testing.assert_allclose(shares, [[0.5, 0.25, 0, 0, 0, 0.25]], atol=1e-12)  # plain division


def test_a_head_is_judged_by_all_its_expressions() -> None:
    """Faces of a seventh one were left out before unless they were asked for."""
    head = (*HEAD, Emotion.DISGUSTED)
    shares = np.full((2, len(head)), 0.05)
    shares[0, head.index("disgusted")] = shares[1, head.index("sad")] = 0.65
    report = report_head(shares, head, [Emotion.DISGUSTED, Emotion.SAD], resample_count=0)
    assert report["labels"] == [*SIX_EMOTIONS, "disgusted"]
    assert (report["count"], report["skipped"], report["per_class"]["disgusted"]["recall"]) == (2, 0, 1)


def test_permuting_outputs_and_labels_together_changes_nothing() -> None:
    truth = [Emotion.HAPPY, Emotion.SAD, Emotion.ANGRY]
    shares = np.random.default_rng(0).dirichlet(np.ones(7), 3)
    order = [3, 0, 6, 1, 5, 2, 4]
    plain = report_head(shares, HEAD, truth, labels=SIX_EMOTIONS)
    assert report_head(shares[:, order], [HEAD[i] for i in order], truth, labels=SIX_EMOTIONS) == plain


def test_nothing_to_judge_is_told() -> None:
    with pytest.raises(ValueError, match="got none among 1"):
        report_head(one_hot("happy"), HEAD, [None])


def test_calibration_error_of_an_honest_guesser_is_small_and_of_a_boaster_large() -> None:
    generator = np.random.default_rng(0)
    truth = np.where(generator.random(4000) < 0.7, "happy", "sad")
    labels = [Emotion(word) for word in truth]
    honest = report_head(np.tile(one_hot("happy", sure=0.7), (4000, 1)), HEAD, labels, resample_count=0)
    shares = restrict(one_hot("happy", sure=0.7), HEAD, SIX_EMOTIONS)[0].max()
    assert honest["ece"] == pytest.approx(
        abs(shares - (truth == "happy").mean()), abs=1e-4
    )  # summed in single precision
    boaster = report_head(np.tile(one_hot("happy", sure=0.99), (4000, 1)), HEAD, labels, resample_count=0)
    assert boaster["ece"] > 0.25


def test_temperature_undoes_what_made_the_logits_too_large() -> None:
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(5000, 7)) * 2
    shares = np.exp(logits[:, :6]) / np.exp(logits[:, :6]).sum(axis=1, keepdims=True)
    truth = [SIX_EMOTIONS[generator.choice(6, p=row)] for row in shares]
    assert fit_temperature(logits * 3, HEAD, truth) == pytest.approx(3, rel=0.05)  # 5000 draws
    assert fit_temperature(logits, HEAD, [None] * 5000) == 1


def test_prior_shift_takes_back_the_lead_of_frequent_answers() -> None:
    generator = np.random.default_rng(2)
    logits = generator.normal(size=(3000, 7)) + np.array([3, 0, 0, 0, 0, 1, 0])
    shift = prior_shift(logits, HEAD, 1.0)
    before, after = logits.argmax(axis=1), (logits + shift)[:, :6].argmax(axis=1)
    assert (before == 0).mean() > 0.6
    assert np.bincount(after, minlength=6).min() > 0.1 * len(after)  # a sixth each, roughly
    assert prior_shift(logits, HEAD, 0.0).tolist() == [0] * 7
    assert shift[-1] == 0


def test_reliability_and_coverage() -> None:
    shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    target = np.array([0, 0, 1, 1])
    assert sum(row["count"] for row in reliability(shares, target)) == 4
    assert coverage_risk(shares, target)[0] == {"coverage": 1.0, "accuracy": 0.5, "confidence": 0.6}
    assert coverage_risk(shares, target)[-1] == {"coverage": 0.5, "accuracy": 1.0, "confidence": 0.8}
    assert confidence_for_accuracy(shares, target, 0.9) == 0.8
    assert confidence_for_accuracy(shares, target, 0.5) == 0
    assert confidence_for_accuracy(shares, 1 - target, 0.9) == 1


@pytest.mark.parametrize(("allowed", "threshold"), [(0.0, 0.9), (0.25, 0.8), (0.5, 0.0)])
def test_a_threshold_bounds_the_share_of_confident_wrong_answers(allowed: float, threshold: float) -> None:
    shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.95, 0.05], [0.6, 0.4]])
    target = np.array([1, 1, 0, 0])
    found = confidence_for_wrong_share(shares, target, allowed)
    assert found == pytest.approx(threshold)
    is_wrong = shares.argmax(axis=1) != target
    assert (is_wrong & (shares.max(axis=1) >= found)).mean() <= allowed


def test_the_limit_of_small_faces_holds_in_every_set() -> None:
    """A small set with confident errors raises it, although nearly all answers are right."""
    confidence = np.concatenate([np.full(96, 0.7), np.linspace(0.8, 0.83, 4)])
    shares = np.column_stack([confidence, 1 - confidence])
    truth = [*["happy"] * 96, *["sad"] * 4]
    everywhere = JudgedSet("all", np.arange(100), truth)
    hard = JudgedSet("hard", np.arange(90, 100), truth[90:])
    labels = ("happy", "sad")
    assert _limit_of_small_faces(shares, labels, labels, [everywhere]) == 0
    found = _limit_of_small_faces(shares, labels, labels, [everywhere, hard])
    assert found > 0.83
