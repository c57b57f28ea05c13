"""Time each stage from a JPEG to an annotated image, for one and five faces.

The faces are copies of the freely licensed photo shipped with scikit-image, on a plain background.
"""

import io
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import onnxruntime
from PIL import Image
from skimage.data import astronaut

from fer import __version__
from fer.analysis import load_analyzer
from fer.annotation import FaceAnnotator
from fer.cropping import crop_square
from fer.images import RgbImage, read_image
from fer.preprocessing import cut_for_network
from training.command import run_command


@dataclass(frozen=True)
class Options:
    """Weights, detector and number of repeats to time.

    Attributes:
        weights: A name under ``weights/``; None for the default.
        detector: A detector's name; None for the default.
        repeats: Number of timed runs per image.
    """

    weights: str | None = None
    detector: str | None = None
    repeats: int = 60


def scene(width: int, height: int, face_count: int) -> bytes:
    """Return a JPEG with copies of one face side by side."""
    face = astronaut()[0:230, 110:340]
    canvas = np.full((height, width, 3), 110, dtype=np.uint8)
    side = min(width // face_count, height) * 9 // 10
    shrunk = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    for i in range(face_count):
        left, top = i * width // face_count, (height - side) // 2
        canvas[top : top + side, left : left + side] = shrunk
    buffer = io.BytesIO()
    Image.fromarray(canvas).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def timed(times: list[float], work: Callable[[], object]) -> object:
    started = time.perf_counter()
    result = work()
    times.append((time.perf_counter() - started) * 1e3)
    return result


def main(options: Options) -> None:
    analyzer, annotator = load_analyzer(options.weights, options.detector), FaceAnnotator()
    print(
        f"kv-facerecognition {__version__}, weights {analyzer.classifier.card.name}, detector "
        f"{analyzer.detector.name}, {platform.machine()}, Python {platform.python_version()}, "
        f"OpenCV {cv2.__version__}, ONNX Runtime {onnxruntime.__version__}; milliseconds, median / p95\n"
    )
    stages = ("decode", "detect", "crop", "classify", "annotate")
    print("| Image | Detected faces | " + " | ".join(stages) + " | all |")
    print("|---" * (len(stages) + 3) + "|")
    cv2.setNumThreads(1)
    for width, height in ((640, 480), (1280, 720)):
        for face_count in (1, 5):
            encoded = scene(width, height, face_count)
            times: dict[str, list[float]] = {stage: [] for stage in stages}
            found = 0
            for _ in range(options.repeats + 3):
                image: RgbImage = timed(times["decode"], lambda: read_image(encoded))  # type: ignore[assignment]  # noqa: B023
                faces = timed(times["detect"], lambda: analyzer.detector.detect(image))  # noqa: B023
                wanted, framing = analyzer.classifier.card.preprocessing, analyzer.detector.framing
                crops = timed(
                    times["crop"],
                    lambda: [cut_for_network(image, crop_square(image, f, framing), wanted) for f in faces],  # noqa: B023
                )
                timed(times["classify"], lambda: analyzer.classifier.classify(crops))  # noqa: B023
                read = analyzer.read_faces(image, faces)
                timed(times["annotate"], lambda: annotator.annotate(image, read))  # noqa: B023
                found = len(faces)
            cells = [np.array(times[stage][3:]) for stage in stages]
            cells.append(np.sum(cells, axis=0))
            text = " | ".join(f"{np.median(cell):.1f} / {np.percentile(cell, 95):.1f}" for cell in cells)
            print(f"| {width}×{height} | {found} | {text} |")


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.pipeline"))
