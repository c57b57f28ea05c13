"""Notices when a stream jumps to another scene, where nobody is who they were before."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer.images import RgbImage

_SAMPLES: Final = 32
"""Points along each side that are compared: enough for a scene, too few for a moving hand."""

_ALIKE: Final = 0.35
"""Correlation under which two frames show other scenes: one person moving stays above 0.9."""

_PLAIN: Final = 3.0
"""A frame that varies less than this (of 255) is a covered lens or a fade; it says nothing."""


class CutDetector:
    """Compares each frame with the one before; belongs to one stream."""

    def __init__(self) -> None:
        self._before: NDArray[np.float32] | None = None

    def is_cut(self, frame: RgbImage) -> bool:
        """Whether this frame shows another scene than the last one given.

        Args:
            frame: RGB ``uint8`` of shape (H, W, 3); a change of size counts as a cut.
        """
        before, now = self._before, _sketch(frame)
        if now is None:
            return False
        self._before = now
        if before is None:
            return False
        return before.shape != now.shape or float((before * now).mean()) < _ALIKE


def _sketch(frame: RgbImage) -> NDArray[np.float32] | None:
    """A few samples of the green channel with mean 0 and deviation 1; None for a plain frame."""
    rows, columns = (max(side // _SAMPLES, 1) for side in frame.shape[:2])
    samples = frame[rows // 2 :: rows, columns // 2 :: columns, 1].astype(np.float32)
    deviation = float(samples.std())
    return None if deviation < _PLAIN else (samples - samples.mean()) / deviation
