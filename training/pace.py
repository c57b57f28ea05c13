"""Entry point: measures the throughput of a training and the largest batch size that fits into memory."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from fer.networks import ExpressionNetwork
from training.command import run_command
from training.config import TrainConfig
from training.frame import LARGEST_GRADIENT, average_of
from training.hardware import Workers, autocast_for, choose_device, set_up_processor
from training.loop import SplitTensors, batch_losses, predict
from training.setup import (
    augmentation_of,
    compiled,
    head_shares,
    initial_network,
    make_optimizer,
    with_format,
)

WARM_UP_STEPS: Final = 3
SMALLEST_BATCH: Final = 2


@dataclass(frozen=True, slots=True)
class Pace:
    """Throughput of a training on synthetic images.

    Attributes:
        images_per_second: Training images, including augmentation if the settings enable it.
        judged_per_second: Validation images.
        parameter_count: Parameters of the network.
        peak_bytes: Peak GPU memory; None on the CPU.
    """

    images_per_second: float
    judged_per_second: float
    parameter_count: int
    peak_bytes: int | None


def measure_pace(
    config: TrainConfig,
    device: torch.device,
    *,
    seconds: float = 2.0,
    steps: int = 4,
) -> Pace:
    """Train on noise for some seconds and measure the throughput.

    Args:
        config: Settings of the training.
        device: Device to measure.
        seconds: Minimum duration after the warm-up.
        steps: Batches between two readings of the clock.

    Raises:
        torch.OutOfMemoryError: The batch does not fit into GPU memory.
    """
    config = with_format(config)
    network, optimizer = _network(config, device)
    averaged = AveragedModel(network, multi_avg_fn=average_of(config.ema_decay), use_buffers=True)
    split = made_up_split(config, config.batch_size * steps, device)
    order = torch.arange(len(split), device=device)
    augment, damage = augmentation_of(config, torch.Generator(device))
    model = compiled(network, config.batch_size) if config.compile else network

    def train(rows: Tensor) -> None:
        network.train()
        for batch in split.batches(rows, config.batch_size):
            seen = batch if augment is None else replace(batch, crops=augment(batch.crops))
            _step(model, optimizer, seen, config, device, damage)
            if config.ema_decay:
                averaged.update_parameters(network)

    train(order[: config.batch_size * min(WARM_UP_STEPS, steps)])
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds or not count:
        train(order)
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # GPU work is asynchronous
        count += len(order)
    elapsed = time.perf_counter() - started
    judged_at = time.perf_counter()
    predict(network, split.crops)
    judged = len(split) / (time.perf_counter() - judged_at)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return Pace(count / elapsed, judged, sum(p.numel() for p in network.parameters()), peak)


def fitting_batch(
    config: TrainConfig, device: torch.device, attempt: Callable[[int], None] | None = None
) -> int | None:
    """Halve the batch size until one step fits into memory; None if no size fits.

    Args:
        config: Settings whose batch size does not fit.
        device: The GPU.
        attempt: Trains one step with a batch size; for tests.
    """
    attempt = attempt or (lambda size: _one_step(config, device, size))
    size = config.batch_size // 2
    while size >= SMALLEST_BATCH:
        try:
            attempt(size)
        except torch.OutOfMemoryError:
            size //= 2
        else:
            return size
        finally:
            if device.type == "cuda":
                torch.cuda.empty_cache()
    return None


def memory_advice(config: TrainConfig, device: torch.device) -> str:
    """Return an error sentence for a GPU out of memory, with a batch size that fits."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "this device"
    size = fitting_batch(config, device)
    advice = (
        f"a batch size of {size} fits" if size else "no batch fits; close other programs that use the GPU"
    )
    return f"a batch of {config.batch_size} images does not fit into the memory of {name}; {advice}"


def made_up_split(config: TrainConfig, count: int, device: torch.device) -> SplitTensors:
    """Return noise with random labels, ``uint8`` of shape (count, C, size, size)."""
    preprocessing = config.preprocessing
    shape = (count, preprocessing.channel_count, preprocessing.size, preprocessing.size)
    generator = torch.Generator().manual_seed(0)
    crops = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(device)
    targets = {}
    for head in config.heads:
        label_count = len(config.labels_of(head))
        labels = torch.randint(0, label_count, (count,), generator=generator)
        targets[head] = nn.functional.one_hot(labels, label_count).float().to(device)
    return SplitTensors(crops, targets, {head: torch.ones(count, device=device) for head in config.heads})


def _one_step(config: TrainConfig, device: torch.device, size: int) -> None:
    network, optimizer = _network(config, device)
    split = made_up_split(config, size, device)
    augment, damage = augmentation_of(config, torch.Generator(device))
    seen = split if augment is None else replace(split, crops=augment(split.crops))
    _step(network.train(), optimizer, seen, config, device, damage)


def _step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: SplitTensors,
    config: TrainConfig,
    device: torch.device,
    damage: Callable[[Tensor], tuple[Tensor, Tensor]] | None,
) -> None:
    shares, autocast = head_shares(config), autocast_for(config, device)
    losses, _ = batch_losses(network, batch, shares, autocast, damage=damage)
    optimizer.zero_grad(set_to_none=True)
    losses.mean().backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
    optimizer.step()


def _network(config: TrainConfig, device: torch.device) -> tuple[ExpressionNetwork, torch.optim.Optimizer]:
    network = initial_network(config).to(device)
    network.to(memory_format=torch.channels_last)
    return network, make_optimizer(network, config)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure a training on synthetic images and print the result; return 1 with a sentence on an error."""
    return run_command(TrainConfig, _print_pace, "training.pace", arguments)


def _print_pace(config: TrainConfig) -> None:
    device = choose_device(config, Workers())
    set_up_processor(config.thread_count)
    try:
        pace = measure_pace(config, device)
    except torch.OutOfMemoryError as error:
        raise MemoryError(memory_advice(config, device)) from error
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(json.dumps({"device": device.type, "device_name": name} | asdict(pace)))


if __name__ == "__main__":
    sys.exit(main())
