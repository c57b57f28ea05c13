"""A page with fake models in a separate process: ``python tests/fake_page.py MODULE…`` prints its URL."""

import os
import socket
import sys
from importlib import import_module
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

from fakes import fake_analyzer  # noqa: E402


class FakeAnalyzers:
    """Gives the same fake analyzer for every choice."""

    def __init__(self) -> None:
        self.detectors = ["patch"]
        self.weights = ["fake.red"]

    def heads(self, weights):
        return fake_analyzer().classifier.card.choices

    def get(self, weights=None, detector=None, *, head=None, live=False, thorough=False):
        return fake_analyzer()

    def finder(self, detector=None, *, thorough=False):
        return fake_analyzer().detector


if __name__ == "__main__":  # the process that reads videos imports this file, too, and needs no page
    import uvicorn

    from webapp.page import build_server

    tabs = [import_module(name).TAB for name in sys.argv[1:]]
    server = build_server(tabs, FakeAnalyzers())
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    # Clients of older Gradio versions hold a stream open; it must not keep the process alive.
    config = uvicorn.Config(server, log_level="error", timeout_graceful_shutdown=2)
    uvicorn.Server(config).run([listener])
