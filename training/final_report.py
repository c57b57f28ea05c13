"""Judges the best epoch of a training: the last fits, then the figures."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from fer.emotions import OTHER, SIX_EMOTIONS, Emotion
from fer.model_card import Preprocessing
from fer.networks import ExpressionNetwork
from training.calibration import fit_temperature, prior_shift
from training.checkpoints import save_weights
from training.config import TrainConfig
from training.loop import predict
from training.metrics import other_limit, report_head
from training.mistakes import save_mistakes
from training.other_output import fit_other
from training.quantisation import SAMPLE_FILE, save_sample
from training.runs import BEST_FILE, MISTAKES_FILE, SHOWN_FILE
from training.setup import initial_network
from training.shown_answer import (
    SHOWN_HEADS,
    add_shown_heads,
    fit_shown,
    judge_left_out,
    judge_sets,
    judged_sets,
    seven_emotions,
)
from training.splits import Splits, shown_truth
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
    if is_shown_fitted(config):
        return _judge_shown(config, folder, splits, val_crops, val_truth, network)
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


def is_shown_fitted(config: TrainConfig) -> bool:
    """Whether the heads that people see are fitted over the trained ones."""
    return {"votes", "web"} <= set(config.heads)


def default_head(config: TrainConfig) -> str:
    """The head that people see."""
    return SHOWN_HEADS[0] if is_shown_fitted(config) else config.heads[0]


def _judge_shown(
    config: TrainConfig,
    folder: Path,
    splits: Splits,
    val_crops: Tensor,
    val_truth: Mapping[str, Sequence[Emotion | None]],
    network: ExpressionNetwork,
) -> dict[str, Any]:
    """Fit the shown answer and judge it on every validation set; the trained heads are judged as ever."""
    logits = {head: scores.numpy() for head, scores in predict(network, val_crops).items()}
    sets = judged_sets(splits.val.table, config)
    shown = fit_shown(logits, sets, config.class_balance)
    for head, weight in shown.weights.items():
        log.info("shown answer: %.2f times the logits of %s", weight, head)
    grown = add_shown_heads(network, shown)
    for head in SHOWN_HEADS:
        fitted = fit_other(grown, splits.train, config.other_places, Preprocessing(size=config.size), head)
        log.info(
            "other of %s: loss %.4f before, %.4f after", head, fitted["loss_before"], fitted["loss_after"]
        )
    save_weights(grown, folder / SHOWN_FILE)
    truth_by_head = dict(val_truth) | dict.fromkeys(SHOWN_HEADS, shown_truth(splits.val.table))
    save_sample(folder / SAMPLE_FILE, splits.train.crops, splits.val.crops, truth_by_head)
    heads: dict[str, Any] = {}
    for head, scores in predict(grown, val_crops).items():
        truth, labels = truth_by_head[head], HEAD_LABELS[head]
        is_shown = head in SHOWN_HEADS
        judged = seven_emotions() if head == SHOWN_HEADS[1] else SIX_EMOTIONS
        temperature = 1.0 if is_shown else fit_temperature(scores.numpy(), labels, truth)
        shares = torch.softmax(scores / temperature, dim=1).numpy()
        heads[head] = report_head(shares, labels, truth, labels=judged) | {"temperature": temperature}
        if OTHER in labels:
            is_face = [label in labels for label in truth]
            heads[head]["other_above"] = other_limit(shares[is_face, labels.index(OTHER)])
        if is_shown:
            heads[head]["sets"] = judge_sets(shares, labels, sets, judged)
    heads[SHOWN_HEADS[0]]["left_out"] = judge_left_out(logits, sets, config.class_balance)
    heads[SHOWN_HEADS[0]]["shown"] = {"weights": dict(shown.weights), "bias": shown.bias.tolist()}
    default = default_head(config)
    shares = torch.softmax(predict(grown, val_crops)[default], dim=1).numpy()
    save_mistakes(folder / MISTAKES_FILE, shares, default, splits.val, truth_by_head[default])
    return heads


def _fit_other(config: TrainConfig, folder: Path, splits: Splits, network: ExpressionNetwork) -> None:
    """Fit the output ``other`` to places without a face and keep the result.

    All else in the network stays, so that a report made again finds the same.
    """
    head = "crowd" if "crowd" in config.heads else "votes"
    fitted = fit_other(network, splits.train, config.other_places, Preprocessing(size=config.size), head)
    log.info(
        "other: loss %.4f before, %.4f after the fit to %d places and %d faces",
        fitted["loss_before"], fitted["loss_after"], fitted["place_count"], fitted["face_count"],
    )  # fmt: skip
    save_weights(network, folder / BEST_FILE)
