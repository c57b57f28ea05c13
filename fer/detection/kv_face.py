"""The project's own detector: small, with five landmarks, for upright and tilted faces."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from fer.cropping import Framing
from fer.detection.card import DETECTOR_CARD_FILE, DetectorCard, load_detector_card
from fer.detection.decoding import cell_grid, decode, prepare_image
from fer.detection.fetch import Download
from fer.detection.verifier import VERIFIER_FILE, FaceVerifier
from fer.faces import Box, Detection, Landmarks
from fer.images import RgbImage
from fer.model_card import INT8_FILE, ONNX_FILE, WeightsMismatchError, verified_file
from fer.model_shelf import weights_shelf
from fer.onnx_session import open_session

KV_FACE_WEIGHTS: Final = "kv_face.web"

Runner = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""Runs the exported network: (1, 3, H, W) to (1, cells, 15)."""

_OVERLAP: Final = 0.4

EAGER_SIDE: Final = 640
EAGER_SCORE: Final = 0.2
"""Search size and minimum score that find doubtful faces, too, with far more false positives."""


def kv_face_folder() -> Path:
    """Return the folder of the shipped detector weights; it may be missing."""
    return weights_shelf() / KV_FACE_WEIGHTS


class KvFaceDetector:
    """A face detector with five landmarks; stateless, may be called from several threads.

    Args:
        folder: A detector's weights folder; None for the shipped one.
        live: Use the card's smaller search size for live frames.
        eager: Find doubtful faces, too, with far more false positives.
        thread_count: CPU threads; one is fastest on a busy machine.

    Raises:
        UnknownModelError: The card or the network is missing.
        WeightsMismatchError: The network does not match its card.
    """

    name: ClassVar[str] = "kv_face"
    title: ClassVar[str] = "KV Face (any tilt)"
    download: ClassVar[Download | None] = None

    def __init__(
        self, folder: Path | None = None, *, live: bool = False, eager: bool = False, thread_count: int = 1
    ) -> None:
        folder = folder or kv_face_folder()
        self.card: DetectorCard = load_detector_card(folder)
        self.longest_side = EAGER_SIDE if eager else self.card.live_side if live else self.card.photo_side
        self._least_score = EAGER_SCORE if eager else self.card.least_score
        self._run = onnx_runner(network_file(folder, self.card), thread_count)
        self._verifier: FaceVerifier | None = None
        if self.card.verification is not None and not eager:
            path = verified_file(folder, self.card, VERIFIER_FILE)
            self._verifier = FaceVerifier(path, self.card.verification, self.card.framing, thread_count)

    @classmethod
    def missing(cls) -> str | None:
        """Return an instruction for getting its weights; None when they exist."""
        if (kv_face_folder() / DETECTOR_CARD_FILE).is_file():
            return None
        return f"restore the folder {KV_FACE_WEIGHTS} of the weights"

    @classmethod
    def create(cls, *, live: bool = False, eager: bool = False) -> Self:
        """Build the detector for photos, for live frames, or to miss as few faces as possible."""
        return cls(live=live, eager=eager)

    @property
    def framing(self) -> Framing:
        """Map from its boxes to the reference square, as given by its card."""
        return self.card.framing

    def close_up(self) -> Self:
        """Return itself: it is fast enough on small images."""
        return self

    def detect(self, image: RgbImage) -> list[Detection]:
        """Return all faces, largest first, with landmarks and the roll derived from them.

        Args:
            image: RGB ``uint8`` of shape (H, W, 3).
        """
        if self._verifier is None:
            return find_faces(self._run, image, longest_side=self.longest_side, least_score=self._least_score)
        asked = self._verifier.verification.candidate_score
        places = find_faces(self._run, image, longest_side=self.longest_side, least_score=asked)
        return [face for face in self._verifier.verify(image, places) if face.score >= self._least_score]


def network_file(folder: Path, card: DetectorCard) -> Path:
    """Return the network file to use: the eight-bit one if the card lists it.

    Raises:
        UnknownModelError: The file is missing.
        WeightsMismatchError: The file does not match its card.
    """
    return verified_file(folder, card, INT8_FILE if INT8_FILE in card.files else ONNX_FILE)


def find_faces(run: Runner, image: RgbImage, *, longest_side: int, least_score: float) -> list[Detection]:
    """Return all faces of an image, largest first.

    Args:
        run: The network.
        image: RGB ``uint8`` of shape (H, W, 3).
        longest_side: Larger images are shrunk to this for the search.
        least_score: Faces with lower scores are dropped.
    """
    batch, enlarge = prepare_image(image, longest_side)
    grid = cell_grid(*batch.shape[2:])
    boxes, points, scores = decode(run(batch)[0], grid, least_score=least_score, overlap=_OVERLAP)
    found = []
    for corners, five, score in zip(
        (boxes * enlarge).tolist(), points * enlarge, scores.tolist(), strict=True
    ):
        landmarks = Landmarks.from_array(five)
        found.append(Detection(Box(*corners), min(score, 1.0), landmarks, landmarks.roll))
    return sorted(found, key=lambda detection: -detection.box.area)


def onnx_runner(path: Path, thread_count: int = 1) -> Runner:
    """Return a function that runs an exported network on the CPU.

    Raises:
        WeightsMismatchError: The file is not a detector network.
    """
    session = open_session(path, thread_count)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [item.name for item in inputs] != ["images"] or [item.name for item in outputs] != ["cells"]:
        raise WeightsMismatchError(
            f"{path} is not a detector: expected input 'images' and output 'cells', "
            f"got {inputs[0].name!r} and {outputs[0].name!r}; restore the folder"
        )

    def run(images: NDArray[np.uint8]) -> NDArray[Any]:
        cells: NDArray[Any] = session.run(["cells"], {"images": images})[0]
        return cells

    return run
