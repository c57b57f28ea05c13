"""Entry point: exports a training of the detector to a weights folder with a card."""

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file, save_file

from fer.cropping import Framing
from fer.detection.card import DetectorCard, load_detector_card
from fer.detection.decoding import CANDIDATES, STRIDES, prepare_image
from fer.detection.kv_face import find_faces, onnx_runner
from fer.detection.verifier import (
    VERIFIER_FILE,
    VERIFIER_INT8_FILE,
    FaceVerifier,
    Verification,
    verified_crop,
)
from fer.files import replaced_folder
from fer.images import RgbImage
from fer.model_card import (
    GOLDEN_FILE,
    INT8_FILE,
    ONNX_FILE,
    WEIGHTS_FILE,
    WeightsMismatchError,
    file_hash,
    verified_file,
)
from fer.onnx_session import open_session
from training.detector.evaluation import match
from training.detector.model_text import detector_card_text
from training.detector.network import ExportedDetector, KvFaceNetwork
from training.detector.scenes import read_photos
from training.detector.verifier import (
    VERIFIED_MARGIN,
    VERIFIED_SIDE,
    VerifierNetwork,
    golden_crops,
    load_verifier,
    write_verifier,
)
from training.onnx_export import write_onnx
from training.quantisation import quantise_network
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

log = logging.getLogger(__name__)

_COMPARED_COUNT: Final = 300
_COMPARED_SCORE: Final = 0.5

VERIFIER_FOLDER: Final = "verifier"
"""Folder with settings and history of the verifier's training, inside a detector's ``run`` folder."""

GOLDEN_TOLERANCE: Final = 1e-3
"""Maximum difference between ONNX Runtime and PyTorch in units of cells; at most a hundredth of a pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorExport:
    """The run to export, name and place of the weights, and the settings of their use.

    Attributes:
        run: The run directory.
        verifier: Run directory of training.detector.train_verifier; empty for a detector without a verifier.
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
    verifier: str = ""
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
    verifier = load_verifier(Path(options.verifier)) if options.verifier else None
    figures = json.loads(Path(options.figures).read_text(encoding="utf-8")) if options.figures else {}
    card = DetectorCard(
        name=f"{DETECTOR}.{options.tag}",
        architecture=DETECTOR,
        least_score=options.least_score,
        photo_side=options.photo_side,
        live_side=options.live_side,
        framing=Framing(options.scale, 0.0, options.shift_y),
        verification=(
            Verification(
                options.candidate_score,
                options.trust,
                VERIFIED_SIDE,
                VERIFIED_MARGIN,
                options.live_candidate_score,
            )
            if verifier
            else None
        ),
        description=options.description,
        data_sets=tuple(
            {"name": Path(name).name, "sha256": digest} for name, digest in run.data_files.items()
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
            card = _add_integers(draft, card, Path(options.photos))
            card.save(draft)
        _write_history(run, draft / "run")
        copy_history(earlier_runs(options.run), draft / HISTORY_FOLDER)
        if options.verifier:
            kept = draft / "run" / VERIFIER_FOLDER
            _write_history(read_run(Path(options.verifier)), kept)
            copy_history(earlier_runs(Path(options.verifier)), kept / HISTORY_FOLDER)
        text = detector_card_text(card, run.config, len(run.epochs))
        (draft / "README.md").write_text(text, encoding="utf-8")
    return folder


def _add_integers(draft: Path, card: DetectorCard, photos: Path) -> DetectorCard:
    """Quantise the networks; return the card, with those eight-bit networks that decide alike."""
    images = [scene.image for scene in read_photos(photos)]
    quantise_detector(draft / ONNX_FILE, draft / INT8_FILE, images[::2], card.photo_side)
    alike = share_alike(
        draft / ONNX_FILE,
        draft / INT8_FILE,
        images[1::2][:_COMPARED_COUNT],
        longest_side=card.photo_side,
        least_score=_COMPARED_SCORE,
    )
    log.info("the eight-bit network gives %.1f %% of the same boxes", 100 * alike)
    files = dict(card.files)
    if alike < LEAST_SHARE:
        (draft / INT8_FILE).unlink()
    else:
        files[INT8_FILE] = file_hash(draft / INT8_FILE)
    if card.verification is not None:
        crops, others = (_candidate_crops(draft, card, part) for part in (images[::2], images[1::2]))
        alike = quantise_verifier(draft / VERIFIER_FILE, draft / VERIFIER_INT8_FILE, crops, others)
        log.info("the eight-bit verifier decides alike on %.1f %% of the candidates", 100 * alike)
        if alike < LEAST_SHARE:
            (draft / VERIFIER_INT8_FILE).unlink()
        else:
            files[VERIFIER_INT8_FILE] = file_hash(draft / VERIFIER_INT8_FILE)
    return replace(card, files=files)


def _candidate_crops(draft: Path, card: DetectorCard, images: Sequence[RgbImage]) -> NDArray[np.uint8]:
    """Return crops of candidates in some of the images, shape (N, 3, side, side)."""
    verification = card.verification
    assert verification is not None
    run, crops = onnx_runner(draft / ONNX_FILE), []
    for image in images[:: max(len(images) // _RANGE_COUNT, 1)]:
        for place in find_faces(
            run,
            image,
            longest_side=card.photo_side,
            least_score=verification.candidate_score,
            suppression=CANDIDATES,
        ):
            if place.box.clip(image.shape[1], image.shape[0]) is not None:
                margin, side = verification.margin, verification.side
                crops.append(verified_crop(image, place, card.framing, margin=margin, side=side))
    shape = (0, verification.side, verification.side, 3)
    return (np.stack(crops) if crops else np.zeros(shape, np.uint8)).transpose(0, 3, 1, 2)


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
    import tyro  # noqa: PLC0415 - the entry point alone needs it

    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)  # but not PyTorch's exporter
    options = tyro.cli(DetectorExport, args=arguments, prog="python -m training.detector.export")
    try:
        print(f"wrote {export_run(options)}")
    except (ValueError, OSError) as error:
        print(f"export stopped: {error}", file=sys.stderr)
        return 1
    return 0


LEAST_SHARE: Final = 0.97
"""Minimum share of equal boxes at which the eight-bit network is kept."""

_RANGE_COUNT: Final = 100
_CROPS_AT_ONCE: Final = 64
_IOU: Final = 0.6


def quantise_detector(source: Path, target: Path, images: Sequence[RgbImage], longest_side: int) -> None:
    """Quantise the network to eight-bit integers, with ranges calibrated on images.

    Args:
        source: The network in single precision.
        target: The file to write.
        images: Typical images, RGB ``uint8`` of shape (H, W, 3); a hundred of them are used.
        longest_side: Maximum side; larger images are downscaled, as in use.
    """
    chosen = images[:: max(len(images) // _RANGE_COUNT, 1)][:_RANGE_COUNT]
    inputs = [{"images": prepare_image(image, longest_side)[0]} for image in chosen]
    quantise_network(source, target, inputs, "MinMax")


def quantise_verifier(
    source: Path, target: Path, crops: NDArray[np.uint8], others: NDArray[np.uint8]
) -> float:
    """Quantise the verifier to eight-bit integers.

    Args:
        source: The network in single precision.
        target: The file to write.
        crops: Candidates for calibrating the value ranges, shape (N, 3, side, side).
        others: Candidates for the comparison.

    Returns:
        The share of the other candidates on which both networks decide alike; 0 without any.
    """
    if not (len(crops) and len(others)):
        target.touch()
        return 0.0
    parts = np.array_split(crops, -(-len(crops) // _CROPS_AT_ONCE))
    quantise_network(source, target, [{"crops": np.ascontiguousarray(part)} for part in parts], "MinMax")
    one, other = (
        open_session(path, 1).run(["logits"], {"crops": np.ascontiguousarray(others)})[0]
        for path in (source, target)
    )
    return float(((one > 0) == (other > 0)).mean())


def share_alike(first: Path, second: Path, images: Sequence[RgbImage], **settings: Any) -> float:
    """Return the share of boxes that two exported networks have in common, in [0, 1]; 1 without any box.

    Args:
        first: An exported network.
        second: Another one.
        images: RGB ``uint8`` of shape (H, W, 3).
        settings: Arguments of ``find_faces``.
    """
    runners = [onnx_runner(path) for path in (first, second)]
    alike = count = 0
    for image in images:
        one, other = (find_faces(run, image, **settings) for run in runners)
        alike += 2 * sum(column is not None for column in match([face.box for face in one], other, _IOU))
        count += len(one) + len(other)
    return alike / count if count else 1.0


if __name__ == "__main__":
    sys.exit(main())
