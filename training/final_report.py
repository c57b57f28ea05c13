"""Final fits and evaluation of the best epoch of a training."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from fer.emotions import OTHER, Label
from fer.files import replaced
from fer.networks import ExpressionNetwork
from training.config import TrainConfig
from training.data.augmentation import coarsen
from training.data.datasets import DecodedFaces
from training.data.splits import Splits, shown_truth
from training.frame import save_weights
from training.loop import predict
from training.metrics import (
    confidence_for_accuracy,
    confidence_for_wrong_share,
    judged_shares,
    other_limit,
    report_head,
    restrict,
)
from training.other_output import fit_other
from training.quantisation import SAMPLE_FILE, save_sample
from training.run_files import BEST_FILE, MISTAKES_FILE, SHOWN_FILE
from training.setup import initial_network
from training.shown_answer import (
    SHOWN_HEADS,
    JudgedSet,
    add_shown_heads,
    choose_shown,
    judge_left_out,
    judge_sets,
    judged_sets,
)

_FOUND_SIDE: Final = 24
"""Side in pixels of the smallest faces that detectors are expected to find."""

_SMALL_SIDE: Final = 16
"""Side in pixels of typical faces below ``SMALL_FACE_SIDE``."""

_WRONG_OF_SMALL: Final = 0.045
"""Share of small faces that may get a wrong answer with confidence; a twentieth is the aim, the rest a margin
for eight-bit integers and the crops of a detector."""

_SHRUNK_AT_ONCE: Final = 1024

log = logging.getLogger(__name__)


def classifier_report(
    config: TrainConfig,
    folder: Path,
    splits: Splits,
    val_crops: Tensor,
    val_truth: Mapping[str, Sequence[Label | None]],
) -> dict[str, Any]:
    """Evaluate the best epoch on the validation split, after the fits that do not change the trunk.

    Also writes a sample for the export and the worst mistakes into the run directory.

    Args:
        config: Settings of the training.
        folder: The run directory.
        splits: Training and validation data.
        val_crops: ``uint8`` of shape (N, C, size, size), on the device for evaluation.
        val_truth: Ground-truth labels of these crops, by head.

    Returns:
        ``split``, ``default_head``, and in ``heads`` the report of each head, with its temperature and
        thresholds.

    Raises:
        DatasetError: The crops without a face cannot be used.
    """
    network = initial_network(config)
    network.load_state_dict(load_file(folder / BEST_FILE))
    network.to(val_crops.device)
    truths, sets, more = dict(val_truth), list[JudgedSet](), dict[str, Any]()
    default = default_head(config)
    if is_shown_fitted(config):
        sets = judged_sets(splits.val.table, config)
        network, more = _with_shown_heads(config, splits, network, sets, val_crops)
        save_weights(network, folder / SHOWN_FILE)
        truths |= dict.fromkeys(SHOWN_HEADS, shown_truth(splits.val.table))
    elif config.other_places:
        _fit_other(config, splits, network, ["crowd" if "crowd" in config.heads else "votes"])
        save_weights(network, folder / BEST_FILE)
    save_sample(folder / SAMPLE_FILE, splits.train.crops, splits.val.crops, truths)
    heads: dict[str, Any] = {}
    has_other = any(OTHER in config.labels_of(head) for head in network.output_counts)
    small_scores = _scores_of_small_faces(network, val_crops, _FOUND_SIDE) if has_other else {}
    smallest_scores = _scores_of_small_faces(network, val_crops, _SMALL_SIDE)
    for head, scores in predict(network, val_crops).items():
        truth, labels, is_fitted = truths[head], config.labels_of(head), head in SHOWN_HEADS
        # The default head should also name rare expressions; fitted heads are adjusted already.
        strength = config.prior_shift if head == default and not is_fitted else 0.0
        shift = prior_shift(scores.numpy(), labels, strength)
        offset = torch.from_numpy(shift).float()
        temperature = 1.0 if is_fitted else fit_temperature((scores + offset).numpy(), labels, truth)
        shares, smallest = (
            torch.softmax((each + offset) / temperature, dim=1).numpy()
            for each in (scores, smallest_scores[head])
        )
        judged = config.expressions_of(head)
        heads[head] = report_head(shares, labels, truth, labels=judged)
        heads[head] |= {"temperature": temperature, "logit_shift": shift.tolist()}
        heads[head]["unsure_below_small"] = _limit_of_small_faces(
            smallest,
            labels,
            judged,
            [JudgedSet("all", np.arange(len(truth)), truth), *(sets if is_fitted else ())],
        )
        if OTHER in labels:
            is_face = [row for row, label in enumerate(truth) if label in labels]
            small = torch.softmax((small_scores[head] + offset) / temperature, dim=1)
            # Small faces look less like faces; a threshold for large ones would drop them.
            other = np.maximum(shares, small.numpy())[is_face, labels.index(OTHER)]
            heads[head]["other_above"] = other_limit(other)
        if is_fitted:
            heads[head]["sets"] = judge_sets(shares, labels, sets, judged)
        if head == default:
            heads[head] |= more
            save_mistakes(folder / MISTAKES_FILE, shares, labels, splits.val, truth)
    return {"split": "val", "default_head": default, "heads": heads}


def _limit_of_small_faces(
    shares: NDArray[np.floating],
    labels: Sequence[str],
    judged: Sequence[Label],
    sets: Sequence[JudgedSet],
) -> float:
    """Return the confidence below which small faces are unsure.

    Nine in ten of the confident answers are right in the first set, and in every set, at most
    ``_WRONG_OF_SMALL`` of the faces get a wrong answer with confidence.

    Args:
        shares: Probabilities of a head for the whole validation split, with faces shrunk, shape (N, outputs).
        labels: All outputs of the head.
        judged: The expressions to evaluate.
        sets: Validation sets; the first one has all faces.
    """
    parts = [
        judged_shares(shares[each.rows], labels, each.truth, judged)
        for each in sets
        if any(label in judged for label in each.truth)
    ]
    return max(
        confidence_for_accuracy(*parts[0]),
        *(confidence_for_wrong_share(*part, _WRONG_OF_SMALL) for part in parts),
    )


def _scores_of_small_faces(network: ExpressionNetwork, crops: Tensor, side: int) -> dict[str, Tensor]:
    """Return the logits by head for crops as they look if the faces have fewer pixels."""
    batches = torch.split(crops, _SHRUNK_AT_ONCE)
    return predict(network, torch.cat([coarsen(batch, side) for batch in batches]))


def is_shown_fitted(config: TrainConfig) -> bool:
    """Whether the shown heads are fitted to the trained ones."""
    return {"votes", "web"} <= set(config.heads)


def default_head(config: TrainConfig) -> str:
    """Return the default head, whose answers users see."""
    return SHOWN_HEADS[0] if is_shown_fitted(config) else config.heads[0]


def _with_shown_heads(
    config: TrainConfig,
    splits: Splits,
    network: ExpressionNetwork,
    sets: Sequence[JudgedSet],
    val_crops: Tensor,
) -> tuple[ExpressionNetwork, dict[str, Any]]:
    """Add the shown heads; return the network and the figures of the fit."""
    logits = {head: scores.numpy() for head, scores in predict(network, val_crops).items()}
    shown = choose_shown(logits, sets, config.class_balance)
    for head, weight in shown.weights.items():
        log.info("shown answer: %.2f times the logits of %s", weight, head)
    chosen = {head: logits[head] for head in shown.weights}
    grown = add_shown_heads(network, shown)
    _fit_other(config, splits, grown, SHOWN_HEADS)
    return grown, {
        "left_out": judge_left_out(chosen, sets, config.class_balance),
        "shown": {"weights": dict(shown.weights), "bias": shown.bias.tolist()},
    }


def _fit_other(config: TrainConfig, splits: Splits, network: ExpressionNetwork, heads: Sequence[str]) -> None:
    """Fit the output ``other`` to crops without a face.

    Nothing else changes, so a repeated report gives the same result.
    """
    fits = fit_other(network, splits.train, config.other_places, config.preprocessing, heads)
    for head, fitted in fits.items():
        log.info(
            "other of %s: loss %.4f before, %.4f after the fit to %d crops without a face and %d faces",
            head, fitted["loss_before"], fitted["loss_after"], fitted["place_count"], fitted["face_count"],
        )  # fmt: skip


MISTAKE_COUNT: Final = 200


def save_mistakes(
    path: Path,
    probabilities: NDArray[np.floating],
    head_labels: Sequence[str],
    faces: DecodedFaces,
    truth: Sequence[Label | None],
) -> None:
    """Write the most confident wrong answers with their crops.

    Args:
        path: The archive to write.
        probabilities: Shape (N, outputs) in the order of ``head_labels``.
        head_labels: All outputs of the head.
        faces: The evaluated crops.
        truth: The ground-truth label of each crop.
    """
    emotions = [label for label in head_labels if label in {str(t) for t in truth if t is not None}]
    shares = restrict(probabilities, head_labels, emotions)
    guesses = [emotions[i] for i in shares.argmax(axis=1)]
    confidence = shares.max(axis=1)
    wrong = [row for row, label in enumerate(truth) if label in emotions and label != guesses[row]]
    wrong = sorted(wrong, key=lambda row: -confidence[row])[:MISTAKE_COUNT]
    with replaced(path) as temporary:
        np.savez_compressed(
            temporary,
            crops=faces.crops[wrong],
            target=np.array([str(truth[row]) for row in wrong]),
            predicted=np.array([str(guesses[row]) for row in wrong]),
            confidence=confidence[wrong].astype(np.float32),
            name=np.array([faces.table.names[row] for row in wrong]),
        )


def prior_shift(
    logits: NDArray[np.floating], head_labels: Sequence[str], strength: float
) -> NDArray[np.float64]:
    """Return logit offsets that correct the bias towards frequent expressions.

    Logit adjustment (Menon et al. 2021) with the mean predicted probability of each expression as its prior;
    the mean probability of ``other`` is preserved.

    Args:
        logits: Shape (N, outputs) in the order of ``head_labels``.
        head_labels: All outputs of the head.
        strength: 0 changes nothing, 1 treats all expressions as equally frequent.

    Returns:
        Shape (outputs,).
    """
    columns = [i for i, label in enumerate(head_labels) if label != OTHER]
    scores = np.asarray(logits, dtype=np.float64)[:, columns]
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    prior = (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
    lead = np.log(np.maximum(prior, 1e-4))
    shift = np.zeros(len(head_labels))
    shift[columns] = -strength * (lead - (prior * lead).sum())
    return shift


def fit_temperature(
    logits: NDArray[np.floating], head_labels: Sequence[str], truth: Sequence[Label | None]
) -> float:
    """Fit the temperature by maximum likelihood (Guo et al. 2017), over the head's expressions.

    Args:
        logits: Shape (N, outputs) in the order of ``head_labels``.
        head_labels: All outputs of the head; ``other`` is excluded.
        truth: The ground-truth label of each row; rows with none of the head's labels are excluded.

    Returns:
        A factor above 0; 1 if no row has a label.
    """
    emotions = [label for label in head_labels if label != OTHER]
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
