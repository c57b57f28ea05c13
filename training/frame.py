"""The frame of every training: epochs, schedule, averaged weights, best epoch, checkpoint, record."""

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
from training.runs import BEST_FILE, LAST_FILE, RunWriter, StopRequestedError

LARGEST_GRADIENT: Final = 5.0
"""Norm to which larger gradients are clipped."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Length and learning rate of a training.

    Attributes:
        epochs: Passes over the data at most.
        learning_rate: The peak.
        kind: ``cosine`` falls to 0; ``step`` is a tenth from half and a hundredth from three quarters of the
            way on; ``plateau`` is divided by 10 when the validation loss rests; ``constant`` stays.
        warmup_epochs: Epochs in which the rate rises from 0.
        plateau_patience: Epochs without a better validation loss before the rate falls.
        early_stopping_patience: Epochs without a better figure before the training stops; 0 is never.
    """

    epochs: int
    learning_rate: float
    kind: ScheduleKind = "cosine"
    warmup_epochs: float = 0.0
    plateau_patience: int = 0
    early_stopping_patience: int = 0

    def rate(self, epoch: int, done: float) -> float:
        """Return the learning rate within an epoch, plateaus aside.

        Args:
            epoch: Number of the epoch, from 1.
            done: Share of the epoch that is done, in [0, 1].
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
    """State of a training between two epochs; stored in its checkpoint."""

    epoch: int = 0
    best_epoch: int = 0
    best_figure: float = -math.inf
    best_val_loss: float = math.inf
    resting_epochs: int = 0
    plateau_epochs: int = 0
    plateau_factor: float = 1.0


class Trainer(ABC):
    """One training between its steps; subclasses say how an epoch learns and how it is judged.

    Args:
        folder: The run directory.
        writer: Writes the record; None in the processes beside the first.
        schedule: Length and learning rate.
        network: What is trained.
        optimizer: Of its weights.
        ema_decay: Decay of the averaged weights a step; 0 leaves the average out.
        device: Where the network lies.
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
        self.averaged = AveragedModel(network, avg_fn=average_of(ema_decay), use_buffers=True)
        self.progress = Progress()
        self.usage = Usage(device)

    @abstractmethod
    def train_epoch(self, epoch: int) -> dict[str, float]:
        """Learn from the data once, every step through ``take_step``; gives figures for the history."""

    @abstractmethod
    def judge_epoch(self, epoch: int, /) -> dict[str, float]:
        """Judge ``judged`` on held-out data; ``val_loss`` is what plateaus are seen by."""

    @abstractmethod
    def figure(self, row: Mapping[str, float]) -> float | None:
        """Return the figure by which epochs are compared, larger is better; None keeps this one out."""

    @abstractmethod
    def report(self) -> dict[str, Any]:
        """Judge the best epoch, whose weights lie in the run directory."""

    def memory(self) -> dict[str, Any]:
        """Return what a checkpoint of this kind of training keeps besides."""
        return {}

    def recall(self, memory: Mapping[str, Any]) -> None:  # noqa: B027 - most trainings keep nothing more
        """Take back what ``memory`` gave."""

    def agree_on_stop(self) -> None:  # noqa: B027 - most trainings are one process
        """Leave together with other processes of this training, where there are any."""

    @property
    def judged(self) -> nn.Module:
        """The network that is judged and kept: the averaged one, where averaging is on."""
        averaged: nn.Module = self.averaged.module
        return averaged if self.ema_decay else self.network

    def fit(self, *, resume: bool) -> None:
        """Train all epochs that are left, then report on the best one.

        Args:
            resume: Go on from the checkpoint in the run directory.
        """
        if resume:
            self._restore()
        if self.writer is not None:
            self.writer.keep_epochs(self.progress.epoch)
        while self.progress.epoch < self.schedule.epochs and not self.is_stopped_early:
            self.run_epoch(self.progress.epoch + 1)
        if self.writer is not None:
            chosen = {
                "best_epoch": self.progress.best_epoch,
                "epochs_run": self.progress.epoch,
                "stopped_early": self.is_stopped_early,
            }
            self.writer.add_report(chosen | self.report())

    @property
    def is_stopped_early(self) -> bool:
        """Whether the figure has rested for longer than the schedule's patience."""
        return 0 < self.schedule.early_stopping_patience <= self.progress.resting_epochs

    def run_epoch(self, epoch: int) -> None:
        """Learn, judge, and write down one epoch."""
        started = time.perf_counter()
        learned = self.train_epoch(epoch)
        row = {"epoch": epoch, "learning_rate": self.optimizer.param_groups[0]["lr"]}
        row |= learned | self.judge_epoch(epoch)
        row["seconds"] = time.perf_counter() - started
        row |= self.usage.take()
        self._account(row)
        if self.writer is not None:
            self.writer.add_epoch(row)  # before the checkpoint: resuming cuts a row too many, it invents none
            self._save()
            self.writer.progress(force=True, epoch=epoch, step=0, best_epoch=self.progress.best_epoch)
            shown = {name: round(value, 4) for name, value in row.items() if name != "epoch"}
            log.info("epoch %d/%d  %s", epoch, self.schedule.epochs, shown)
        self.agree_on_stop()

    def take_step(self, loss: Tensor, epoch: int, step: int, step_count: int) -> None:
        """Learn from one batch.

        Args:
            loss: Mean over the batch.
            epoch: Number of the epoch, from 1.
            step: Number of the step in its epoch, from 0.
            step_count: Steps of the epoch.

        Raises:
            StopRequestedError: Somebody asked the training to stop.
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
        """Leave the training at once."""
        raise StopRequestedError

    def _account(self, row: Mapping[str, float]) -> None:
        """Best epoch, early stopping, plateau."""
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

    def _save(self) -> None:
        """Write everything that resuming needs; the file appears whole or not at all."""
        checkpoint = self.memory() | {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
        }
        temporary = self.folder / f".{LAST_FILE}.tmp"
        torch.save(checkpoint, temporary)
        temporary.replace(self.folder / LAST_FILE)

    def _restore(self) -> None:
        checkpoint = torch.load(self.folder / LAST_FILE, map_location=self.device, weights_only=True)
        self.network.load_state_dict(checkpoint["network"])
        self.averaged.load_state_dict(checkpoint["averaged"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        # Detectors trained before version 0.1 kept epoch and best figure beside the rest.
        known = checkpoint.get("progress") or checkpoint
        names = {field.name for field in fields(Progress)}
        self.progress = Progress(**{name: value for name, value in known.items() if name in names})
        self.recall(checkpoint)


def average_of(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential average that follows quickly at first, so that short trainings gain from it too."""

    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        share = min(decay, (1 + int(count)) / (10 + int(count)))
        return averaged * share + current * (1 - share)

    return average


def save_weights(network: nn.Module, path: Path) -> None:
    """Write what use needs: the tensors alone; the file appears whole or not at all."""
    state = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
    temporary = path.with_name(f".{path.name}.tmp")
    save_file(state, temporary)
    temporary.replace(path)
