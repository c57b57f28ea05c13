"""From labels and crowd votes to what each head should answer."""

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
"""Choices of FER+'s ten annotators (Barsoum et al. 2016); ``nf`` is "not a face"."""

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
"""Labels of every head but ``own``, whose labels its data names (``TrainConfig.labels_of``). ``crowd`` and
``votes`` learn what people agree to see, ``fer2013`` and ``web`` the labels of data sets; ``six`` and
``seven`` are not trained but fitted over the others (``training.shown_answer``)."""

TRAINED_HEADS: Final = ("crowd", "fer2013", "votes", "web", OWN_HEAD)
"""Heads that data teaches."""


def expressions_of(head: str) -> tuple[Emotion, ...]:
    """Return the expressions that a head names, without its output ``other``."""
    return tuple(Emotion(label) for label in HEAD_LABELS[head] if label != OTHER)


_VOTED_HEADS: Final = ("crowd", "votes")


def majority(votes: NDArray[np.integer]) -> list[Emotion | None]:
    """The expression that the crowd agrees on, or None.

    Single votes are dropped; the winner must hold more than half of what remains; majorities for
    "unknown" and "not a face" count as none.

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
    """Return a mask of the rows that carry counts, shape (N,)."""
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

    Votes give shares, single votes dropped; without votes the label stands alone. Expressions that the head
    lacks, "unknown" and "not a face" go to ``other``; so does a picture whose votes are all zero.

    Args:
        labels: The data set's label of each picture, None where it has none.
        votes: Counts of shape (N, 10), rows of -1 where a picture was not voted on; None for no votes at all.
        names: The head's labels.

    Returns:
        Shares of shape (N, outputs) in the order of ``names``, and weights of shape (N,): 0 where nothing is
        known.
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
    """One-hot labels, or the shares of votes among ``names`` where a picture was voted on."""
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
    """One-hot shares over ``names`` of shape (N, C), with weight 0 where a label is not among them."""
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
    """Targets and weights of one head: ``crowd_targets``, ``blended_targets`` or ``label_targets``.

    Args:
        head: One of the trained heads.
        labels: The data set's label of each picture, None where it has none.
        votes: Counts of shape (N, 10), or None for no votes at all.
        names: The head's labels; empty for those in ``HEAD_LABELS``.
    """
    if head not in TRAINED_HEADS:
        raise ValueError(f"unknown head {head!r}; known are {', '.join(TRAINED_HEADS)}")
    names = names or HEAD_LABELS[head]
    if head in _VOTED_HEADS:
        return crowd_targets(labels, votes, names)
    if head == "web":
        return blended_targets(labels, votes, names)
    return label_targets(labels, names)
