"""Measure the training throughput in images per second, with and without augmentation."""

import argparse
import json
import platform
from pathlib import Path

import torch

from training.config import TrainConfig
from training.hardware import Workers, choose_device, set_up_processor
from training.pace import measure_pace

ARCHITECTURES = ("kv_fast", "kv_accurate", "kv_cnn")


def measure(
    architecture: str, device: str, batch_size: int, augment: bool, seconds: float, threads: int
) -> float:
    """Return images per second."""
    config = TrainConfig(
        data=(Path(),), architecture=architecture, device=device, batch_size=batch_size, augment=augment,
        thread_count=threads,
    )  # fmt: skip
    chosen = choose_device(config, Workers())
    set_up_processor(threads)
    steps = 16 if chosen.type == "cuda" else 2
    return measure_pace(config, chosen, seconds=seconds, steps=steps).images_per_second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--batch-size", type=int, default=0, help="0: 128 on the CPU, 2048 on CUDA")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each measurement")
    parser.add_argument("--threads", type=int, default=0, help="PyTorch's CPU threads; 0: PyTorch's default")
    parser.add_argument("--architectures", nargs="+", default=list(ARCHITECTURES))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    batch_size = options.batch_size or (2048 if options.device == "cuda" else 128)
    name = (
        torch.cuda.get_device_name()
        if options.device == "cuda"
        else platform.processor() or platform.machine()
    )
    rows = []
    for architecture in options.architectures:
        rates = {
            augment: measure(
                architecture, options.device, batch_size, augment, options.seconds, options.threads
            )
            for augment in (False, True)
        }
        rows.append({"architecture": architecture, "plain": rates[False], "augmented": rates[True]})
    result = {
        "device": name,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "batch": batch_size,
    }
    if options.json:
        print(json.dumps(result | {"rows": rows}))
        return
    print(", ".join(f"{key} {value}" for key, value in result.items()))
    print(f"{'architecture':<14}{'images/s':>10}{'augmented':>11}{'share':>8}")
    for row in rows:
        share = row["augmented"] / row["plain"]
        print(f"{row['architecture']:<14}{row['plain']:>10.0f}{row['augmented']:>11.0f}{share:>8.2f}")


if __name__ == "__main__":
    main()
