"""Fits only the output ``other`` of a trained network, to false positives of detectors."""

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
from training.data.augmentation import Damage
from training.data.datasets import DecodedFaces, decode, read_tables
from training.data.targets import HEAD_LABELS, crowd_targets

_BATCH_SIZE: Final = 256
_STEPS: Final = 200
_PLACE_WEIGHT: Final = 0.2
"""Weight of a false positive relative to a face, since most detections are faces."""

_DAMAGED_WEIGHT: Final = 0.5
"""Weight of a covered or blurred face relative to a face."""

_MOST_FACES: Final = 12_000
"""Maximum number of faces; larger sets are subsampled evenly and their faces weighted accordingly."""

_DECAY: Final = 1e-5
"""L2 strength; makes the solution unique."""


def fit_other(
    network: ExpressionNetwork,
    faces: DecodedFaces,
    places: Sequence[Path],
    preprocessing: Preprocessing,
    heads: Sequence[str] = ("crowd",),
) -> dict[str, dict[str, float]]:
    """Fit one row of the last layer of each head by logistic regression.

    The log-odds of ``other`` against everything else are linear in the features, so the ratios between the
    expressions do not change.

    Args:
        network: Trained; changed in place.
        faces: Training data; crowd votes for "not a face" are soft targets of ``other``. Some are used
            again, covered or blurred.
        places: Parquet files of crops without a face, written by ``training.crop_others``; may be empty.
        preprocessing: Preprocessing of the crops.
        heads: Heads with the output ``other``.

    Returns:
        By head: ``face_count``, ``place_count``, and the mean loss before and after.

    Raises:
        DatasetError: The files cannot be used.
        ValueError: A head is missing or has no output ``other``.
    """
    for head in heads:
        if OTHER not in HEAD_LABELS.get(head, ()) or head not in network.heads:
            raise ValueError(f"expected a network with the head {head!r}, got {sorted(network.heads)}")
    step = max(round(len(faces.crops) / _MOST_FACES), 1)
    if step > 1:
        faces = DecodedFaces(faces.table.take(range(0, len(faces.crops), step)), faces.crops[::step], ())
    place_crops = decode(read_tables(places), preprocessing).crops if places else faces.crops[:0]
    # Covered and blurred faces are as doubtful as crops without a face, but they are faces.
    damaged, rows = _damaged(faces)
    everything = DecodedFaces(
        faces.table.take([*range(len(faces.crops)), *rows]), np.concatenate([faces.crops, damaged]), ()
    )
    counts = torch.ones(len(everything.crops))
    counts[len(faces.crops) :] = _DAMAGED_WEIGHT
    counts *= step * len(faces.crops) / counts.sum()  # copies do not make places rarer among the faces
    features, place_features = _features(network, everything.crops), _features(network, place_crops)
    return {head: _fit_row(network, head, everything, features, place_features, counts) for head in heads}


def _damaged(faces: DecodedFaces) -> tuple[NDArray[np.uint8], list[int]]:
    """Return a part of the faces behind large covers or blurred, and their rows."""
    damage = Damage(torch.Generator().manual_seed(0))
    parts, rows = [], list[int]()
    for start in range(0, len(faces.crops), _BATCH_SIZE):
        crops, is_damaged = damage(torch.from_numpy(faces.crops[start : start + _BATCH_SIZE]))
        parts.append(crops[is_damaged].numpy())
        rows += [start + row for row in is_damaged.nonzero().flatten().tolist()]
    return np.concatenate(parts) if parts else faces.crops[:0], rows


def _fit_row(
    network: ExpressionNetwork,
    head: str,
    faces: DecodedFaces,
    face_features: Tensor,
    place_features: Tensor,
    face_weights: Tensor,
) -> dict[str, float]:
    row = HEAD_LABELS[head].index(OTHER)
    # For the head ``six``, too, disgusted faces count as faces, although it has no such label.
    names = HEAD_LABELS["seven" if head == "six" else head]
    shares, weights = crowd_targets(list(faces.table.labels), faces.table.votes, names)
    counted = weights > 0
    is_counted = torch.from_numpy(counted)
    features = torch.cat([face_features[is_counted], place_features])
    is_other = torch.from_numpy(shares[counted, names.index(OTHER)]).float()
    place_count = len(features) - len(is_other)
    target = torch.cat([is_other, torch.ones(place_count)])
    counts = torch.cat([face_weights[is_counted], torch.full((place_count,), _PLACE_WEIGHT)])
    layer = cast(nn.Linear, network.heads[head])
    rest = [index for index in range(layer.out_features) if index != row]
    with torch.inference_mode():
        logits = functional.linear(features, layer.weight.cpu(), layer.bias.cpu())
        against = torch.logsumexp(logits[:, rest], dim=1)
    features, against = features.clone(), against.clone()  # inference tensors cannot require gradients
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
        "place_count": float(place_count),
        "loss_before": before,
        "loss_after": float(loss().detach()),
    }


@torch.inference_mode()
def _features(network: ExpressionNetwork, crops: NDArray[np.uint8]) -> Tensor:
    """Return the input of the heads, averaged over all views."""
    network.eval()
    device = next(network.parameters()).device
    parts = []
    for start in range(0, len(crops), _BATCH_SIZE):
        batch = torch.from_numpy(crops[start : start + _BATCH_SIZE]).to(device)
        views = [network.trunk(network.standardise(view)).float() for view in network.views(batch)]
        parts.append((sum(views, start=torch.zeros_like(views[0])) / len(views)).cpu())
    width = cast(nn.Linear, next(iter(network.heads.values()))).in_features
    return torch.cat(parts) if parts else torch.zeros(0, width)
