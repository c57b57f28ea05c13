"""The loop that all trainings share: epochs, schedule, averaged weights, best epoch, checkpoint, history."""

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from training.config import Schedule as ScheduleKind
from training.hardware import Usage
from training.run_files import BEST_FILE, LAST_FILE, read_epochs
from training.runs import RunWriter, StopRequestedError

LARGEST_GRADIENT: Final = 5.0
"""Maximum gradient norm; larger gradients are clipped."""

GPU_CHECKPOINT_INTERVAL_S: Final = 20.0
"""Seconds between two checkpoints on a GPU, which a resumed training may have to repeat."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Length and learning rate of a training.

    Attributes:
        epochs: Maximum number of passes over the data.
        learning_rate: Peak learning rate.
        kind: ``cosine`` decays to 0; ``step`` divides by 10 after half and again after three quarters of the
            epochs; ``plateau`` divides by 10 when the validation loss stops improving; ``constant`` stays.
        warmup_epochs: Epochs of linear warm-up from 0.
        plateau_patience: Epochs without a better validation loss before ``plateau`` lowers the rate.
        early_stopping_patience: Epochs without a better metric before the training stops; 0 is never.
    """

    epochs: int
    learning_rate: float
    kind: ScheduleKind = "cosine"
    warmup_epochs: float = 0.0
    plateau_patience: int = 0
    early_stopping_patience: int = 0

    def rate(self, epoch: int, done: float) -> float:
        """Return the learning rate within an epoch, without the plateau factor.

        Args:
            epoch: Number of the epoch, from 1.
            done: Completed share of the epoch, in [0, 1].
        """
        progress, warmup = (epoch - 1 + done) / self.epochs, self.warmup_epochs / self.epochs
        if progress < warmup:
            return self.learning_rate * max(progress / warmup, 0.01)
        if self.kind == "cosine":
            share = (progress - warmup) / max(1 - warmup, 1e-9)
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
        if self.kind == "step":
            return self.learning_rate * (1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01)
        return self.learning_rate


@dataclass(slots=True)
class Progress:
    """State of a training between two epochs, as stored in its checkpoint."""

    epoch: int = 0
    best_epoch: int = 0
    best_figure: float = -math.inf
    best_val_loss: float = math.inf
    resting_epochs: int = 0
    plateau_epochs: int = 0
    plateau_factor: float = 1.0


class Trainer(ABC):
    """Base class of trainings; subclasses implement the epoch and its evaluation.

    Args:
        folder: The run directory.
        writer: Writes the run's files; None in all processes but the first.
        schedule: Length and learning rate.
        network: The network to train.
        optimizer: Optimizer of its weights.
        ema_decay: Decay of the averaged weights per step; 0 disables averaging.
        device: Device of the network.
    """

    def __init__(
        self,
        folder: Path,
        writer: RunWriter | None,
        schedule: Schedule,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        ema_decay: float,
        device: torch.device,
    ) -> None:
        self.folder, self.writer, self.schedule, self.device = folder, writer, schedule, device
        self.network, self.optimizer, self.ema_decay = network, optimizer, ema_decay
        self.averaged = AveragedModel(network, multi_avg_fn=average_of(ema_decay), use_buffers=True)
        self.progress = Progress()
        self.usage = Usage(device)
        self.saved_at_s = -math.inf

    @abstractmethod
    def train_epoch(self, epoch: int) -> dict[str, float]:
        """Train one epoch, each step through ``take_step``; return figures for the history."""

    @abstractmethod
    def judge_epoch(self, epoch: int, /) -> dict[str, float]:
        """Evaluate ``judged`` on held-out data; return figures, ``val_loss`` for the plateau schedule."""

    @abstractmethod
    def figure(self, row: Mapping[str, float]) -> float | None:
        """Return the metric that selects the best epoch, larger is better; None excludes the epoch."""

    @abstractmethod
    def report(self) -> dict[str, Any]:
        """Evaluate the best epoch, whose weights are in the run directory."""

    def memory(self) -> dict[str, Any]:
        """Return the additional state for the checkpoint."""
        return {}

    def recall(self, memory: Mapping[str, Any]) -> None:  # noqa: B027 - most trainings keep nothing more
        """Restore the additional state that ``memory`` returned."""

    def agree_on_stop(self) -> None:  # noqa: B027 - most trainings are one process
        """Stop at the same point as the other processes of this training, if there are any."""

    @property
    def judged(self) -> nn.Module:
        """The network to evaluate and save: the averaged one if averaging is on."""
        averaged: nn.Module = self.averaged.module
        return averaged if self.ema_decay else self.network

    def fit(self, *, resume: bool, with_report: bool = True) -> None:
        """Train the remaining epochs, then report on the best one.

        Args:
            resume: Continue from the checkpoint in the run directory.
            with_report: Whether to report; ``training.report`` can do so later.
        """
        if resume:
            self._restore()
        if self.writer is not None:
            self.writer.keep_epochs(self.progress.epoch)
        while self.progress.epoch < self.schedule.epochs and not self.is_stopped_early:
            self.run_epoch(self.progress.epoch + 1)
        if self.writer is not None and with_report:
            chosen = {
                "best_epoch": self.progress.best_epoch,
                "epochs_run": self.progress.epoch,
                "stopped_early": self.is_stopped_early,
            }
            self.writer.add_report(chosen | self.report())

    @property
    def is_stopped_early(self) -> bool:
        """Whether the metric has not improved for longer than the schedule's patience."""
        return 0 < self.schedule.early_stopping_patience <= self.progress.resting_epochs

    def run_epoch(self, epoch: int) -> None:
        """Train, evaluate and record one epoch."""
        started = time.perf_counter()
        learned = self.train_epoch(epoch)
        row = {"epoch": epoch, "learning_rate": self.optimizer.param_groups[0]["lr"]}
        row |= learned | self.judge_epoch(epoch)
        row["seconds"] = time.perf_counter() - started
        row |= self.usage.take()
        self._account(row)
        if self.writer is not None:
            # Before the checkpoint: resuming can drop a surplus row, but cannot restore a lost one.
            self.writer.add_epoch(row)
            if self._is_checkpoint_due():
                self._save()
            self.writer.progress(force=True, epoch=epoch, step=0, best_epoch=self.progress.best_epoch)
            shown = {name: round(value, 4) for name, value in row.items() if name != "epoch"}
            log.info("epoch %d/%d  %s", epoch, self.schedule.epochs, shown)
        self.agree_on_stop()

    def take_step(self, loss: Tensor, epoch: int, step: int, step_count: int) -> None:
        """Update the weights for one batch.

        Args:
            loss: Mean over the batch.
            epoch: Number of the epoch, from 1.
            step: Number of the step in its epoch, from 0.
            step_count: Steps per epoch.

        Raises:
            StopRequestedError: A stop was requested.
        """
        rate = self.schedule.rate(epoch, step / step_count) * self.progress.plateau_factor
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        if self.ema_decay:
            self.averaged.update_parameters(self.network)
        if self.writer is not None:
            try:
                self.writer.progress(epoch=epoch - 1, step=step + 1, step_count=step_count)
            except StopRequestedError:
                self.on_stop_request()

    def on_stop_request(self) -> None:
        """Stop the training at once."""
        raise StopRequestedError

    def _account(self, row: Mapping[str, float]) -> None:
        """Update best epoch, early stopping and plateau."""
        progress = self.progress
        progress.epoch = int(row["epoch"])
        figure = self.figure(row)
        progress.resting_epochs += 1
        if figure is not None and figure > progress.best_figure:
            progress.best_figure, progress.best_epoch = figure, progress.epoch
            progress.resting_epochs = 0
            if self.writer is not None:
                save_weights(self.judged, self.folder / BEST_FILE)
        progress.plateau_epochs += 1
        if row.get("val_loss", math.inf) < progress.best_val_loss:
            progress.best_val_loss, progress.plateau_epochs = row["val_loss"], 0
        if self.schedule.kind == "plateau" and progress.plateau_epochs > self.schedule.plateau_patience:
            progress.plateau_factor, progress.plateau_epochs = progress.plateau_factor / 10, 0

    def _is_checkpoint_due(self) -> bool:
        """Whether to write a checkpoint: after every epoch, on a GPU at intervals."""
        is_last = self.progress.epoch >= self.schedule.epochs or self.is_stopped_early
        waited_s = time.perf_counter() - self.saved_at_s
        return self.device.type == "cpu" or is_last or waited_s >= GPU_CHECKPOINT_INTERVAL_S

    def _save(self) -> None:
        """Write the checkpoint atomically."""
        checkpoint = self.memory() | {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
        }
        temporary = self.folder / f".{LAST_FILE}.tmp"
        torch.save(checkpoint, temporary)
        temporary.replace(self.folder / LAST_FILE)
        self.saved_at_s = time.perf_counter()

    def _restore(self) -> None:
        checkpoint = torch.load(self.folder / LAST_FILE, map_location=self.device, weights_only=True)
        self.network.load_state_dict(checkpoint["network"])
        self.averaged.load_state_dict(checkpoint["averaged"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        # Checkpoints of detectors before version 0.1 store epoch and best metric at the top level.
        known = checkpoint.get("progress") or checkpoint
        names = {field.name for field in fields(Progress)}
        self.progress = Progress(**{name: value for name, value in known.items() if name in names})
        self.recall(checkpoint)


_Tensors = tuple[Tensor, ...] | list[Tensor]


def average_of(decay: float) -> Callable[[_Tensors, _Tensors, Tensor | int], None]:
    """Return an exponential moving average with a warm-up, so that short trainings benefit too.

    Nothing waits for the device: a GPU would otherwise idle once per step.
    """

    def average(averaged: _Tensors, current: _Tensors, count: Tensor | int) -> None:
        if not averaged[0].is_floating_point():  # counters of batches
            torch._foreach_copy_(averaged, current)
            return
        count = torch.as_tensor(count, device=averaged[0].device)
        share = ((1 + count) / (10 + count)).clamp(max=decay).to(averaged[0].dtype)
        steps = torch._foreach_sub(current, averaged)
        torch._foreach_mul_(steps, 1 - share)
        torch._foreach_add_(averaged, steps)

    return average


def save_weights(network: nn.Module, path: Path) -> None:
    """Write the tensors of a network, without optimizer state, atomically."""
    state = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
    temporary = path.with_name(f".{path.name}.tmp")
    save_file(state, temporary)
    temporary.replace(path)


def tensorboard_mirror(folder: Path) -> Callable[[Mapping[str, Any]], None]:
    """Return a function that writes an epoch's metrics to ``<folder>/tensorboard``.

    Raises:
        ModuleNotFoundError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an optional dependency
    except ImportError as error:
        raise ModuleNotFoundError(
            "TensorBoard is not installed; run 'pip install tensorboard' or train without --tensorboard"
        ) from error
    # Resuming repeats the epochs after the checkpoint: purge their old points.
    board = SummaryWriter(str(folder / "tensorboard"), purge_step=len(read_epochs(folder)) + 1)

    def write(row: Mapping[str, Any]) -> None:
        for name, value in row.items():
            if name != "epoch" and isinstance(value, int | float):
                board.add_scalar(name, value, int(row["epoch"]))
        board.flush()

    return write
