"""Entry point: trains an expression network into a run directory."""

import logging
import math
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fer.commands import exit_status
from fer.networks import ExpressionNetwork
from training.command import EXPECTED_ERRORS, read_options
from training.config import TrainConfig
from training.data.augmentation import Damage, shrink
from training.data.splits import Splits, draw_rows, drawn_counts, head_truth, load_splits
from training.final_report import classifier_report, default_head
from training.frame import Schedule, Trainer, tensorboard_mirror
from training.hardware import (
    Workers,
    autocast_for,
    choose_device,
    describe_environment,
    join_workers,
    set_up_processor,
)
from training.loop import SplitTensors, batch_losses, mix, predict
from training.metrics import report_head
from training.pace import memory_advice
from training.repeat import RepeatOptions, repeated_settings
from training.run_files import CONFIG_FILE, LAST_FILE, RunState, classifier_figure, state_of
from training.runs import RunWriter, StopRequestedError, new_run_folder, read_run
from training.setup import (
    augmentation_of,
    compiled,
    draw_seed,
    head_shares,
    initial_network,
    keep_history,
    load_teachers,
    make_optimizer,
    split_tensors,
    with_format,
)

_LAST_WITHOUT_MIXUP: Final = 0.15

log = logging.getLogger(__name__)

PROGRAM: Final = "training.train"


def train(
    config: TrainConfig,
    folder: Path,
    *,
    resume: bool = False,
    with_report: bool = True,
) -> None:
    """Train a network and write the run directory.

    Args:
        config: The settings.
        folder: The run directory.
        resume: Continue from the folder's checkpoint.
        with_report: Whether to evaluate the best epoch; ``training.report`` can do so later.

    Raises:
        ModuleNotFoundError: The settings ask for TensorBoard, which is not installed.
        DatasetError: The data cannot be used.
        RunInUseError: Another process is writing to the folder.
    """
    workers = join_workers(config)
    mirror = tensorboard_mirror(folder) if config.tensorboard and workers.is_first else None
    device = choose_device(config, workers)
    set_up_processor(config.thread_count)
    config = with_format(config)
    splits = load_splits(config, config.preprocessing)
    config = splits.settle(config)
    for sentence in splits.warnings():
        log.warning("%s", sentence)
    environment = describe_environment(device, workers, splits.summary)
    if not workers.is_first:
        with suppress(StopRequestedError):
            ClassifierTrainer(config, folder, splits, device, workers, None).fit(resume=resume)
        return
    with RunWriter(folder, config.to_dict(), environment, config.epochs, mirror) as writer:
        keep_history(config, folder)
        ClassifierTrainer(config, folder, splits, device, workers, writer).fit(
            resume=resume, with_report=with_report
        )


class ClassifierTrainer(Trainer):
    """The training of an expression network."""

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        splits: Splits,
        device: torch.device,
        workers: Workers,
        writer: RunWriter | None,
    ) -> None:
        torch.manual_seed(config.seed)
        network = initial_network(config)
        self.seed = draw_seed(config, network)
        network = network.to(device).to(memory_format=torch.channels_last)
        schedule = Schedule(
            epochs=config.epochs,
            learning_rate=config.learning_rate,
            kind=config.schedule,
            warmup_epochs=config.warmup_epochs,
            plateau_patience=config.plateau_patience,
            early_stopping_patience=config.early_stopping_patience,
        )
        optimizer = make_optimizer(network, config)
        super().__init__(folder, writer, schedule, network, optimizer, config.ema_decay, device)
        self.config, self.splits, self.workers = config, splits, workers
        self.model: nn.Module = network
        if workers.count > 1:
            ids = [device.index] if device.type == "cuda" else None
            self.model = DistributedDataParallel(network, device_ids=ids)
        self.train_split = split_tensors(splits.train, config, device)
        self.val_crops = torch.from_numpy(splits.val.crops).to(device)
        self.shown_labels = config.expressions_of(default_head(config))  # all heads are evaluated on these
        self.val_truth = {head: head_truth(head, splits.val.table, config) for head in config.heads}
        self.watched = np.arange(0, len(self.val_crops), round(1 / config.watch_share))
        self.teachers = (
            load_teachers(
                config.teachers, config.heads, config.teacher_share, config.teacher_temperature, device
            )
            if config.teachers
            else None
        )
        if config.compile:
            self.model = compiled(self.model, config.batch_size)
            if self.teachers is not None:
                self.teachers.compile(partial(compiled, batch_size=config.batch_size))
        self.autocast = autocast_for(config, device)
        drawn = sum(drawn_counts(splits.train.table.sources, config).values())
        self.step_count = max(math.ceil(drawn / workers.count / config.batch_size), 1)
        self.stop_wanted = False

    def run_epoch(self, epoch: int) -> None:
        """Train, evaluate and record one epoch; on a GPU out of memory, suggest a batch size that fits."""
        try:
            super().run_epoch(epoch)
        except torch.OutOfMemoryError as error:
            self.optimizer.zero_grad(set_to_none=True)
            raise MemoryError(memory_advice(self.config, self.device)) from error

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """Train on the images drawn from each source once."""
        config, shares = self.config, head_shares(self.config)
        # The seed depends on start and epoch only: a resumed training draws what an uninterrupted one does.
        torch.manual_seed(self.seed * 100_003 + epoch)
        order = draw_rows(self.splits.train.table.sources, config).to(self.device)
        # All processes must take the same number of steps, or they would deadlock.
        order = order[: len(order) // self.workers.count * self.workers.count]
        order = order[self.workers.rank :: self.workers.count]
        (augment, damage), mixup = self._augmentation(epoch), self._mixup(epoch)
        loss_sum = torch.zeros((), device=self.device)
        hit_sum, count = torch.zeros_like(loss_sum), 0
        self.network.train()
        for step, clean in enumerate(self.train_split.batches(order, config.batch_size)):
            batch = clean
            if augment is not None:
                batch = SplitTensors(augment(batch.crops), batch.targets, batch.weights)
            if mixup is not None:
                batch = mixup(batch)
            losses, logits = batch_losses(self.model, batch, shares, self.autocast, self.teachers, damage)
            self.take_step(losses.mean(), epoch, step, self.step_count)
            first = config.heads[0]
            hits = logits[first].detach().argmax(dim=1) == batch.targets[first].argmax(dim=1)
            loss_sum += losses.detach().sum()
            hit_sum += hits.sum()
            count += len(hits)
        return {
            "train_loss": float(loss_sum) / max(count, 1),
            "train_accuracy": float(hit_sum) / max(count, 1),
        }

    def judge_epoch(self, _epoch: int, /) -> dict[str, float]:
        """Evaluate on the watched part of the validation split."""
        row: dict[str, float] = {}
        watched = torch.from_numpy(self.watched).to(self.device)
        logits = predict(cast(ExpressionNetwork, self.judged), self.val_crops[watched])
        for number, head in enumerate(self.config.heads):
            shares = torch.softmax(logits[head], dim=1).numpy()
            truth = [self.val_truth[head][at] for at in self.watched]
            report = report_head(
                shares, self.config.labels_of(head), truth, labels=self.shown_labels, resample_count=0
            )
            suffix = "" if number == 0 else f"_{head}"
            row |= {
                f"val_loss{suffix}": report["nll"],
                f"val_accuracy{suffix}": report["accuracy"],
                f"val_macro_f1{suffix}": report["macro_f1"],
            }
        return row

    def figure(self, row: Mapping[str, float]) -> float | None:
        """Return the metric of ``select_by`` for the first head."""
        return classifier_figure(row, self.config.select_by)

    def report(self) -> dict[str, Any]:
        """Evaluate the best epoch on the whole validation split, after the final fits."""
        return classifier_report(self.config, self.folder, self.splits, self.val_crops, self.val_truth)

    def on_stop_request(self) -> None:
        """Stop at once, or with several processes at the end of the epoch."""
        if self.workers.count == 1:
            raise StopRequestedError
        self.stop_wanted = True

    def agree_on_stop(self) -> None:
        """Stop at the same point as all other processes."""
        if self.workers.count > 1:
            wish = torch.tensor(float(self.stop_wanted), device=self.device)
            torch.distributed.broadcast(wish, 0)
            if wish.item():
                raise StopRequestedError

    def _augmentation(self, epoch: int) -> tuple[Callable[[Tensor], Tensor] | None, Damage | None]:
        generator = torch.Generator(self.device)
        generator.manual_seed((self.seed * 100_003 + epoch) * 1009 + self.workers.rank)
        augment, damage = augmentation_of(self.config, generator)
        if epoch > self.config.early_epochs:
            return augment, damage
        small = partial(shrink, side=self.config.early_side)
        return small if augment is None else lambda crops: small(augment(crops)), damage

    def _mixup(self, epoch: int) -> Callable[[SplitTensors], SplitTensors] | None:
        alpha = self.config.mixup
        if not alpha or epoch > self.config.epochs * (1 - _LAST_WITHOUT_MIXUP):
            return None
        generator = np.random.default_rng((self.seed, epoch, self.workers.rank))

        def mixup(batch: SplitTensors) -> SplitTensors:
            order = torch.from_numpy(generator.permutation(len(batch))).to(self.device)
            return mix(batch, float(generator.beta(alpha, alpha)), order)

        return mixup


@dataclass(frozen=True, slots=True)
class ResumeOptions:
    """Resume a stopped or killed training.

    Attributes:
        resume: The run directory.
    """

    resume: Path


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and train; return 0 if the training finished or was stopped on request."""
    arguments = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return exit_status(lambda: _train(arguments), EXPECTED_ERRORS)
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _train(arguments: list[str]) -> None:
    if "--resume" in arguments:
        folder = read_options(ResumeOptions, PROGRAM, arguments).resume
        run = read_run(folder)
        if run.problem or not (folder / LAST_FILE).is_file():
            raise ValueError(f"{folder} cannot be resumed: {run.problem or f'it has no {LAST_FILE}'}")
        log.info("writing to %s", folder)
        train(TrainConfig.from_dict(run.config), folder, resume=True)
        return
    if "--repeat" in arguments:
        config, warnings = repeated_settings(read_options(RepeatOptions, PROGRAM, arguments))
        for sentence in warnings:
            log.warning("%s", sentence)
    else:
        config = read_options(TrainConfig, PROGRAM, arguments)
    folder = config.runs / config.name if config.name else new_run_folder(config.runs, config.architecture)
    if (folder / CONFIG_FILE).exists() and state_of(folder) is not RunState.QUEUED:
        raise ValueError(f"{folder} already exists; choose another --name or use --resume {folder}")
    log.info("writing to %s", folder)
    train(config, folder, resume=False)


if __name__ == "__main__":
    sys.exit(main())
