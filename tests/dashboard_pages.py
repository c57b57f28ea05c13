"""Single pages of the dashboard, run by Streamlit's test framework."""

from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest


def _script(module: str, runs: str, data: str) -> None:
    import importlib  # noqa: PLC0415 - this function becomes a script of its own
    from pathlib import Path  # noqa: PLC0415

    import streamlit as st  # noqa: PLC0415

    from dashboard.places import Places  # noqa: PLC0415

    def go(where: str):
        def went(*words: str) -> None:
            st.session_state["went"] = " ".join((where, *words))

        return went

    page = importlib.import_module(f"dashboard.{module}")
    places = Places(Path(runs), Path(data))
    doors = {
        "runs": (go("run"), go("train")),
        "run": (go("models"),),
        "data": (go("train"),),
        "train": (go("run"), go("data")),
        "models": (),
    }
    page.show(places, *doors[module])


def open_page(module: str, folder: Path, timeout: float = 60, **query: str) -> AppTest:
    """Draw a page over ``folder/runs`` and ``folder/data`` for the first time."""
    kwargs = {"module": module, "runs": str(folder / "runs"), "data": str(folder / "data")}
    page = AppTest.from_function(_script, default_timeout=timeout, kwargs=kwargs)
    for name, value in query.items():
        page.query_params[name] = value
    return page.run()


def went(page: AppTest) -> str:
    """Return the page that the visitor was sent to; empty where there was none."""
    return page.session_state.get("went", "")


def texts(page: AppTest) -> str:
    """Everything that the page says."""
    kinds = (
        "title",
        "subheader",
        "markdown",
        "caption",
        "info",
        "warning",
        "error",
        "success",
        "metric",
        "code",
    )
    parts = [str(element.value) for kind in kinds for element in getattr(page, kind)]
    parts += [expander.label for expander in page.expander]
    return "\n".join(parts)


def button(page: AppTest, label: str) -> Any:
    """The button whose label begins so."""
    return next(element for element in page.button if element.label.startswith(label))


def fine(page: AppTest) -> str:
    """Everything that the page says, which stands without an error."""
    assert not page.exception, page.exception[0].value
    return texts(page)
