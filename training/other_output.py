"""Fits the output ``other`` alone to what detectors take for faces wrongly; all else stays as it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fer.emotions import OTHER
from fer.model_card import Preprocessing
from fer.networks import ExpressionNetwork
from training.datasets import DecodedFaces, decode, read_tables
from training.targets import HEAD_LABELS, crowd_targets

_BATCH_SIZE: Final = 256
_STEPS: Final = 200
_PLACE_WEIGHT: Final = 0.2
"""Weight of a place beside that of a face: most detections are faces."""

_VOTERS: Final = 10
"""Annotators of each picture of FER+."""

_DECAY: Final = 1e-5
"""L2 strength. With it there is one best solution, wherever the search starts."""


def fit_other(
    network: ExpressionNetwork,
    faces: DecodedFaces,
    places: Sequence[Path],
    preprocessing: Preprocessing,
    head: str = "crowd",
) -> dict[str, float]:
    """Fit one row of a head's last layer by logistic regression.

    The log-odds of ``other`` against everything else are linear in the features, so the ratios between the
    expressions do not change.

    Args:
        network: Trained; changed in place.
        faces: What it was trained on; what annotators called no face stays so, in part where they disagreed.
        places: Parquet files of crops without a face, written by ``training.crop_others``.
        preprocessing: How crops are prepared.
        head: A head with the output ``other``.

    Returns:
        ``face_count``, ``place_count``, and the mean loss before and after.

    Raises:
        DatasetError: The files cannot be used.
        ValueError: The network has no such output.
    """
    if OTHER not in HEAD_LABELS.get(head, ()) or head not in network.heads:
        raise ValueError(f"expected a network with the head {head!r}, got {sorted(network.heads)}")
    row = HEAD_LABELS[head].index(OTHER)
    size, channels = preprocessing.size, preprocessing.channel_count
    found = (
        decode(read_tables(places), preprocessing).crops
        if places
        else np.empty((0, channels, size, size), dtype=np.uint8)
    )
    # Seven expressions, so that a disgusted face is a face, also for a head that cannot name it.
    names = HEAD_LABELS["crowd" if head == "crowd" else "seven"]
    shares, weights = crowd_targets(list(faces.table.labels), _of_ten(faces.table.votes), names)
    counted = weights > 0
    features = torch.cat([_features(network, crops) for crops in (faces.crops[counted], found) if len(crops)])
    is_other = torch.from_numpy(shares[counted, names.index(OTHER)]).float()
    target = torch.cat([is_other, torch.ones(len(found))])
    counts = torch.cat([torch.ones(len(is_other)), torch.full((len(found),), _PLACE_WEIGHT)])
    layer = cast(nn.Linear, network.heads[head])
    rest = [index for index in range(layer.out_features) if index != row]
    with torch.inference_mode():
        logits = functional.linear(features, layer.weight.cpu(), layer.bias.cpu())
        against = torch.logsumexp(logits[:, rest], dim=1)
    features, against = features.clone(), against.clone()  # free of inference mode
    weight, bias = (
        values.detach().cpu()[row].clone().requires_grad_() for values in (layer.weight, layer.bias)
    )
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        return functional.binary_cross_entropy_with_logits(features @ weight + bias - against, target, counts)

    def closure() -> float:
        optimizer.zero_grad()
        total = loss() + _DECAY * weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return float(total.detach())

    before = float(loss().detach())
    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        layer.weight[row] = weight.to(layer.weight)
        layer.bias[row] = bias.to(layer.bias)
    return {
        "face_count": float(counted.sum()),
        "place_count": float(len(found)),
        "loss_before": before,
        "loss_after": float(loss().detach()),
    }


def _of_ten(votes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Votes of annotators who could choose "not a face"; rows of -1 where they could not."""
    could_choose = votes.sum(axis=1) <= _VOTERS
    return np.where(could_choose[:, None], votes, -1).astype(np.int64)


@torch.inference_mode()
def _features(network: ExpressionNetwork, crops: NDArray[np.uint8]) -> Tensor:
    """Return the input of the heads, averaged over all views as answers are."""
    network.eval()
    device = next(network.parameters()).device
    parts = []
    for start in range(0, len(crops), _BATCH_SIZE):
        batch = torch.from_numpy(crops[start : start + _BATCH_SIZE]).to(device)
        views = [network.trunk(network.standardise(view)).float() for view in network.views(batch)]
        parts.append((sum(views, start=torch.zeros_like(views[0])) / len(views)).cpu())
    return torch.cat(parts) if parts else torch.zeros(0)
