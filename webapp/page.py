"""The page of all tabs, on one server."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import gradio as gr
from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles
from gradio.utils import get_upload_folder

from fer.detection import AUTO, detector_class
from fer.model_card import Head, UnknownModelError
from fer.palette import PERSON_HEX
from webapp.analyzers import Analyzers
from webapp.answers import say_problems
from webapp.api import build_api
from webapp.endpoints import add_endpoints
from webapp.gradio_guard import GradioGuard, GuardedBlocks
from webapp.languages import Languages, language_choices
from webapp.languages import routes as language_routes
from webapp.limits import Patience

ASSETS: Final = Path(__file__).parent / "assets"
TITLE: Final = "KV FaceRecognition"

_FORGET_UPLOADS_S: Final = (600, 3600)
"""Seconds between two cleanups of Gradio's upload folder, and the age at which files are deleted."""

_SYSTEM_FONTS: Final = ("ui-sans-serif", "system-ui", "Segoe UI", "Roboto", "sans-serif")
_HEAD: Final = """
<meta name="description" content="Reads facial expressions from photos, video and the webcam.">
<link rel="icon" href="./kv/assets/icon.svg" type="image/svg+xml">
"""


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab of the page.

    Attributes:
        title: Its label.
        build: Lays it out; called inside ``gr.Tab``.
        routes: Builds the routes for its script; None if Gradio's own events are enough.
    """

    title: str
    build: Callable[[Analyzers], None]
    routes: Callable[[Analyzers], APIRouter] | None = None


def build_routes(tabs: Sequence[Tab], analyzers: Analyzers, *, is_demo: bool = False) -> FastAPI:
    """Build the routes that the page's scripts call, without the page itself."""
    server = FastAPI(title=TITLE, docs_url=None, redoc_url=None, openapi_url=None)
    server.add_middleware(GradioGuard)
    server.add_middleware(Patience, upload_folder=Path(get_upload_folder()))
    server.add_middleware(Languages)
    server.mount("/kv/assets", StaticFiles(directory=ASSETS))
    server.add_api_route("/kv/choices", lambda: _choices(analyzers))
    server.add_api_route("/kv/demo", lambda: {"is_on": is_demo})
    server.include_router(language_routes(), prefix="/kv")
    say_problems(server)
    for tab in tabs:
        if tab.routes is not None:
            server.include_router(tab.routes(analyzers), prefix="/kv")
    return server


def build_server(
    tabs: Sequence[Tab], analyzers: Analyzers, *, with_api: bool = True, is_demo: bool = False
) -> FastAPI:
    """Build the server of the whole page.

    Args:
        tabs: The tabs, in order.
        analyzers: The analyzers shared by all visitors.
        with_api: Whether to serve ``/api`` for other programs.
        is_demo: Whether an animated photo replaces the visitors' cameras.
    """
    server = build_routes(tabs, analyzers, is_demo=is_demo)
    if with_api:
        server.mount("/api", build_api(analyzers))
    gr.mount_gradio_app(
        server,
        build_blocks(tabs, analyzers),
        path="/",
        theme=_theme(),
        css_paths=sorted(ASSETS.glob("*.css")),
        head=_HEAD,
        footer_links=[],
        run_history=False,
        max_file_size="512mb",
        ssr_mode=False,
        show_error=True,
    )
    return server


def build_blocks(tabs: Sequence[Tab], analyzers: Analyzers) -> gr.Blocks:
    """Lay out the page: a heading with the tabs below it."""
    with GuardedBlocks(
        title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=_FORGET_UPLOADS_S
    ) as blocks:
        gr.HTML(
            (ASSETS / "heading.html").read_text("utf-8").replace("LANGUAGES", language_choices()),
            js_on_load=_script("language"),
            apply_default_css=False,
            elem_id="kv-heading",
        )
        with gr.Tabs(elem_id="kv-tabs"):
            for tab in tabs:
                with gr.Tab(tab.title, id=tab.title.lower(), render_children=True):
                    tab.build(analyzers)
        add_endpoints(blocks, analyzers)
    return cast(gr.Blocks, blocks)


def add_part(name: str) -> gr.HTML:
    """Add the part of the page made by ``assets/<name>.html`` and ``assets/<name>.js``."""
    return gr.HTML(
        html_template=(ASSETS / f"{name}.html").read_text("utf-8"),
        js_on_load=_script(name),
        apply_default_css=False,
        elem_id=f"kv-{name}",
    )


def _script(name: str) -> str:
    """Return the code that mounts ``assets/<name>.js`` on its part of the page."""
    return f"import(new URL('kv/assets/{name}.js', document.baseURI)).then(m => m.mount(element));"


def _choices(analyzers: Analyzers) -> dict[str, Any]:
    """Return the words, colours and model names that the scripts need."""
    return {
        "people": list(PERSON_HEX),
        "detectors": [_detector_choice(name) for name in analyzers.detectors],
        "weights": [_weights_choice(name, analyzers) for name in analyzers.weights],
    }


def _weights_choice(name: str, analyzers: Analyzers) -> dict[str, Any]:
    """Return a model with its available heads, the default first."""
    heads = analyzers.heads(name)
    return {"id": name, "name": name, "heads": [_head_choice(head, heads[0]) for head in heads]}


def _head_choice(head: Head, first: Head) -> dict[str, str]:
    """Describe a head: its number of expressions, and those that the first head lacks."""
    words = f"{len(head.emotions)} expressions"
    added = [emotion.display_name.lower() for emotion in head.emotions if emotion not in first.emotions]
    if added:
        words = f"{words}, also {', '.join(added)}"
    return {"id": head.name, "name": words if head is first or added else f"{words} ({head.name})"}


def _detector_choice(name: str) -> dict[str, Any]:
    """Describe a detector; if a file is missing, with an instruction for getting it."""
    try:
        kind = detector_class(name)
    except UnknownModelError:  # from a custom source of analyzers
        return {"id": name, "name": name, "is_ready": True}
    short = kind.title.split(" (")[0]
    if name == AUTO:
        return {"id": name, "name": f"Automatic: {short}", "is_ready": True}
    if (advice := kind.missing()) is not None:
        return {"id": name, "name": f"{short}: first {advice}", "is_ready": False}
    return {"id": name, "name": kind.title, "is_ready": True}


def _theme() -> gr.Theme:
    """Return Gradio's base theme in the page's colours, with system fonts only."""
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.indigo,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_lg,
        font=_SYSTEM_FONTS,
        font_mono=("ui-monospace", "Consolas", "monospace"),
    )
    return theme.set(
        body_background_fill="#f6f7f9",
        body_background_fill_dark="#0e1117",
        block_border_width="0px",
        button_primary_background_fill="#4150d8",
        button_primary_background_fill_dark="#5b6bf0",
        button_primary_background_fill_hover="#333fb8",
        button_primary_background_fill_hover_dark="#6f7df5",
    )
