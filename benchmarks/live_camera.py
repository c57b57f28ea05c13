"""A fake camera made from a freely licensed photo, with the number of each frame encoded in the image."""

from pathlib import Path

import av
import cv2
import numpy as np
from skimage.data import astronaut

FRAME_RATE = 30
FRAME_COUNT = 300
BIT_COUNT = 9
BIT_SIZE = 32  # pixels; the number is in the upper left corner, lowest bit first

READ_NUMBER = f"""
(source, width) => {{
  const canvas = (window.numberCanvas ??= new OffscreenCanvas({BIT_COUNT}, 1));
  const context = canvas.getContext("2d", {{ willReadFrequently: true }});
  const scale = width / 640;
  context.drawImage(source, 0, {BIT_SIZE // 4} * scale, {BIT_COUNT * BIT_SIZE} * scale, {BIT_SIZE // 2} * scale,
    0, 0, {BIT_COUNT}, 1);
  const {{ data }} = context.getImageData(0, 0, {BIT_COUNT}, 1);
  let number = 0;
  for (let bit = 0; bit < {BIT_COUNT}; bit += 1) if (data[4 * bit] > 127) number += 2 ** bit;
  return number;
}}
"""


def write_camera(path: Path) -> Path:
    """Write a clip of ten seconds, 640×480, for Chromium's fake camera, which plays it in a loop."""
    face = cv2.resize(astronaut()[0:400, 30:430], (640, 640))[40:520]
    with av.open(str(path), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=FRAME_RATE)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuvj420p"
        stream.codec_context.qmin = stream.codec_context.qmax = 3
        for number in range(FRAME_COUNT):
            turn = 2 * np.pi * number / FRAME_COUNT
            shift = np.array([[1, 0, 60 * np.sin(2 * turn)], [0, 1, 12 * np.sin(3 * turn)]], dtype=np.float32)
            frame = cv2.warpAffine(face, shift, (640, 480), borderMode=cv2.BORDER_REPLICATE)
            for bit in range(BIT_COUNT):
                left = bit * BIT_SIZE
                frame[:BIT_SIZE, left : left + BIT_SIZE] = 255 * (number >> bit & 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path
