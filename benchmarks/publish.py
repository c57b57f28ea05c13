"""Write the figures of the stored suite reports into docs/results.md, README and model cards.

It also writes the module tree into docs/architecture.md, and docs/options.md.

``python -m benchmarks.accuracy --suite DIR --store`` stores a report beside each set of weights; this command copies
its figures into all pages, so that they always agree.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import module_tree, option_pages
from benchmarks.suite import SUITE_FILE
from fer.model_card import load_card
from fer.model_shelf import DEFAULT_WEIGHTS, find_weights, list_weights
from training.command import run_command
from training.model_text import model_card_text
from training.run_files import read_object

BEGIN: Final = "<!-- figures: written by python -m benchmarks.publish -->"
END: Final = "<!-- end of figures -->"
TITLES: Final = {
    "publictest_votes": "FER2013 PublicTest, majority of ten annotators",
    "publictest_labels": "FER2013 PublicTest, original labels",
    "rafdb": "RAF-DB, validation split",
    "affectnet": "AffectNet, validation split",
    "films": "films",
    "posed": "posed, two laboratories",
}


@dataclass(frozen=True)
class Options:
    """Options: write the pages, or only check them.

    Attributes:
        check: Change nothing; the exit status is 1 if a page differs from the reports.
    """

    check: bool = False


def pages() -> dict[Path, str]:
    """Return the expected text of every generated page."""
    reports = {}
    top = Path(__file__).parents[1]
    architecture = top / "docs" / "architecture.md"
    wanted = {
        architecture: module_tree.with_tree(architecture.read_text(encoding="utf-8"), top),
        top / "docs" / "options.md": option_pages.options_page(),
    }
    for name in list_weights():
        folder = find_weights(name)
        suite = read_object(folder / "run" / SUITE_FILE) if (folder / "run" / SUITE_FILE).is_file() else None
        if suite is not None:
            reports[name] = suite
            report = read_object(folder / "run" / "report.json")
            wanted[folder / "README.md"] = model_card_text(load_card(folder), report, suite)
    if DEFAULT_WEIGHTS not in reports:
        return wanted
    for page, figures in (
        (top / "docs" / "results.md", results_table(reports)),
        (top / "README.md", headline(reports[DEFAULT_WEIGHTS])),
        (top / "README.ru.md", russian_headline(reports[DEFAULT_WEIGHTS])),
    ):
        text = page.read_text(encoding="utf-8")
        start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
        wanted[page] = f"{text[:start]}\n{figures}\n{text[end:]}"
    return wanted


def headline(report: dict[str, Any]) -> str:
    """Return a list item with the accuracy of the default weights on several data sets."""
    sets = report["sets"]
    return (
        f"- **{sets['rafdb']['accuracy']:.3f}** accuracy on {sets['rafdb']['count']:,} web faces labelled by about 40 "
        f"annotators each (RAF-DB);\n  {sets['publictest_votes']['accuracy']:.3f} on FER2013 (majority of ten annotators), "
        f"{sets['posed']['accuracy']:.3f} on posed faces, {sets['films']['accuracy']:.3f} on faces in films.\n  Mean balanced "
        f"accuracy of {len(sets)} sets: {report['mean_balanced_accuracy']:.3f}; chance is 0.167."
    )


def russian_headline(report: dict[str, Any]) -> str:
    """Say the same in Russian."""
    sets = report["sets"]
    return (
        f"- **{sets['rafdb']['accuracy']:.3f}** из {sets['rafdb']['count']:,} лиц из сети названы так, как их назвало большинство "
        f"примерно из 40 человек (RAF-DB);\n  {sets['publictest_votes']['accuracy']:.3f} лиц FER2013 так, как большинство из "
        f"десяти человек, {sets['posed']['accuracy']:.3f} позирующих, {sets['films']['accuracy']:.3f} из фильмов. Сбалансированная "
        f"точность в среднем\n  по {len(sets)} наборам {report['mean_balanced_accuracy']:.3f}; наугад вышло бы 0.167."
    )


def results_table(reports: dict[str, dict[str, Any]]) -> str:
    """Return a table with one row per set: the main figures of all weights."""
    names = list(reports)
    lines = [
        f"| Data set | {' | '.join(f'`{name}`' for name in names)} |",
        "|---" * (len(names) + 1) + "|",
    ]
    for key, title in TITLES.items():
        cells = [
            f"{each['accuracy']:.3f} / {each['balanced_accuracy']:.3f} / {each['ece']:.3f} / "
            f"{each['found_and_named']:.3f}"
            for each in (report["sets"][key] for report in reports.values())
        ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    means = [f"**{report['mean_balanced_accuracy']:.3f}** balanced" for report in reports.values()]
    lines.append(f"| **mean over the sets** | {' | '.join(means)} |")
    if all("web_photos" in report for report in reports.values()):
        found = [f"{report['web_photos']['found_and_named']:.3f}" for report in reports.values()]
        lines.append(f"| whole web photos: detected and correctly classified | {' | '.join(found)} |")
    return "\n".join(lines)


def main(options: Options) -> int:
    """Write the pages that differ, or list them with ``--check``."""
    differing = [
        path
        for path, text in pages().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if options.check:
        for path in differing:
            print(
                f"{path} is out of date; run python -m benchmarks.publish",
                file=sys.stderr,
            )
        return 1 if differing else 0
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    print("\n".join(f"wrote {path}" for path in differing) or "nothing to change")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.publish", description=__doc__))
