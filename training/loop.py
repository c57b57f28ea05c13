"""Batches of a split, their losses, and the logits of a whole split: tensors in, tensors out."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from fer.networks import ExpressionNetwork
from training.distillation import Teachers


@dataclass(frozen=True, slots=True)
class SplitTensors:
    """A split, whole on its device.

    Attributes:
        crops: ``uint8`` of shape (N, C, S, S).
        targets: By head, shares of shape (N, outputs).
        weights: By head, shape (N,); 0 where the head has nothing to learn from the picture.
    """

    crops: Tensor
    targets: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.crops)

    def batches(self, order: Tensor, batch_size: int) -> Iterator["SplitTensors"]:
        """Consecutive batches of the rows in ``order``; a last batch of one picture is left out."""
        for rows in torch.split(order, batch_size):
            if len(rows) > 1:  # batch statistics need two
                yield SplitTensors(
                    self.crops[rows],
                    {head: target[rows] for head, target in self.targets.items()},
                    {head: weight[rows] for head, weight in self.weights.items()},
                )


def heads_loss(
    logits: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    head_shares: Mapping[str, float],
) -> Tensor:
    """Soft cross-entropy of every head, summed by share; one value a picture, shape (N,).

    A head's weights may differ from picture to picture: 0 leaves it out.
    """
    total = torch.zeros((), device=next(iter(logits.values())).device)
    for head, scores in logits.items():
        loss = -(targets[head] * functional.log_softmax(scores.float(), dim=1)).sum(dim=1)
        total = total + head_shares[head] * weights[head] * loss
    return total


def mix(batch: SplitTensors, share: float, order: Tensor) -> SplitTensors:
    """Lay each picture over another one, targets alike (Zhang et al. 2018)."""
    crops = (batch.crops.float() * share + batch.crops[order].float() * (1 - share)).round().to(torch.uint8)
    targets, weights = {}, {}
    for head, target in batch.targets.items():
        mine, theirs = batch.weights[head] * share, batch.weights[head][order] * (1 - share)
        weights[head] = mine + theirs
        mixed = target * mine[:, None] + target[order] * theirs[:, None]
        targets[head] = mixed / weights[head].clamp(min=1e-6)[:, None]
    return SplitTensors(crops, targets, weights)


def batch_losses(
    network: nn.Module,
    batch: SplitTensors,
    head_shares: Mapping[str, float],
    autocast: Callable[[], AbstractContextManager[object]],
    teachers: Teachers | None = None,
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Run a batch through a network and compare its answers with the targets.

    Args:
        network: Gives logits by head.
        batch: Pictures as the network is to see them, at least two.
        head_shares: Weight of each head in the loss.
        autocast: Makes the precision context of the forward pass.
        teachers: Look at the same pictures and have their share in the loss.

    Returns:
        The loss of each picture, shape (N,), and the logits by head.
    """
    with autocast():
        logits = network(batch.crops)
        answers = {} if teachers is None else teachers.answers(batch.crops)
    losses = heads_loss(logits, batch.targets, batch.weights, head_shares)
    if teachers is not None:
        taught = teachers.loss(logits, answers, head_shares)
        losses = (1 - teachers.share) * losses + teachers.share * taught
    return losses, logits


@torch.inference_mode()
def predict(network: ExpressionNetwork, crops: Tensor, batch_size: int = 512) -> dict[str, Tensor]:
    """Logits by head as use relies on them, for every crop, in order, in single precision, on the CPU."""
    network.eval()
    parts = [network.judged_logits(batch) for batch in torch.split(crops, batch_size)]
    return {head: torch.cat([part[head].float() for part in parts]).cpu() for head in parts[0]}
