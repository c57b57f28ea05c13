"""Entry point: exports a training of the detector to a weights folder with a card."""

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file, save_file

from fer.cropping import Framing
from fer.detection.card import DetectorCard, load_detector_card
from fer.detection.decoding import STRIDES
from fer.detection.kv_face import onnx_runner
from fer.detection.verifier import VERIFIER_FILE, FaceVerifier
from fer.files import replaced_folder
from fer.model_card import (
    GOLDEN_FILE,
    ONNX_FILE,
    WEIGHTS_FILE,
    WeightsMismatchError,
    file_hash,
    verified_file,
)
from training.command import run_command
from training.detector.model_text import detector_card_text
from training.detector.network import ExportedDetector, KvFaceNetwork
from training.detector.quantisation import add_integers
from training.detector.scenes import read_photos
from training.detector.verifier import (
    VerifierNetwork,
    golden_crops,
    mean_verifier,
    verification_of,
    write_verifier,
)
from training.onnx_export import write_onnx
from training.run_files import (
    BEST_FILE,
    DETECTOR,
    HISTORY_FOLDER,
    VERIFIER,
    copy_history,
    earlier_runs,
    portable,
    write_record,
)
from training.runs import Run, read_run

VERIFIER_FOLDER: Final = "verifier"
"""Folder with settings and history of the verifier's training, inside a detector's ``run`` folder."""

GOLDEN_TOLERANCE: Final = 1e-3
"""Maximum difference between ONNX Runtime and PyTorch in units of cells; at most a hundredth of a pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorExport:
    """The run to export, name and place of the weights, and the settings of their use.

    Attributes:
        run: The run directory.
        verifier: Run directories of training.detector.train_verifier, each the initial run of the next, whose
            weights are averaged; empty for a detector without a verifier.
        candidate_score: Minimum score of the detections passed to the verifier.
        live_candidate_score: The same for live frames; None for the same score.
        trust: Weight of the detector's log-odds when added to the verifier's; see
            benchmarks/detector_scores.py.
        tag: Suffix of the weights' name, after ``kv_face.``.
        weights: Parent folder of ``kv_face.<tag>``.
        least_score: Minimum score of detections; with a verifier, minimum joint score.
        photo_side: Maximum side of photos for the search; larger photos are downscaled.
        live_side: The same for frames of a stream.
        scale: Side of the reference square as a share of the mean box side; see benchmarks/framing.py.
        shift_y: Downward shift of its centre as a share of the mean box side.
        photos: Parquet file with photos, such as the training data, for calibrating the eight-bit networks;
            empty to keep single precision.
        figures: JSON file written by benchmarks/detectors.py, for the card; empty for none.
        description: One sentence for the card.
    """

    run: Path
    verifier: tuple[Path, ...] = ()
    candidate_score: float = 0.25
    live_candidate_score: float | None = None
    trust: float = 1.0
    tag: str = "web"
    weights: Path = Path("weights")
    least_score: float = 0.5
    photo_side: int = 480
    live_side: int = 320
    scale: float = 1.14
    shift_y: float = 0.0
    photos: str = ""
    figures: str = ""
    description: str = "Finds faces of any tilt, with five landmarks."


def export_run(options: DetectorExport) -> Path:
    """Export a run to a weights folder, replacing an existing folder of the same name.

    Raises:
        ValueError: The run cannot be read or has no weights yet.
        WeightsMismatchError: The outputs of the exported network differ from those of the trained one.
    """
    run = read_run(options.run)
    if run.problem or not (options.run / BEST_FILE).is_file():
        raise ValueError(f"{options.run} cannot be exported: {run.problem or 'it has no weights yet'}")
    if run.config.get("architecture") == VERIFIER:
        raise ValueError(
            f"expected a run of the detector, got a verifier in {options.run}; use --verifier for it"
        )
    network = KvFaceNetwork()
    network.load_state_dict(load_file(options.run / BEST_FILE))
    verifier = mean_verifier(options.verifier) if options.verifier else None
    verifier_runs = [read_run(folder) for folder in options.verifier]
    figures = json.loads(Path(options.figures).read_text(encoding="utf-8")) if options.figures else {}
    card = DetectorCard(
        name=f"{DETECTOR}.{options.tag}",
        architecture=DETECTOR,
        least_score=options.least_score,
        photo_side=options.photo_side,
        live_side=options.live_side,
        framing=Framing(options.scale, 0.0, options.shift_y),
        verification=(
            verification_of(options.candidate_score, options.trust, options.live_candidate_score)
            if verifier
            else None
        ),
        description=options.description,
        data_sets=tuple(
            {"name": name, "sha256": digest} for name, digest in _data_files(run, *verifier_runs).items()
        ),
        metrics=figures,
    )
    folder = options.weights / card.name
    with replaced_folder(folder) as draft:
        _write_networks(network.eval(), verifier, draft)
        names = [WEIGHTS_FILE, ONNX_FILE, GOLDEN_FILE, *([VERIFIER_FILE] if verifier else [])]
        hashes = {name: file_hash(draft / name) for name in names}
        card = replace(card, files=hashes)
        card.save(draft)
        for name in hashes:
            (draft / name).chmod(0o644)  # safetensors creates files readable only by the owner
        check_golden(draft)
        if options.photos:
            images = [scene.image for scene in read_photos(Path(options.photos))]
            card = add_integers(draft, card, images)
            card.save(draft)
        _write_history(run, draft / "run")
        copy_history(earlier_runs(options.run), draft / HISTORY_FOLDER)
        if verifier_runs:
            kept = draft / "run" / VERIFIER_FOLDER
            _write_history(verifier_runs[-1], kept)
            copy_history(earlier_runs(options.verifier[-1]), kept / HISTORY_FOLDER)
        text = detector_card_text(card, run.config, len(run.epochs), [each.config for each in verifier_runs])
        (draft / "README.md").write_text(text, encoding="utf-8")
    return folder


def _data_files(*runs: Run) -> dict[str, str]:
    """Return the SHA-256 by name of the data of some trainings."""
    return {Path(path).name: digest for run in runs for path, digest in run.data_files.items()}


def golden_image() -> NDArray[np.uint8]:
    """Return a synthetic image of shape (1, 3, 64, 96) with a face-like blob, identical on every machine."""
    rows, columns = np.mgrid[0:64, 0:96]
    x, y = (columns - 40) / 40, (rows - 30) / 40
    plane = 60 + 150 * np.exp(-(x**2 + 0.7 * y**2) * 6)
    for eye_x, eye_y, spread in ((-0.17, -0.1, 0.004), (0.17, -0.1, 0.004), (0.0, 0.25, 0.008)):
        plane -= 90 * np.exp(-((x - eye_x) ** 2 + 3 * (y - eye_y) ** 2) / spread)
    image = np.stack([plane, plane * 0.8, plane * 0.7]).clip(0, 255).astype(np.uint8)
    return image[None]


def check_golden(folder: Path) -> None:
    """Run the exported network on the golden image.

    Raises:
        WeightsMismatchError: The output differs from the one stored at the export.
    """
    card = load_detector_card(folder)
    golden = load_arrays(verified_file(folder, card, GOLDEN_FILE))
    found = onnx_runner(verified_file(folder, card, ONNX_FILE))(golden["images"])
    distance = float(np.abs(found - golden["cells"]).max())
    if card.verification is not None:
        verifier = FaceVerifier(verified_file(folder, card, VERIFIER_FILE), card.verification, card.framing)
        logits = verifier.logits(golden["crops"].transpose(0, 2, 3, 1))
        distance = max(distance, float(np.abs(logits - golden["logits"]).max()))
    if not distance <= GOLDEN_TOLERANCE:
        raise WeightsMismatchError(
            f"the network exported to {folder} differs from the trained one by {distance:.2g}; "
            f"expected at most {GOLDEN_TOLERANCE:.0e}"
        )


def _write_networks(network: KvFaceNetwork, verifier: VerifierNetwork | None, folder: Path) -> None:
    save_file(
        {name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / WEIGHTS_FILE
    )
    exported = ExportedDetector(network).eval()
    images = torch.from_numpy(golden_image())
    with torch.inference_mode():
        golden = {"images": images, "cells": exported(images).contiguous()}
        if verifier is not None:
            crops = torch.from_numpy(golden_crops())
            golden |= {"crops": crops, "logits": verifier(crops)}
            write_verifier(verifier, folder)
    save_file(golden, folder / GOLDEN_FILE)
    step = STRIDES[-1]
    rows, columns = (torch.export.Dim(name, min=2, max=256) for name in ("rows", "columns"))
    write_onnx(
        exported,
        images,
        folder / ONNX_FILE,
        input_name="images",
        output_names=["cells"],
        sizes={2: step * rows, 3: step * columns},
    )


def _write_history(run: Run, folder: Path) -> None:
    write_record(folder, portable(run.config), portable(run.environment), run.report, run.epochs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and export; return 1 with a sentence on an error."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("training.detector").setLevel(logging.INFO)  # but not PyTorch's exporter
    return run_command(DetectorExport, _export, "training.detector.export", arguments)


def _export(options: DetectorExport) -> None:
    print(f"wrote {export_run(options)}")


if __name__ == "__main__":
    sys.exit(main())
