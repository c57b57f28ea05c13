"""``/api``: responses, errors, limits, schema and the documented commands."""

import io
import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
from clips import moving_face, write_clip
from fakes import fake_analyzer, red_face
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from fer.door import Door
from fer.model_card import UnknownModelError
from fer.passwords import add_user, read_users
from fer.reports import faces_to_dict
from fer.timeline.table import Summary
from webapp import api, limits, page, uploads

REPOSITORY = Path(__file__).resolve().parent.parent


class FakeAnalyzers:
    detectors = ("patch",)
    weights = ("fake.red",)

    def __init__(self):
        self.asked = []

    def get(self, weights=None, detector=None, *, head=None, live=False, thorough=False):
        self.asked.append(thorough)
        if detector not in (None, "patch"):
            raise UnknownModelError(f"no model named {detector!r} here; expected one of patch")
        return fake_analyzer()


@pytest.fixture(scope="module")
def server():
    server = FastAPI(openapi_url=None)
    server.mount("/api", api.build_api(FakeAnalyzers()))
    return server


@pytest.fixture(scope="module")
def client(server):
    return TestClient(server)


@pytest.fixture(scope="module")
def photo() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(red_face()).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> bytes:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", moving_face(20)).read_bytes()


def finished(client, key: str) -> dict:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        answer = client.get(f"/api/video/{key}").json()
        if answer["state"] in ("finished", "failed"):
            return answer
        time.sleep(0.05)
    raise AssertionError("the video was not finished within 30 s")


@pytest.mark.parametrize("way", ["bytes", "form", "bytes as curl sends them"])
def test_a_photo_is_answered_as_the_shell_answers(client, photo, way):
    sent = {"files": {"photo": ("me.png", photo)}} if way == "form" else {"content": photo}
    if way == "bytes as curl sends them":
        sent["headers"] = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = client.post("/api/photo?name=me.png", **sent)
    assert answer.status_code == 200
    expected = faces_to_dict(fake_analyzer().analyze(red_face()), 64, 48, "me.png")
    assert answer.json() == json.loads(json.dumps(expected))
    assert len(expected["faces"]) == 1


@pytest.mark.parametrize(
    ("words", "asked"),
    [("", False), ("?thorough=true", True), ("?thorough=1", True), ("?thorough=false", False)],
)
def test_small_faces_are_searched_on_request(photo, words, asked):
    analyzers = FakeAnalyzers()
    answer = TestClient(api.build_api(analyzers)).post(f"/photo{words}", content=photo)
    assert answer.status_code == 200
    assert analyzers.asked == [asked]


def test_an_unusual_file_is_answered_with_its_notes(client):
    buffer = io.BytesIO()
    Image.fromarray(red_face()).save(buffer, "JPEG", quality=95)
    assert "notes" not in client.post("/api/photo", content=buffer.getvalue()).json()
    answer = client.post("/api/photo", content=buffer.getvalue()[:-20]).json()
    assert answer["notes"] == ["is cut off at its end; the remaining part was read"]


def test_a_form_stays_in_memory(client, monkeypatch):
    """A form of some megabytes would be written to the disk by default."""
    monkeypatch.setattr("tempfile.TemporaryFile", lambda *words, **named: pytest.fail("a file was written"))
    assert client.post("/api/photo", files={"photo": ("p.png", bytes(5 << 20))}).status_code == 422


def test_a_video_is_read_and_deleted(client, clip):
    for sent in ({"content": clip}, {"files": {"video": ("clip.mp4", clip)}}):
        answer = client.post("/api/video?every_s=0.2", **sent)
        assert answer.status_code == 202
        key = answer.json()["id"]
        state = finished(client, key)
        assert state["state"] == "finished", state["problem"]
        assert state["timeline"]["frame_count"] == len(state["timeline"]["rows"]) == 4
        assert [person["track_id"] for person in state["timeline"]["summary"]] == [None, 1]
        assert client.delete(f"/api/video/{key}").status_code == 204
        for method in (client.get, client.delete):
            assert method(f"/api/video/{key}").json() == {
                "error": "there is no such video any more; send it again"
            }


def test_a_video_that_cannot_be_read_says_so(client):
    key = client.post("/api/video", content=b"Dear reader").json()["id"]
    state = finished(client, key)
    assert (state["state"], state["timeline"]) == ("failed", None)
    assert "not a readable video" in state["problem"]


@pytest.mark.parametrize(
    ("path", "sent", "status", "sentence"),
    [
        ("photo", {"content": b"Dear reader"}, 422, "not an image"),
        ("photo", {"content": b""}, 422, "expected a photo, got an empty file"),
        ("photo", {"files": {"photo": ("p.png", b"")}}, 422, "expected a photo, got an empty file"),
        ("photo", {"files": [("a", ("a", b"1")), ("b", ("b", b"1"))]}, 422, "expected a form with one file"),
        ("photo", {"data": {"a": "b"}, "files": {}}, 422, "not an image"),
        (
            "photo",
            {"content": b"--x\r\n\r\n", "headers": {"Content-Type": "multipart/form-data"}},
            422,
            "expected a form",
        ),
        ("photo?detector=other", {"content": "photo"}, 422, "no model named 'other' here"),
        ("photo", {"content": bytes(300)}, 413, "expected a photo of at most"),
        ("video?detector=other", {"content": b"1"}, 422, "no model named 'other' here"),
        ("video?every_s=-1", {"content": b"1"}, 422, "expected a value for every_s, got"),
        ("video?every_s=inf", {"content": b"1"}, 422, "expected a value for every_s, got"),
        ("video", {"content": b""}, 422, "expected a video, got an empty file"),
        ("video", {"content": bytes(300)}, 413, "expected a video of at most"),
        ("video", {"files": {"video": ("v", bytes(300))}}, 413, "expected a video of at most"),
        ("nothing", {"content": b"1"}, 404, "Not Found"),
    ],
)
def test_an_error_is_one_sentence(client, photo, monkeypatch, path, sent, status, sentence):
    if status == 413:
        monkeypatch.setattr(uploads, "MAX_PHOTO_BYTES", 200)
        monkeypatch.setattr(uploads, "MAX_VIDEO_BYTES", 200)
    if sent.get("content") == "photo":
        sent = {"content": photo}
    answer = client.post(f"/api/{path}", **sent)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert sentence in answer.json()["error"]


def test_too_many_videos_are_asked_to_wait(photo, monkeypatch):
    monkeypatch.setattr("webapp.video_jobs.MAX_JOBS", 0)
    answer = TestClient(api.build_api(FakeAnalyzers())).post("/video", content=b"1")
    assert answer.status_code == 503
    assert "try again" in answer.json()["error"]


def test_a_refused_video_takes_no_place(client, monkeypatch):
    for _ in range(2 * api.MAX_JOBS):
        assert client.post("/api/video", content=b"").status_code == 422


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1", "Origin": "http://evil.example"}, 403),
        ({"Host": "127.0.0.1"}, 401),
        ({"Host": "127.0.0.1", "Authorization": "Basic YW5uOmEgbG9uZyBwYXNzd29yZA=="}, 200),
    ],
    ids=["host", "origin", "no password", "password"],
)
def test_the_door_stands_before_it(server, photo, tmp_path, headers, status):
    add_user(tmp_path / "users", "ann", "a long password")
    guarded = TestClient(Door(server, users=read_users(tmp_path / "users")), base_url="http://127.0.0.1")
    assert guarded.post("/api/photo", content=photo, headers=headers).status_code == status


def test_the_schema_describes_every_answer(client, photo):
    schema = client.get("/api/openapi.json").json()
    assert schema["servers"] == [{"url": "../api"}]
    assert set(schema["paths"]) == {"/photo", "/video", "/video/{key}"}
    (thorough,) = [
        each for each in schema["paths"]["/photo"]["post"]["parameters"] if each["name"] == "thorough"
    ]
    assert (thorough["in"], thorough["schema"]["type"]) == ("query", "boolean")
    assert "small faces" in thorough["description"]
    face = client.post("/api/photo", content=photo).json()["faces"][0]
    record = schema["components"]["schemas"]["FaceRecord"]
    assert set(record["required"]) == set(record["properties"]) == set(face)
    summary = schema["components"]["schemas"]["PersonSummary"]["properties"]
    assert list(summary) == [field.name for field in fields(Summary)]
    for methods in schema["paths"].values():
        for operation in methods.values():
            assert operation["summary"] and operation["description"]
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    model = answer["content"]["application/json"]["schema"]["$ref"]
                    assert model.endswith("/Problem"), (operation["summary"], status)


def test_the_docs_need_nothing_from_outside(client):
    text = client.get("/api/docs").text
    assert not re.search(r"<script|<link|<img|src=|@import|url\(", text)
    assert re.findall(r"href='([^'#]*)'", text) == ["openapi.json"]
    for words in (
        "POST /api/photo",
        "thorough=true",
        "GET /api/video/{key}",
        "DELETE /api/video/{key}",
        "64 MB",
        "512 MB",
    ):
        assert words in text
    anchors = set(re.findall(r"href='#(\w+)'", text))
    assert anchors and anchors <= set(re.findall(r"id='(\w+)'", text))


@pytest.mark.parametrize("with_api", [True, False])
def test_the_api_can_be_switched_off(photo, monkeypatch, with_api):
    monkeypatch.setattr(page, "build_blocks", lambda tabs, analyzers: None)  # Gradio's part is not asked here
    monkeypatch.setattr(page.gr, "mount_gradio_app", lambda server, blocks, **settings: server)
    client = TestClient(page.build_server([], FakeAnalyzers(), with_api=with_api))
    for status in (client.get("/api/docs").status_code, client.post("/api/photo", content=photo).status_code):
        assert status == (200 if with_api else 404)


@pytest.fixture(scope="module")
def address():
    with subprocess.Popen(
        [sys.executable, "tests/fake_page.py"], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as running:
        yield running.stdout.readline().strip()
        running.terminate()


def documented() -> list[str]:
    text = (REPOSITORY / "docs" / "api.md").read_text("utf-8").split("## One request\n")[1].split("\n## ")[0]
    return re.findall(r"^curl .*$", text, re.MULTILINE)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_documented_commands_work(address, photo, clip, tmp_path):
    for name in ("photo.jpg", "class.jpg"):
        (tmp_path / name).write_bytes(photo)
    (tmp_path / "clip.mp4").write_bytes(clip)
    key, seen = "", set()
    for line in (line.split("#")[0] for line in documented()):
        words = line.replace("http://127.0.0.1:7860", address).replace("ID", key).split()
        answer = subprocess.run(
            [words[0], "-s", *words[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
        ).stdout
        if "/api/photo" in line:
            assert json.loads(answer)["faces"][0]["emotion"] == "happy", line
        elif "ID" not in line:
            key = json.loads(answer)["id"]
        elif "DELETE" in line:
            assert answer == ""
        else:
            assert json.loads(answer)["state"] in ("waiting", "running", "finished"), line
        seen.add(line)
    assert len(seen) >= 5


@pytest.mark.parametrize("as_form", [False, True])
def test_photos_on_their_way_share_the_budget_of_the_page(client, photo, as_form):
    sent = {"files": {"photo": ("p.png", photo)}} if as_form else {"content": photo}
    limits.uploads.take(limits.UPLOAD_BYTES)
    try:
        answer = client.post("/api/photo", **sent)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    finally:
        limits.uploads.give_back(limits.UPLOAD_BYTES)
    assert client.post("/api/photo", **sent).status_code == 200
    assert (limits.pictures.held_bytes, limits.uploads.held_bytes) == (0, 0)
