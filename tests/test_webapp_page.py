import datetime
import os
import socket
import subprocess
import sys

import pytest
from cryptography import x509
from fastapi.testclient import TestClient
from page_fakes import FakeAnalyzers

from fer.detection.haar import HaarDetector
from fer.emotions import FER2013_CODES
from fer.model_card import UnknownModelError
from fer.palette import label_styles
from webapp import about
from webapp.analyzers import AnalyzerShelf
from webapp.certificate import find_or_make_certificate
from webapp.page import build_routes


@pytest.fixture(scope="module")
def client():
    return TestClient(build_routes([], FakeAnalyzers()))


def test_choices_for_the_scripts(client):
    choices = client.get("/kv/choices").json()
    assert choices["detectors"][0] == {"id": "haar", "name": "Haar (frontal)", "is_ready": True}
    heads = [{"id": "crowd", "name": "6 expressions"}]
    assert choices["weights"] == [{"id": "kv_fake.test", "name": "kv_fake.test", "heads": heads}]


def test_labels_are_shown_by_their_own_names_and_colours():
    assert label_styles(FER2013_CODES)[1] == {"id": "disgusted", "name": "Disgusted", "colour": "#5d7e5c"}
    bored, mine = label_styles(["bored", "my_own"])
    assert (bored["name"], mine["name"]) == ("Bored", "My own")
    assert bored["colour"] != mine["colour"]


@pytest.mark.parametrize(
    ("is_fetched", "expected"),
    [
        (False, {"id": "yunet", "name": "YuNet: first run “python -m fer fetch yunet”", "is_ready": False}),
        (True, {"id": "yunet", "name": "YuNet (any tilt)", "is_ready": True}),
    ],
    ids=["not fetched", "fetched"],
)
def test_detector_that_is_not_here_cannot_be_chosen(client, tmp_path, monkeypatch, is_fetched, expected):
    path = tmp_path / "yunet.onnx"
    path.write_bytes(b"a network" if is_fetched else b"")
    monkeypatch.setattr("fer.detection.yunet.yunet_path", lambda: path if is_fetched else tmp_path / "none")
    assert client.get("/kv/choices").json()["detectors"][1] == expected


def test_automatic_detector_says_which_one_it_is(monkeypatch):
    analyzers = FakeAnalyzers()
    analyzers.detectors = ("auto",)
    monkeypatch.setattr("fer.detection.DETECTORS", (HaarDetector,))
    (choice,) = TestClient(build_routes([], analyzers)).get("/kv/choices").json()["detectors"]
    assert choice["name"] == "Automatic: Haar"


@pytest.mark.parametrize("name", ["page.css", "photo.js", "live.js", "live_worker.js", "icon.svg"])
def test_assets_are_served(client, name):
    assert client.get(f"/kv/assets/{name}").status_code == 200


def test_assets_folder_is_a_border(client):
    assert client.get("/kv/assets/../page.py").status_code == 404
    assert client.get("/kv/assets/%2e%2e/page.py").status_code == 404


def test_page_says_what_it_must(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# A model\n\nReads faces.\n", "utf-8")
    text = about.about_text(tmp_path, FakeAnalyzers().get().classifier.card)
    for words in (
        "Expressions are not feelings",
        "Article 5(1)(f)",
        "Article 50(3)",
        "Reads faces.",
        "sad, surprised",
    ):
        assert words in text
    assert "license: mit" not in text


def test_about_without_a_written_model_card(tmp_path):
    card = FakeAnalyzers().get().classifier.card
    text = about.about_text(tmp_path, card)
    assert "kv_fake.test" in text
    assert "Happy" in text


@pytest.mark.parametrize(("weights", "detector"), [("../secret", None), (None, "nothing"), ("/etc", "haar")])
def test_only_names_on_the_list_are_opened(weights, detector):
    with pytest.raises(UnknownModelError, match="expected one of"):
        AnalyzerShelf().get(weights, detector)


def test_folder_given_on_the_command_line_is_shown_by_name(tmp_path):
    folder = tmp_path / "kv_mine.one"
    assert AnalyzerShelf(str(folder)).weights[0] == "kv_mine.one"


def test_certificate_is_made_once_and_names_this_machine(tmp_path):
    certificate, key = find_or_make_certificate(tmp_path)
    content = certificate.read_bytes()
    parsed = x509.load_pem_x509_certificate(content)
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    assert parsed.not_valid_after_utc > datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=300)
    if os.name == "posix":
        assert key.stat().st_mode & 0o077 == 0
    assert find_or_make_certificate(tmp_path)[0].read_bytes() == content


def unwritable(folder):
    """A folder that cannot be made, for root neither: a file is in its place."""
    folder.write_bytes(b"")
    return folder / "https"


def test_certificate_lies_in_the_spare_folder_where_the_home_cannot_be_written(tmp_path):
    certificate, key = find_or_make_certificate(unwritable(tmp_path / "home"), tmp_path / "spare")
    assert {certificate.parent, key.parent} == {tmp_path / "spare"}
    assert certificate.is_file()
    with pytest.raises(OSError, match="home"):
        find_or_make_certificate(tmp_path / "home" / "https")


def test_https_is_served_from_a_home_that_cannot_be_written(tmp_path, repository):
    (tmp_path / "home").write_bytes(b"")
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home")}
    code = (
        "import socket; from webapp.serving import serve\n"
        "async def app(scope, receive, send): pass\n"
        "serve(app, socket.create_server(('127.0.0.1', 0)), https=True)"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, cwd=repository, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as page:
        try:
            assert page.stdout.readline().startswith("The page is open at https://127.0.0.1:")
        finally:
            page.terminate()
        said = page.stderr.read()
    assert said.startswith("the certificate cannot be kept in your cache folder")
    assert "Traceback" not in said


def run_app(repository, *words):
    command = [sys.executable, "app.py", *words]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=60, check=False)


def test_busy_port_is_said_in_a_sentence(repository):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        ended = run_app(repository, "--port", str(busy.getsockname()[1]))
    assert ended.returncode == 1
    assert "choose another --port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_unknown_weights_are_said_in_a_sentence(repository):
    ended = run_app(repository, "--port", "0", "--weights", "kv_none.at_all")
    assert ended.returncode == 1
    assert "no weights named 'kv_none.at_all'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_importing_gradio_quickly_leaves_inspect_alone(repository):
    code = (
        "import inspect; before = inspect.getfile; from webapp.serving import import_gradio; "
        "import_gradio(); assert inspect.getfile is before; import gradio; print(gradio.HTML.__name__)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.strip() == "HTML"
