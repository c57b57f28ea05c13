"""Weights of a toy network with two heads and constant predictions."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fer.emotions import OTHER, Emotion
from fer.model_card import ONNX_FILE, Head, ModelCard, Preprocessing, file_hash

SIX = ("angry", "fearful", "happy", "sad", "surprised", "neutral")
HEADS = (
    Head("seven", (*SIX, Emotion.DISGUSTED.value, OTHER), unsure_below=0.3),
    Head("six", (*SIX, OTHER), unsure_below=0.5),
    Head("eight", (*SIX, "disgusted", "contemptuous")),
)
SHOWN = {"seven": "disgusted", "six": "sad", "eight": "contemptuous"}


def write_toy_weights(folder: Path, default_head: str = "seven", offered: tuple[str, ...] = ()) -> Path:
    """A weights folder whose every answer is ``SHOWN[head]`` with 0.7, in each head."""
    folder.mkdir(parents=True)
    nodes, starts = [helper.make_node("ReduceMean", ["floats"], ["mean"], axes=[1, 2, 3], keepdims=0)], []
    nodes.insert(0, helper.make_node("Cast", ["input"], ["floats"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Mul", ["mean", "nothing"], ["zeros"]))
    nodes.append(helper.make_node("Unsqueeze", ["zeros", "last"], ["column"]))
    starts.append(numpy_helper.from_array(np.zeros(1, np.float32), "nothing"))
    starts.append(numpy_helper.from_array(np.array([1], np.int64), "last"))
    outputs = []
    for head in HEADS:
        shares = np.full(len(head.labels), 0.3 / (len(head.labels) - 1), np.float32)
        shares[head.labels.index(SHOWN[head.name])] = 0.7
        starts.append(numpy_helper.from_array(shares[None], f"{head.name} shares"))
        nodes.append(helper.make_node("Add", ["column", f"{head.name} shares"], [head.name]))
        outputs.append(helper.make_tensor_value_info(head.name, TensorProto.FLOAT, ["batch", len(shares)]))
    pixels = helper.make_tensor_value_info("input", TensorProto.UINT8, ["batch", 1, 48, 48])
    graph = helper.make_graph(nodes, "toy", [pixels], outputs, starts)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / ONNX_FILE)
    card = ModelCard(
        folder.name,
        "toy",
        Preprocessing(),
        HEADS,
        default_head,
        {ONNX_FILE: file_hash(folder / ONNX_FILE)},
        offered_heads=offered,
    )
    card.save(folder)
    return folder
