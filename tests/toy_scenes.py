"""Photos with labelled faces, simple enough to tell where everything is."""

import numpy as np

from fer.faces import Box, Detection
from training.detector.scenes import Scene, make_scene

POINTS = np.array([[30, 40], [50, 40], [40, 50], [33, 60], [47, 60]], np.float32)


def toy_scene(side: float = 40.0, score: float = 0.9, image_side: int = 96) -> Scene:
    """A white blot on black where the face is, with a red right and a blue left eye."""
    image = np.zeros((image_side, image_side, 3), np.uint8)
    box = np.array([40 - side / 2, 50 - side / 2, 40 + side / 2, 50 + side / 2], np.float32)
    left, top, right, bottom = box.astype(int)
    image[top:bottom, left:right] = 200
    image[38:43, 28:33] = (255, 0, 0)
    image[38:43, 48:53] = (0, 0, 255)
    return make_scene(image, box, POINTS, np.array([score], np.float32))


ASTRONAUT_FACE = (165.0, 50.0, 290.0, 200.0)


def toy_place(*corners: float, score: float = 0.5, roll: float = 0.0) -> Detection:
    """A detection at the given left, top, right and bottom."""
    return Detection(Box(*corners), score, roll=roll)
