"""Entry point: a timed warm-up of a training, as JSON."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

import torch

from fer.model_card import UnknownModelError
from training.config import TrainConfig
from training.hardware import Workers, choose_device, set_up_processor
from training.pace import measure_pace, memory_advice


def main(arguments: Sequence[str] | None = None) -> int:
    """Time a training on made-up pictures and print; 1 with a sentence where it cannot run."""
    import tyro  # noqa: PLC0415 - the entry point alone needs it

    config = tyro.cli(TrainConfig, args=arguments, prog="python -m training.estimate")
    try:
        device = choose_device(config, Workers())
        set_up_processor(config.thread_count)
        try:
            pace = measure_pace(config, device)
        except torch.OutOfMemoryError:
            print(memory_advice(config, device), file=sys.stderr)
            return 1
    except (ValueError, UnknownModelError) as error:
        print(error, file=sys.stderr)
        return 1
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(json.dumps({"device": device.type, "device_name": name} | asdict(pace)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
