"""The tables of docs/options.md: every option of every command, made from the classes that the commands parse."""

from dataclasses import MISSING, fields
from typing import Any, Final

import docstring_parser
import tyro

from app import AppOptions
from fer.commands.fetch import FetchOptions
from fer.commands.options import AnalyzeOptions
from fer.commands.password import PasswordOptions
from fer.commands.watch import WatchOptions
from training.adopt import AdoptOptions
from training.clean_labels import CleanOptions
from training.config import TrainConfig
from training.crop_faces import CropFacesOptions
from training.crop_others import CropOthersOptions
from training.detector.export import DetectorExport
from training.detector.train import DetectorConfig
from training.detector.train_verifier import VerifierConfig
from training.evaluate import EvaluateOptions
from training.export import ExportOptions
from training.pack import PackOptions
from training.recipe import RecipeOptions
from training.repeat import RepeatOptions
from training.report import ReportOptions
from training.setting_help import SETTING_HELP
from training.train import ResumeOptions

PROGRAMS: Final[dict[str, type]] = {
    "python -m fer PATH…": AnalyzeOptions,
    "python -m fer watch": WatchOptions,
    "python -m fer fetch": FetchOptions,
    "python -m fer password": PasswordOptions,
    "python app.py": AppOptions,
    "python -m training.train": TrainConfig,
    "python -m training.train --resume": ResumeOptions,
    "python -m training.train --repeat": RepeatOptions,
    "python -m training.evaluate": EvaluateOptions,
    "python -m training.export": ExportOptions,
    "python -m training.recipe": RecipeOptions,
    "python -m training.pack": PackOptions,
    "python -m training.report": ReportOptions,
    "python -m training.adopt": AdoptOptions,
    "python -m training.clean_labels": CleanOptions,
    "python -m training.crop_faces": CropFacesOptions,
    "python -m training.crop_others": CropOthersOptions,
    "python -m training.detector.train": DetectorConfig,
    "python -m training.detector.train_verifier": VerifierConfig,
    "python -m training.detector.export": DetectorExport,
}


def options_page() -> str:
    """The whole page."""
    parts = [
        "# Options of every command",
        "Written by `python -m benchmarks.publish` from the classes that the commands parse; `--help` says the same. Installed "
        "with pip, `kv-fer` is short for `python -m fer`, and `kv-fer page` for `python app.py`. `python -m training.pace` takes "
        "the options of `python -m training.train`.",
    ]
    for program, options in PROGRAMS.items():
        parts += [f"## {program}", "\n".join(_table(options))]
    return "\n\n".join(parts) + "\n"


def _table(options: type) -> list[str]:
    documented = docstring_parser.parse(options.__doc__ or "").params
    told = (
        SETTING_HELP if options is TrainConfig else {each.arg_name: each.description for each in documented}
    )
    lines = ["| Option | Default | Meaning |", "|---|---|---|"]
    for field in fields(options):
        text = " ".join((told[field.name] or "").replace("``", "`").split()).replace("|", "\\|")
        lines.append(f"| `{_spelling(field)}` | {_default(field)} | {text} |")
    return lines


def _spelling(field: Any) -> str:
    if tyro.conf.Positional in getattr(field.type, "__metadata__", ()):
        return field.name.upper()
    return f"--{field.name.replace('_', '-')}"


def _default(field: Any) -> str:
    value = field.default if field.default_factory is MISSING else field.default_factory()
    if value is MISSING:
        return "needed"
    if value is None or value in ((), ""):
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{' '.join(map(str, value)) if isinstance(value, tuple) else value}`"
