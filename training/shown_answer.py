"""The answer shown to users, fitted to the heads of several sources."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fer.emotions import OTHER, Emotion, Label
from fer.networks import ExpressionNetwork
from training.config import TrainConfig
from training.data.datasets import FaceTable
from training.data.splits import shown_truth
from training.data.targets import HEAD_LABELS, expressions_of, was_voted
from training.metrics import confidence_for_accuracy, key_figures, report_head, restrict

SHOWN_HEADS: Final = ("six", "seven")
"""Heads with the same answer; ``six`` excludes disgusted."""

_STEPS: Final = 200
_BIAS_DECAY: Final = 1e-3
"""L2 strength; keeps a data set dominated by one expression from biasing the answer towards it."""

RESTING_LIMIT: Final = 0.06
"""Largest share of neutral faces, averaged over the sets, that may confidently get another expression."""

_NEUTRAL_SHIFTS: Final = tuple(np.arange(0, 0.65, 0.05))
"""Shifts of the neutral logit to reach it; larger ones cost other expressions too much."""


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """A validation set with its ground truth.

    Attributes:
        name: Such as ``fer2013_publictest, votes``.
        rows: Row numbers in the validation split, shape (N,).
        truth: The label of each of these rows; None for rows without one.
    """

    name: str
    rows: NDArray[np.intp]
    truth: Sequence[Label | None]


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """The shown logits as a linear combination of the heads' logits: one weight per head, one bias per label.

    Attributes:
        weights: Weight by head.
        bias: Shape (7,), in the order of ``labels``.
        labels: The seven expressions.
    """

    weights: Mapping[str, float]
    bias: NDArray[np.float64]
    labels: tuple[Emotion, ...]

    def logits(self, logits: Mapping[str, NDArray[np.floating]]) -> NDArray[np.float64]:
        """Return the shown logits of the seven expressions, shape (N, 7).

        Args:
            logits: Logits by head, shape (N, outputs).
        """
        parts = [
            weight * np.asarray(logits[head], dtype=np.float64)[:, _columns(head, self.labels)]
            for head, weight in self.weights.items()
        ]
        return np.asarray(sum(parts) + self.bias)


def fit_shown(
    logits: Mapping[str, NDArray[np.floating]], sets: Sequence[JudgedSet], class_strength: float = 0.0
) -> ShownAnswer:
    """Fit weights and biases by maximum likelihood, with equal weight for every set.

    The fitted scale includes the temperature, so the shown answer is calibrated over all sets together.

    Args:
        logits: Logits by head, shape (N, outputs); heads without all seven expressions are excluded.
        sets: Sets to fit to; sets without any of the labels are excluded.
        class_strength: Exponent of the inverse-frequency class weights within a set, in [0, 1].

    Raises:
        ValueError: No set has labels.
    """
    labels = expressions_of("seven")
    heads = [head for head in logits if set(labels) <= set(HEAD_LABELS[head])]
    stacked = torch.stack(
        [torch.from_numpy(np.asarray(logits[head], np.float64)[:, _columns(head, labels)]) for head in heads]
    )
    rows, targets, counts = [], [], []
    for judged in sets:
        known = [i for i, label in enumerate(judged.truth) if label in labels]
        if not known:
            continue
        target = np.array([labels.index(Emotion(str(judged.truth[i]))) for i in known])
        frequency = np.bincount(target, minlength=len(labels))
        weight = (len(target) / np.maximum(frequency, 1)) ** class_strength
        rows.append(judged.rows[known])
        targets.append(target)
        counts.append(weight[target] / weight[target].sum())
    if not rows:
        raise ValueError(f"expected validation images labelled {', '.join(labels)}, got none")
    scores = stacked[:, np.concatenate(rows)]
    truth, count = torch.from_numpy(np.concatenate(targets)), torch.from_numpy(np.concatenate(counts))
    log_weights = torch.full(
        (len(heads),), -float(np.log(len(heads))), dtype=torch.float64, requires_grad=True
    )
    bias = torch.zeros(len(labels), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_weights, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        shown = (log_weights.exp()[:, None, None] * scores).sum(dim=0) + bias
        loss = (functional.cross_entropy(shown, truth, reduction="none") * count).sum() / len(rows)
        loss = loss + _BIAS_DECAY * bias.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    weights = {head: float(value) for head, value in zip(heads, log_weights.detach().exp(), strict=True)}
    centred = bias.detach() - bias.detach().mean()
    return ShownAnswer(weights, centred.numpy(), labels)


def choose_shown(
    logits: Mapping[str, NDArray[np.floating]], sets: Sequence[JudgedSet], class_strength: float = 0.0
) -> ShownAnswer:
    """Fit the shown answer, then raise its neutral logit to spare resting faces.

    Resting faces that get another expression disturb people most. The shift is the one with the highest mean
    balanced accuracy over the sets, of those by which at most ``RESTING_LIMIT`` of neutral faces are named
    otherwise; the largest one if none suffices.

    Args:
        logits: Logits by head, shape (N, outputs); heads without all seven expressions are excluded.
        sets: Sets to fit to and to evaluate on.
        class_strength: As for ``fit_shown``.

    Raises:
        ValueError: No set has labels.
    """
    shown = fit_shown(logits, sets, class_strength)
    if not any(Emotion.NEUTRAL in each.truth for each in sets):
        return shown
    neutral = np.arange(len(shown.labels)) == shown.labels.index(Emotion.NEUTRAL)
    shifted = [replace(shown, bias=shown.bias + shift * neutral) for shift in _NEUTRAL_SHIFTS]
    sparing = [each for each in shifted if _disturbed(each, logits, sets) <= RESTING_LIMIT]
    return max(sparing or shifted[-1:], key=lambda each: _headline(each, logits, sets))


def _headline(
    shown: ShownAnswer, logits: Mapping[str, NDArray[np.floating]], sets: Sequence[JudgedSet]
) -> float:
    """Return the mean balanced accuracy over the sets."""
    shares = torch.softmax(torch.from_numpy(shown.logits(logits)), dim=1).numpy()
    judged = judge_sets(shares, shown.labels, sets, expressions_of("six"))
    return float(np.mean([figures["balanced_accuracy"] for figures in judged.values()]))


def _disturbed(
    shown: ShownAnswer, logits: Mapping[str, NDArray[np.floating]], sets: Sequence[JudgedSet]
) -> float:
    """Return the share of neutral faces that confidently get another expression, averaged over the sets.

    Confident is what the product does not mark as unsure: answers above the threshold from which nine in ten
    are right over all sets; an image that belongs to two sets counts there with its truth in the first.
    """
    six = expressions_of("six")
    shares = restrict(torch.softmax(torch.from_numpy(shown.logits(logits)), dim=1).numpy(), shown.labels, six)
    truth = {row: label for each in reversed(sets) for row, label in zip(each.rows, each.truth, strict=True)}
    rows = [row for row, label in truth.items() if label in six]
    limit = confidence_for_accuracy(shares[rows], np.array([six.index(str(truth[row])) for row in rows]))
    wrong = (shares.max(axis=1) >= limit) & (shares.argmax(axis=1) != six.index(Emotion.NEUTRAL))
    resting = [
        [row for row, label in zip(each.rows, each.truth, strict=True) if label == Emotion.NEUTRAL]
        for each in sets
    ]
    return float(np.mean([wrong[some].mean() for some in resting if some]))


def judged_sets(table: FaceTable, config: TrainConfig) -> list[JudgedSet]:
    """Return the validation sets: per source one with votes, one with labels, or both, as its heads learn."""
    sources = np.asarray(table.sources)
    by_votes = shown_truth(table)
    sets = []
    for source in dict.fromkeys(table.sources):
        rows = np.flatnonzero(sources == source)
        heads, has_votes = set(config.heads_of(source)), was_voted(table.votes[rows]).any()
        if "votes" in heads and has_votes:
            sets.append(JudgedSet(f"{source}, votes", rows, [by_votes[row] for row in rows]))
        if heads - {"votes", "crowd"} or not has_votes:
            sets.append(JudgedSet(source, rows, [table.labels[row] for row in rows]))
    return sets


def judge_sets(
    shares: NDArray[np.floating], labels: Sequence[str], sets: Sequence[JudgedSet], judged: Sequence[Label]
) -> dict[str, Any]:
    """Return the metrics of each set that has labels.

    Args:
        shares: Probabilities of a head for the whole validation split, shape (N, outputs).
        labels: All outputs of the head.
        sets: The validation sets.
        judged: The expressions to evaluate.
    """
    return {
        each.name: key_figures(
            report_head(shares[each.rows], labels, each.truth, labels=judged, resample_count=0)
        )
        for each in sets
        if any(label in judged for label in each.truth)
    }


def judge_left_out(
    logits: Mapping[str, NDArray[np.floating]], sets: Sequence[JudgedSet], class_strength: float
) -> dict[str, Any]:
    """Return six-expression metrics of each set with the fit on all other sets (leave one out).

    Sets of the same images are held out together.
    """
    found, six = {}, expressions_of("six")
    for each in sets:
        others = [other for other in sets if not np.intersect1d(other.rows, each.rows).size]
        if not others or not any(label in six for label in each.truth):
            continue
        shown = choose_shown(logits, others, class_strength)
        scores = shown.logits({head: values[each.rows] for head, values in logits.items()})
        shares = torch.softmax(torch.from_numpy(scores), dim=1).numpy()
        found[each.name] = key_figures(
            report_head(shares, shown.labels, each.truth, labels=six, resample_count=0)
        )
    return found


def add_shown_heads(network: ExpressionNetwork, shown: ShownAnswer) -> ExpressionNetwork:
    """Return the network with the heads ``six`` and ``seven`` put first, combined from its own heads.

    Their output ``other`` is copied from ``votes``; fit it afterwards with ``fit_other``.

    Args:
        network: Trained, with the heads that ``shown`` names.
        shown: The fitted answer.
    """
    source = {name: _linear(network, name) for name in network.output_counts}
    some = next(iter(source.values()))
    matrix = torch.zeros(len(shown.labels), some.in_features)
    bias = torch.from_numpy(shown.bias).float()
    for head, weight in shown.weights.items():
        columns = _columns(head, shown.labels)
        matrix += weight * source[head].weight.detach().cpu()[columns]
        bias = bias + weight * source[head].bias.detach().cpu()[columns]
    counts = {name: len(HEAD_LABELS[name]) for name in SHOWN_HEADS}
    grown = ExpressionNetwork(
        network.architecture,
        counts | network.output_counts,
        network.channels,
        mirror_average=network.mirror_average,
        inner_view=network.inner_view,
    )
    grown.load_state_dict(network.state_dict(), strict=False)  # the new heads are filled below
    for name in SHOWN_HEADS:
        layer = _linear(grown, name)
        with torch.no_grad():
            for row, label in enumerate(HEAD_LABELS[name]):
                if label != OTHER:
                    at = shown.labels.index(Emotion(label))
                    layer.weight[row], layer.bias[row] = matrix[at], bias[at]
                else:
                    votes = HEAD_LABELS["votes"].index(OTHER)
                    layer.weight[row] = source["votes"].weight[votes].cpu()
                    layer.bias[row] = source["votes"].bias[votes].cpu()
    return grown.to(some.weight.device)


def _linear(network: ExpressionNetwork, name: str) -> nn.Linear:
    layer = network.heads[name]
    assert isinstance(layer, nn.Linear)
    return layer


def _columns(head: str, labels: Sequence[Emotion]) -> list[int]:
    names = list(HEAD_LABELS[head])
    return [names.index(label) for label in labels]
