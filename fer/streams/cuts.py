"""Detect cuts to another scene, after which all tracks are invalid."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer.images import RgbImage

_SAMPLES: Final = 32
"""Sample points along each side: enough to identify a scene, too few to react to a moving hand."""

_ALIKE: Final = 0.35
"""Correlation below which two frames show different scenes: a person who moves stays above 0.9."""

_PLAIN: Final = 3.0
"""A frame with a lower standard deviation (of 255) is a covered lens or a fade and is ignored."""


class CutDetector:
    """A detector that compares each frame with the previous one; one instance per stream."""

    def __init__(self) -> None:
        self._before: NDArray[np.float32] | None = None

    def is_cut(self, frame: RgbImage) -> bool:
        """Return whether this frame shows another scene than the previous one.

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
    """Return samples of the green channel with mean 0 and deviation 1; None for a blank frame."""
    rows, columns = (max(side // _SAMPLES, 1) for side in frame.shape[:2])
    samples = frame[rows // 2 :: rows, columns // 2 :: columns, 1].astype(np.float32)
    deviation = float(samples.std())
    return None if deviation < _PLAIN else (samples - samples.mean()) / deviation
