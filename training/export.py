"""Entry point: exports a finished run to a weights folder with a card."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from fer.emotions import OTHER
from fer.model_card import Head, ModelCard
from fer.networks import ExpressionNetwork
from training.command import run_command
from training.config import TrainConfig
from training.metrics import key_figures
from training.quantisation import SAMPLE_FILE
from training.run_files import BEST_FILE, SHOWN_FILE, earlier_runs, portable
from training.runs import read_run
from training.shown_answer import SHOWN_HEADS
from training.weights_folder import Export, write_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """The run to export, and name and place of the weights.

    Attributes:
        run: The run directory.
        tag: Suffix of the weights' name, after the architecture, such as ``crowd``.
        weights: Parent folder of ``<architecture>.<tag>``.
        description: One sentence for the card.
    """

    run: Path
    tag: str
    weights: Path = Path("weights")
    description: str = ""


def export_run(options: ExportOptions) -> Path:
    """Export a run to a weights folder, replacing an existing folder of the same name.

    Raises:
        ValueError: The run cannot be read or is not finished.
        WeightsMismatchError: The outputs of the exported network differ from those of the trained one.
    """
    from safetensors.torch import load_file  # noqa: PLC0415 - after the arguments are known to be right

    run = read_run(options.run)
    if run.problem or run.report is None or not (options.run / BEST_FILE).is_file():
        raise ValueError(f"{options.run} cannot be exported: {run.problem or 'it has no report yet'}")
    config = TrainConfig.from_dict(run.config)
    report = run.report
    heads = tuple(_head(name, config.labels_of(name), each) for name, each in report["heads"].items())
    best = options.run / (SHOWN_FILE if report["default_head"] in SHOWN_HEADS else BEST_FILE)
    network = ExpressionNetwork(
        config.architecture,
        {head.name: len(head.labels) for head in heads},
        config.preprocessing.channel_count,
        mirror_average=config.is_mirrored,
        inner_view=config.inner_view,
    )
    network.load_state_dict(load_file(best))
    for head in heads:
        network.temperatures[head.name].data.fill_(head.temperature)
        shift = report["heads"][head.name].get("logit_shift")
        if shift is not None:  # merged into the bias of the last layer
            layer = cast(nn.Linear, network.heads[head.name])
            layer.bias.data += torch.tensor(shift, dtype=layer.bias.dtype)
    card = ModelCard(
        name=f"{config.architecture}.{options.tag}",
        architecture=config.architecture,
        preprocessing=config.preprocessing,
        heads=heads,
        default_head=report["default_head"],
        description=options.description,
        data_sets=tuple(
            {"name": Path(name).name, "sha256": digest} for name, digest in run.data_files.items()
        ),
        metrics={name: _figures(head) for name, head in report["heads"].items()},
        mirror_average=config.is_mirrored,
        inner_view=config.inner_view,
    )
    folder = options.weights / card.name
    sample = options.run / SAMPLE_FILE
    write_weights(
        folder,
        network,
        Export(
            card,
            portable(run.config),
            portable(run.environment),
            run.epochs,
            report,
            earlier_runs(options.run),
            sample if sample.is_file() else None,
        ),
    )
    return folder


def _head(name: str, labels: tuple[str, ...], report: Mapping[str, Any]) -> Head:
    return Head(
        name,
        labels,
        temperature=float(report["temperature"]),
        unsure_below=float(report.get("unsure_below", 0.0)),
        unsure_below_small=float(report.get("unsure_below_small", 0.0)),
        other_above=float(report.get("other_above", 1.0)) if OTHER in labels else 1.0,
    )


def _figures(report: Mapping[str, Any]) -> dict[str, Any]:
    return key_figures(report) | {name: report[name] for name in ("sets", "left_out") if name in report}


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and export; return 1 with a sentence on an error."""
    return run_command(ExportOptions, _export, "training.export", arguments)


def _export(options: ExportOptions) -> None:
    print(f"wrote {export_run(options)}")


if __name__ == "__main__":
    sys.exit(main())
