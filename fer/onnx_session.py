"""Opens exported networks."""

from pathlib import Path
from typing import Any


def open_session(path: Path, thread_count: int = 1) -> Any:
    """A session of ONNX Runtime on the CPU, silent but for errors.

    Args:
        path: The exported network.
        thread_count: CPU threads; one is fastest where several things run.
    """
    import onnxruntime  # noqa: PLC0415 - costs a tenth of a second; only use pays it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
