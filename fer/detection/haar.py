"""The project's original detector: OpenCV's Haar cascade, extended to tilted heads."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from fer.cropping import Framing
from fer.detection.fetch import Download
from fer.detection.pool import Pool
from fer.faces import Box, Detection
from fer.images import RgbImage
from fer.model_card import UnknownModelError

CASCADE_FILE: Final = "haarcascade_frontalface_alt2.xml"


@dataclass(frozen=True, slots=True)
class HaarSettings:
    """Settings of the cascade's search.

    Attributes:
        scale_factor: Ratio between successive search sizes.
        neighbour_count: A face needs more overlapping hits than this.
        smallest_share: Side of the smallest face, as a share of the image's short side.
        longest_side: Larger images are shrunk to this; cost grows with the number of pixels.
        tilts: Roll angles in degrees, tried in this order until a face is certain.
    """

    scale_factor: float = 1.1
    neighbour_count: int = 3
    smallest_share: float = 0.08
    longest_side: int = 1280
    tilts: tuple[float, ...] = (-25.0, 25.0)


PHOTO: Final = HaarSettings()
EAGER: Final = HaarSettings(neighbour_count=1)
"""Finds doubtful faces too, with far more false positives."""

THOROUGH: Final = HaarSettings(smallest_share=0.02, longest_side=2560)

LIVE: Final = HaarSettings(scale_factor=1.2, neighbour_count=5, smallest_share=0.15, longest_side=480)

CLOSE_UP: Final = replace(LIVE, smallest_share=0.27, neighbour_count=3)
"""For squares that one face fills to 42 %: much smaller sizes are skipped, and fewer hits are needed."""

_SMALLEST_SIDE: Final = 20  # the window the cascade was trained on
_FRAMING: Final = Framing(1.07, 0.0, 0.01)  # measured by benchmarks/framing.py
_SMALL_SHARE: Final = 0.4
_SURE: Final = 0.76  # eight hits


class HaarDetector:
    """A detector of frontal faces, without landmarks; may be called from several threads.

    Args:
        settings: ``PHOTO``, ``LIVE``, ``EAGER``, ``THOROUGH`` or ``CLOSE_UP``.

    Raises:
        UnknownModelError: The installed OpenCV has no cascades.
    """

    name: ClassVar[str] = "haar"
    title: ClassVar[str] = "Haar (frontal)"
    download: ClassVar[Download | None] = None
    framing: ClassVar[Framing] = _FRAMING

    def __init__(self, settings: HaarSettings = PHOTO) -> None:
        self.settings = settings
        # A running cascade uses internal buffers, so each caller needs its own.
        self._cascades = Pool(_load_cascade)

    @classmethod
    def missing(cls) -> str | None:
        """Return None: OpenCV includes the cascade."""
        return None

    @classmethod
    def create(cls, *, live: bool = False, eager: bool = False, thorough: bool = False) -> Self:
        """Build it with the settings of :func:`fer.detection.load_detector`."""
        return cls(EAGER if eager else THOROUGH if thorough else LIVE if live else PHOTO)

    def close_up(self) -> "HaarDetector":
        """Build the fastest variant, for small squares that contain one face."""
        return HaarDetector(CLOSE_UP)

    def detect(self, image: RgbImage) -> list[Detection]:
        """Return all faces, largest first; tilted ones are searched for if no upright one is certain.

        Args:
            image: RGB ``uint8`` of shape (H, W, 3).
        """
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        shrink = min(1.0, self.settings.longest_side / max(grey.shape))
        if shrink < 1.0:
            size_wh = (max(round(grey.shape[1] * shrink), 1), max(round(grey.shape[0] * shrink), 1))
            grey = cv2.resize(grey, size_wh, interpolation=cv2.INTER_AREA)
        best: list[Detection] = []
        with self._cascades.lend() as cascade:
            for tilt in (0.0, *self.settings.tilts):
                found = self._search(cascade, grey, tilt, 1 / shrink)
                if _surest(found) > _surest(best):
                    best = found
                if _surest(best) >= _SURE:
                    break
        return sorted(_drop_small_doubtful(best), key=lambda detection: -detection.box.area)

    def _search(
        self, cascade: "cv2.CascadeClassifier", grey: NDArray[Any], tilt: float, enlarge: float
    ) -> list[Detection]:
        turned, to_grey = _turn(grey, tilt)
        smallest = max(round(self.settings.smallest_share * min(grey.shape)), _SMALLEST_SIDE)
        boxes_xywh, counts = cascade.detectMultiScale2(
            turned,
            scaleFactor=self.settings.scale_factor,
            minNeighbors=self.settings.neighbour_count,
            minSize=(smallest, smallest),
        )
        found = []
        for (x, y, width, height), count in zip(np.asarray(boxes_xywh).tolist(), counts, strict=True):
            centre_x, centre_y = (to_grey @ (x + width / 2, y + height / 2, 1.0)).tolist()
            reach_x, reach_y = width / 2, height / 2
            box = Box(centre_x - reach_x, centre_y - reach_y, centre_x + reach_x, centre_y + reach_y)
            found.append(Detection(box.scale(enlarge), _score(int(count)), roll=tilt))
        return found


def _turn(grey: NDArray[Any], tilt: float) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Rotate an image so that heads of this tilt are upright; also return the inverse map, shape (2, 3)."""
    if tilt == 0.0:
        return grey, np.eye(2, 3)
    height, width = grey.shape
    forth = cv2.getRotationMatrix2D((width / 2, height / 2), tilt, 1.0)
    cos, sin = abs(forth[0, 0]), abs(forth[0, 1])
    size_wh = (int(np.ceil(width * cos + height * sin)), int(np.ceil(width * sin + height * cos)))
    forth[:, 2] += (size_wh[0] - width) / 2, (size_wh[1] - height) / 2
    turned = cv2.warpAffine(grey, forth, size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(turned), np.asarray(cv2.invertAffineTransform(forth), dtype=np.float64)


def _score(count: int) -> float:
    """Return about the share of true faces among boxes with so many hits: 0.44 for 4, 0.98 from 12 on.

    Counted on 946 boxes in 656 photos.
    """
    return count**2 / (count**2 + 20)


def _surest(found: list[Detection]) -> float:
    return max((detection.score for detection in found), default=0.0)


def _drop_small_doubtful(found: list[Detection]) -> list[Detection]:
    """Drop doubtful boxes that are much smaller than the most certain one.

    On 656 photos this drops 8 of 70 false positives and none of 876 true ones.
    """
    surest = max(found, key=lambda detection: detection.score, default=None)
    least_width = _SMALL_SHARE * surest.box.width if surest else 0.0
    return [
        detection for detection in found if detection.box.width >= least_width or detection.score >= _SURE
    ]


def _load_cascade() -> "cv2.CascadeClassifier":
    """Load OpenCV's cascade; raise an error with advice if the installed OpenCV has none."""
    advice = 'install one that does: pip install "opencv-python-headless<5"'
    if not hasattr(cv2, "CascadeClassifier"):
        raise UnknownModelError(f"OpenCV {cv2.__version__} has no Haar cascades; {advice}")
    path = Path(getattr(getattr(cv2, "data", None), "haarcascades", "")) / CASCADE_FILE
    if not path.is_file():
        raise UnknownModelError(f"OpenCV {cv2.__version__} comes without {CASCADE_FILE}; {advice}")
    cascade = cv2.CascadeClassifier(str(path))
    if cascade.empty():
        raise UnknownModelError(f"{path} cannot be read; {advice}")
    return cascade
