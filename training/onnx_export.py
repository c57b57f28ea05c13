"""Writes trained networks as ONNX files."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn


def write_onnx(
    network: nn.Module,
    example: Tensor,
    path: Path,
    *,
    input_name: str,
    output_names: Sequence[str],
    sizes: Mapping[int, Any],
) -> None:
    """Export a network with one input to ONNX, without metadata on the machine that wrote it.

    Args:
        network: The network, in evaluation mode.
        example: An input.
        path: The file to write.
        input_name: Name of the input.
        output_names: Names of the outputs.
        sizes: By axis, the size of the input where it is variable, from ``torch.export.Dim``.
    """
    with warnings.catch_warnings():
        # PyTorch 2.11 to 2.13 copies objects of its own deprecated class.
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            input_names=[input_name],
            output_names=list(output_names),
            dynamic_shapes={input_name: dict(sizes)},
            verbose=False,
        )
    assert program is not None
    program.save(path, external_data=False)
    _forget_origin(path)


def _forget_origin(path: Path) -> None:
    """Remove the exporter's metadata on source files and lines from an ONNX network."""
    model = onnx.load(path)
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.functions):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)
