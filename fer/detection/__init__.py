"""Face detectors by name."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from fer.cropping import Framing
from fer.detection.card import DETECTOR_CARD_FILE
from fer.detection.haar import EAGER, LIVE, PHOTO, HaarDetector
from fer.detection.kv_face import KvFaceDetector, kv_face_folder
from fer.detection.yunet import EAGER_SCORE, LIVE_SIDE, PHOTO_SIDE, YuNetDetector, yunet_path
from fer.faces import Detection
from fer.images import RgbImage
from fer.model_card import UnknownModelError


class FaceDetector(Protocol):
    """Finds faces; may be called from several threads at once."""

    @property
    def name(self) -> str:
        """Name of the detector in options."""

    @property
    def framing(self) -> Framing:
        """Map from its boxes to the reference square."""

    def detect(self, image: RgbImage) -> list[Detection]:
        """All faces, largest first; an empty list when there are none.

        Args:
            image: RGB ``uint8`` of shape (H, W, 3).
        """


def load_detector(name: str, *, live: bool = False, eager: bool = False) -> FaceDetector:
    """Build a detector.

    Args:
        name: One of ``detector_names()``.
        live: Settings for frames of a stream, where speed counts, instead of those for photos.
        eager: Settings that miss as few faces as possible, at the price of many false positives.

    Raises:
        UnknownModelError: No detector has this name, or what it needs is not there.
    """
    build = _BUILDERS.get(name)
    if build is None:
        raise UnknownModelError(f"no detector named {name!r}; expected one of {', '.join(detector_names())}")
    return build(live, eager)


def detector_names() -> list[str]:
    """The names to offer: all that ``load_detector`` knows, ``kv_face`` where its weights come along."""
    return [name for name in _BUILDERS if name != "kv_face" or _has_kv_face()]


def _haar(live: bool, eager: bool) -> FaceDetector:
    return HaarDetector(EAGER if eager else LIVE if live else PHOTO)


def _yunet(live: bool, eager: bool) -> FaceDetector:
    if eager:
        return YuNetDetector(longest_side=PHOTO_SIDE, least_score=EAGER_SCORE)
    return YuNetDetector(longest_side=LIVE_SIDE if live else PHOTO_SIDE)


def _kv_face(live: bool, eager: bool) -> FaceDetector:
    return KvFaceDetector(live=live, eager=eager)


def _has_kv_face() -> bool:
    return (kv_face_folder() / DETECTOR_CARD_FILE).is_file()


def _auto(live: bool, eager: bool) -> FaceDetector:
    """The best of what is there: our own comes along, YuNet may have been fetched, Haar works everywhere."""
    if _has_kv_face():
        return _kv_face(live, eager)
    return (_yunet if yunet_path().is_file() else _haar)(live, eager)


_BUILDERS: Final[Mapping[str, Callable[[bool, bool], FaceDetector]]] = {
    "auto": _auto,
    "kv_face": _kv_face,
    "haar": _haar,
    "yunet": _yunet,
}
