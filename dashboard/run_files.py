"""The files of a run: settings, environment, log, downloads."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from dashboard.figure_row import size_text
from dashboard.programs import ProgramError, export_run
from dashboard.report_charts import class_table, confusion_table
from dashboard.run_report import export_tag, exported_name
from dashboard.shown_runs import ShownRun, setting_differences
from dashboard.spoken import st
from fer.model_card import CARD_FILE
from fer.model_shelf import user_shelf
from fer.printable import plain_table
from training.jobs import log_tail
from training.run_files import BEST_FILE, VERIFIER


def show_settings(shown: ShownRun) -> None:
    """Draw all settings of the run."""
    st.subheader("Settings")
    st.dataframe(
        pd.DataFrame(setting_differences([shown], everything=True)).rename(columns={shown.name: "value"}),
        hide_index=True,
    )


def show_environment(shown: ShownRun) -> None:
    """Draw the environment of the run."""
    environment = shown.run.environment
    if not environment:
        return
    st.subheader("Environment")
    rows = [(name.replace("_", " "), str(value)) for name, value in environment.items() if name != "data"]
    st.dataframe(pd.DataFrame(rows, columns=["what", "value"]), hide_index=True)
    if isinstance(data := environment.get("data"), Mapping):
        _show_data(data, shown.run.data_files)


def _show_data(data: Mapping[str, Any], files: Mapping[str, str]) -> None:
    st.subheader("Pictures")
    counts = {split: data[split] for split in ("train", "val") if isinstance(data.get(split), Mapping)}
    if counts:
        st.dataframe(pd.DataFrame(counts).fillna(0).astype(int))
    duplicates = data.get("duplicates") or {}
    if isinstance(duplicates, Mapping) and any(duplicates.values()):
        told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in duplicates.items())
        st.caption(f"Duplicates removed from training: {told}.")
    unreadable = data.get("unreadable") or []
    if unreadable:
        st.caption(f"{len(unreadable)} pictures could not be read: {'; '.join(map(str, unreadable[:5]))}")
    if files:
        st.dataframe(pd.DataFrame(files.items(), columns=["data", "SHA-256"]), hide_index=True)


def show_log(shown: ShownRun, run_every: float | None) -> None:
    """Draw the last lines of the log, updated while the training runs."""

    @st.fragment(run_every=run_every)
    def tail() -> None:
        lines = log_tail(shown.run.folder)
        if lines:
            st.code("\n".join(lines), language=None, wrap_lines=True)
        else:
            st.caption("No log: trainings started from the shell print to their terminal.")

    tail()


def show_downloads(shown: ShownRun, open_models: Callable[[], None]) -> None:
    """Draw the downloads: curves, report, weights; and the export to the webcam page."""
    run = shown.run
    st.caption("To save a chart, point at it and press *Download as PNG* at its top right.")
    with st.container(horizontal=True):
        if run.epochs:
            table = pd.DataFrame([dict(row) for row in run.epochs])
            _download(
                "Curves (CSV)", plain_table(table).to_csv(index=False), f"{shown.name}-epochs.csv", "text/csv"
            )
        for head, report in ((run.report or {}).get("heads") or {}).items():
            confusion = plain_table(confusion_table(report)).to_csv(index=False)
            _download(f"Confusion {head} (CSV)", confusion, f"{shown.name}-{head}-confusion.csv", "text/csv")
            classes = plain_table(class_table(report)).to_csv(index=False)
            _download(f"Classes {head} (CSV)", classes, f"{shown.name}-{head}-classes.csv", "text/csv")
        if run.report:
            _download(
                "Report (JSON)",
                json.dumps(run.report, indent=2),
                f"{shown.name}-report.json",
                "application/json",
            )
        _download(
            "Settings (JSON)",
            json.dumps(dict(run.config), indent=2),
            f"{shown.name}-config.json",
            "application/json",
        )
        path = run.folder / BEST_FILE
        if path.is_file():
            st.download_button(
                f"Weights of the best epoch ({size_text(path.stat().st_size)})",
                path.read_bytes,
                file_name=f"{shown.name}-best.safetensors",
                mime="application/octet-stream",
                on_click="ignore",
            )
    if shown.is_shipped or not run.report or not path.is_file():
        return
    if shown.is_detector:
        words = f"--run {run.folder}"
        if run.config.get("architecture") == VERIFIER:
            words = f"--run RUN --verifier {run.folder}"
        st.caption(f"A detector is exported from the shell: `python -m training.detector.export {words}`.")
    else:
        _show_export(shown, open_models)


def _download(label: str, text: str, name: str, mime: str) -> None:
    st.download_button(label, text, file_name=name, mime=mime, on_click="ignore", key=f"download {name}")


def _show_export(shown: ShownRun, open_models: Callable[[], None]) -> None:
    name = exported_name(shown)
    st.subheader("Use this model")
    if (user_shelf() / name / CARD_FILE).is_file():
        st.success(f"Exported as {name}.")
        if st.button("Open models", icon=":material/face:"):
            open_models()
        return
    st.write("Export the best epoch as a model with its card; the pages and the shell can then use it.")
    if st.button("Export", icon=":material/ios_share:", type="primary"):
        with st.spinner("Exporting (about 15 seconds) …"):
            try:
                export_run(shown.run.folder, export_tag(shown), user_shelf())
            except ProgramError as error:
                st.error(str(error))
                return
        st.rerun()
