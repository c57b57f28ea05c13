"""Fits after a training, on the validation split: temperature, lead of frequent answers."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from fer.emotions import Emotion


def prior_shift(
    logits: NDArray[np.floating], head_labels: Sequence[str], strength: float
) -> NDArray[np.float64]:
    """Return the offsets that take some of their lead from frequent expressions.

    Logit adjustment (Menon et al. 2021) with the mean predicted share of each expression as its prior;
    ``other`` keeps its weight on average.

    Args:
        logits: Shape (N, outputs) in the order of ``head_labels``.
        head_labels: All outputs of the head.
        strength: 0 changes nothing, 1 treats all expressions as equally frequent.

    Returns:
        Shape (outputs,).
    """
    columns = [i for i, label in enumerate(head_labels) if label in set(Emotion)]
    scores = np.asarray(logits, dtype=np.float64)[:, columns]
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    prior = (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
    lead = np.log(np.maximum(prior, 1e-4))
    shift = np.zeros(len(head_labels))
    shift[columns] = -strength * (lead - (prior * lead).sum())
    return shift


def fit_temperature(
    logits: NDArray[np.floating], head_labels: Sequence[str], truth: Sequence[Emotion | None]
) -> float:
    """The temperature that makes the true labels likeliest (Guo et al. 2017), over the head's expressions.

    Args:
        logits: Shape (N, outputs) in the order of ``head_labels``.
        head_labels: All outputs of the head; ``other`` takes no part.
        truth: The true label of each row; rows with none of the head's labels take no part.

    Returns:
        A factor above 0; 1 where no row has a label.
    """
    emotions = [label for label in head_labels if label in set(Emotion)]
    columns = [list(head_labels).index(label) for label in emotions]
    rows = [row for row, label in enumerate(truth) if label in emotions]
    if not rows:
        return 1.0
    scores = torch.from_numpy(np.asarray(logits, dtype=np.float64)[rows][:, columns])
    target = torch.tensor([emotions.index(str(truth[row])) for row in rows])
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(scores / log_temperature.exp(), target)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return float(log_temperature.detach().exp().clamp(0.2, 5.0))
