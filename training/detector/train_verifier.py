"""Entry point: trains the verifier on true and false positives of the detector."""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from fer.detection.card import load_detector_card
from fer.detection.decoding import CANDIDATES
from fer.detection.kv_face import find_faces, network_file, onnx_runner
from training.command import run_command
from training.config import plain_settings
from training.detector.candidates import TURNED_COUNT, Candidates, find_candidates, join_candidates
from training.detector.evaluation import read_boxed_photos
from training.detector.false_places import SecondLook
from training.detector.scenes import (
    Scene,
    drop_copies,
    open_teacher,
    read_crowds,
    read_face_crops,
    read_photos,
)
from training.detector.verifier import VerifierNetwork, load_verifier, plain_views, random_views
from training.frame import Schedule, Trainer
from training.hardware import Workers, describe_environment, file_hashes, set_up_processor
from training.run_files import HISTORY_FOLDER, LAST_FILE, VERIFIER, copy_history, earlier_runs
from training.runs import RunWriter, new_run_folder

EAGER_SCORE: Final = 0.1
"""Score threshold, well below that of candidates in use."""

_SIDES: Final = (352, 220)
_FACE_SIDES: Final = (320,)
_CROWD_SIDES: Final = (512, 640, 320)
_MOST_FALSE: Final = 8
"""Maximum number of false positives of one search where the teacher has to check each of them."""

_MOST_FALSE_OF_CROWDS: Final = 40

_WARMUP: Final = 0.02
_WEIGHT_DECAY: Final = 0.02
_EMA_DECAY: Final = 0.998
_JUDGED_AT_ONCE: Final = 512

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierConfig:
    """Settings of one training of the verifier; invalid values raise a ``ValueError``.

    Attributes:
        detector: Weights folder of the detector.
        photos: Parquet file with whole photos and the teacher's faces.
        crowds: Parquet files with photos and hand-labelled boxes of all faces, or without a face; three rows
            of ten are never used.
        faces: Parquet files with pictures of single faces; of those with a ``split``, only ``train`` is used.
        boxed_photos: Evaluation photos, whose copies are excluded from the training.
        web_photos: More evaluation photos.
        teacher: YuNet's file, for checking false positives; empty for the fetched one.
        initial_run: Run directory of an earlier training with the initial weights; empty for random weights.
        epochs: Number of epochs.
        steps: Steps per epoch.
        batch_size: Views per step, half of them faces.
        learning_rate: Peak learning rate of AdamW, before cosine decay to 0.
        val_share: Share of the photos held out for the validation loss.
        seed: Random seed.
        thread_count: CPU threads of PyTorch.
        runs: Parent folder of the run directory.
        name: Name of the run directory; empty for ``<time>_kv_face_verifier``. Resumes an existing run.
    """

    detector: Path
    photos: Path
    crowds: tuple[Path, ...] = ()
    faces: tuple[Path, ...] = ()
    boxed_photos: Path
    web_photos: Path
    teacher: str = ""
    initial_run: str = ""
    epochs: int = 60
    steps: int = 130
    batch_size: int = 256
    learning_rate: float = 3e-3
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
        """Return plain values, as stored in a run directory."""
        return {"architecture": VERIFIER, **plain_settings(asdict(self))}


def train_verifier(config: VerifierConfig) -> Path:
    """Train, or resume an interrupted training; return the run directory.

    Raises:
        ValueError: The detector gives no true positives or no false positives in the photos.
    """
    set_up_processor(config.thread_count)
    torch.manual_seed(config.seed)
    folder = config.runs / config.name if config.name else new_run_folder(config.runs, VERIFIER)
    files = file_hashes(
        (config.photos, *config.crowds, *config.faces, config.boxed_photos, config.web_photos)
    )
    environment = describe_environment(torch.device("cpu"), Workers(), files)
    with RunWriter(folder, config.to_dict(), environment, config.epochs) as writer:
        VerifierTrainer(config, folder, writer).fit(resume=(folder / LAST_FILE).is_file())
    return folder


class VerifierTrainer(Trainer):
    """The training of the verifier."""

    def __init__(self, config: VerifierConfig, folder: Path, writer: RunWriter) -> None:
        self.config = config
        network = VerifierNetwork()
        if config.initial_run:  # before the search of all photos, which takes minutes
            initial_run = Path(config.initial_run)
            network.load_state_dict(load_verifier(initial_run).state_dict())
            copy_history([*earlier_runs(initial_run), initial_run], folder / HISTORY_FOLDER)
        network.to(memory_format=torch.channels_last)
        candidates = gather_candidates(config)
        is_val = np.random.default_rng(config.seed).random(candidates.scenes.max(initial=0) + 1)
        held = (is_val < config.val_share)[candidates.scenes]
        self.train, self.val = candidates.take(~held), candidates.take(held)
        self.faces, self.others = (np.flatnonzero(self.train.is_face == truth) for truth in (True, False))
        if not (len(self.faces) and len(self.others)):
            raise ValueError(
                f"expected true and false positives of the detector, got {len(self.faces)} and "
                f"{len(self.others)}; add photos"
            )
        log.info("%d faces, %d false positives, %d held out", len(self.faces), len(self.others), held.sum())
        # The more useful ones are false positives with higher scores and faces with lower ones.
        self.other_weights = _weights(self.train.scores[self.others])
        self.face_weights = _weights(1 - self.train.scores[self.faces])
        schedule = Schedule(
            epochs=config.epochs, learning_rate=config.learning_rate, warmup_epochs=_WARMUP * config.epochs
        )
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=_WEIGHT_DECAY
        )
        super().__init__(folder, writer, schedule, network, optimizer, _EMA_DECAY, torch.device("cpu"))

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """Train on equal numbers of faces and false positives."""
        config = self.config
        # Seeds depend only on the epoch, so a resumed training draws the same data as an uninterrupted one.
        rng = np.random.default_rng((config.seed, epoch))
        generator = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
        torch.manual_seed(config.seed * 100_003 + epoch)  # of the dropout
        total = 0.0
        self.network.train()
        for step in range(config.steps):
            half = config.batch_size // 2
            rows = np.concatenate(
                [
                    rng.choice(self.faces, half, p=self.face_weights),
                    rng.choice(self.others, half, p=self.other_weights),
                ]
            )
            # Shuffle, since only the first views of a batch are blurred.
            rows = rng.permutation(rows)
            views = random_views(self.train.crops[rows], generator)
            truth = torch.from_numpy(self.train.is_face[rows].astype(np.float32))
            with torch.autocast("cpu", torch.bfloat16):
                logits = self.network(views.contiguous(memory_format=torch.channels_last))
            loss = functional.binary_cross_entropy_with_logits(logits.float(), truth)
            self.take_step(loss, epoch, step, config.steps)
            total += float(loss.detach())
        return {"train_loss": total / config.steps}

    @torch.inference_mode()
    def judge_epoch(self, _epoch: int, /) -> dict[str, float]:
        """Compute loss and accuracy on held-out photos; no figures if they have no detections."""
        network = self.judged.eval()
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

    def figure(self, row: Mapping[str, float]) -> float:
        """Return the epoch's number: the averaged weights of the last one are the result."""
        return row["epoch"]

    def report(self) -> dict[str, Any]:
        """Evaluate the last epoch."""
        return {"split": "held-out photos", **self.judge_epoch(self.progress.epoch)}


def _weights(doubts: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the probabilities with which rows are drawn."""
    weights = np.sqrt(doubts.clip(0.05, 1).astype(np.float64))
    return np.asarray(weights / weights.sum())


def gather_candidates(config: VerifierConfig) -> Candidates:
    """Gather the detector's candidates in the photos, without copies of the evaluation photos."""
    card = load_detector_card(config.detector)
    run = onnx_runner(network_file(config.detector, card))
    choosing = [*read_boxed_photos(config.boxed_photos), *read_boxed_photos(config.web_photos)]
    choosing += [photo for path in config.crowds for photo in read_boxed_photos(path, held_out=True)]

    def search(
        scenes: Sequence[Scene],
        sides: Sequence[int],
        look: SecondLook | None,
        turned_count: int = TURNED_COUNT,
    ) -> Candidates:
        detect = partial(find_faces, run, least_score=EAGER_SCORE, suppression=CANDIDATES)
        detects = [partial(detect, longest_side=side) for side in sides]
        photos = drop_copies(scenes, choosing)
        are_all_listed = look is None
        return find_candidates(
            detects,
            card.framing,
            photos,
            look,
            seed=config.seed,
            turned_count=turned_count,
            most_false=_MOST_FALSE_OF_CROWDS if are_all_listed else _MOST_FALSE,
            is_touching_false=are_all_listed,
        )

    teacher = open_teacher(config.teacher)
    look = SecondLook(teacher)
    faces = [scene for path in config.faces for scene in read_face_crops(path, teacher)]
    if config.faces and not faces:
        raise ValueError(
            "expected pictures of single faces, of split 'train' or without a split, got none with a face "
            f"that the teacher finds; check {', '.join(map(str, config.faces))}"
        )
    parts = [
        search(read_photos(config.photos), _SIDES, look),
        # All faces of crowds are listed, so the teacher need not look for others.
        search(read_crowds(config.crowds, config.teacher), _CROWD_SIDES, None),
        search(faces, _FACE_SIDES, look, turned_count=0),
    ]
    return reduce(join_candidates, parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the settings from the command line and train; return 1 with a sentence on an error."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    return run_command(VerifierConfig, _train, "training.detector.train_verifier", arguments)


def _train(config: VerifierConfig) -> None:
    print(train_verifier(config))


if __name__ == "__main__":
    sys.exit(main())
