"""From a finished training of the verifier to the file that is used."""

from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from fer.detection.verifier import VERIFIED_SIDE, VERIFIER_FILE
from training.detector.verifier import VERIFIER_ARCHITECTURE, VerifierNetwork
from training.onnx_files import forget_origin
from training.runs import BEST_FILE, read_run

_GOLDEN_COUNT: Final = 3


def load_verifier(run: Path) -> VerifierNetwork:
    """The trained network, in evaluation mode.

    Raises:
        ValueError: The run has no weights yet, or trained something else.
    """
    found = read_run(run).config.get("architecture")
    if found not in (None, VERIFIER_ARCHITECTURE):
        raise ValueError(f"{run} trained {found}; expected a run of training.detector.train_verifier")
    if not (run / BEST_FILE).is_file():
        raise ValueError(f"{run} has no weights yet; expected a run of training.detector.train_verifier")
    network = VerifierNetwork()
    network.load_state_dict(load_file(run / BEST_FILE))
    return network.eval()


def write_verifier(network: VerifierNetwork, folder: Path) -> None:
    """Write the network for ONNX Runtime; it takes any number of crops."""
    program = torch.onnx.export(
        network,
        (torch.from_numpy(golden_crops()),),
        dynamo=True,
        input_names=["crops"],
        output_names=["logits"],
        dynamic_shapes={"crops": {0: torch.export.Dim("count", min=1, max=4096)}},
        verbose=False,
    )
    assert program is not None
    program.save(folder / VERIFIER_FILE, external_data=False)
    forget_origin(folder / VERIFIER_FILE)


def golden_crops() -> NDArray[np.uint8]:
    """Made-up pictures of shape (N, 3, side, side), the same on every machine."""
    rows, columns = np.mgrid[0:VERIFIED_SIDE, 0:VERIFIED_SIDE]
    waves = [127.5 + 127.5 * np.sin(rows / (2 + n) + n) * np.cos(columns / (3 + n)) for n in range(9)]
    shape = (_GOLDEN_COUNT, 3, VERIFIED_SIDE, VERIFIED_SIDE)
    return np.stack(waves).reshape(shape).astype(np.uint8)
