"""The server of benchmarks.live_cost: the page's routes, with the processor time of its stages on request.

Run as a script, so that the modules may be those of another checkout: it imports nothing but them.
"""

import json
import os
import socket
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partialmethod, wraps
from importlib import import_module
from typing import Any, Final

STAGES: Final = (
    ("webapp.live", "read_image", "decode JPEG"),
    ("fer.streams.stream", "CutDetector.is_cut", "compare with the frame before"),
    ("fer.detection.kv_face", "prepare_image", "search: shrink and pad"),
    ("fer.detection.kv_face", "KvFaceDetector._run", "search: network"),
    ("fer.detection.kv_face", "KvFaceDetector.detect", "search: decode boxes"),
    ("fer.detection.verifier", "FaceVerifier.verify", "search: crops of the verifier"),
    ("fer.detection.verifier", "FaceVerifier.logits", "search: verifier"),
    ("fer.streams.local_search", "crop_face", "search: cut the surroundings"),
    ("fer.streams.search", "BudgetSearch.find", "search: choose where"),
    ("fer.analysis", "cut_for_network", "cut the faces"),
    ("fer.classification", "prepare_crops", "resize the faces"),
    ("fer.classification", "EmotionClassifier.probabilities", "expression network"),
    ("fer.analysis", "FaceAnalyzer.read_faces", "predictions, turn of the head"),
    ("fer.streams.tracking", "FaceTracker.update", "track and smooth"),
    ("webapp.live", "face_to_dict", "records of faces"),
    ("webapp.live", "_hint", "hint"),
    ("webapp.live", "_answer", "rest of the answer"),
    ("webapp.live", "json.dumps", "JSON"),
)
"""Module, attribute and row of the functions that are timed; a stage excludes the stages it calls."""

LOOP: Final = "event loop, sockets"
OTHER: Final = "thread hand-over, threads of libraries"


class _Stopwatch:
    """Sums the processor time of functions by row, without the timed functions that they call."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._inner = threading.local()

    def timed(self, row: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapper(*args: Any, **words: Any) -> Any:
            outer = getattr(self._inner, "spent_s", 0.0)
            self._inner.spent_s = 0.0
            start_s = time.thread_time()
            try:
                return function(*args, **words)
            finally:
                whole_s = time.thread_time() - start_s
                with self._lock:
                    self.spent[row] += whole_s - self._inner.spent_s
                    is_main = threading.current_thread() is threading.main_thread()
                    self.spent["main" if is_main else "workers"] += whole_s - self._inner.spent_s
                self._inner.spent_s = outer + whole_s

        return wrapper


def main(*, with_stages: bool) -> None:
    """Run the page's routes; print the processor times for each line of standard input."""
    from webapp.serving import import_gradio, serve  # noqa: PLC0415

    import_gradio()
    from fer.door import Door  # noqa: PLC0415
    from fer.streams.search import BudgetSearch  # noqa: PLC0415
    from webapp.analyzers import AnalyzerShelf  # noqa: PLC0415
    from webapp.live import TAB  # noqa: PLC0415
    from webapp.page import build_routes  # noqa: PLC0415

    watch = _Stopwatch()
    analyzers = AnalyzerShelf()
    # Search as on a machine without other load.
    BudgetSearch.__init__ = partialmethod(BudgetSearch.__init__, clock=time.thread_time)  # type: ignore[method-assign, assignment]
    if with_stages:
        _time_stages(watch, analyzers)
    main_clock = time.pthread_getcpuclockid(threading.main_thread().ident or 0)

    def answer() -> None:
        while os.read(0, 1):  # sys.stdin would be locked meanwhile
            process_s, main_s = time.process_time(), time.clock_gettime(main_clock)
            spent = dict(watch.spent)
            in_main, in_workers = spent.pop("main", 0.0), spent.pop("workers", 0.0)
            if with_stages:
                spent[LOOP] = main_s - in_main
                spent[OTHER] = process_s - main_s - in_workers
            else:
                spent["all"] = process_s
            print(json.dumps(spent), flush=True)

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=answer, daemon=True).start()
    serve(Door(build_routes([TAB], analyzers), ("127.0.0.1",)), listener)


def _time_stages(watch: _Stopwatch, analyzers: Any) -> None:
    detector = analyzers.get(live=True).detector
    for module, path, row in STAGES:
        owner = import_module(module)
        *names, last = path.split(".")
        for name in names:
            owner = getattr(owner, name, None)
        if last == "_run":
            owner = detector  # set by its constructor
        if owner is None or not hasattr(owner, last):
            continue  # of another version
        setattr(owner, last, watch.timed(row, getattr(owner, last)))


if __name__ == "__main__":
    main(with_stages="stages" in sys.argv[1:])
