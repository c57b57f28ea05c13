"""What the best epoch of a training comes to: the last fits, then the figures."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from fer.emotions import OTHER, Emotion
from fer.networks import ExpressionNetwork
from training.calibration import fit_temperature, prior_shift
from training.checkpoints import save_weights
from training.config import TrainConfig
from training.loop import predict
from training.metrics import other_limit, report_head
from training.mistakes import save_mistakes
from training.other_output import fit_other
from training.quantisation import SAMPLE_FILE, save_sample
from training.runs import BEST_FILE, MISTAKES_FILE
from training.setup import initial_network
from training.splits import Splits
from training.targets import HEAD_LABELS

log = logging.getLogger(__name__)


def judge_best(
    config: TrainConfig,
    folder: Path,
    splits: Splits,
    val_crops: Tensor,
    val_truth: Mapping[str, Sequence[Emotion | None]],
) -> dict[str, Any]:
    """Judge the best epoch on the validation split, after the fits that do not change the trunk.

    Writes a sample for the export and the worst mistakes into the run directory, too.

    Args:
        config: Of the training.
        folder: The run directory.
        splits: What was trained and judged on.
        val_crops: ``uint8`` of shape (N, C, size, size), on the device that judges.
        val_truth: By head the true label of each.

    Returns:
        The report of each head, with its temperature and thresholds.

    Raises:
        DatasetError: The crops without a face cannot be used.
    """
    network = initial_network(config)
    network.load_state_dict(load_file(folder / BEST_FILE))
    network.to(val_crops.device)
    if config.other_places:
        _fit_other(config, folder, splits, network)
    save_sample(folder / SAMPLE_FILE, splits.train.crops, splits.val.crops, val_truth)
    heads: dict[str, Any] = {}
    for head, scores in predict(network, val_crops).items():
        truth, labels = val_truth[head], HEAD_LABELS[head]
        # The first head is shown to people, who expect rare expressions to be named too.
        strength = config.prior_shift if head == config.heads[0] else 0.0
        shift = prior_shift(scores.numpy(), labels, strength)
        shifted = scores + torch.from_numpy(shift).float()
        temperature = fit_temperature(shifted.numpy(), labels, truth)
        shares = torch.softmax(shifted / temperature, dim=1).numpy()
        heads[head] = report_head(shares, labels, truth)
        heads[head] |= {"temperature": temperature, "logit_shift": shift.tolist()}
        if OTHER in labels:
            is_face = [label in labels for label in truth]
            heads[head]["other_above"] = other_limit(shares[is_face, labels.index(OTHER)])
        if head == config.heads[0]:
            save_mistakes(folder / MISTAKES_FILE, shares, head, splits.val, truth)
    return heads


def _fit_other(config: TrainConfig, folder: Path, splits: Splits, network: ExpressionNetwork) -> None:
    """Fit the output ``other`` to places without a face and keep the result.

    All else in the network stays, so that a report made again finds the same.
    """
    fitted = fit_other(network, splits.train, config)
    log.info(
        "other: loss %.4f before, %.4f after the fit to %d places and %d faces",
        fitted["loss_before"], fitted["loss_after"], fitted["place_count"], fitted["face_count"],
    )  # fmt: skip
    save_weights(network, folder / BEST_FILE)
