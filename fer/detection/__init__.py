"""Face detectors by name."""

from typing import Protocol

from fer.cropping import Framing
from fer.faces import Detection
from fer.images import RgbImage


class FaceDetector(Protocol):
    """Finds faces; may be called from several threads at once."""

    @property
    def name(self) -> str:
        """How it is asked for."""

    @property
    def framing(self) -> Framing:
        """How its boxes map to the reference square."""

    def detect(self, image: RgbImage) -> list[Detection]:
        """All faces, largest first; an empty list when there are none.

        Args:
            image: RGB ``uint8`` of shape (H, W, 3).
        """
