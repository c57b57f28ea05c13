"""YuNet, OpenCV Zoo's small face detector, run by OpenCV from a file that is downloaded on request."""

from pathlib import Path
from typing import ClassVar, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from fer.cropping import Framing
from fer.detection.fetch import Download, cache_folder
from fer.detection.pool import Pool
from fer.faces import Box, Detection, Landmarks
from fer.images import RgbImage
from fer.model_card import UnknownModelError, WeightsMismatchError, file_hash

YUNET: Final = Download(
    name="face_detection_yunet_2023mar.onnx",
    address="https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/"
    "face_detection_yunet_2023mar.onnx",
    size=232_589,
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
)
"""MIT licence; the ``raw.githubusercontent`` address serves a pointer instead of the file."""

PHOTO_SIDE: Final = 640
LIVE_SIDE: Final = 320
THOROUGH_SIDE: Final = 1920

EAGER_SCORE: Final = 0.3
"""Minimum score that finds doubtful faces, too, with far more false positives."""

_SCORE: Final = 0.6  # OpenCV's 0.9 is too strict: it loses turned and small faces
_OVERLAP: Final = 0.3
_CANDIDATES: Final = 1000
_LEAST_SIDE: Final = 64
"""OpenCV reads memory outside the image if its coarsest grid (stride 32) has a single row or column: flat
strips occasionally gave faces with scores up to 1."""


def yunet_path() -> Path:
    """Return the path of YuNet's file, as ``python -m fer fetch yunet`` writes it."""
    return cache_folder() / YUNET.name


class YuNetDetector:
    """A face detector with five landmarks; may be called from several threads.

    Args:
        path: The network file; None for the downloaded one.
        longest_side: Larger images are shrunk to this for the search.
        least_score: Faces with lower scores are dropped, in [0, 1].

    Raises:
        UnknownModelError: The file has not been downloaded.
        WeightsMismatchError: The file has the wrong hash.
    """

    name: ClassVar[str] = "yunet"
    title: ClassVar[str] = "YuNet (any tilt)"
    download: ClassVar[Download | None] = YUNET
    framing: ClassVar[Framing] = Framing(1.14)  # measured by benchmarks/framing.py

    def __init__(
        self, path: Path | None = None, *, longest_side: int = PHOTO_SIDE, least_score: float = _SCORE
    ) -> None:
        self._path = _verified(path or yunet_path())
        self.longest_side = longest_side
        self._least_score = least_score
        # OpenCV keeps the input size between calls, so each caller needs its own network.
        self._networks = Pool(self._build)

    @classmethod
    def missing(cls) -> str | None:
        """Return an instruction for getting its file; None when it exists."""
        return None if yunet_path().is_file() else "run “python -m fer fetch yunet”"

    @classmethod
    def create(cls, *, live: bool = False, eager: bool = False, thorough: bool = False) -> Self:
        """Build it with the settings of :func:`fer.detection.load_detector`."""
        side = THOROUGH_SIDE if thorough else LIVE_SIDE if live and not eager else PHOTO_SIDE
        return cls(longest_side=side, least_score=EAGER_SCORE if eager else _SCORE)

    def close_up(self) -> Self:
        """Return itself: it is fast enough on small images."""
        return self

    def detect(self, image: RgbImage) -> list[Detection]:
        """Return all faces, largest first, with landmarks and the roll derived from them.

        Args:
            image: RGB ``uint8`` of shape (H, W, 3).
        """
        height, width = image.shape[:2]
        shrink = min(1.0, self.longest_side / max(height, width))
        size_wh = (max(round(width * shrink), 1), max(round(height * shrink), 1))
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)  # OpenCV's networks expect BGR
        if shrink < 1.0:
            bgr = cv2.resize(bgr, size_wh, interpolation=cv2.INTER_AREA)
        below, right = (max(_LEAST_SIDE - side, 0) for side in bgr.shape[:2])
        if below or right:
            bgr = cv2.copyMakeBorder(bgr, 0, below, 0, right, cv2.BORDER_CONSTANT)
        with self._networks.lend() as network:
            network.setInputSize(bgr.shape[1::-1])
            _, rows = network.detect(bgr)
        if rows is None:
            return []
        rows[:, 0:14:2] *= width / size_wh[0]
        rows[:, 1:14:2] *= height / size_wh[1]
        found = [_detection(row) for row in rows if row[2] > 0 and row[3] > 0]
        return sorted(found, key=lambda detection: -detection.box.area)

    def _build(self) -> "cv2.FaceDetectorYN":
        return cv2.FaceDetectorYN.create(
            str(self._path), "", (64, 64), self._least_score, _OVERLAP, _CANDIDATES
        )


def _detection(row: NDArray[np.float32]) -> Detection:
    """Convert YuNet's row: x, y, width, height, five points, score."""
    x, y, width, height = map(float, row[:4])
    landmarks = Landmarks.from_array(row[4:14].reshape(5, 2))
    score = float(np.clip(row[14], 0, 1))
    return Detection(Box(x, y, x + width, y + height), score, landmarks, landmarks.roll)


def _verified(path: Path) -> Path:
    if not path.is_file():
        raise UnknownModelError(f"YuNet's file is not at {path}; fetch it with 'python -m fer fetch yunet'")
    found = file_hash(path)
    if found != YUNET.sha256:
        raise WeightsMismatchError(
            f"{path} is not the expected file: expected SHA-256 {YUNET.sha256[:12]}…, got {found[:12]}…; "
            "delete it and run 'python -m fer fetch yunet'"
        )
    return path
