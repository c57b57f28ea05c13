"""Fuzz tests of untrusted input: a correct answer or one error sentence, never anything else.

The default run is short; ``make fuzz`` sets ``KV_FUZZ_EXAMPLES`` for a long one.
"""

import io
import json
import os
import pickle
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).resolve().parent.parent))  # the fakes lie beside the other tests
from clips import moving_face, write_clip
from fakes import fake_analyzer, red_face
from page_fakes import FakeAnalyzers

from fer.images import UnreadableImageError, decoding_bytes, read_image
from fer.model_card import CARD_FILE, UnknownModelError, WeightsMismatchError, load_card
from webapp.live import LiveSession, _answer
from webapp.video_reading import TimelineReading
from webapp.worker import Worker, WorkFailedError

EXAMPLES = int(os.environ.get("KV_FUZZ_EXAMPLES", "40"))
often = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES == 40,  # the short run is the same everywhere
    database=None,
    suppress_health_check=list(HealthCheck),
)
seldom = settings(often, max_examples=max(EXAMPLES // 5, 1))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_subnormal=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


def mutated(seed: bytes) -> st.SearchStrategy[bytes]:
    """The seed with some bytes changed, cut off, or repeated."""
    change = st.tuples(st.integers(0, len(seed) - 1), st.binary(min_size=1, max_size=4))

    def apply(changes, cut, start):
        data = bytearray(seed)
        for place, new in changes:
            data[place : place + len(new)] = new
        return bytes(data[: len(data) - cut]) + bytes(data[:start])

    most = len(seed) // 2
    return st.builds(
        apply,
        st.lists(change, max_size=6),
        st.just(0) | st.integers(0, most),
        st.just(0) | st.integers(0, most),
    )


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(red_face())
    image.save(
        buffer, kind, **({"save_all": True, "append_images": [image]} if kind in ("GIF", "WEBP") else {})
    )
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "TGA"])
def test_pictures(kind):
    @settings(often, max_examples=max(EXAMPLES // 2, 1))
    @given(mutated(picture(kind)))
    def check(data):
        assert decoding_bytes(data) >= 0
        try:
            image = read_image(data, 4_000_000)
        except UnreadableImageError as error:
            assert str(error)
        else:
            assert image.dtype == np.uint8
            assert image.shape[2] == 3

    check()


def test_live_messages():
    session = LiveSession(FakeAnalyzers())
    words = st.sampled_from(["detector", "weights", "steadiness", "threshold"])
    texts = st.text() | json_values.map(json.dumps) | st.dictionaries(words, json_values).map(json.dumps)
    frames = st.builds(
        lambda time_s, data: struct.pack("<d", time_s) + data,
        st.floats(allow_subnormal=False),
        mutated(picture("JPEG")) | st.binary(),
    )

    @often
    @given(texts.map(lambda text: {"text": text}) | frames.map(lambda data: {"bytes": data}))
    def check(message):
        answer = _answer(session, message)
        assert answer["kind"] in ("ready", "frame", "problem")
        json.dumps(answer)

    check()


def test_cards(tmp_path):
    seed = {"name": "a", "architecture": "b", "heads": [{"name": "c", "labels": ["happy"]}], "files": {}}
    changed = st.dictionaries(st.sampled_from([*seed, "preprocessing", "metrics"]), json_values).map(
        lambda fields: json.dumps(seed | fields).encode()
    )

    @often
    @given(changed | mutated(json.dumps(seed).encode()) | st.binary())
    def check(data):
        (tmp_path / CARD_FILE).write_bytes(data)
        try:
            load_card(tmp_path)
        except (UnknownModelError, WeightsMismatchError) as error:
            assert str(error)

    check()


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4")])
def test_videos(tmp_path, name, codec):
    """In the process that reads them: one that dies is replaced, the next video is read."""
    seed = write_clip(tmp_path / name, moving_face(4), codec=codec).read_bytes()
    worker, load = Worker(silence_s=60), pickle.dumps(fake_analyzer)

    @seldom
    @given(mutated(seed))
    def check(data):
        (tmp_path / "video").write_bytes(data)
        try:
            answer = json.loads(worker.run(TimelineReading(tmp_path / "video", load, 0.0, 0.0)))
        except WorkFailedError as error:
            assert "damaged and cannot be read" in str(error) or "Error" not in str(error)
        else:
            assert answer["frame_count"] > 0

    try:
        check()
        (tmp_path / "video").write_bytes(seed)
        assert json.loads(worker.run(TimelineReading(tmp_path / "video", load, 0.0, 0.0)))["frame_count"] == 4
    finally:
        worker.close()
