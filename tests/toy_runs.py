"""Run directories with synthetic histories, written by the real writer."""

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from fer.cropping import Framing
from fer.detection.card import DetectorCard
from fer.emotions import FER2013_CODES, SIX_EMOTIONS
from training.config import TrainConfig
from training.run_files import BEST_FILE, LAST_FILE, MISTAKES_FILE
from training.runs import RunWriter, StopRequestedError

EPOCHS = 8  # of the real training behind the fixture `run`


def toy_rows(count: int, best: float = 0.7, seed: int = 0) -> list[dict[str, Any]]:
    """A history that rises to ``best`` and falls a little in its last tenth."""
    generator = np.random.default_rng(seed)
    rows = []
    for epoch in range(1, count + 1):
        share = epoch / count
        accuracy = best * (1 - math.exp(-4 * share)) - 0.02 * max(share - 0.9, 0) * 10
        accuracy += float(generator.normal(0, 0.004))
        rows.append(
            {
                "epoch": epoch,
                "learning_rate": 0.05 * (1 + math.cos(math.pi * share)),
                "train_loss": 1.7 * math.exp(-1.5 * share),
                "train_accuracy": accuracy + 0.05,
                "val_loss": 1.6 * math.exp(-share),
                "val_accuracy": accuracy,
                "val_macro_f1": accuracy - 0.04,
                "val_loss_fer2013": 1.7 * math.exp(-share),
                "val_accuracy_fer2013": accuracy - 0.1,
                "val_macro_f1_fer2013": accuracy - 0.15,
                "seconds": 12 + float(generator.random()),
            }
        )
    return rows


def toy_head_report(labels: list[str], seed: int = 0) -> dict[str, Any]:
    """A report whose parts agree with each other."""
    generator = np.random.default_rng(seed)
    count = len(labels)
    confusion = generator.integers(2, 25, (count, count)) + np.diag(generator.integers(90, 260, count))
    hits, truth, guesses = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    f1 = 2 * hits / (truth + guesses)
    confidence = (np.arange(15) + 0.5) / 15
    return {
        "count": int(confusion.sum()),
        "skipped": 3,
        "accuracy": float(hits.sum() / confusion.sum()),
        "balanced_accuracy": float((hits / truth).mean()),
        "macro_f1": float(f1.mean()),
        "nll": 0.9,
        "ece": 0.034,
        "labels": labels,
        "per_class": {
            label: {
                "precision": float(hits[i] / guesses[i]),
                "recall": float(hits[i] / truth[i]),
                "f1": float(f1[i]),
                "count": int(truth[i]),
            }
            for i, label in enumerate(labels)
        },
        "confusion": confusion.tolist(),
        "intervals_95": {"accuracy": [0.6, 0.7]},
        "reliability": [
            {"confidence": float(c), "accuracy": float(c**1.2), "count": int(10 + 300 * c)}
            for c in confidence[3:]
        ],
        "coverage_risk": [
            {"coverage": c, "accuracy": 1 - 0.3 * c, "confidence": 1 - 0.5 * c}
            for c in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
        ],
        "temperature": 1.2,
    }


def toy_report(best_epoch: int, *, stopped_early: bool = False) -> dict[str, Any]:
    heads = {
        "crowd": toy_head_report([str(e) for e in SIX_EMOTIONS]),
        "fer2013": toy_head_report([str(e) for e in FER2013_CODES], seed=1),
    }
    return {"best_epoch": best_epoch, "default_head": "crowd", "stopped_early": stopped_early, "heads": heads}


def write_toy_mistakes(folder: Path, count: int = 30, seed: int = 0) -> None:
    generator = np.random.default_rng(seed)
    names = [str(emotion) for emotion in SIX_EMOTIONS]
    target = generator.integers(0, 6, count)
    predicted = (target + generator.integers(1, 6, count)) % 6
    rows, columns = np.mgrid[0:48, 0:48] / 48
    face = 200 - 240 * ((columns - 0.5) ** 2 + (rows - 0.5) ** 2)
    crops = np.clip(face + generator.normal(0, 25, (count, 1, 48, 48)), 0, 255).astype(np.uint8)
    np.savez_compressed(
        folder / MISTAKES_FILE,
        crops=crops,
        target=np.array([names[i] for i in target]),
        predicted=np.array([names[i] for i in predicted]),
        confidence=np.sort(generator.uniform(0.5, 0.99, count))[::-1].astype(np.float32),
        name=np.array([f"happy/{i}.png" for i in range(count)]),
    )


def write_toy_run(
    folder: Path,
    epochs: int = 30,
    *,
    planned: int | None = None,
    state: str = "finished",
    seed: int = 0,
    **settings: Any,
) -> Path:
    """Write a run of this many epochs that ends in a state: finished, stopped or failed."""
    planned = planned or epochs
    config = TrainConfig(
        **(
            {
                "data": (Path("pictures"),),
                "epochs": planned,
                "warmup_epochs": 0,
                "name": folder.name,
                "seed": seed,
            }
            | settings
        )
    )
    rows = toy_rows(epochs, 0.6 + 0.02 * (seed % 7), seed)
    environment = {
        "device": "cpu",
        "torch": "2.15.0",
        "data": {
            "files": {"pictures": "0" * 64},
            "train": {"happy": 300, "sad": 200},
            "val": {"happy": 40, "sad": 30},
            "duplicates": {"across_splits": 2, "within_train": 1, "conflicting": 0},
            "unreadable": [],
        },
    }
    ends = {
        "finished": None,
        "stopped": StopRequestedError(),
        "failed": RuntimeError("the card fell off the bus"),
    }
    with suppress(RuntimeError), RunWriter(folder, config.to_dict(), environment, planned) as writer:
        for row in rows:
            writer.add_epoch(row)
        writer.progress(force=True, epoch=epochs, step=0, step_count=12)
        (folder / LAST_FILE).touch()
        if ends[state] is not None:
            raise ends[state]
        best = max(rows, key=lambda row: row["val_accuracy"])["epoch"]
        writer.add_report(toy_report(best, stopped_early=epochs < planned))
        write_toy_mistakes(folder)
    return folder


def write_toy_detector_run(folder: Path, epochs: int = 12, *, state: str = "finished") -> Path:
    """A run of the face detector, judged on photos at every fourth epoch; the best one is the last but one."""
    config = {
        "architecture": "kv_face",
        "photos": "/photos/all.parquet",
        "epochs": epochs,
        "name": folder.name,
    }
    environment = {"device": "cpu", "data": {"all.parquet": "0" * 64}}
    with suppress(RuntimeError), RunWriter(folder, config, environment, epochs) as writer:
        for epoch in range(1, epochs + 1):
            row = {"epoch": epoch, "learning_rate": 0.002 / epoch, "train_loss": 2 / epoch, "seconds": 21.0}
            row |= {"val_loss": 3 / epoch}
            if epoch % 4 == 0:
                recall = 0.9 - 0.1 * abs(epoch - (epochs - 4)) / epochs
                row |= {"val_boxed_recall": recall, "val_web_recall": recall - 0.05, "val_false_boxes": 0.25}
            writer.add_epoch(row)
        (folder / LAST_FILE).touch()
        (folder / BEST_FILE).touch()
        if state == "failed":
            raise RuntimeError("no photos any more")
        report = {"val_boxed_recall": 0.9, "val_web_recall": 0.85, "val_false_boxes": 0.25}
        writer.add_report({"split": "choosing", "long_side": 320, **report})
    return folder


def write_toy_verifier_run(folder: Path) -> Path:
    """A run of the detector's verifier."""
    with RunWriter(folder, {"architecture": "kv_face_verifier", "epochs": 2}, {}, 2) as writer:
        for epoch in (1, 2):
            row = {"epoch": epoch, "learning_rate": 0.002, "train_loss": 0.5 / epoch, "seconds": 15.0}
            writer.add_epoch(row | {"val_loss": 0.4 / epoch, "val_accuracy": 0.9})
        (folder / BEST_FILE).touch()
        writer.add_report({"split": "held-out photos", "val_loss": 0.2, "val_accuracy": 0.94})
    return folder


def write_toy_detector(folder: Path) -> Path:
    """A detector's weights folder without a network, with the history of its training."""
    write_toy_detector_run(folder / "run")
    metrics = {"kv_face": {"recall": 0.91, "ms": 12.5}, "haar": {"recall": 0.7, "ms": None}}
    card = DetectorCard(
        name=folder.name,
        architecture="kv_face",
        least_score=0.5,
        photo_side=480,
        live_side=320,
        framing=Framing(1.14, 0.0, 0.0),
        description="Finds faces of any tilt.",
        metrics=metrics,
    )
    card.save(folder)
    (folder / "README.md").write_text("# All about it\n")
    return folder
