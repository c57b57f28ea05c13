import gc
import json
import struct
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest
from fastapi.testclient import TestClient
from page_fakes import FakeAnalyzers, encoded

import webapp.live
import webapp.photo
from fer.images import read_picture
from webapp import limits
from webapp.live import TAB, LiveSession, LiveSettings
from webapp.page import build_routes
from webapp.photo import ReadPhoto


@pytest.fixture(scope="module")
def client():
    with TestClient(build_routes([TAB], FakeAnalyzers())) as client:
        yield client


def message(image, time_s):
    return struct.pack("<d", time_s) + encoded(image, "JPEG", quality=90)


def ask(socket, image, time_s):
    socket.send_bytes(message(image, time_s))
    return json.loads(socket.receive_text())


def test_frames_in_faces_out(client, astronaut):
    with client.websocket_connect("/kv/live") as socket:
        socket.send_text("{}")
        ready = json.loads(socket.receive_text())
        assert (ready["kind"], ready["threshold"]) == ("ready", 0.4)
        assert [label["name"] for label in ready["labels"]][:2] == ["Angry", "Fearful"]
        assert ask(socket, astronaut, 1.0)["faces"] == []  # waits for its confirmation
        answer = ask(socket, astronaut, 1.05)
        (face,) = answer["faces"]
        assert (answer["width"], answer["height"], answer["time"]) == (512, 512, 1.05)
        assert face["track_id"] == 1
        assert face["emotion"] == "happy"
        assert face["unsure"] is False
        assert face["box"][0] < 225 < face["box"][2]
        assert answer["hint"] is None


def test_two_visitors_have_memories_of_their_own(client, astronaut):
    with client.websocket_connect("/kv/live") as one, client.websocket_connect("/kv/live") as two:
        assert client.get("/kv/live/count").json() == {"sessions": 2}
        for time_s in (1.0, 1.05):
            first = ask(one, astronaut, time_s)
        second = ask(two, np.zeros_like(astronaut), 1.05)
        assert len(first["faces"]) == 1
        assert second["faces"] == []
    assert client.get("/kv/live/count").json() == {"sessions": 0}


def test_threshold_and_steadiness_are_taken_over_while_running(client, astronaut):
    with client.websocket_connect("/kv/live") as socket:
        ask(socket, astronaut, 1.0)
        assert ask(socket, astronaut, 1.05)["faces"][0]["unsure"] is False
        socket.send_text(json.dumps({"threshold": 0.9, "steadiness": 0.0}))
        assert json.loads(socket.receive_text())["kind"] == "ready"
        (face,) = ask(socket, astronaut, 1.1)["faces"]
        assert face["unsure"] is True
        assert face["track_id"] == 1  # still the same person


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", '{"detector": "yunet"}', '{"steadiness": 5}', '{"threshold": "x"}', '{"colour": 1}'),
        *(
            '{"threshold": ""}',
            '{"threshold": []}',
            '{"weights": 5}',
            '{"detector": []}',
            '{"steadiness": null}',
        ),
        *('{"steadiness": true}', '{"threshold": 1e400}', '{"threshold": 1' + "0" * 400 + "}"),
        *("[" * 100_000, '{"weights":' * 100_000, "1" * 5000),
    ],
    ids=lambda text: text[:24].encode("ascii", "backslashreplace").decode(),
)
def test_wrong_settings_get_a_sentence_and_the_line_stays_open(client, astronaut, text):
    with client.websocket_connect("/kv/live") as socket:
        socket.send_text(text)
        answer = json.loads(socket.receive_text())
        assert answer["kind"] == "problem"
        assert len(answer["text"]) > 10
        assert ask(socket, astronaut, 1.0)["kind"] == "frame"


@pytest.mark.parametrize(
    "data",
    [b"", b"123", struct.pack("<d", 1.0) + b"no picture", struct.pack("<d", float("nan")) + b"x"],
    ids=["empty", "short", "no picture", "no time"],
)
def test_wrong_frames_get_a_sentence_and_the_line_stays_open(client, astronaut, data):
    with client.websocket_connect("/kv/live") as socket:
        socket.send_bytes(data)
        assert json.loads(socket.receive_text())["kind"] == "problem"
        assert ask(socket, astronaut, 1.0)["kind"] == "frame"


def test_a_frame_of_a_bomb_gets_a_sentence(client):
    with client.websocket_connect("/kv/live") as socket:
        socket.send_bytes(
            message(np.zeros((1, 1, 3), np.uint8), 1.0)[:8] + encoded(np.zeros((4000, 4000), np.uint8))
        )
        answer = json.loads(socket.receive_text())
        assert answer["kind"] == "problem"
        assert "16 megapixels" in answer["text"]


def test_silent_sockets_give_way_and_end(client, monkeypatch, astronaut):
    monkeypatch.setattr(webapp.live, "MAX_VISITORS", 1)
    monkeypatch.setattr(webapp.live, "GIVES_WAY_AFTER_S", 0.0)
    with client.websocket_connect("/kv/live") as silent, client.websocket_connect("/kv/live") as second:
        assert silent.receive()["code"] == 1013
        assert ask(second, astronaut, 1.0)["kind"] == "frame"
    monkeypatch.setattr(webapp.live, "MAX_SILENCE_S", 0.1)
    with client.websocket_connect("/kv/live") as silent:
        assert silent.receive()["code"] == 1001
    assert client.get("/kv/live/count").json() == {"sessions": 0}


def test_too_many_visitors_are_asked_to_wait(client, monkeypatch):
    monkeypatch.setattr(webapp.live, "MAX_VISITORS", 1)
    with client.websocket_connect("/kv/live"), client.websocket_connect("/kv/live") as second:
        closed = second.receive()
        assert closed["type"] == "websocket.close"
        assert closed["code"] == 1013


@pytest.mark.parametrize(
    ("brightness", "hint"), [(10, "dark"), (120, "none")], ids=["a dark room", "an empty room"]
)
def test_hint_without_a_face(brightness, hint):
    session = LiveSession(FakeAnalyzers())
    assert session.read(message(np.full((360, 480, 3), brightness, dtype=np.uint8), 0.0))["hint"] == hint


def test_hint_for_a_small_face(astronaut):
    room = np.full((1000, 1300, 3), 150, dtype=np.uint8)
    room[400:912, 700:1212] = astronaut
    session = LiveSession(FakeAnalyzers())
    session.configure(LiveSettings())
    session._stream.change_analyzer(FakeAnalyzers().get())  # settings for photos find small faces
    for time_s in (0.0, 0.05):
        answer = session.read(message(room, time_s))
    assert answer["faces"]
    assert answer["hint"] == "small"


def test_session_can_be_freed(astronaut):
    session = LiveSession(FakeAnalyzers())
    session.read(message(astronaut, 0.0))
    gone = weakref.ref(session)
    del session
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("steadiness", [0.0, 0.5, 1.0])
def test_steadiness_grows_with_its_slider(steadiness):
    slower = LiveSettings(steadiness=min(steadiness + 0.1, 1.0)).as_steadiness()
    assert LiveSettings(steadiness=steadiness).as_steadiness().time_constant_s <= slower.time_constant_s
    assert LiveSettings(steadiness=0.0).as_steadiness().time_constant_s == 0


def test_a_resting_face_is_refused_to_a_laughing_visitor_and_nothing_sticks(client, astronaut):
    with client.websocket_connect("/kv/live") as socket:
        for time_s in (1.0, 1.05):
            assert ask(socket, astronaut, time_s)["rest"]["state"] == "off"
        socket.send_text(json.dumps({"rest": "learn"}))
        assert json.loads(socket.receive_text())["rest"]["state"] == "learning"
        for time_s in np.arange(1.1, 3.3, 0.1):
            rest = ask(socket, astronaut, time_s)["rest"]
        assert rest["state"] == "failed"
        assert "looks happy" in rest["problem"]  # the fixed classifier calls every face happy
        socket.send_text(json.dumps({"rest": "undo"}))
        assert json.loads(socket.receive_text())["rest"] == {"state": "off", "track_ids": [], "problem": ""}


def test_a_resting_face_without_a_face_says_so(client, astronaut):
    with client.websocket_connect("/kv/live") as socket:
        ask(socket, np.zeros_like(astronaut), 1.0)
        socket.send_text(json.dumps({"rest": "learn"}))
        answer = json.loads(socket.receive_text())
        assert answer["kind"] == "rest"
        assert "got none" in answer["rest"]["problem"]


@pytest.mark.parametrize("order", ["sleep", 5, None, []])
def test_wrong_orders_for_a_resting_face_get_a_sentence(client, order):
    with client.websocket_connect("/kv/live") as socket:
        socket.send_text(json.dumps({"rest": order}))
        answer = json.loads(socket.receive_text())
        assert answer["kind"] == "problem"
        assert "resting face" in answer["text"]


def test_another_model_forgets_resting_faces(astronaut):
    analyzers = FakeAnalyzers()
    session = LiveSession(analyzers)
    for time_s in (0.0, 0.05):
        session.read(message(astronaut, time_s))
    assert session.rest("learn")["rest"]["state"] == "learning"
    analyzers.classifier = FakeAnalyzers().classifier
    session.configure(LiveSettings())
    assert session.rest("undo")["rest"]["state"] == "off"


class Gate:
    """Holds threads until it opens; counts those that have arrived."""

    def __init__(self):
        self.arrived = threading.Semaphore(0)
        self.opened = threading.Event()

    def pass_through(self):
        self.arrived.release()
        assert self.opened.wait(60)


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_uploads_never_hold_up_live_frames(monkeypatch, astronaut):
    gate = Gate()

    def read_slowly(data, analyzer):
        gate.pass_through()
        return ReadPhoto(read_picture(data), [])

    monkeypatch.setattr(webapp.photo, "read_photo", read_slowly)
    monkeypatch.setattr(limits, "_live_until_s", 0.0)  # nobody is live yet
    photo = encoded(astronaut, "JPEG")
    with (
        TestClient(build_routes([TAB, webapp.photo.TAB], FakeAnalyzers())) as client,
        client.websocket_connect("/kv/live") as socket,
        ThreadPoolExecutor(40) as threads,
    ):
        answers = [threads.submit(client.post, "/kv/photo", content=photo) for _ in range(40)]
        try:
            for _ in range(limits.PHOTOS_AT_ONCE):  # all places for photos are taken
                assert gate.arrived.acquire(timeout=30)
            assert ask(socket, astronaut, 1.0)["kind"] == "frame"
            assert not any(answer.done() for answer in answers)
        finally:
            gate.opened.set()
        assert [answer.result().status_code for answer in answers] == [200] * 40


def test_visitors_take_turns_however_many_frames_one_of_them_sends(monkeypatch, astronaut):
    gate, served = Gate(), []

    def answer(session, message):
        (number,) = struct.unpack_from("<d", message["bytes"])
        served.append(number)
        if number == 1:
            gate.pass_through()
        return {"kind": "frame", "time": number}

    monkeypatch.setattr(webapp.live, "_answer", answer)
    monkeypatch.setattr(limits, "FRAMES_AT_ONCE", 1)
    with TestClient(build_routes([TAB], FakeAnalyzers())) as client:

        def waiting():
            return client.portal.call(lambda: limits.live_limiter().statistics().tasks_waiting)

        with ExitStack() as stack:
            hasty, *others = [stack.enter_context(client.websocket_connect("/kv/live")) for _ in range(4)]
            for number in (1, 2, 3):
                hasty.send_bytes(struct.pack("<d", number))
            assert gate.arrived.acquire(timeout=30)
            for index, socket in enumerate(others):
                socket.send_bytes(struct.pack("<d", 10 + index))
                wait_until(lambda: waiting() == index + 1)  # noqa: B023 - called at once
            gate.opened.set()
            assert [json.loads(hasty.receive_text())["time"] for _ in range(3)] == [1, 2, 3]
            for socket in others:
                socket.receive_text()
    assert served == [1, 10, 11, 12, 2, 3]
