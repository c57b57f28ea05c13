"""Measure the training throughput in images per second, and what limits it.

``of peak`` is the share of the rate at which the same threads multiply two matrices of 1024×1024 in single precision, counting
three times the network's multiplications per image: forward, gradient of the input, gradient of the weights.
``compiled`` is the throughput with ``--compile``, relative to the first column, without the time to compile. ``memory
returned`` is the throughput, relative to the first column, when freed memory goes back to the system after each step.
With ``--teachers``, a further line shows the images that each teacher answers per second, and compiled.
"""

import json
import platform
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch.utils.flop_counter import FlopCounterMode

from training.command import run_command
from training.config import TrainConfig
from training.hardware import Workers, autocast_for, choose_device, keep_freed_memory, set_up_processor
from training.pace import made_up_split, measure_pace
from training.setup import compiled, initial_network, load_teachers

ARCHITECTURES = ("kv_fast", "kv_accurate", "kv_cnn")


@dataclass(frozen=True)
class Options:
    """Networks and settings to measure.

    Attributes:
        device: Where to train.
        batch_size: Images per step; 0 for 128 on the CPU and 2048 on CUDA.
        size: Side of the crops in pixels.
        colour: Colour of the crops.
        teachers: Weights folders or run directories of teachers, whose answers alone are measured, too.
        seconds: Length of each measurement.
        threads: CPU threads of PyTorch; 0 leaves the number to it.
        architectures: Networks.
        json: Print one JSON object instead of a table.
    """

    device: Literal["cpu", "cuda"] = "cpu"
    batch_size: int = 0
    size: int = 48
    colour: Literal["grey", "rgb"] = "grey"
    teachers: tuple[str, ...] = ()
    seconds: float = 8.0
    threads: int = 0
    architectures: tuple[str, ...] = ARCHITECTURES
    json: bool = False


def measure(config: TrainConfig, seconds: float, *, is_memory_kept: bool = True) -> float:
    """Images per second."""
    chosen = choose_device(config, Workers())
    set_up_processor(config.thread_count)
    keep_freed_memory(is_kept=is_memory_kept)
    steps = 16 if chosen.type == "cuda" else 2
    return measure_pace(config, chosen, seconds=seconds, steps=steps).images_per_second


def measure_teacher(name: str, config: TrainConfig, seconds: float) -> dict[str, str | float]:
    """Images per second that a teacher answers, and the ratio with compiled code."""
    device = choose_device(config, Workers())
    set_up_processor(config.thread_count)
    teachers = load_teachers([name], [], 1.0, 2.0, device)
    crops = made_up_split(config, config.batch_size, device).crops
    autocast = autocast_for(config, device)

    def answer() -> None:
        with autocast():
            teachers.answers(crops)
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # GPU work is asynchronous

    def rate() -> float:
        answer()  # compiles
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            answer()
            count += len(crops)
        return count / (time.perf_counter() - started)

    plain = rate()
    teachers.compile(partial(compiled, batch_size=config.batch_size))
    return {"weights": name, "plain": plain, "compiled": rate() / plain}


def products_per_image(config: TrainConfig) -> float:
    """Multiplications of one forward pass."""
    network = initial_network(config)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, network.channels, config.size, config.size))
    return counter.get_total_flops() / 2


def products_per_second(seconds: float) -> float:
    """Multiplications per second of a large matrix product on the CPU, the best of many."""
    side = 1024
    left, right = torch.randn(side, side), torch.randn(side, side)
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    return side**3 / best


def main(options: Options) -> None:
    is_cpu = options.device == "cpu"
    batch_size = options.batch_size or (128 if is_cpu else 2048)
    settings = TrainConfig(
        data=(Path(),), device=options.device, batch_size=batch_size, size=options.size,
        colour=options.colour, augment=False, thread_count=options.threads,
    )  # fmt: skip
    rows = []
    for architecture in options.architectures:
        plain = replace(settings, architecture=architecture)
        augmented = replace(plain, augment=True)
        row = {"architecture": architecture, "plain": measure(plain, options.seconds)}
        row["augmented"] = measure(augmented, options.seconds)
        if is_cpu:
            row["compiled"] = measure(replace(plain, compile=True), options.seconds) / row["plain"]
            row["memory_returned"] = measure(plain, options.seconds, is_memory_kept=False) / row["plain"]
            needed = 3 * products_per_image(plain) * row["plain"]
            row["of_peak"] = needed / products_per_second(options.seconds / 4)
        rows.append(row)
    teachers = [measure_teacher(name, settings, options.seconds) for name in options.teachers]
    result = {
        "device": (platform.processor() or platform.machine()) if is_cpu else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "batch": batch_size,
        "size": options.size,
    }
    if options.json:
        print(json.dumps(result | {"rows": rows, "teachers": teachers}))
        return
    print(", ".join(f"{key} {value}" for key, value in result.items()))
    print(
        f"{'architecture':<14}{'images/s':>10}{'augmented':>11}{'compiled':>10}{'memory returned':>17}{'of peak':>9}"
    )
    for row in rows:
        last = (
            f"{row['compiled']:>10.2f}{row['memory_returned']:>17.2f}{row['of_peak']:>9.2f}" if is_cpu else ""
        )
        print(f"{row['architecture']:<14}{row['plain']:>10.0f}{row['augmented']:>11.0f}{last}")
    for each in teachers:
        print(f"teacher {each['weights']}: {each['plain']:.0f} images/s, compiled {each['compiled']:.2f}")


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.training", description=__doc__))
