"""One pass over the training split, one over a split to judge: tensors in, numbers out."""

import math
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


@dataclass(frozen=True, slots=True)
class EpochLoss:
    """Mean over the pictures of an epoch."""

    loss: float
    accuracy: float


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


def train_epoch(
    network: nn.Module,
    split: SplitTensors,
    order: Tensor,
    batch_size: int,
    optimizer: torch.optim.Optimizer,
    *,
    head_shares: Mapping[str, float],
    autocast: Callable[[], AbstractContextManager[object]],
    augment: Callable[[Tensor], Tensor] | None = None,
    mixup: Callable[[SplitTensors], SplitTensors] | None = None,
    teachers: Teachers | None = None,
    before_step: Callable[[int], None] | None = None,
    after_step: Callable[[int], None] | None = None,
) -> EpochLoss:
    """Train on every picture of ``order`` once.

    Args:
        network: Gives logits by head.
        split: The training split on the network's device.
        order: Row numbers in the order wanted.
        batch_size: Pictures a step.
        optimizer: Steps once a batch.
        head_shares: Weight of each head in the loss.
        autocast: Makes the precision context of the forward pass.
        augment: From ``uint8`` crops to ``uint8`` crops.
        mixup: From a batch to a mixed batch.
        teachers: Look at the same pictures and have their share in the loss.
        before_step: Called with the step number, sets the learning rate.
        after_step: Called with the step number, averages weights and tells the progress.
    """
    network.train()
    first_head = next(iter(head_shares))
    loss_sum = torch.zeros((), device=split.crops.device)
    hit_sum, count = torch.zeros_like(loss_sum), 0
    for step, clean in enumerate(split.batches(order, batch_size)):
        batch = clean
        if augment is not None:
            batch = SplitTensors(augment(batch.crops), batch.targets, batch.weights)
        if mixup is not None:
            batch = mixup(batch)
        if before_step is not None:
            before_step(step)
        with autocast():
            logits = network(batch.crops)
            answers = {} if teachers is None else teachers.answers(batch.crops)
        losses = heads_loss(logits, batch.targets, batch.weights, head_shares)
        if teachers is not None:
            taught = teachers.loss(logits, answers, head_shares)
            losses = (1 - teachers.share) * losses + teachers.share * taught
        optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        loss_sum += losses.detach().sum()
        hits = logits[first_head].detach().argmax(dim=1) == batch.targets[first_head].argmax(dim=1)
        hit_sum += hits.sum()
        count += len(hits)
        if after_step is not None:
            after_step(step)
    return EpochLoss(float(loss_sum) / max(count, 1), float(hit_sum) / max(count, 1))


@torch.inference_mode()
def predict(network: ExpressionNetwork, crops: Tensor, batch_size: int = 512) -> dict[str, Tensor]:
    """Logits by head as use relies on them, for every crop, in order, in single precision, on the CPU."""
    network.eval()
    parts = [network.judged_logits(batch) for batch in torch.split(crops, batch_size)]
    return {head: torch.cat([part[head].float() for part in parts]).cpu() for head in parts[0]}


def learning_rate_factor(schedule: str, progress: float, warmup: float) -> float:
    """The share of the peak learning rate.

    Args:
        schedule: ``cosine`` falls to 0; ``step`` is a tenth from half and a hundredth from three quarters
            of the way on; ``constant`` and ``plateau`` stay.
        progress: Share of the training that is done, in [0, 1].
        warmup: Share of the training in which the rate rises from 0.
    """
    if progress < warmup:
        return max(progress / warmup, 0.01)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / max(1 - warmup, 1e-9)))
    if schedule == "step":
        return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01
    return 1.0
