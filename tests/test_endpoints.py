"""The named endpoints, called as documented."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from clips import moving_face, write_clip
from fakes import fake_analyzer, red_face
from PIL import Image

gradio_client = pytest.importorskip("gradio_client")
REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def uploads(tmp_path_factory):
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def address(uploads):
    """A running page with the video tab and the endpoints."""
    command = [sys.executable, "tests/fake_page.py", "webapp.video"]
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(uploads)}
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        yield server.stdout.readline().strip()  # its socket takes calls from here on, answers follow
        server.terminate()


@pytest.fixture(scope="module")
def client(address):
    client = gradio_client.Client(address, verbose=False)
    yield client
    client.close()


@pytest.fixture
def photo(tmp_path) -> Path:
    Image.fromarray(red_face()).save(tmp_path / "photo.jpg", quality=100, subsampling=0)
    return tmp_path / "photo.jpg"


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_photo_is_answered_with_typed_json(client, photo, uploads):
    answer = client.predict(photo=gradio_client.handle_file(photo), api_name="/analyze_photo")
    assert (answer["width"], answer["height"]) == (64, 48)
    (face,) = answer["faces"]
    fixed = {
        "box",
        "score",
        "emotion",
        "confidence",
        "unsure",
        "other",
        "turned_away",
        "roll",
        "yaw",
        "pitch",
    }
    fixed |= {"landmarks"}
    assert set(face) == {*fixed, "probabilities"}
    assert (face["unsure"], face["other"], face["roll"], face["landmarks"]) == (False, 0.0, 0.0, None)
    assert face["emotion"] == "happy"
    assert files_in(uploads) == []  # deleted as soon as it was read


def test_the_types_are_told(client):
    told = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(told) == {"/analyze_photo", "/analyze_video"}
    (answer,) = told["/analyze_photo"]["returns"]
    assert answer["python_type"]["type"].startswith("dict(width: int, height: int, faces: list[")


def test_a_video_is_answered_with_rows_and_summaries(client, tmp_path, uploads):
    clip = write_clip(tmp_path / "clip.mp4", moving_face(20))
    answer = client.predict(video=gradio_client.handle_file(clip), every_s=0.2, api_name="/analyze_video")
    assert answer["frame_count"] == len(answer["rows"]) == 4
    assert [person["track_id"] for person in answer["summary"]] == [None, 1]
    assert files_in(uploads) == []


@pytest.mark.parametrize(
    ("endpoint", "settings", "sentence"),
    [
        ("/analyze_photo", {"photo": b"Dear reader"}, "not an image"),
        ("/analyze_video", {"video": b"Dear reader"}, "not a readable video"),
    ],
)
def test_what_is_wrong_is_said_without_the_place(client, endpoint, settings, sentence, tmp_path, uploads):
    (name, content), *_ = settings.items()
    (tmp_path / "file.bin").write_bytes(content)
    with pytest.raises(Exception, match=sentence) as caught:
        client.predict(**{name: gradio_client.handle_file(tmp_path / "file.bin")}, api_name=endpoint)
    assert str(uploads) not in str(caught.value)
    assert files_in(uploads) == []


def curl(*words: str) -> str:
    return subprocess.run(
        ["curl", "-s", *words], capture_output=True, text=True, timeout=30, check=True
    ).stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("with_meta", [False, True])
def test_other_files_of_the_machine_are_neither_read_nor_deleted(address, photo, with_meta):
    """Whoever calls may write any path into the request."""
    file = {"path": str(photo)} | ({"meta": {"_type": "gradio.FileData"}} if with_meta else {})
    asked = curl(
        f"{address}/gradio_api/call/analyze_photo",
        *("-H", "Content-Type: application/json", "-d", json.dumps({"data": [file, None, None, None]})),
    )
    answer = curl("-N", f"{address}/gradio_api/call/analyze_photo/{json.loads(asked)['event_id']}")
    assert "event: error" in answer
    assert "faces" not in answer
    assert "input values" not in answer  # the call itself is a right one
    assert photo.exists()


def examples(language: str) -> list[str]:
    text = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_documented_client_works(address, photo, tmp_path, capsys):
    write_clip(tmp_path / "clip.mp4", moving_face(20))
    code = examples("python")[0].replace("http://127.0.0.1:7860", address)
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        exec(code, {})
    finally:
        os.chdir(before)
    assert "happy 0.75" in capsys.readouterr().out


@pytest.mark.skipif(
    shutil.which("curl") is None or shutil.which("bash") is None, reason="needs bash and curl"
)
def test_the_documented_curl_works(address, photo, tmp_path):
    (script,) = examples("bash")
    answer = subprocess.run(
        ["bash", "-c", script.replace("http://127.0.0.1:7860", address)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "event: complete" in answer.stdout
    (data,) = re.findall(r"^data: (.*)$", answer.stdout, re.MULTILINE)
    assert json.loads(data)[0]["faces"][0]["emotion"] == "happy"


def test_the_documented_library_calls_work(photo, tmp_path, monkeypatch):
    write_clip(tmp_path / "clip.mp4", moving_face(10))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fer.load_analyzer", fake_analyzer)
    for code in examples("python")[1:]:
        exec(code, {})
    assert (tmp_path / "annotated.mp4").exists()
    assert len((tmp_path / "timeline.csv").read_text().splitlines()) == 11
