"""Face detectors by name."""

from typing import Final, Protocol

from fer.cropping import Framing
from fer.detection.fetch import Download
from fer.detection.haar import HaarDetector
from fer.detection.kv_face import KvFaceDetector
from fer.detection.yunet import YuNetDetector
from fer.faces import Detection
from fer.images import RgbImage
from fer.model_card import UnknownModelError

AUTO: Final = "auto"
"""The first of ``DETECTORS`` that is ready."""


class FaceDetector(Protocol):
    """A face detector; may be called from several threads at once."""

    @property
    def name(self) -> str:
        """Name of the detector in options."""

    @property
    def framing(self) -> Framing:
        """Map from its boxes to the reference square."""

    def detect(self, image: RgbImage) -> list[Detection]:
        """Return all faces, largest first; an empty list when there are none.

        Args:
            image: RGB ``uint8`` of shape (H, W, 3).
        """

    def close_up(self) -> "FaceDetector":
        """Return a detector for small squares that contain one face; may be the detector itself."""


class DetectorClass(Protocol):
    """The class of a detector: everything that lists, menus and options know about it.

    Attributes:
        name: Name in options.
        title: Name for people, such as ``Haar (frontal)``.
        download: File that ``python -m fer fetch`` downloads for it; None if none is needed.
    """

    name: str
    title: str
    download: Download | None

    def missing(self) -> str | None:
        """Return an instruction for getting what the detector lacks; None when it is ready."""

    def create(self, *, live: bool = False, eager: bool = False, thorough: bool = False) -> FaceDetector:
        """Build a detector; the arguments are those of :func:`load_detector`."""


DETECTORS: Final[tuple[DetectorClass, ...]] = (KvFaceDetector, YuNetDetector, HaarDetector)
"""All detectors, best first. To add one, write its class and list it here."""


def load_detector(
    name: str, *, live: bool = False, eager: bool = False, thorough: bool = False
) -> FaceDetector:
    """Build a detector.

    Args:
        name: One of ``detector_names()``.
        live: Use the settings for live frames, where speed counts, instead of those for photos.
        eager: Use settings that miss as few faces as possible, at the cost of many false positives.
        thorough: Search photos at every scale and in tiles, for small faces, at any cost.

    Raises:
        UnknownModelError: No detector has this name, or its files are missing.
    """
    return detector_class(name).create(live=live, eager=eager, thorough=thorough)


def detector_class(name: str) -> DetectorClass:
    """Look up a detector by its name; ``auto`` gives the first one that is ready.

    Raises:
        UnknownModelError: No detector has this name.
    """
    for kind in DETECTORS:
        if kind.name == name or (name == AUTO and kind.missing() is None):
            return kind
    raise UnknownModelError(f"no detector named {name!r}; expected one of {', '.join(detector_names())}")


def detector_names() -> list[str]:
    """List the names that ``load_detector`` accepts."""
    return [AUTO, *(kind.name for kind in DETECTORS)]
