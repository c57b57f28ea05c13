"""Removes traces of the exporting machine from ONNX files."""

from pathlib import Path

import onnx


def forget_origin(path: Path) -> None:
    """Drop the exporter's notes on where in which source file each node came from."""
    model = onnx.load(path)
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.functions):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)
