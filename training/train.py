"""Entry point: from settings to a run directory."""

import logging
import math
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from fer.model_card import Preprocessing, UnknownModelError
from fer.networks import ExpressionNetwork
from training.checkpoints import Checkpoint, Progress, save_weights
from training.config import TrainConfig
from training.datasets import DatasetError
from training.distillation import load_teachers
from training.final_report import default_head, judge_best
from training.hardware import (
    Workers,
    autocast_for,
    choose_device,
    describe_environment,
    join_workers,
    set_up_processor,
)
from training.loop import SplitTensors, learning_rate_factor, mix, predict, train_epoch
from training.metrics import report_head
from training.pace import memory_advice
from training.run_files import classifier_figure, state_of
from training.runs import (
    BEST_FILE,
    CONFIG_FILE,
    LAST_FILE,
    RunInUseError,
    RunState,
    RunWriter,
    StopRequestedError,
    new_run_folder,
    read_run,
)
from training.setup import (
    average_of,
    head_shares,
    initial_network,
    keep_history,
    make_optimizer,
    split_tensors,
)
from training.splits import Splits, draw_rows, drawn_counts, head_truth, load_splits
from training.targets import HEAD_LABELS, expressions_of

_LAST_WITHOUT_MIXUP: Final = 0.15

log = logging.getLogger(__name__)


def train(config: TrainConfig, folder: Path, *, resume: bool = False) -> None:
    """Train a network and write the run directory.

    Args:
        config: What to do.
        folder: The run directory.
        resume: Go on from the folder's checkpoint.

    Raises:
        DatasetError: The data cannot be used.
        RunInUseError: Another process writes into the folder.
    """
    workers = join_workers(config)
    device = choose_device(config, workers)
    set_up_processor(config.thread_count)
    preprocessing = Preprocessing(size=config.size)
    splits = load_splits(config, preprocessing)
    for sentence in splits.warnings():
        log.warning("%s", sentence)
    environment = describe_environment(device, workers, splits.summary)
    epochs_planned = config.epochs
    if not workers.is_first:
        with suppress(StopRequestedError):
            _Training(config, folder, splits, device, workers, None).fit(resume=resume)
        return
    with RunWriter(folder, config.to_dict(), environment, epochs_planned) as writer:
        keep_history(config, folder)
        _Training(config, folder, splits, device, workers, writer).fit(resume=resume)


class _Training:
    """The state of one training between its steps."""

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        splits: Splits,
        device: torch.device,
        workers: Workers,
        writer: RunWriter | None,
    ) -> None:
        self.config, self.folder, self.splits, self.device = config, folder, splits, device
        self.workers, self.writer = workers, writer
        torch.manual_seed(config.seed)
        self.network = initial_network(config).to(device).to(memory_format=torch.channels_last)
        self.model: nn.Module = self.network
        if workers.count > 1:
            ids = [device.index] if device.type == "cuda" else None
            self.model = DistributedDataParallel(self.network, device_ids=ids)
        self.averaged = AveragedModel(self.network, avg_fn=average_of(config.ema_decay), use_buffers=True)
        self.optimizer = make_optimizer(self.network, config)
        self.train_split = split_tensors(splits.train, config, device)
        self.val_crops = torch.from_numpy(splits.val.crops).to(device)
        self.shown_labels = expressions_of(default_head(config))  # every head is compared on these
        self.val_truth = {head: head_truth(head, splits.val.table, config) for head in config.heads}
        self.teachers = (
            load_teachers(
                config.teachers, config.heads, config.teacher_share, config.teacher_temperature, device
            )
            if config.teachers
            else None
        )
        self.progress = Progress()
        self._checkpoint = Checkpoint(self.network, self.averaged, self.optimizer)
        self.autocast = autocast_for(config, device)
        drawn = sum(drawn_counts(splits.train.table.sources, config).values())
        self.step_count = max(math.ceil(drawn / workers.count / config.batch_size), 1)
        self.stop_wanted = False

    @property
    def judged(self) -> ExpressionNetwork:
        """The network that is evaluated and kept: the averaged one, where averaging is on."""
        if self.config.ema_decay:
            return cast(ExpressionNetwork, self.averaged.module)
        return self.network

    def fit(self, *, resume: bool) -> None:
        """All epochs, then the report on the best one."""
        if resume:
            self.progress = self._checkpoint.restore(self.folder / LAST_FILE, self.device)
        if self.writer is not None:
            self.writer.keep_epochs(self.progress.epoch)
        while self.progress.epoch < self.config.epochs and not self._should_stop_early():
            try:
                self._epoch(self.progress.epoch + 1)
            except torch.OutOfMemoryError as error:
                self.optimizer.zero_grad(set_to_none=True)
                raise MemoryError(memory_advice(self.config, self.device)) from error
        if self.writer is not None:
            self._report(self.writer)

    def _should_stop_early(self) -> bool:
        patience = self.config.early_stopping_patience
        return 0 < patience <= self.progress.resting_epochs

    def _epoch(self, epoch: int) -> None:
        config, started = self.config, time.perf_counter()
        # Seeds depend on the epoch alone, so that a resumed training draws what an unbroken one would.
        torch.manual_seed(config.seed * 100_003 + epoch)
        order = draw_rows(self.splits.train.table.sources, self.config).to(self.device)
        # Every process takes the same number of steps, or they would wait for each other for ever.
        order = order[: len(order) // self.workers.count * self.workers.count]
        order = order[self.workers.rank :: self.workers.count]
        loss = train_epoch(
            self.model,
            self.train_split,
            order,
            config.batch_size,
            self.optimizer,
            head_shares=head_shares(config),
            autocast=self.autocast,
            augment=self._augmentation(epoch),
            mixup=self._mixup(epoch),
            teachers=self.teachers,
            before_step=lambda step: self._set_learning_rate(epoch, step),
            after_step=lambda step: self._after_step(epoch, step),
        )
        row = {"epoch": epoch, "learning_rate": self.optimizer.param_groups[0]["lr"]}
        row |= {"train_loss": loss.loss, "train_accuracy": loss.accuracy} | self._validate()
        row["seconds"] = time.perf_counter() - started
        self._account(epoch, row)
        if self.writer is not None:
            self.writer.add_epoch(row)  # before the checkpoint: resuming cuts a row too many, it invents none
            self._checkpoint.save(self.folder / LAST_FILE, self.progress)
            self.writer.progress(force=True, epoch=epoch, step=0, best_epoch=self.progress.best_epoch)
            log.info(
                "epoch %d/%d  loss %.4f  val accuracy %.4f  macro F1 %.4f  %.0f s",
                epoch, config.epochs, loss.loss, row["val_accuracy"], row["val_macro_f1"], row["seconds"],
            )  # fmt: skip
        self._agree_on_stop()

    def _augmentation(self, epoch: int) -> Callable[[Tensor], Tensor] | None:
        from training.augmentation import Augmentation, shrink  # noqa: PLC0415 - imports torchvision

        side = self.config.early_side if epoch <= self.config.early_epochs else 0
        if not self.config.augment:
            return partial(shrink, side=side) if side else None
        generator = torch.Generator(self.device)
        generator.manual_seed((self.config.seed * 100_003 + epoch) * 1009 + self.workers.rank)
        augment = Augmentation(generator, self.config.augment_strength)
        return (lambda crops: shrink(augment(crops), side)) if side else augment

    def _mixup(self, epoch: int) -> Callable[[SplitTensors], SplitTensors] | None:
        alpha = self.config.mixup
        if not alpha or epoch > self.config.epochs * (1 - _LAST_WITHOUT_MIXUP):
            return None
        generator = np.random.default_rng((self.config.seed, epoch, self.workers.rank))

        def mixup(batch: SplitTensors) -> SplitTensors:
            order = torch.from_numpy(generator.permutation(len(batch))).to(self.device)
            return mix(batch, float(generator.beta(alpha, alpha)), order)

        return mixup

    def _set_learning_rate(self, epoch: int, step: int) -> None:
        config = self.config
        progress = (epoch - 1 + step / self.step_count) / config.epochs
        factor = learning_rate_factor(config.schedule, progress, config.warmup_epochs / config.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * factor * self.progress.plateau_factor

    def _after_step(self, epoch: int, step: int) -> None:
        if self.config.ema_decay:
            self.averaged.update_parameters(self.network)
        if self.writer is not None:
            try:
                self.writer.progress(epoch=epoch - 1, step=step + 1, step_count=self.step_count)
            except StopRequestedError:
                if self.workers.count == 1:
                    raise
                self.stop_wanted = True

    def _agree_on_stop(self) -> None:
        """With several processes all have to leave at the same place."""
        if self.workers.count > 1:
            wish = torch.tensor(float(self.stop_wanted), device=self.device)
            torch.distributed.broadcast(wish, 0)
            if wish.item():
                raise StopRequestedError

    def _validate(self) -> dict[str, float]:
        row: dict[str, float] = {}
        logits = predict(self.judged, self.val_crops)
        for number, head in enumerate(self.config.heads):
            shares = torch.softmax(logits[head], dim=1).numpy()
            report = report_head(
                shares, HEAD_LABELS[head], self.val_truth[head], labels=self.shown_labels, resample_count=0
            )
            suffix = "" if number == 0 else f"_{head}"
            row |= {
                f"val_loss{suffix}": report["nll"],
                f"val_accuracy{suffix}": report["accuracy"],
                f"val_macro_f1{suffix}": report["macro_f1"],
            }
        return row

    def _account(self, epoch: int, row: dict[str, float]) -> None:
        """Best epoch, early stopping, plateau."""
        progress, config = self.progress, self.config
        progress.epoch = epoch
        figure = classifier_figure(row, config.select_by)
        progress.resting_epochs += 1
        if figure is not None and figure > progress.best_figure:
            progress.best_figure, progress.best_epoch, progress.resting_epochs = figure, epoch, 0
            if self.writer is not None:
                save_weights(self.judged, self.folder / BEST_FILE)
        progress.plateau_epochs += 1
        if row["val_loss"] < progress.best_val_loss:
            progress.best_val_loss, progress.plateau_epochs = row["val_loss"], 0
        if config.schedule == "plateau" and progress.plateau_epochs > config.plateau_patience:
            progress.plateau_factor, progress.plateau_epochs = progress.plateau_factor / 10, 0

    def _report(self, writer: RunWriter) -> None:
        heads = judge_best(self.config, self.folder, self.splits, self.val_crops, self.val_truth)
        writer.add_report(
            {
                "split": "val",
                "best_epoch": self.progress.best_epoch,
                "epochs_run": self.progress.epoch,
                "stopped_early": self._should_stop_early(),
                "default_head": default_head(self.config),
                "heads": heads,
            }
        )


@dataclass(frozen=True, slots=True)
class ResumeOptions:
    """Go on with a training that was stopped or killed.

    Attributes:
        resume: The run directory.
    """

    resume: Path


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and train; 0 when the training went through or was stopped on request."""
    import tyro  # noqa: PLC0415 - the entry point alone needs it

    arguments = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if "--resume" in arguments:
            folder = tyro.cli(ResumeOptions, args=arguments, prog="python -m training.train").resume
            run = read_run(folder)
            if run.problem or not (folder / LAST_FILE).is_file():
                raise ValueError(f"{folder} cannot be resumed: {run.problem or f'it has no {LAST_FILE}'}")
            config, resume = TrainConfig.from_dict(run.config), True
        else:
            config = tyro.cli(TrainConfig, args=arguments, prog="python -m training.train")
            folder = (
                config.runs / config.name if config.name else new_run_folder(config.runs, config.architecture)
            )
            resume = False
            if (folder / CONFIG_FILE).exists() and state_of(folder) is not RunState.QUEUED:
                raise ValueError(f"{folder} is taken; choose another --name or go on with --resume {folder}")
        log.info("writing to %s", folder)
        train(config, folder, resume=resume)
    except (ValueError, DatasetError, UnknownModelError, RunInUseError, OSError, MemoryError) as error:
        print(f"training stopped: {error}", file=sys.stderr)
        return 1
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
