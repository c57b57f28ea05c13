"""Entry point: trains the project's own face detector into a run directory."""

import logging
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from fer.detection.decoding import cell_grid
from fer.detection.kv_face import find_faces
from training.command import run_command
from training.config import plain_settings
from training.detector.augmentation import SceneAugmentation
from training.detector.evaluation import BOXED_IOU, WEB_IOU, measure_recall, read_boxed_photos
from training.detector.false_places import FalsePlace, SecondLook, find_false_places
from training.detector.network import ExportedDetector, KvFaceNetwork, detector_loss, make_batch
from training.detector.scenes import (
    CROWD_SIDE,
    Scene,
    drop_copies,
    open_teacher,
    read_crowds,
    read_face_crops,
    read_photos,
)
from training.frame import Schedule, Trainer
from training.hardware import Workers, describe_environment, file_hashes, set_up_processor
from training.run_files import (
    BEST_FILE,
    DETECTOR,
    HISTORY_FOLDER,
    LAST_FILE,
    copy_history,
    detector_figure,
    earlier_runs,
)
from training.runs import RunWriter, new_run_folder

LEAST_SCORE: Final = 0.5
"""Score threshold for comparing epochs; the shipped threshold is chosen afterwards."""

_CHOOSING_SIDE: Final = 320

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorConfig:
    """Settings of one training of the detector; invalid values raise a ``ValueError``.

    Attributes:
        photos: Parquet file with whole photos and the teacher's faces.
        crowds: Parquet files with photos and hand-labelled boxes of all faces, or without a face; three rows
            of ten are held out for selecting the epoch.
        faces: Parquet file with crops of single faces to paste; empty for none.
        teacher: YuNet's file, for labelling those crops and checking false positives; empty for the fetched
            one.
        boxed_photos: Photos with manually labelled boxes, for selecting the epoch.
        web_photos: Web photos with labelled faces, for selecting the epoch.
        initial_run: Run directory of an earlier training with the initial weights; empty for random weights.
        epochs: Passes over the photos.
        batch_size: Views per step.
        view_size: Side of the square views in pixels.
        learning_rate: Peak learning rate of AdamW.
        warmup_epochs: Epochs of linear warm-up, before cosine decay to 0.
        weight_decay: L2 strength.
        ema_decay: Decay of the averaged weights per step.
        val_share: Share of the photos held out for the validation loss.
        search_every: Epochs between two searches for false positives, which are then drawn more often; the
            first search precedes the first epoch. 0 is never.
        judge_every: Epochs between two evaluations on the photos for selecting the epoch.
        seed: Random seed.
        thread_count: CPU threads of PyTorch.
        runs: Parent folder of the run directory.
        name: Name of the run directory; empty for ``<time>_kv_face``. Resumes an existing run.
    """

    photos: Path
    crowds: tuple[Path, ...] = ()
    faces: str = ""
    teacher: str = ""
    boxed_photos: Path
    web_photos: Path
    initial_run: str = ""
    epochs: int = 80
    batch_size: int = 24
    view_size: int = 256
    learning_rate: float = 2e-3
    warmup_epochs: int = 1
    weight_decay: float = 0.02
    ema_decay: float = 0.998
    val_share: float = 0.04
    search_every: int = 0
    judge_every: int = 4
    seed: int = 0
    thread_count: int = 1
    runs: Path = Path("runs")
    name: str = ""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "judge_every", "thread_count"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of at least 1, got {getattr(self, name)}")
        if self.search_every < 0:
            raise ValueError(f"expected search_every of 0 or more, got {self.search_every}")
        if self.view_size < 64 or self.view_size % 64:
            raise ValueError(f"expected view_size to be a multiple of 64, got {self.view_size}")
        if not 0 < self.learning_rate <= 1:
            raise ValueError(f"expected learning_rate in (0, 1], got {self.learning_rate}")
        if not 0 < self.val_share < 0.9:
            raise ValueError(f"expected val_share in (0, 0.9), got {self.val_share}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as stored in a run directory."""
        return {"architecture": DETECTOR, **plain_settings(asdict(self))}


def train(config: DetectorConfig) -> Path:
    """Train, or resume an interrupted training; return the run directory."""
    set_up_processor(config.thread_count)
    torch.manual_seed(config.seed)
    folder = config.runs / config.name if config.name else new_run_folder(config.runs, DETECTOR)
    with RunWriter(folder, config.to_dict(), _environment(config), config.epochs) as writer:
        DetectorTrainer(config, folder, writer).fit(resume=(folder / LAST_FILE).is_file())
    return folder


class DetectorTrainer(Trainer):
    """The training of the detector."""

    def __init__(self, config: DetectorConfig, folder: Path, writer: RunWriter) -> None:
        self.config = config
        self.boxed = read_boxed_photos(config.boxed_photos)
        self.web = read_boxed_photos(config.web_photos)
        self.crowds = [photo for path in config.crowds for photo in read_boxed_photos(path, held_out=True)]
        found = [*read_photos(config.photos), *read_crowds(config.crowds, config.teacher)]
        photos = drop_copies(found, (*self.boxed, *self.web, *self.crowds))
        if not photos:
            raise ValueError(
                f"expected photos to train on, got {len(found)}, all copies of evaluation photos; add others"
            )
        is_val = np.random.default_rng(config.seed).random(len(photos)) < config.val_share
        self.train_scenes = [scene for scene, held in zip(photos, is_val, strict=True) if not held]
        self.val_scenes = [scene for scene, held in zip(photos, is_val, strict=True) if held]
        self.faces = _read_faces(config)
        log.info(
            "%d photos, %d held out, %d skipped as copies, %d single faces",
            len(self.train_scenes), len(self.val_scenes), len(found) - len(photos), len(self.faces),
        )  # fmt: skip
        network = KvFaceNetwork()
        if config.initial_run:
            network.load_state_dict(load_file(Path(config.initial_run) / BEST_FILE))
            initial_run = Path(config.initial_run)
            copy_history([*earlier_runs(initial_run), initial_run], folder / HISTORY_FOLDER)
        network.to(memory_format=torch.channels_last)
        schedule = Schedule(
            epochs=config.epochs, learning_rate=config.learning_rate, warmup_epochs=config.warmup_epochs
        )
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        super().__init__(folder, writer, schedule, network, optimizer, config.ema_decay, torch.device("cpu"))
        self.grid = torch.from_numpy(cell_grid(config.view_size, config.view_size).copy())
        self.step_count = math.ceil(len(self.train_scenes) / config.batch_size)
        self.second_look = SecondLook(open_teacher(config.teacher)) if config.search_every else None
        self.places: list[FalsePlace] = []

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """Train on one view of every photo."""
        config = self.config
        # Seeds depend only on the epoch, so a resumed training draws the same data as an uninterrupted one.
        rng = np.random.default_rng((config.seed, epoch))
        if config.search_every and (epoch - 1) % config.search_every == 0:
            self.places = find_false_places(
                self.averaged.module,  # type: ignore[arg-type]
                self.train_scenes,
                self.second_look,
            )
            log.info("%d false positives", len(self.places))
        draw = SceneAugmentation(self.train_scenes, self.faces, config.view_size, self.places)
        order = rng.permutation(len(self.train_scenes))
        sums: dict[str, float] = {}
        self.network.train()
        for step in range(self.step_count):
            chosen = order[step * config.batch_size : (step + 1) * config.batch_size]
            parts = self._losses([draw.draw(int(index), rng) for index in chosen])
            self.take_step(parts["loss"], epoch, step, self.step_count)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) * len(chosen)
        return {f"train_{name}": value / len(order) for name, value in sums.items()}

    def judge_epoch(self, epoch: int, /) -> dict[str, float]:
        """Compute the validation loss; every few epochs also recall on the photos for selecting the epoch."""
        row = self._validate()
        if epoch % self.config.judge_every == 0 or epoch == self.config.epochs:
            row |= self._judge(self.averaged.module)
        return row

    def figure(self, row: Mapping[str, float]) -> float | None:
        """Return the metric of recall and false positives, if both were measured."""
        return detector_figure(row)

    def report(self) -> dict[str, Any]:
        """Evaluate the best epoch."""
        network = KvFaceNetwork()
        network.load_state_dict(load_file(self.folder / BEST_FILE))
        return {"split": "choosing", "long_side": _CHOOSING_SIDE, **self._judge(network)}

    def memory(self) -> dict[str, Any]:
        """Return the false positives."""
        return {"places": [(p.scene, p.centre, p.side, p.reach) for p in self.places]}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Restore the false positives."""
        self.places = [FalsePlace(*place) for place in memory["places"]]

    def _losses(self, views: list[Scene]) -> dict[str, Tensor]:
        batch = make_batch(views)
        images = batch.images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            cells = self.network(images)
        return detector_loss(cells, batch, self.grid)

    @torch.inference_mode()
    def _validate(self) -> dict[str, float]:
        """Compute the loss on held-out photos, always in the same views."""
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
        """Measure recall on the photos for selecting the epoch."""
        exported = ExportedDetector(network).eval()  # type: ignore[arg-type]

        def run(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            with torch.inference_mode():
                cells: np.ndarray[Any, Any] = exported(torch.from_numpy(images)).numpy()
            return cells

        detect = partial(find_faces, run, longest_side=_CHOOSING_SIDE, least_score=LEAST_SCORE)
        boxed = measure_recall(detect, self.boxed, BOXED_IOU)
        web = measure_recall(detect, self.web, WEB_IOU)
        row = {
            "val_boxed_recall": boxed.share,
            "val_web_recall": web.share,
            "val_false_boxes": boxed.false_boxes / max(boxed.exhaustive_count, 1),
        }
        if not self.crowds:
            return row
        detect = partial(find_faces, run, longest_side=CROWD_SIDE, least_score=LEAST_SCORE)
        crowds = measure_recall(detect, self.crowds, BOXED_IOU)
        beside = crowds.false_boxes / max(crowds.exhaustive_count, 1)
        return row | {"val_crowd_recall": crowds.share, "val_crowd_false_boxes": beside}


def _read_faces(config: DetectorConfig) -> list[Scene]:
    """Read the faces to paste, except those of evaluation photos."""
    if not config.faces:
        return []
    import pandas as pd  # noqa: PLC0415 - only where faces are pasted

    table = pd.read_parquet(config.web_photos, columns=["image"])
    held_out = frozenset(str(image["path"]) for image in table["image"])
    return list(read_face_crops(Path(config.faces), open_teacher(config.teacher), left_out=held_out))


def _environment(config: DetectorConfig) -> dict[str, Any]:
    files = [config.photos, config.boxed_photos, config.web_photos, *config.crowds]
    files += [Path(config.faces)] if config.faces else []
    return describe_environment(torch.device("cpu"), Workers(), file_hashes(files))


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the settings from the command line and train; return 1 with a sentence on an error."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    return run_command(DetectorConfig, _train, "training.detector.train", arguments)


def _train(config: DetectorConfig) -> None:
    print(train(config))


if __name__ == "__main__":
    sys.exit(main())
