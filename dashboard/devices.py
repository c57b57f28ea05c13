"""Training devices of this machine, listed by the driver, without PyTorch."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_DRIVER_WAIT_S: Final = 5


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU (CUDA).

    Attributes:
        number: CUDA device index.
        name: Product name.
        free_bytes: Free memory.
        total_bytes: Total memory.
    """

    number: int
    name: str
    free_bytes: int
    total_bytes: int


def list_cards(program: str = "nvidia-smi") -> list[Card]:
    """List the GPUs; empty if there is no driver or it does not respond."""
    command = [program, "--query-gpu=index,name,memory.free,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_DRIVER_WAIT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_cards(answer.stdout)


def parse_cards(text: str) -> list[Card]:
    """Parse the driver's lines of ``number, name, free MiB, total MiB``; other lines are ignored."""
    cards = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 4 and parts[0].isdigit() and parts[2].isdigit() and parts[3].isdigit():
            cards.append(Card(int(parts[0]), parts[1], int(parts[2]) << 20, int(parts[3]) << 20))
    return cards


def processor_count() -> int:
    """Return the number of processors available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory_bytes(path: Path = Path("/proc/meminfo")) -> int | None:
    """Return the available main memory; None if the system does not report it."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None
