"""Batches, losses with optional distillation, and predictions for a whole split."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from fer.networks import ExpressionNetwork
from training.data.augmentation import luma

DAMAGE_DOUBT: Final = 0.15
"""Weight of equal shares of all outputs in the loss of crops that are covered or blurred beyond reading."""
_PREDICTED_AT_ONCE: Final = 512


@dataclass(frozen=True, slots=True)
class SplitTensors:
    """A whole split as tensors on one device.

    Attributes:
        crops: ``uint8`` of shape (N, C, S, S).
        targets: By head, target probabilities of shape (N, outputs).
        weights: By head, sample weights of shape (N,); 0 for crops that do not train the head.
    """

    crops: Tensor
    targets: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.crops)

    def batches(self, order: Tensor, batch_size: int) -> Iterator["SplitTensors"]:
        """Yield consecutive batches of the rows in ``order``; a last batch of one crop is skipped."""
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
    """Return the soft cross-entropy of all heads, weighted by share and sample weight, shape (N,)."""
    total = torch.zeros((), device=next(iter(logits.values())).device)
    for head, scores in logits.items():
        loss = -(targets[head] * functional.log_softmax(scores.float(), dim=1)).sum(dim=1)
        total = total + head_shares[head] * weights[head] * loss
    return total


def mix(batch: SplitTensors, share: float, order: Tensor) -> SplitTensors:
    """Blend each crop and its targets with another one: mixup (Zhang et al. 2018)."""
    crops = (batch.crops.float() * share + batch.crops[order].float() * (1 - share)).round().to(torch.uint8)
    targets, weights = {}, {}
    for head, target in batch.targets.items():
        mine, theirs = batch.weights[head] * share, batch.weights[head][order] * (1 - share)
        weights[head] = mine + theirs
        mixed = target * mine[:, None] + target[order] * theirs[:, None]
        targets[head] = mixed / weights[head].clamp(min=1e-6)[:, None]
    return SplitTensors(crops, targets, weights)


class Teachers:
    """Ensemble of teachers that see the student's augmented crops (Hinton et al. 2015, Beyer et al. 2022).

    Args:
        networks: Trained networks with the student's heads, on its device, and the side of their crops; their
            crops may be grey where the student's are RGB, or the other way round.
        heads: The student's heads.
        share: Weight of the distillation loss, in [0, 1]; the loss on labels has the rest.
        temperature: Distillation temperature, for teachers and student.
    """

    def __init__(
        self,
        networks: Sequence[tuple[ExpressionNetwork, int]],
        heads: Sequence[str],
        share: float,
        temperature: float,
    ) -> None:
        self.networks = [(network.eval().requires_grad_(False), side) for network, side in networks]
        self._run: list[nn.Module] = [network for network, _ in self.networks]
        self.heads, self.share, self.temperature = heads, share, temperature

    def compile(self, prepare: Callable[[nn.Module], nn.Module]) -> None:
        """Replace each network by what ``prepare`` makes of it, which must give the same logits."""
        self._run = [prepare(network) for network, _ in self.networks]

    @torch.no_grad()
    def answers(self, crops: Tensor) -> dict[str, Tensor]:
        """Return the mean of the teachers' softened probabilities, by head.

        Every teacher sees each crop once: the augmentation mirrors half of them already.

        Args:
            crops: ``uint8`` of shape (N, C, S, S), as the student gets them; teachers with larger or smaller
                crops get them resized.
        """
        all_logits = [
            run(_seen(crops, network, side))
            for run, (network, side) in zip(self._run, self.networks, strict=True)
        ]
        return {
            head: torch.stack(
                [torch.softmax(logits[head].float() / self.temperature, dim=1) for logits in all_logits]
            ).mean(dim=0)
            for head in self.heads  # exported teachers have more, the shown ones
        }

    def loss(
        self, logits: Mapping[str, Tensor], answers: Mapping[str, Tensor], shares: Mapping[str, float]
    ) -> Tensor:
        """Return the cross-entropy with the teachers' answers, weighted by head share, shape (N,).

        The factor ``temperature ** 2`` keeps the scale of the gradients.
        """
        total = torch.zeros((), device=next(iter(logits.values())).device)
        for head, share in shares.items():
            log_shares = functional.log_softmax(logits[head].float() / self.temperature, dim=1)
            loss = -(answers[head] * log_shares).sum(dim=1)
            total = total + share * self.temperature**2 * loss
        return total


def batch_losses(
    network: nn.Module,
    batch: SplitTensors,
    head_shares: Mapping[str, float],
    autocast: Callable[[], AbstractContextManager[object]],
    teachers: Teachers | None = None,
    damage: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None,
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Run a batch through a network and compute the losses.

    Args:
        network: Returns logits by head.
        batch: At least two crops, augmented.
        head_shares: Weight of each head in the loss.
        autocast: Creates the precision context of the forward pass.
        teachers: Teachers for distillation.
        damage: Covers or blurs some crops, for the network and its teachers, and returns which lack too much
            for a confident answer; these are drawn towards equal shares of all outputs.

    Returns:
        The loss of each crop, shape (N,), and the logits by head.
    """
    crops, is_damaged = (batch.crops, None) if damage is None else damage(batch.crops)
    with autocast():
        logits = network(crops)
        answers = {} if teachers is None else teachers.answers(crops)
    losses = heads_loss(logits, batch.targets, batch.weights, head_shares)
    if teachers is not None:
        taught = teachers.loss(logits, answers, head_shares)
        losses = (1 - teachers.share) * losses + teachers.share * taught
    if is_damaged is not None:
        doubt = DAMAGE_DOUBT * is_damaged
        equal = {head: torch.full_like(scores, 1 / scores.shape[1]) for head, scores in logits.items()}
        counted = dict.fromkeys(logits, torch.ones_like(losses))
        losses = (1 - doubt) * losses + doubt * heads_loss(logits, equal, counted, head_shares)
    return losses, logits


@torch.inference_mode()
def predict(network: ExpressionNetwork, crops: Tensor) -> dict[str, Tensor]:
    """Return the logits of all crops by head, averaged over all views, as ``float32`` on the CPU."""
    network.eval()
    parts = [network.judged_logits(batch) for batch in torch.split(crops, _PREDICTED_AT_ONCE)]
    return {head: torch.cat([part[head].float() for part in parts]).cpu() for head in parts[0]}


def _seen(crops: Tensor, network: ExpressionNetwork, side: int) -> Tensor:
    """Return a student's crops as a teacher expects them."""
    if network.channels < crops.shape[1]:
        crops = luma(crops)
    crops = crops.expand(-1, network.channels, -1, -1)
    if crops.shape[-1] == side:
        return crops
    return functional.interpolate(crops.float(), size=(side, side), mode="bilinear", antialias=True)
