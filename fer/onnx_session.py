"""Open exported networks."""

from pathlib import Path
from typing import Any


def open_session(path: Path, thread_count: int = 1) -> Any:
    """Open an ONNX Runtime session on the CPU that logs errors only.

    Args:
        path: The exported network.
        thread_count: CPU threads; one is fastest on a busy machine.
    """
    import onnxruntime  # noqa: PLC0415 - takes a tenth of a second to import

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
