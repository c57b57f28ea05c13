"""Devices that a training can run on here, as the driver lists them, without importing PyTorch."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TIMEOUT_S: Final = 5


@dataclass(frozen=True, slots=True)
class Card:
    """A CUDA card.

    Attributes:
        number: As CUDA counts.
        name: Of the product.
        free_bytes: Memory that nobody uses now.
        total_bytes: All its memory.
    """

    number: int
    name: str
    free_bytes: int
    total_bytes: int


def list_cards(program: str = "nvidia-smi") -> list[Card]:
    """The cards that the driver knows; an empty list where there is no driver or it does not answer."""
    command = [program, "--query-gpu=index,name,memory.free,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_cards(answer.stdout)


def parse_cards(text: str) -> list[Card]:
    """Read the driver's lines of ``number, name, free MiB, total MiB``; others are left out."""
    cards = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 4 and parts[0].isdigit() and parts[2].isdigit() and parts[3].isdigit():
            cards.append(Card(int(parts[0]), parts[1], int(parts[2]) << 20, int(parts[3]) << 20))
    return cards


def processor_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory_bytes(path: Path = Path("/proc/meminfo")) -> int | None:
    """Main memory that programs can still get; None where the system does not say."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None
