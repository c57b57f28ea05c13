"""The project's own detector: small, with five landmarks, for upright and tilted faces."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from fer.cropping import Framing
from fer.detection.card import DETECTOR_CARD_FILE, DetectorCard, load_detector_card
from fer.detection.decoding import (
    CANDIDATES,
    FACES,
    VERIFIED,
    Floats,
    Suppression,
    cell_grid,
    decode,
    prepare_image,
    suppress,
)
from fer.detection.fetch import Download
from fer.detection.verifier import VERIFIER_FILE, VERIFIER_INT8_FILE, FaceVerifier
from fer.faces import Box, Detection, Landmarks
from fer.images import RgbImage
from fer.model_card import INT8_FILE, ONNX_FILE, WeightsMismatchError, verified_file
from fer.model_shelf import weights_shelf
from fer.onnx_session import open_session

KV_FACE_WEIGHTS: Final = "kv_face.web"

Runner = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""Runs the exported network: (1, 3, H, W) to (1, cells, 15)."""

_SAME: Final = 0.3
"""Overlap (IoU) above which a face of one pass has a candidate of another."""

EAGER_SIDE: Final = 640
EAGER_SCORE: Final = 0.15
"""Search size and minimum score that find doubtful faces, too, with far more false positives."""

FINER_SIDE: Final = 512
"""Longest side of a photo in the second pass, in pixels."""

THOROUGH_BUDGET: Final = 16_000_000
"""Maximum number of pixels in the finest pass of a thorough search; larger photos are shrunk."""

_SMALL_SIDE: Final = 24
"""Side of a face in the searched image, in pixels, below which other faces were probably missed."""

_LARGE: Final = 4
"""Shrink factor of the first pass above which a photo always gets a second one."""

_TILE_SIDE: Final = 1024
_TILE_OVERLAP: Final = 160
"""Tile overlap in pixels, a multiple of the largest stride; coarser passes detect larger faces."""

_CUT: Final = 2.0
"""Distance in pixels to an inner edge of a tile below which a box is part of a cut face."""


def kv_face_folder() -> Path:
    """Return the folder of the shipped detector weights; it may be missing."""
    return weights_shelf() / KV_FACE_WEIGHTS


class KvFaceDetector:
    """A face detector with five landmarks; stateless, may be called from several threads.

    Args:
        folder: A detector's weights folder; None for the shipped one.
        live: Use the card's smaller search size for live frames.
        eager: Find doubtful faces, too, with far more false positives.
        thorough: Search photos at every scale, regardless of the detections at coarser scales.
        thread_count: CPU threads; one is fastest on a busy machine.

    Raises:
        UnknownModelError: The card or the network is missing.
        WeightsMismatchError: The network does not match its card.
    """

    name: ClassVar[str] = "kv_face"
    title: ClassVar[str] = "KV Face (any tilt)"
    download: ClassVar[Download | None] = None

    def __init__(
        self,
        folder: Path | None = None,
        *,
        live: bool = False,
        eager: bool = False,
        thorough: bool = False,
        thread_count: int = 1,
    ) -> None:
        folder = folder or kv_face_folder()
        self.card: DetectorCard = load_detector_card(folder)
        self.longest_side = EAGER_SIDE if eager else self.card.live_side if live else self.card.photo_side
        self._least_score = EAGER_SCORE if eager else self.card.least_score
        self._is_thorough, self._is_live = thorough, live
        self._has_finer_looks = thorough or not (live or eager)
        self._run = onnx_runner(network_file(folder, self.card), thread_count)
        self._verifier: FaceVerifier | None = None
        if self.card.verification is not None and not eager:
            name = VERIFIER_INT8_FILE if VERIFIER_INT8_FILE in self.card.files else VERIFIER_FILE
            path = verified_file(folder, self.card, name)
            self._verifier = FaceVerifier(path, self.card.verification, self.card.framing, thread_count)

    @classmethod
    def missing(cls) -> str | None:
        """Return an instruction for getting its weights; None when they exist."""
        if (kv_face_folder() / DETECTOR_CARD_FILE).is_file():
            return None
        return f"restore the folder {KV_FACE_WEIGHTS} of the weights"

    @classmethod
    def create(cls, *, live: bool = False, eager: bool = False, thorough: bool = False) -> Self:
        """Build it with the settings of :func:`fer.detection.load_detector`."""
        return cls(live=live, eager=eager, thorough=thorough)

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
        found = self._look(image, self.longest_side)
        if self._has_finer_looks:
            found = self._look_closer(image, found)
        return [face for face in found if face.score >= self._least_score]

    def _look_closer(self, image: RgbImage, found: list[Detection]) -> list[Detection]:
        """Search a photo at finer scales: one more if there may be small faces, all of them if thorough."""
        longest = max(image.shape[:2])
        if self._is_thorough:
            in_budget = (THOROUGH_BUDGET / (image.shape[0] * image.shape[1])) ** 0.5
            sides = [min(FINER_SIDE, longest), int(longest * min(1.0, in_budget))]
        elif longest > _LARGE * self.longest_side or self._has_small(found, self.longest_side / longest):
            sides = [min(FINER_SIDE, longest)]
        else:
            sides = []
        searched = min(self.longest_side, longest)
        for side in sides:
            if side > searched:
                finer = self._look(image, side)
                if side <= FINER_SIDE:  # tiles of a finer pass cut large faces
                    found = _seen_again(found, finer, side / longest)
                found, searched = _distinct([*found, *finer]), side
        return found

    def _has_small(self, found: Sequence[Detection], shrink: float) -> bool:
        """Return whether a face with a sufficient score was small in the searched image."""
        return any(
            face.score >= self.card.least_score and face.box.area**0.5 * shrink < _SMALL_SIDE
            for face in found
        )

    def _look(self, image: RgbImage, side: int) -> list[Detection]:
        """Search at one scale, including doubtful candidates, and verify the detections."""
        if self._verifier is None:
            return find_faces(self._run, image, longest_side=side, least_score=self._least_score)
        asked = self._verifier.verification.candidate_score_of(live=self._is_live)
        candidates = find_faces(
            self._run,
            image,
            longest_side=side,
            least_score=asked,
            suppression=CANDIDATES,
        )
        return _distinct(self._verifier.verify(image, candidates))


def _seen_again(found: Sequence[Detection], finer: Sequence[Detection], shrink: float) -> list[Detection]:
    """Drop detections without any candidate in the finer pass, except for faces that fill the image."""
    return [
        face
        for face in found
        if face.box.area**0.5 * shrink > FINER_SIDE / 2
        or any(face.box.iou(other.box) > _SAME for other in finer)
    ]


def _distinct(found: Sequence[Detection]) -> list[Detection]:
    """Keep the highest-scoring box of each face, largest first."""
    by_score = sorted(found, key=lambda face: -face.score)
    if not by_score:
        return []
    boxes = np.array([face.box.as_tuple() for face in by_score], np.float32)
    return sorted((by_score[row] for row in suppress(boxes, VERIFIED)), key=lambda face: -face.box.area)


def network_file(folder: Path, card: DetectorCard) -> Path:
    """Return the network file to use: the eight-bit one if the card lists it.

    Raises:
        UnknownModelError: The file is missing.
        WeightsMismatchError: The file does not match its card.
    """
    return verified_file(folder, card, INT8_FILE if INT8_FILE in card.files else ONNX_FILE)


def find_faces(
    run: Runner,
    image: RgbImage,
    *,
    longest_side: int,
    least_score: float,
    suppression: Suppression = FACES,
) -> list[Detection]:
    """Return all faces of an image, largest first.

    Args:
        run: The network.
        image: RGB ``uint8`` of shape (H, W, 3).
        longest_side: Larger images are shrunk to this for the search.
        least_score: Faces with lower scores are dropped.
        suppression: Rule for boxes that overlap.
    """
    batch, enlarge = prepare_image(image, longest_side)
    parts = [_search_tile(run, batch, tile, least_score, suppression) for tile in _tiles(*batch.shape[2:])]
    boxes, points, scores = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if len(parts) > 1:
        order = np.argsort(-scores, kind="stable")
        order = order[suppress(boxes[order], suppression)]
        boxes, points, scores = boxes[order], points[order], scores[order]
    found = []
    for corners, five, score in zip(
        (boxes * enlarge).tolist(), points * enlarge, scores.tolist(), strict=True
    ):
        landmarks = Landmarks.from_array(five)
        found.append(Detection(Box(*corners), min(score, 1.0), landmarks, landmarks.roll))
    return sorted(found, key=lambda detection: -detection.box.area)


Tile = tuple[int, int, int, int]
"""Left, top, right and bottom of a tile of a padded image, in pixels."""


def _tiles(height: int, width: int) -> list[Tile]:
    """Return overlapping tiles that cover an image; one tile if it is small enough."""
    if height * width <= _TILE_SIDE**2:
        return [(0, 0, width, height)]
    step = _TILE_SIDE - _TILE_OVERLAP
    tops, lefts = (range(0, max(side - _TILE_OVERLAP, 1), step) for side in (height, width))
    return [
        (left, top, min(left + _TILE_SIDE, width), min(top + _TILE_SIDE, height))
        for top in tops
        for left in lefts
    ]


def _search_tile(
    run: Runner, batch: NDArray[np.uint8], tile: Tile, least_score: float, suppression: Suppression
) -> tuple[Floats, Floats, Floats]:
    """Return boxes, landmarks and scores in pixels of the whole image, without faces cut by an inner edge."""
    left, top, right, bottom = tile
    part = np.ascontiguousarray(batch[:, :, top:bottom, left:right])
    grid = cell_grid(*part.shape[2:])
    boxes, points, scores = decode(run(part)[0], grid, least_score=least_score, suppression=suppression)
    height, width = batch.shape[2:]
    offset = np.array([left, top], np.float32)
    boxes, points = boxes + np.tile(offset, 2), points + offset
    is_whole = np.ones(len(boxes), dtype=bool)
    for column, edge, is_inner in ((0, left, left > 0), (1, top, top > 0)):
        if is_inner:
            is_whole &= boxes[:, column] > edge + _CUT
    for column, edge, is_inner in ((2, right, right < width), (3, bottom, bottom < height)):
        if is_inner:
            is_whole &= boxes[:, column] < edge - _CUT
    return boxes[is_whole], points[is_whole], scores[is_whole]


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
