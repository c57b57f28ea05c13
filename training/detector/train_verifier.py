"""Entry point: trains the verifier on what the detector takes for faces, rightly or wrongly."""

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from fer.detection.card import load_detector_card
from fer.detection.kv_face import find_faces, network_file, onnx_runner
from training.detector.candidates import Candidates, find_candidates
from training.detector.evaluation import read_boxed_photos
from training.detector.false_places import SecondLook
from training.detector.inputs import describe_environment, open_teacher, read_other_photos
from training.detector.verifier import VERIFIER_ARCHITECTURE, VerifierNetwork, plain_views, random_views
from training.hardware import set_up_processor
from training.loop import learning_rate_factor
from training.runs import BEST_FILE, LAST_FILE, RunWriter, new_run_folder
from training.setup import average_of

EAGER_SCORE: Final = 0.15
"""Well below the score from which candidates are looked at in use."""

_SIDES: Final = (352, 220)
_WARMUP: Final = 0.02
_WEIGHT_DECAY: Final = 0.02
_EMA_DECAY: Final = 0.998
_JUDGED_AT_ONCE: Final = 512

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierConfig:
    """Settings of one training of the verifier; a wrong value is refused when the object is made.

    Attributes:
        detector: The detector's weights folder, whose mistakes are learned.
        photos: Parquet with whole photos and the teacher's faces.
        boxed_photos: Photos for choosing; their copies among the others are left out.
        web_photos: The same.
        teacher: YuNet's file, which is asked again about false places; empty for the fetched one.
        epochs: How often ``steps`` steps are made.
        steps: Steps an epoch.
        batch_size: Views a step, half of them faces.
        learning_rate: The peak, of AdamW; a cosine to 0 follows.
        val_share: Share of the photos whose loss is only watched.
        seed: Of every random choice.
        thread_count: CPU threads of PyTorch.
        runs: The folder that gets the run directory.
        name: The run directory's name; empty for ``<time>_kv_face_verifier``. An existing one is gone on
            with.
    """

    detector: Path
    photos: Path
    boxed_photos: Path
    web_photos: Path
    teacher: str = ""
    epochs: int = 60
    steps: int = 130
    batch_size: int = 256
    learning_rate: float = 2e-3
    val_share: float = 0.05
    seed: int = 0
    thread_count: int = 1
    runs: Path = Path("runs")
    name: str = ""

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "thread_count"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of at least 1, got {getattr(self, name)}")
        if self.batch_size < 4:
            raise ValueError(f"expected batch_size of at least 4, got {self.batch_size}")
        if not 0 < self.learning_rate <= 1:
            raise ValueError(f"expected learning_rate in (0, 1], got {self.learning_rate}")
        if not 0 < self.val_share < 0.9:
            raise ValueError(f"expected val_share in (0, 0.9), got {self.val_share}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as stored in a run directory."""
        values = asdict(self).items()
        data = {name: str(value) if isinstance(value, Path) else value for name, value in values}
        return {"architecture": VERIFIER_ARCHITECTURE, **data}


def train_verifier(config: VerifierConfig) -> Path:
    """Train, or go on where a killed training stood; returns the run directory.

    Raises:
        ValueError: The detector finds no face or no false place in the photos.
    """
    set_up_processor(config.thread_count)
    torch.manual_seed(config.seed)
    folder = config.runs / config.name if config.name else new_run_folder(config.runs, VERIFIER_ARCHITECTURE)
    environment = describe_environment(
        (config.photos, config.boxed_photos, config.web_photos), config.thread_count
    )
    with RunWriter(folder, config.to_dict(), environment, config.epochs) as writer:
        _Training(config, folder, writer).fit()
    return folder


class _Training:
    """The state of one training between its epochs."""

    def __init__(self, config: VerifierConfig, folder: Path, writer: RunWriter) -> None:
        self.config, self.folder, self.writer = config, folder, writer
        candidates = gather_candidates(config)
        is_val = np.random.default_rng(config.seed).random(candidates.scenes.max(initial=0) + 1)
        held = (is_val < config.val_share)[candidates.scenes]
        self.train, self.val = candidates.take(~held), candidates.take(held)
        self.faces, self.others = (np.flatnonzero(self.train.is_face == truth) for truth in (True, False))
        if not (len(self.faces) and len(self.others)):
            raise ValueError(
                f"expected faces and false places to learn from, got {len(self.faces)} and "
                f"{len(self.others)}; give more photos"
            )
        log.info("%d faces, %d false places, %d held out", len(self.faces), len(self.others), held.sum())
        # The surer the detector was of a false place, the more there is to learn from it.
        weights = np.sqrt(self.train.scores[self.others].astype(np.float64))
        self.draw_weights = weights / weights.sum()
        self.network = VerifierNetwork().to(memory_format=torch.channels_last)
        self.averaged = AveragedModel(
            self.network,
            avg_fn=average_of(_EMA_DECAY),
            use_buffers=True,
        )
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=_WEIGHT_DECAY
        )
        self.epoch = 0

    def fit(self) -> None:
        """All epochs that are left; the averaged weights of the last one are the result."""
        if (self.folder / LAST_FILE).is_file():
            checkpoint = torch.load(self.folder / LAST_FILE, weights_only=True)
            self.network.load_state_dict(checkpoint["network"])
            self.averaged.load_state_dict(checkpoint["averaged"])
            self.optimizer.load_state_dict(checkpoint["optimizer"])
            self.epoch = checkpoint["epoch"]
        self.writer.keep_epochs(self.epoch)
        while self.epoch < self.config.epochs:
            self._run_epoch(self.epoch + 1)
        self.writer.add_report({"split": "held-out photos", "best_epoch": self.epoch, **self._judge()})

    def _run_epoch(self, epoch: int) -> None:
        config, started = self.config, time.perf_counter()
        # Seeds depend on the epoch alone, so that a resumed training draws what an unbroken one would.
        rng = np.random.default_rng((config.seed, epoch))
        generator = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
        torch.manual_seed(config.seed * 100_003 + epoch)  # of the dropout
        total = 0.0
        self.network.train()
        for step in range(config.steps):
            progress = (epoch - 1 + step / config.steps) / config.epochs
            for group in self.optimizer.param_groups:
                group["lr"] = config.learning_rate * learning_rate_factor("cosine", progress, _WARMUP)
            half = config.batch_size // 2
            rows = np.concatenate(
                [rng.choice(self.faces, half), rng.choice(self.others, half, p=self.draw_weights)]
            )
            # Mixed, for the first views of a batch are blurred.
            rows = rng.permutation(rows)
            views = random_views(self.train.crops[rows], generator)
            truth = torch.from_numpy(self.train.is_face[rows].astype(np.float32))
            with torch.autocast("cpu", torch.bfloat16):
                logits = self.network(views.contiguous(memory_format=torch.channels_last))
            loss = functional.binary_cross_entropy_with_logits(logits.float(), truth)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.averaged.update_parameters(self.network)
            total += float(loss.detach())
            self.writer.progress(epoch=epoch - 1, step=step + 1, step_count=config.steps)
        row = {
            "epoch": epoch,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": total / config.steps,
            **self._judge(),
            "seconds": time.perf_counter() - started,
        }
        self.epoch = epoch
        self._save()
        self.writer.add_epoch(row)
        # The averaged weights are kept, which the latest epoch completes.
        self.writer.progress(force=True, epoch=epoch, step=0, best_epoch=epoch)
        log.info("epoch %d/%d  %s", epoch, config.epochs, {k: round(v, 4) for k, v in row.items()})

    @torch.inference_mode()
    def _judge(self) -> dict[str, float]:
        """Loss and accuracy on places in held-out photos; none where no such place was found."""
        network = self.averaged.module.eval()
        parts = [
            network(plain_views(self.val.crops[start : start + _JUDGED_AT_ONCE]))
            for start in range(0, len(self.val.crops), _JUDGED_AT_ONCE)
        ]
        if not parts:
            return {}
        logits, truth = torch.cat(parts), torch.from_numpy(self.val.is_face.astype(np.float32))
        return {
            "val_loss": float(functional.binary_cross_entropy_with_logits(logits, truth)),
            "val_accuracy": float(((logits > 0) == (truth > 0)).float().mean()),
        }

    def _save(self) -> None:
        state = {name: tensor.contiguous() for name, tensor in self.averaged.module.state_dict().items()}
        checkpoint = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
        }
        best, last = (self.folder / f".{name}.tmp" for name in (BEST_FILE, LAST_FILE))
        save_file(state, best)
        torch.save(checkpoint, last)
        best.replace(self.folder / BEST_FILE)
        last.replace(self.folder / LAST_FILE)


def gather_candidates(config: VerifierConfig) -> Candidates:
    """Gather the detector's candidates in the photos, without copies of those used for choosing."""
    card = load_detector_card(config.detector)
    run = onnx_runner(network_file(config.detector, card))
    choosing = [*read_boxed_photos(config.boxed_photos), *read_boxed_photos(config.web_photos)]
    scenes, _ = read_other_photos(config.photos, choosing)
    look = SecondLook(open_teacher(config.teacher))
    detects = [partial(find_faces, run, longest_side=side, least_score=EAGER_SCORE) for side in _SIDES]
    return find_candidates(detects, card.framing, scenes, look, seed=config.seed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the settings from the command line and train; 1 with a sentence when something is missing."""
    import tyro  # noqa: PLC0415 - only the entry point needs it

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = tyro.cli(VerifierConfig, prog="python -m training.detector.train_verifier", args=arguments)
    try:
        print(train_verifier(config))
    except (ValueError, OSError) as error:
        print(f"training stopped: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
