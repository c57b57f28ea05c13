"""Compose clips with known changes of expression: faces that crossfade on a fixed backdrop, with camera effects."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer.emotions import Emotion
from fer.images import RgbImage, read_image
from fer.video import Frame

SIZE_WH = (320, 240)
FACE_SIDE = 110
FADE_S = 0.13


@dataclass(frozen=True)
class StillFace:
    """An image of a face, with the expression that the network predicts when it holds still."""

    picture: RgbImage
    emotion: Emotion


@dataclass(frozen=True)
class Clip:
    """Successive faces, each shown for a fixed time."""

    name: str
    faces: tuple[StillFace, ...]
    hold_s: float
    seed: int

    @property
    def changes(self) -> list[tuple[float, Emotion]]:
        """The middle of each crossfade in seconds, with the expression that follows it."""
        return [(number * self.hold_s, face.emotion) for number, face in enumerate(self.faces)][1:]


def in_turn(faces: Sequence[StillFace], count: int, rng: np.random.Generator) -> tuple[StillFace, ...]:
    """Choose random faces, each with a different expression than the previous one."""
    chosen = [faces[rng.integers(len(faces))]]
    while len(chosen) < count:
        face = faces[rng.integers(len(faces))]
        if face.emotion != chosen[-1].emotion:
            chosen.append(face)
    return tuple(chosen)


def fit(picture: RgbImage) -> RgbImage:
    side = min(picture.shape[:2])
    method = cv2.INTER_AREA if side > FACE_SIDE else cv2.INTER_CUBIC
    return np.asarray(
        cv2.resize(picture[:side, :side], (FACE_SIDE, FACE_SIDE), interpolation=method), np.uint8
    )


def compose(clip: Clip, frame_rate: float) -> Iterator[tuple[float, RgbImage]]:
    """Yield the frames of a clip with their times, each compressed as JPEG of quality 75."""
    rng = np.random.default_rng(clip.seed)
    backdrop = make_backdrop()
    noise = make_noise()
    phases = rng.uniform(0, 2 * np.pi, 4)
    for frame in range(round(len(clip.faces) * clip.hold_s * frame_rate)):
        time_s = frame / frame_rate
        wander = np.sin(phases + time_s * np.array([0.9, 1.3, 0.7, 0.5]))
        face = blend(clip, time_s)
        scale = 1 + 0.03 * wander[2]
        x = SIZE_WH[0] / 2 - scale * FACE_SIDE / 2 + 5 * wander[0]
        y = SIZE_WH[1] / 2 - scale * FACE_SIDE / 2 + 4 * wander[1]
        place = np.array([[scale, 0, x], [0, scale, y]])
        image = cv2.warpAffine(face, place, SIZE_WH, borderMode=cv2.BORDER_CONSTANT, borderValue=(-1, -1, -1))
        image = np.where(image < 0, backdrop, image) * (1 + 0.1 * wander[3])
        noisy = image + np.roll(noise[frame % len(noise)], tuple(rng.integers(SIZE_WH[1], size=2)), (0, 1))
        file = io.BytesIO()
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=75)
        yield time_s, read_image(file.getvalue())


@cache
def make_noise() -> NDArray[np.float32]:
    """Return a few frames of camera noise, which are added to the frames with varying shifts."""
    return np.random.default_rng(7).normal(0, 4, (16, SIZE_WH[1], SIZE_WH[0], 3)).astype(np.float32)


@cache
def make_backdrop() -> NDArray[np.float32]:
    """Return the backdrop of all clips, a plain room."""
    rough = np.random.default_rng(9).uniform(60, 190, (5, 7, 3)).astype(np.float32)
    return np.asarray(cv2.resize(rough, SIZE_WH, interpolation=cv2.INTER_CUBIC), np.float32)


def blend(clip: Clip, time_s: float) -> NDArray[np.float32]:
    """Return the face shown at a time: halfway between two faces at the moment of a change."""
    now = min(int((time_s + FADE_S / 2) / clip.hold_s), len(clip.faces) - 1)
    share = 1.0 if now == 0 else float(np.clip((time_s - now * clip.hold_s + FADE_S / 2) / FADE_S, 0, 1))
    face = clip.faces[now].picture.astype(np.float32)
    return share * face + (1 - share) * clip.faces[max(now - 1, 0)].picture


def write_clip(path: Path, frames: Sequence[Frame], frame_rate: float) -> None:
    with av.open(str(path), "w") as target:
        stream: Any = target.add_stream("h264", rate=Fraction(frame_rate).limit_denominator(1001))
        stream.width, stream.height = SIZE_WH
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            target.mux(stream.encode(av.VideoFrame.from_ndarray(frame.image, "rgb24")))
        target.mux(stream.encode())
