"""Verify a detector's candidates on larger, upright crops that include the surroundings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer.cropping import Framing, Square, crop_face, reference_square
from fer.faces import Detection
from fer.images import RgbImage
from fer.model_card import WeightsMismatchError
from fer.onnx_session import open_session

VERIFIER_FILE: Final = "verifier.onnx"
VERIFIER_INT8_FILE: Final = "verifier.int8.onnx"

_SMALLEST_DOUBT: Final = 1e-4

_REJECTED: Final = -3.0
"""Joint log-odds up to which a candidate is rejected without a second, mirrored crop."""


@dataclass(frozen=True, slots=True)
class Verification:
    """The verifier's input, and the rule that combines its score with the detector's.

    Attributes:
        candidate_score: Candidates with a lower detector score are dropped, in (0, 1).
        live_candidate_score: The same for live frames, in (0, 1), for which less time is left; None for the
            same score.
        trust: Weight of the detector's log-odds; the verifier's have weight 1.
        side: Side of the input crops, in pixels.
        margin: Margin of a crop on each side of the reference square, as a share of its side: hair, neck and
            shoulders help.
        mirrored_margin: Margin of the mirrored crops; None for the same. A different one tells more.
        even_score: Joint score, in (0, 1), at which a classifier's threshold of ``other`` applies unchanged;
            at other scores, both judgements are added as log-odds. None to ignore the score there.
    """

    candidate_score: float
    trust: float
    side: int = 40  # the default values are those of cards without them
    margin: float = 0.25
    live_candidate_score: float | None = None
    mirrored_margin: float | None = None
    even_score: float | None = None

    def __post_init__(self) -> None:
        for score in (self.candidate_score, self.live_candidate_score, self.even_score):
            if score is not None and not 0.0 < score < 1.0:
                raise ValueError(f"expected scores in (0, 1), got {score}")
        if not self.trust >= 0.0:
            raise ValueError(f"expected trust of at least 0, got {self.trust}")
        if not 16 <= self.side <= 256:
            raise ValueError(f"expected side in [16, 256], got {self.side}")
        for margin in (self.margin, self.mirrored_margin):
            if margin is not None and not 0.0 <= margin <= 2.0:
                raise ValueError(f"expected margin in [0, 2], got {margin}")

    def candidate_score_of(self, *, live: bool) -> float:
        """Return the minimum detector score of candidates, in live frames or in photos."""
        if live and self.live_candidate_score is not None:
            return self.live_candidate_score
        return self.candidate_score


class FaceVerifier:
    """A network that rescores candidates; stateless, may be called from several threads.

    Args:
        path: The exported network.
        verification: Rule that combines the scores.
        framing: Map from the detector's boxes to the reference square.
        thread_count: CPU threads.

    Raises:
        WeightsMismatchError: The file is not a verifier network.
    """

    def __init__(
        self, path: Path, verification: Verification, framing: Framing, thread_count: int = 1
    ) -> None:
        self.verification = verification
        self._framing = framing
        self._session = open_session(path, thread_count)
        names = [item.name for item in (*self._session.get_inputs(), *self._session.get_outputs())]
        if names != ["crops", "logits"]:
            raise WeightsMismatchError(
                f"{path} is not a verifier: expected input 'crops' and output 'logits', got {names}; "
                "restore the folder"
            )

    def verify(self, image: RgbImage, candidates: Sequence[Detection]) -> list[Detection]:
        """Return the candidates with their joint scores; those outside the image are dropped.

        The verifier's log-odds are the mean of those of the crop and of a mirrored crop.

        Args:
            image: RGB ``uint8`` of shape (H, W, 3).
            candidates: Detections with the detector's own scores.
        """
        height, width = image.shape[:2]
        inside = [place for place in candidates if place.box.clip(width, height) is not None]
        if not inside:
            return []
        trusted = self.verification.trust * log_odds(np.array([place.score for place in inside]))
        logits = self.logits(self.crops(image, inside))
        again = np.flatnonzero(logits + trusted > _REJECTED)
        if len(again):
            mirrored = self.crops(image, [inside[row] for row in again], mirrored=True)
            logits[again] = (logits[again] + self.logits(mirrored)) / 2
        odds = logits + trusted
        joint = 1 / (1 + np.exp(-odds))
        even = self.verification.even_score
        evidence = np.zeros(len(inside)) if even is None else odds - log_odds(np.array(even))
        return [
            replace(place, score=score, evidence=surplus)
            for place, score, surplus in zip(inside, joint.tolist(), evidence.tolist(), strict=True)
        ]

    def crops(
        self, image: RgbImage, candidates: Sequence[Detection], *, mirrored: bool = False
    ) -> NDArray[np.uint8]:
        """Return the network's input for candidates, RGB ``uint8`` of shape (N, side, side, 3), N at least 1.

        Args:
            image: RGB ``uint8`` of shape (H, W, 3).
            candidates: Detections that touch the image.
            mirrored: Return the mirrored crops.

        Raises:
            ValueError: A candidate does not touch the image.
        """
        settings, margin = self.verification, self.verification.margin
        if mirrored and settings.mirrored_margin is not None:
            margin = settings.mirrored_margin
        crops = np.stack([self._crop(image, place, margin) for place in candidates])
        return crops[:, :, ::-1] if mirrored else crops

    def _crop(self, image: RgbImage, place: Detection, margin: float) -> RgbImage:
        """Return a crop no larger than the picture, of which a face that fills it has no surroundings."""
        square = reference_square(place, self._framing)
        margin = min(margin, max((min(image.shape[:2]) / square.side - 1) / 2, 0.0))
        return verified_crop(image, square, margin=margin, side=self.verification.side)

    def logits(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the log-odds that each crop shows a face, shape (N,).

        Args:
            crops: RGB ``uint8`` of shape (N, side, side, 3), from :func:`verified_crop`.
        """
        found: NDArray[np.float32] = self._session.run(
            ["logits"], {"crops": np.ascontiguousarray(crops.transpose(0, 3, 1, 2))}
        )[0]
        return found


def verified_crop(image: RgbImage, square: Square, *, margin: float, side: int) -> RgbImage:
    """Return the upright network input for a candidate, RGB ``uint8`` of shape (side, side, 3).

    Args:
        image: RGB ``uint8`` of shape (H, W, 3).
        square: The candidate's reference square.
        margin: Margin on each side of the reference square, as a share of its side.
        side: Side of the result, in pixels.

    Raises:
        ValueError: The candidate does not touch the image.
    """
    crop = crop_face(image, square, margin, largest=2 * side)
    method = cv2.INTER_AREA if crop.shape[0] > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(crop, (side, side), interpolation=method), dtype=np.uint8)


def log_odds(shares: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Return the log-odds of probabilities, clipped to stay finite."""
    kept = np.clip(shares, _SMALLEST_DOUBT, 1 - _SMALLEST_DOUBT)
    odds: NDArray[np.floating[Any]] = np.log(kept / (1 - kept))
    return odds
