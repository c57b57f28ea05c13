"""Entry point: trains the project's own face detector into a run directory."""

import logging
import math
import shutil
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fer.detection.decoding import cell_grid
from fer.detection.kv_face import find_faces
from training.detector.assignment import make_batch
from training.detector.augmentation import SceneAugmentation
from training.detector.config import DetectorConfig
from training.detector.evaluation import BOXED_IOU, WEB_IOU, measure_recall, read_boxed_photos
from training.detector.false_places import FalsePlace, SecondLook, find_false_places
from training.detector.inputs import describe_environment, open_teacher, read_other_photos
from training.detector.loss import detector_loss
from training.detector.network import ExportedDetector, KvFaceNetwork
from training.detector.scenes import Scene, read_face_crops
from training.hardware import set_up_processor
from training.loop import learning_rate_factor
from training.run_files import BEFORE_FOLDER, CONFIG_FILE, ENVIRONMENT_FILE, EPOCHS_FILE, detector_figure
from training.runs import BEST_FILE, LAST_FILE, RunWriter, new_run_folder

LEAST_SCORE: Final = 0.5
"""At which the epochs are compared; what ships is chosen afterwards."""

_CHOOSING_SIDE: Final = 320
_LARGEST_GRADIENT: Final = 5.0

log = logging.getLogger(__name__)


def train(config: DetectorConfig) -> Path:
    """Train, or go on where a killed training stood; returns the run directory."""
    set_up_processor(config.thread_count)
    torch.manual_seed(config.seed)
    folder = config.runs / config.name if config.name else new_run_folder(config.runs, "kv_face")
    with RunWriter(folder, config.to_dict(), _environment(config), config.epochs) as writer:
        _Training(config, folder, writer).fit()
    return folder


class _Training:
    """The state of one training between its steps."""

    def __init__(self, config: DetectorConfig, folder: Path, writer: RunWriter) -> None:
        self.config, self.folder, self.writer = config, folder, writer
        self.boxed = read_boxed_photos(config.boxed_photos)
        self.web = read_boxed_photos(config.web_photos)
        photos, copy_count = read_other_photos(config.photos, (*self.boxed, *self.web))
        is_val = np.random.default_rng(config.seed).random(len(photos)) < config.val_share
        self.train_scenes = [scene for scene, held in zip(photos, is_val, strict=True) if not held]
        self.val_scenes = [scene for scene, held in zip(photos, is_val, strict=True) if held]
        self.faces = _read_faces(config)
        log.info(
            "%d photos, %d held out, %d left out as copies, %d single faces",
            len(self.train_scenes), len(self.val_scenes), copy_count, len(self.faces),
        )  # fmt: skip
        self.network = KvFaceNetwork()
        if config.initial_run:
            self.network.load_state_dict(load_file(Path(config.initial_run) / BEST_FILE))
            _keep_history(Path(config.initial_run), folder / BEFORE_FOLDER)
        self.network.to(memory_format=torch.channels_last)
        self.averaged = AveragedModel(
            self.network,
            multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay),  # type: ignore[no-untyped-call]
            use_buffers=True,
        )
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.grid = torch.from_numpy(cell_grid(config.view_size, config.view_size).copy())
        self.step_count = math.ceil(len(self.train_scenes) / config.batch_size)
        self.second_look = SecondLook(open_teacher(config.teacher)) if config.search_every else None
        self.places: list[FalsePlace] = []
        self.epoch, self.best_epoch, self.best_figure = 0, 0, -math.inf

    def fit(self) -> None:
        """All epochs that are left, then the report on the best one."""
        if (self.folder / LAST_FILE).is_file():
            self._restore()
        self.writer.keep_epochs(self.epoch)
        while self.epoch < self.config.epochs:
            self._run_epoch(self.epoch + 1)
        network = KvFaceNetwork()
        network.load_state_dict(load_file(self.folder / BEST_FILE))
        told = {"split": "choosing", "long_side": _CHOOSING_SIDE, "best_epoch": self.best_epoch}
        self.writer.add_report(told | self._judge(network))

    def _run_epoch(self, epoch: int) -> None:
        config, started = self.config, time.perf_counter()
        # Seeds depend on the epoch alone, so that a resumed training draws what an unbroken one would.
        rng = np.random.default_rng((config.seed, epoch))
        if config.search_every and (epoch - 1) % config.search_every == 0:
            self.places = find_false_places(
                self.averaged.module,  # type: ignore[arg-type]
                self.train_scenes,
                self.second_look,
            )
            log.info("%d places are taken for faces wrongly", len(self.places))
        draw = SceneAugmentation(self.train_scenes, self.faces, config.view_size, self.places)
        order = rng.permutation(len(self.train_scenes))
        sums: dict[str, float] = {}
        self.network.train()
        for step in range(self.step_count):
            self._set_learning_rate(epoch, step)
            chosen = order[step * config.batch_size : (step + 1) * config.batch_size]
            parts = self._losses([draw.draw(int(index), rng) for index in chosen])
            self.optimizer.zero_grad(set_to_none=True)
            parts["loss"].backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), _LARGEST_GRADIENT)
            self.optimizer.step()
            self.averaged.update_parameters(self.network)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) * len(chosen)
            self.writer.progress(epoch=epoch - 1, step=step + 1, step_count=self.step_count)
        mean = {name: value / len(order) for name, value in sums.items()}
        row = {"epoch": epoch, "learning_rate": self.optimizer.param_groups[0]["lr"]}
        row |= {f"train_{name}": value for name, value in mean.items()} | self._validate()
        if epoch % config.judge_every == 0 or epoch == config.epochs:
            row |= self._judge(self.averaged.module)
            figure = detector_figure(row)
            if figure is not None and figure > self.best_figure:
                self.best_figure, self.best_epoch = figure, epoch
                self._save_best(epoch)
        row["seconds"] = time.perf_counter() - started
        self.epoch = epoch
        self.writer.add_epoch(row)
        self._save()
        self.writer.progress(force=True, epoch=epoch, step=0, best_epoch=self.best_epoch or None)
        log.info("epoch %d/%d  %s", epoch, config.epochs, {k: round(v, 4) for k, v in row.items()})

    def _losses(self, views: list[Scene]) -> dict[str, Tensor]:
        batch = make_batch(views)
        images = batch.images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            cells = self.network(images)
        return detector_loss(cells, batch, self.grid)

    def _set_learning_rate(self, epoch: int, step: int) -> None:
        progress = (epoch - 1 + step / self.step_count) / self.config.epochs
        factor = learning_rate_factor("cosine", progress, self.config.warmup_epochs / self.config.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * factor

    @torch.inference_mode()
    def _validate(self) -> dict[str, float]:
        """The loss on held-out photos, always in the same views."""
        network = self.averaged.module.eval()
        rng = np.random.default_rng(self.config.seed)
        draw = SceneAugmentation(self.val_scenes, [], self.config.view_size)
        total = 0.0
        for start in range(0, len(self.val_scenes), self.config.batch_size):
            chosen = range(start, min(start + self.config.batch_size, len(self.val_scenes)))
            batch = make_batch([draw.draw(index, rng) for index in chosen])
            images = batch.images.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                cells = network(images)
            total += float(detector_loss(cells, batch, self.grid)["loss"]) * len(chosen)
        return {"val_loss": total / max(len(self.val_scenes), 1)}

    def _judge(self, network: torch.nn.Module) -> dict[str, float]:
        """Recall on the photos for choosing."""
        exported = ExportedDetector(network).eval()  # type: ignore[arg-type]

        def run(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            with torch.inference_mode():
                cells: np.ndarray[Any, Any] = exported(torch.from_numpy(images)).numpy()
            return cells

        detect = partial(find_faces, run, longest_side=_CHOOSING_SIDE, least_score=LEAST_SCORE)
        boxed = measure_recall(detect, self.boxed, BOXED_IOU)
        web = measure_recall(detect, self.web, WEB_IOU)
        return {
            "val_boxed_recall": boxed.share,
            "val_web_recall": web.share,
            "val_false_boxes": boxed.false_boxes / max(boxed.exhaustive_count, 1),
        }

    def _save_best(self, epoch: int) -> None:
        state = {name: tensor.contiguous() for name, tensor in self.averaged.module.state_dict().items()}
        temporary = self.folder / f".{BEST_FILE}.tmp"
        save_file(state, temporary, metadata={"epoch": str(epoch)})
        temporary.replace(self.folder / BEST_FILE)

    def _save(self) -> None:
        checkpoint = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "best_figure": self.best_figure,
            "best_epoch": self.best_epoch,
            "places": [(p.scene, p.centre, p.side, p.reach) for p in self.places],
        }
        temporary = self.folder / f".{LAST_FILE}.tmp"
        torch.save(checkpoint, temporary)
        temporary.replace(self.folder / LAST_FILE)

    def _restore(self) -> None:
        checkpoint = torch.load(self.folder / LAST_FILE, weights_only=True)
        self.network.load_state_dict(checkpoint["network"])
        self.averaged.load_state_dict(checkpoint["averaged"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.epoch, self.best_figure = checkpoint["epoch"], checkpoint["best_figure"]
        self.best_epoch = checkpoint.get("best_epoch", 0) or _epoch_of(self.folder / BEST_FILE)
        self.places = [FalsePlace(*place) for place in checkpoint["places"]]


def _epoch_of(weights: Path) -> int:
    """The epoch that stored weights come from; 0 where there are none. Older checkpoints do not say it."""
    if not weights.is_file():
        return 0
    with safe_open(weights, framework="numpy") as file:
        return int((file.metadata() or {}).get("epoch", 0))


def _read_faces(config: DetectorConfig) -> list[Scene]:
    """Faces to paste; none from a photo that is used for choosing."""
    if not config.faces:
        return []
    import pandas as pd  # noqa: PLC0415 - only where faces are pasted

    table = pd.read_parquet(config.web_photos, columns=["image"])
    held_out = frozenset(str(image["path"]) for image in table["image"])
    return list(read_face_crops(Path(config.faces), open_teacher(config.teacher), left_out=held_out))


def _keep_history(run: Path, before: Path) -> None:
    """Copy settings and history of the training that this one goes on from."""
    before.mkdir(exist_ok=True)
    for name in (CONFIG_FILE, ENVIRONMENT_FILE, EPOCHS_FILE):
        shutil.copy(run / name, before / name)


def _environment(config: DetectorConfig) -> dict[str, Any]:
    files = [config.photos, config.boxed_photos, config.web_photos]
    files += [Path(config.faces)] if config.faces else []
    return describe_environment(files, config.thread_count)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the settings from the command line and train."""
    import tyro  # noqa: PLC0415 - only the entry point needs it

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = tyro.cli(DetectorConfig, prog="python -m training.detector.train", args=arguments)
    print(train(config))
    return 0


if __name__ == "__main__":
    sys.exit(main())
