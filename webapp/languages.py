"""The page in the visitor's language, chosen per request and remembered in a cookie."""

import re
from collections.abc import Callable
from contextvars import ContextVar
from copy import deepcopy
from typing import Any, Final

import gradio as gr
from fastapi import APIRouter

from fer.door import App, Receive, Scope, Send
from fer.translation import ENGLISH, Catalogue, catalogues, request_language

_current: ContextVar[str] = ContextVar("language", default=ENGLISH)
_TAG: Final = re.compile(r"(<[^>]*>)")
_SHOWN_ATTRIBUTE: Final = re.compile(r'\b(title|aria-label|placeholder|alt)="([^"]+)"')
_SPACE: Final = re.compile(r"\s+")


class Languages:
    """Middleware that chooses the language of each request from its URL, cookie or browser settings.

    Args:
        app: The page.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            _current.set(request_language(scope["headers"], scope.get("query_string", b"")))
        await self._app(scope, receive, send)


def current_catalogue() -> Catalogue:
    """Return the catalogue for the language of the current request."""
    return catalogues()[_current.get()]


class PageBlocks(gr.Blocks):
    """Blocks with a layout in the language of each request; Gradio itself has one layout for all."""

    _own_config: Any = None
    _translated: dict[str, Any]

    @property
    def config(self) -> Any:
        """The layout, in the format of Gradio's frontend."""
        if (catalogue := current_catalogue()).code == ENGLISH or self._own_config is None:
            return self._own_config
        if catalogue.code not in self._translated:
            self._translated[catalogue.code] = translate_layout(self._own_config, catalogue)
        return self._translated[catalogue.code]

    @config.setter
    def config(self, config: Any) -> None:
        self._own_config, self._translated = config, {}


def routes() -> APIRouter:
    """Build ``GET language``, the translations for the page's scripts."""
    router = APIRouter()

    @router.get("/language")
    def language() -> dict[str, Any]:
        catalogue = current_catalogue()
        return {
            "code": catalogue.code,
            "expressions": catalogue.expressions,
            "page": catalogue.page,
            "sentences": catalogue.sentences,
        }

    return router


def language_choices() -> str:
    """Return the options of the language switch as HTML, each language under its own name."""
    return "".join(
        f'<option value="{code}" lang="{code}">{catalogue.name}</option>'
        for code, catalogue in catalogues().items()
    )


def translate_layout(config: Any, catalogue: Catalogue) -> Any:
    """Return Gradio's layout with its texts translated."""
    config = deepcopy(config)
    for component in config["components"]:
        translate = _TRANSLATORS.get(component["type"])
        props = component["props"]
        for name in ("label", "value", "html_template"):
            if translate is not None and isinstance(props.get(name), str):
                props[name] = translate(props[name], catalogue)
    return config


def translate_html(html: str, catalogue: Catalogue) -> str:
    """Return one of our own HTML fragments with its texts, labels and tooltips translated."""
    parts = _TAG.split(html)
    for place, part in enumerate(parts):
        if place % 2:
            parts[place] = _SHOWN_ATTRIBUTE.sub(
                lambda shown: f'{shown[1]}="{catalogue.translate(shown[2])}"', part
            )
        elif words := part.strip():
            parts[place] = part.replace(words, catalogue.translate(_SPACE.sub(" ", words)))
    return "".join(parts)


_TRANSLATORS: Final[dict[str, Callable[[str, Catalogue], str]]] = {
    "tabitem": lambda text, catalogue: catalogue.translate(text),
    "html": translate_html,
    "markdown": lambda text, catalogue: catalogue.markdown(text),
}
