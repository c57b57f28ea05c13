"""Draw faces with their expressions on a copy of an image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fer.faces import Box, Detection, Face, Prediction
from fer.images import RgbImage, as_rgb
from fer.palette import Rgb, label_colours, person_colour, rgb_from_hex, text_colour
from fer.translation import ENGLISH, Catalogue, catalogues

_OUTLINE: Rgb = (16, 20, 26)

_FONTS: Final = (
    "DejaVuSans.ttf",
    "LiberationSans-Regular.ttf",
    "NotoSans-Regular.ttf",
    "Arial.ttf",
    "arial.ttf",
)
"""Fonts of operating systems with letters beyond the Latin ones, which Pillow's own font lacks."""


@dataclass(frozen=True, slots=True)
class FaceAnnotator:
    """An annotator that draws a box and a label for each face, scaled to the image.

    Attributes:
        scale: Factor on line width and text size; 1 is fitted to the image.
        turned_above: Roll in degrees from which a box is turned with the head. Below a third of it boxes are
            upright; in between they turn gradually, so that no box flickers.
        with_confidence: Whether the percentage is written after the expression.
        numbered: Whether a number precedes it: the track's in a stream, otherwise the position in the list.
        language: Code of the labels' language; English where this machine has no font for another one.
    """

    scale: float = 1.0
    turned_above: float = 12.0
    with_confidence: bool = True
    numbered: bool = False
    language: str = ENGLISH

    def annotate(self, image: RgbImage, faces: Sequence[Face]) -> RgbImage:
        """Return a copy of the image with every face drawn on it.

        In a stream, boxes have the person's colour; elsewhere they have the expression's.
        """
        canvas = as_rgb(image).copy()
        height, width = canvas.shape[:2]
        side = (height * width) ** 0.5
        thickness = max(round(self.scale * side / 280), 2)
        for face in reversed(faces):  # the list is largest first: draw the largest last, on top
            colour = _label_colour(face.prediction)
            line = colour if face.track_id is None else person_colour(face.track_id)
            outline = _rounded_outline(face.detection, self.turned_above)
            cv2.polylines(canvas, [outline], True, _OUTLINE, thickness + 2, cv2.LINE_AA, shift=4)
            cv2.polylines(canvas, [outline], True, line, thickness, cv2.LINE_AA, shift=4)
        labels = [self._label(face, index + 1, side) for index, face in enumerate(faces)]
        places = place_labels(
            [(label.shape[1], label.shape[0]) for label in labels],
            [face.detection.box for face in faces],
            (width, height),
        )
        for label, (left, top) in reversed(list(zip(labels, places, strict=True))):
            _lay(canvas, label, round(left), round(top))
        return canvas

    def text(self, face: Face, number: int = 1) -> str:
        """Return the label of a face, such as ``Happy 93 %``, ``2 · Unsure: sad 34 %`` or ``Turned away``."""
        prediction = face.prediction
        catalogue = _catalogue(self.language)
        word = catalogue.label(prediction.emotion)
        if prediction.turned_away:
            word = catalogue.say("Turned away")
        elif prediction.is_unsure:
            word = catalogue.say("Unsure: {expression}", expression=word.lower())
        if self.numbered:
            word = f"{number if face.track_id is None else face.track_id} · {word}"
        with_share = self.with_confidence and not prediction.turned_away
        return f"{word} {100 * prediction.confidence:.0f} %" if with_share else word

    def _label(self, face: Face, number: int, side: float) -> NDArray[np.uint8]:
        size = round(self.scale * float(np.clip(side / 30, 11, 160)))
        colour = _label_colour(face.prediction)
        is_unsure = face.prediction.is_unsure
        return _label(self.text(face, number), size, colour, is_unsure, _catalogue(self.language).code)


def _catalogue(language: str) -> Catalogue:
    """Words that can be drawn here."""
    return catalogues()[language if language == ENGLISH or _font_file() is not None else ENGLISH]


@cache
def _font_file() -> str | None:
    """Return the first of ``_FONTS`` that this machine has."""
    for name in _FONTS:
        try:
            ImageFont.truetype(name)
        except OSError:
            continue
        return name
    return None


def _label_colour(prediction: Prediction) -> Rgb:
    return rgb_from_hex(label_colours(prediction.labels)[prediction.emotion])


def place_labels(
    sizes_wh: Sequence[tuple[float, float]], boxes: Sequence[Box], image_wh: tuple[float, float]
) -> list[tuple[float, float]]:
    """Place each label above its face, or at the side that covers less of other faces and labels.

    Args:
        sizes_wh: Width and height of each label, in pixels.
        boxes: Boxes of the faces, in the same order; earlier ones take precedence.
        image_wh: Width and height of the image; labels that fit stay inside it.

    Returns:
        Left and top of each label.
    """
    taken: list[Box] = []
    for number, ((width, height), box) in enumerate(zip(sizes_wh, boxes, strict=True)):
        obstacles = [*boxes[:number], *boxes[number + 1 :], *taken]
        gap = height / 5
        above, below = box.top - height - gap, box.bottom + gap
        options = [  # penalty, left, top, cost of covering its own face
            (0.0, box.left, above, 0.5),
            (0.05, box.right - width, above, 0.5),
            (0.15, box.left, below, 0.5),
            (0.2, box.right - width, below, 0.5),
            (0.25, box.right + gap, box.top, 0.5),
            (0.3, box.left - width - gap, box.top, 0.5),
        ]
        if box.height > 4 * height:
            options.append((0.12, box.left, box.top + gap, 0.0))  # over the forehead
        best, least = box, math.inf
        for dislike, wanted_left, wanted_top, own in options:
            left = max(min(wanted_left, image_wh[0] - width), 0.0)
            top = max(min(wanted_top, image_wh[1] - height), 0.0)
            place = Box(left, top, left + width, top + height)
            cost = dislike + own * _covered(place, box) + 2 * sum(_covered(place, each) for each in obstacles)
            if cost < least:
                best, least = place, cost
        taken.append(best)
    return [(place.left, place.top) for place in taken]


def _covered(one: Box, other: Box) -> float:
    """Return the overlap as a share of the smaller box."""
    return one.intersection(other) / min(one.area, other.area)


def _rounded_outline(detection: Detection, turned_above: float) -> NDArray[np.int32]:
    """Return the rounded outline of a box, turned with the head, in sixteenths of a pixel."""
    box = detection.box
    radius = 0.12 * min(box.width, box.height)
    inner = np.array([box.width, box.height]) / 2 - radius
    quarter = np.radians(np.linspace(0, 90, 7))
    arc = radius * np.stack([np.cos(quarter), np.sin(quarter)], axis=1)
    corners = []
    for sign_x, sign_y, order in ((1, 1, 1), (-1, 1, -1), (-1, -1, 1), (1, -1, -1)):
        corners.append(((inner + arc) * (sign_x, sign_y))[::order])
    points = np.concatenate(corners)
    turn = _shown_turn(detection.roll, turned_above)
    if turn:
        angle = np.radians(turn)
        cos, sin = np.cos(angle), np.sin(angle)
        points = points @ np.array([[cos, sin], [-sin, cos]])
    return np.round((points + box.centre) * 16).astype(np.int32)


def _shown_turn(roll: float, turned_above: float) -> float:
    upright_below = turned_above / 3
    share = (abs(roll) - upright_below) / max(turned_above - upright_below, 1e-6)
    return roll * float(np.clip(share, 0, 1))


@lru_cache(maxsize=256)
def _label(text: str, size: int, colour: Rgb, is_unsure: bool, language: str) -> NDArray[np.uint8]:
    """Draw a pill with text, RGBA; outlined instead of filled if the prediction is unsure."""
    name = None if language == ENGLISH else _font_file()
    font = ImageFont.load_default(size) if name is None else ImageFont.truetype(name, size)
    left, _, right, _ = font.getbbox(text)
    capital_top, capital_bottom = font.getbbox("H")[1::2]
    pad_x, pad_y = size * 0.5, size * 0.36
    width, height = round(right - left + 2 * pad_x), round(capital_bottom - capital_top + 2 * pad_y)
    ground, ink = (_OUTLINE, (255, 255, 255)) if is_unsure else (colour, text_colour(colour))
    pill = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(pill)
    draw.rounded_rectangle(
        (0, 0, width - 1, height - 1),
        radius=height * 0.32,
        fill=(*ground, 235),
        outline=(*colour, 255),
        width=max(size // 9, 1),
    )
    draw.text((pad_x - left, pad_y - capital_top), text, font=font, fill=(*ink, 255))
    pixels = np.asarray(pill)
    pixels.setflags(write=False)
    return pixels


def _lay(canvas: RgbImage, patch: NDArray[np.uint8], left: int, top: int) -> None:
    """Blend an RGBA patch into the canvas, shifted to lie inside."""
    height, width = min(patch.shape[0], canvas.shape[0]), min(patch.shape[1], canvas.shape[1])
    patch = patch[:height, :width]
    left = int(np.clip(left, 0, canvas.shape[1] - width))
    top = int(np.clip(top, 0, canvas.shape[0] - height))
    ground = canvas[top : top + height, left : left + width]
    alpha = patch[:, :, 3:].astype(np.float32) / 255
    ground[:] = np.round(patch[:, :, :3] * alpha + ground * (1 - alpha)).astype(np.uint8)
