"""Processes, device and precision of a training, and a description of its environment."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from fer import __version__
from fer.allocator import LARGEST, set_thresholds
from fer.model_card import file_hash
from training.config import TrainConfig

_GLIBC_BYTES: Final = 128 * 1024
"""Initial thresholds of the GNU C library."""


@dataclass(frozen=True, slots=True)
class Workers:
    """The processes of one training: a single one, or those started by ``torchrun``."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run directory."""
        return self.rank == 0


class Usage:
    """Processor, memory and card in use by this process since it was asked last.

    Args:
        device: The device of the training.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start_s, self._processor_s = time.perf_counter(), time.process_time()

    def take(self) -> dict[str, float]:
        """Return the figures for the history, and begin anew.

        Returns:
            ``cores_used``, the mean number of busy cores; ``memory_mb``, memory held now, where the system
            says so; ``gpu_memory_mb``, the most that was held on the CUDA device.
        """
        now_s, processor_s = time.perf_counter(), time.process_time()
        figures = {"cores_used": (processor_s - self._processor_s) / max(now_s - self._start_s, 1e-9)}
        self._start_s, self._processor_s = now_s, processor_s
        held_bytes = _held_bytes()
        if held_bytes is not None:
            figures["memory_mb"] = held_bytes / 2**20
        if self._device.type == "cuda":
            figures["gpu_memory_mb"] = torch.cuda.max_memory_allocated(self._device) / 2**20
            torch.cuda.reset_peak_memory_stats(self._device)
        return figures


def _held_bytes() -> int | None:
    """Return the memory of this process: now on Linux, the most so far on macOS, None on Windows."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 - Windows has none

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def choose_device(config: TrainConfig, workers: Workers) -> torch.device:
    """Choose the device of this process.

    Raises:
        ValueError: CUDA is requested, but there is no GPU.
    """
    if config.device == "cpu" or (config.device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError("expected a CUDA GPU for device 'cuda', found none; choose 'cpu' or 'auto'")
    torch.backends.cudnn.benchmark = True
    torch.cuda.set_device(workers.local_rank)
    return torch.device("cuda", workers.local_rank)


def set_up_processor(thread_count: int) -> None:
    """Set the number of threads, flush denormal numbers to zero, and keep freed memory.

    Weight decay makes some weights of networks without normalisation denormal, and processors multiply
    denormals more than ten times slower.

    Args:
        thread_count: CPU threads of PyTorch; 0 for PyTorch's default.
    """
    torch.set_flush_denormal(True)  # before the first parallel work: threads inherit it
    keep_freed_memory()
    if thread_count:
        torch.set_num_threads(thread_count)


def keep_freed_memory(*, is_kept: bool = True) -> None:
    """Keep freed blocks in the process instead of returning them to the system, with the GNU C library.

    Each training step frees and allocates the same activations; the system would clear their pages each time.

    Args:
        is_kept: False returns large blocks at once, as the library does by default.
    """
    size = LARGEST if is_kept else _GLIBC_BYTES
    set_thresholds(mmap_bytes=size, trim_bytes=size)


def autocast_for(config: TrainConfig, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """Return a factory of precision contexts: bfloat16 on CUDA GPUs and CPUs with AVX512-BF16 or AMX."""
    fast = device.type == "cuda" or bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    if config.precision == "bfloat16" or (config.precision == "auto" and fast):
        return lambda: torch.autocast(device.type, torch.bfloat16)
    return nullcontext


def join_workers(config: TrainConfig) -> Workers:
    """Join the processes that ``torchrun`` started, if any."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Workers()
    use_cuda = config.device != "cpu" and torch.cuda.is_available()
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if use_cuda else "gloo")
    return Workers(int(os.environ["RANK"]), count, int(os.environ.get("LOCAL_RANK", "0")))


def describe_environment(device: torch.device, workers: Workers, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return versions, device, commit and data summary, as stored in a run directory."""
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {
        "version": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "device": device.type,
        "device_name": card,
        "process_count": workers.count,
        "thread_count": torch.get_num_threads(),
        "data": dict(data),
    }


def file_hashes(paths: Iterable[Path]) -> dict[str, Any]:
    """Return the SHA-256 of each file, in the form that ``describe_environment`` expects."""
    return {"files": {str(path): file_hash(path) for path in paths}}


def _commit() -> str:
    """Return the commit of the code, marked if files differ from it; empty outside a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
