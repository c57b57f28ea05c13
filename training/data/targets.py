"""Targets of each head, from labels and crowd votes."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer.emotions import FER2013_CODES, OTHER, SIX_EMOTIONS, Emotion, Label
from fer.model_card import OWN_HEAD

VOTE_WORDS: Final = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "nf",
)
"""Choices of FER+'s annotators (Barsoum et al. 2016); ``nf`` is "not a face"."""

VOTE_MEANINGS: Final[tuple[str, ...]] = (
    Emotion.NEUTRAL,
    Emotion.HAPPY,
    Emotion.SURPRISED,
    Emotion.SAD,
    Emotion.ANGRY,
    Emotion.DISGUSTED,
    Emotion.FEARFUL,
    Emotion.CONTEMPTUOUS,
    OTHER,
    OTHER,
)

HEAD_LABELS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "crowd": (*SIX_EMOTIONS, OTHER),
        "fer2013": FER2013_CODES,
        "votes": (*SIX_EMOTIONS, Emotion.DISGUSTED, OTHER),
        "web": FER2013_CODES,
        "six": (*SIX_EMOTIONS, OTHER),
        "seven": (*SIX_EMOTIONS, Emotion.DISGUSTED, OTHER),
    }
)
"""Labels of all heads but ``own``, whose labels come from its data (``TrainConfig.labels_of``).

``crowd`` and ``votes`` are trained on crowd votes, ``fer2013`` and ``web`` on labels of data sets; ``six``
and ``seven`` are not trained but fitted to the others (``training.shown_answer``).
"""

TRAINED_HEADS: Final = ("crowd", "fer2013", "votes", "web", OWN_HEAD)
"""Heads that are trained on data."""


def expressions_of(head: str) -> tuple[Emotion, ...]:
    """Return the expressions of a head, without its output ``other``."""
    return tuple(Emotion(label) for label in HEAD_LABELS[head] if label != OTHER)


_VOTED_HEADS: Final = ("crowd", "votes")


def majority(votes: NDArray[np.integer]) -> list[Emotion | None]:
    """Return the expression with a majority of the votes, or None.

    Single votes are dropped; the winner needs more than half of the remaining votes; majorities for
    "unknown" and "not a face" give None.

    Args:
        votes: Counts of shape (N, 10) in the order of ``VOTE_WORDS``.
    """
    counts = _without_single_votes(votes)
    winners = counts.argmax(axis=1)
    clear = counts[np.arange(len(counts)), winners] * 2 > counts.sum(axis=1)
    meanings = [VOTE_MEANINGS[winner] for winner in winners]
    return [
        Emotion(meaning) if is_clear and meaning != OTHER else None
        for meaning, is_clear in zip(meanings, clear, strict=True)
    ]


def was_voted(votes: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return a mask of the rows with votes, shape (N,)."""
    return np.asarray((votes >= 0).all(axis=1))


def _without_single_votes(votes: NDArray[np.integer]) -> NDArray[np.int64]:
    if votes.ndim != 2 or votes.shape[1] != len(VOTE_WORDS):
        raise ValueError(f"expected votes of shape (N, {len(VOTE_WORDS)}), got {votes.shape}")
    counts = votes.astype(np.int64)
    counts[counts < 2] = 0
    return counts


def crowd_targets(
    labels: Sequence[Label | None],
    votes: NDArray[np.integer] | None,
    names: tuple[str, ...] = HEAD_LABELS["crowd"],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the targets of a head with the output ``other``.

    Targets are shares of votes, without single votes; images without votes get their label. Expressions that
    the head lacks, "unknown" and "not a face" count as ``other``, as does an image whose votes are all zero.

    Args:
        labels: The data set's label of each image, None if it has none.
        votes: Counts of shape (N, 10), rows of -1 for images without votes; None for no votes at all.
        names: The head's labels.

    Returns:
        Shares of shape (N, outputs) in the order of ``names``, and weights of shape (N,): 0 for images
        without label and votes.
    """
    shares = np.zeros((len(labels), len(names)), dtype=np.float32)
    weights = np.ones(len(labels), dtype=np.float32)
    other = names.index(OTHER)
    for row, label in enumerate(labels):
        if label is None:
            weights[row] = 0
        else:
            shares[row, names.index(label) if label in names else other] = 1
    if votes is not None:
        voted = was_voted(votes)
        counts = _without_single_votes(np.where(voted[:, None], votes, 0))
        columns = [names.index(meaning) if meaning in names else other for meaning in VOTE_MEANINGS]
        from_votes = np.zeros_like(shares)
        for column, vote_counts in zip(columns, counts.T, strict=True):
            from_votes[:, column] += vote_counts
        from_votes[counts.sum(axis=1) == 0, other] = 1
        shares[voted] = (from_votes / from_votes.sum(axis=1, keepdims=True))[voted]
        weights[voted] = 1
    return shares, weights


def blended_targets(
    labels: Sequence[Label | None], votes: NDArray[np.integer] | None, names: tuple[str, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the shares of votes among ``names``; for images without votes, one-hot labels."""
    shares, weights = label_targets(labels, names)
    if votes is None:
        return shares, weights
    columns = [VOTE_MEANINGS.index(name) for name in names]
    counts = np.where(was_voted(votes)[:, None], votes, 0)[:, columns].astype(np.float32)
    blended = counts.sum(axis=1) > 0
    shares[blended] = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))[blended]
    weights[blended] = 1
    return shares, weights


def label_targets(
    labels: Sequence[Label | None], names: tuple[str, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return one-hot targets over ``names``, shape (N, C), and weights: 0 for labels not among them."""
    shares = np.zeros((len(labels), len(names)), dtype=np.float32)
    for row, label in enumerate(labels):
        if label in names:
            shares[row, names.index(label)] = 1
    return shares, shares.sum(axis=1)


def head_targets(
    head: str,
    labels: Sequence[Label | None],
    votes: NDArray[np.integer] | None,
    names: tuple[str, ...] = (),
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return targets and weights of one head: ``crowd_targets``, ``blended_targets`` or ``label_targets``.

    Args:
        head: One of the trained heads.
        labels: The data set's label of each image, None if it has none.
        votes: Counts of shape (N, 10), or None for no votes at all.
        names: The head's labels; empty for those in ``HEAD_LABELS``.
    """
    if head not in TRAINED_HEADS:
        raise ValueError(f"unknown head {head!r}; expected one of {', '.join(TRAINED_HEADS)}")
    names = names or HEAD_LABELS[head]
    if head in _VOTED_HEADS:
        return crowd_targets(labels, votes, names)
    if head == "web":
        return blended_targets(labels, votes, names)
    return label_targets(labels, names)
