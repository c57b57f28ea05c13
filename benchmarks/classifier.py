"""Measure milliseconds per batch of crops by weights, engine, threads and batch size, in one run."""

import platform
import sys
import time
from dataclasses import dataclass

import numpy as np
import onnxruntime

from fer.classification import EmotionClassifier
from fer.model_card import INT8_FILE, load_card
from fer.model_shelf import find_weights, list_weights
from training.command import run_command


@dataclass(frozen=True)
class Options:
    """Weights to time, and number of repeats.

    Attributes:
        weights: Names under ``weights/`` or folders; empty for all shipped weights.
        repeats: Number of runs of each batch.
        torch: Time PyTorch, too, on the GPU if CUDA is available.
        origin: Time the original student project's network, too, with random weights.
    """

    weights: tuple[str, ...] = ()
    repeats: int = 100
    torch: bool = True
    origin: bool = True


BATCHES = (1, 8, 64)


def row(name: str, engine: str, threads: int, read, channels: int, size: int, repeats: int) -> str:
    cells = []
    for count in BATCHES:
        batch = np.random.default_rng(0).integers(0, 256, (count, channels, size, size), dtype=np.uint8)
        for _ in range(3):
            read(batch)
        times = []
        for _ in range(max(repeats // count, 10)):
            started = time.perf_counter()
            read(batch)
            times.append((time.perf_counter() - started) * 1e3)
        cells.append(f"{np.median(times):.2f} / {np.percentile(times, 95):.2f}")
    return f"| {name} | {engine} | {threads} | " + " | ".join(cells) + " |"


def origin_reader():
    import torch  # noqa: PLC0415

    from fer.networks import ExpressionNetwork  # noqa: PLC0415

    network = ExpressionNetwork("kv_cnn", {"crowd": 7}).eval()

    def read(batch: np.ndarray) -> object:
        with torch.inference_mode():
            return network.probabilities(torch.from_numpy(batch))

    return read


def main(options: Options) -> None:
    print(
        f"{platform.machine()}, Python {platform.python_version()}, ONNX Runtime {onnxruntime.__version__}; "
        "milliseconds, median / p95\n"
    )
    print("| Weights | Engine | Threads | " + " | ".join(f"batch {n}" for n in BATCHES) + " |")
    print("|---" * (3 + len(BATCHES)) + "|")
    for name in options.weights or list_weights():
        folder = find_weights(name)
        engines = {"onnx": "ONNX Runtime int8"} if INT8_FILE in load_card(folder).files else {}
        for engine, title in (engines | {"onnx-float32": "ONNX Runtime float32"}).items():
            for threads in (1, 2):
                classifier = EmotionClassifier(folder, engine=engine, thread_count=threads)
                wants = classifier.card.preprocessing
                print(
                    row(
                        classifier.card.name, title, threads, classifier.probabilities,
                        wants.channel_count, wants.size, options.repeats,
                    ),
                    flush=True,
                )  # fmt: skip
        if options.torch:
            import torch  # noqa: PLC0415

            torch.set_num_threads(1)
            classifier = EmotionClassifier(folder, engine="torch")
            engine = "PyTorch on CUDA" if torch.cuda.is_available() else "PyTorch"
            wants = classifier.card.preprocessing
            print(
                row(
                    classifier.card.name, engine, 1, classifier.probabilities,
                    wants.channel_count, wants.size, options.repeats,
                ),
                flush=True,
            )  # fmt: skip
    if options.origin and options.torch:
        print(row("kv_cnn (the origin's)", "PyTorch", 1, origin_reader(), 1, 48, options.repeats))


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.classifier"))
