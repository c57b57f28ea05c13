"""The dashboard in a real browser: train on an upload, stop, resume, use the model on the webcam page."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest
import torch
from toy_faces import write_folder
from toy_runs import write_toy_run

from training import jobs
from training.config import TrainConfig
from training.pace import measure_pace
from training.run_files import RunState
from training.runs import read_run

REPOSITORY = Path(__file__).resolve().parent.parent
WAIT_MS = 180_000  # PyTorch alone takes a minute to load on a machine that has other things to do

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Server:
    """A page in a process of its own, which can be killed and started again at the same address."""

    def __init__(self, command, port, folder, health):
        self.command, self.folder, self.health = command, folder, health
        self.address = f"http://localhost:{port}"
        self.process = None

    def start(self):
        environment = os.environ | {
            "XDG_DATA_HOME": str(self.folder / "home"),
            "GRADIO_ANALYTICS_ENABLED": "False",
            "OMP_NUM_THREADS": "1",  # threads that wait for each other crawl on a busy machine
        }
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(self.address + self.health, timeout=5).read()
                return
            except OSError:
                assert self.process.poll() is None, (self.folder / "server.log").read_text()
                time.sleep(0.3)
        pytest.fail("the page did not start: " + (self.folder / "server.log").read_text())

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)

    def get(self, path):
        with urllib.request.urlopen(self.address + path, timeout=30) as answer:
            return json.loads(answer.read())


@pytest.fixture(scope="module")
def epochs():
    """Number of epochs: about a minute of training, so that any machine still trains when asked to stop."""
    pace = measure_pace(TrainConfig(data=(Path("made-up"),)), torch.device("cpu"), seconds=1)
    return round(min(max(60 * pace.images_per_second / 100, 40), 150))


@pytest.fixture
def dashboard(tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.headless", "true"]
    command += ["--server.port", str(port), "--server.fileWatcherType", "none", "--"]
    command += ["--runs", str(tmp_path / "runs"), "--data", str(tmp_path / "data")]
    server = Server(command, port, tmp_path, "/_stcore/health")
    server.start()
    yield server
    server.kill()
    for folder in (tmp_path / "runs").glob("*"):
        if read_run(folder).is_active:
            jobs.end(folder)


@pytest.fixture(scope="module")
def browser(playwright_session, chromium):
    arguments = [
        "--no-sandbox",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
    ]
    browser = playwright_session.chromium.launch(executable_path=chromium, args=arguments)
    yield browser
    browser.close()


@pytest.fixture
def visit(browser):
    """Opens a page that notes what it asks of the outside world."""
    contexts, outside = [], set()

    def note(request):
        if not request.url.startswith(("http://localhost:", "ws://localhost:", "data:", "blob:")):
            outside.add(request.url)

    def go(address, width=1280):
        context = browser.new_context(viewport={"width": width, "height": 1000})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("request", note)
        page.goto(address)
        page.get_by_role("heading", level=1).wait_for()
        return page

    yield go
    for context in contexts:
        context.close()
    assert not outside, f"the page asks others for {outside}"


def says(page, text, timeout=WAIT_MS):
    page.get_by_text(re.compile(text)).first.wait_for(timeout=timeout)


def press(page, label):
    outside_sidebar = page.locator(":not([data-testid=stSidebar] *)")  # its boxes have buttons "Open", too
    page.get_by_role("button", name=re.compile(f"{label}$")).and_(outside_sidebar).first.click()


def wait_until(true, timeout_s=240):
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.2)


@pytest.fixture
def upload(tmp_path):
    """A zip of 120 pictures in six classes."""
    folder = write_folder(tmp_path / "pictures", 10)
    path = tmp_path / "made-up.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for picture in sorted(folder.rglob("*.png")):
            archive.write(picture, picture.relative_to(folder))
    assert len(zipfile.ZipFile(path).namelist()) == 120
    return path


def start_training(page, address, upload, epochs):
    """From the upload to a training that has its own page; returns its run folder's name."""
    page.goto(address + "/pictures")
    page.get_by_text("Upload", exact=True).first.click()
    page.locator("input[type=file]").set_input_files(upload)
    press(page, "Save these pictures")
    says(page, "120 files are kept as the data set made-up")
    press(page, "Open")
    press(page, "Train with these pictures")
    epochs_field = page.get_by_label("Epochs", exact=True)
    epochs_field.fill(str(epochs))
    epochs_field.press("Enter")
    says(page, f"{epochs} epochs of")
    press(page, "Start training")
    page.wait_for_url(re.compile(r"/run\?run="))
    return page.url.split("run=")[1]


def test_from_an_uploaded_zip_to_the_webcam_page(dashboard, visit, upload, epochs, tmp_path):
    port = free_port()
    webcam = Server([sys.executable, "app.py", "--port", str(port)], port, tmp_path, "/kv/choices")
    webcam.start()
    try:
        page = visit(dashboard.address)
        name = start_training(page, dashboard.address, upload, epochs)
        folder = tmp_path / "runs" / name
        says(page, rf"epoch \d+ of {epochs}")
        page.get_by_text("validation").first.wait_for()  # the legend of the curves
        page.locator("canvas, svg.marks").first.wait_for()
        before = len(read_run(folder).epochs)
        wait_until(lambda: len(read_run(folder).epochs) > before)
        says(page, rf"epoch ({'|'.join(str(n) for n in range(before + 2, epochs + 1))}) of {epochs}")

        press(page, "Stop training")
        says(page, "stopped on request")
        stopped = read_run(folder)
        assert stopped.state is RunState.STOPPED
        assert 0 < len(stopped.epochs) < epochs
        page.reload()
        says(page, "stopped on request")
        press(page, "Resume")
        says(page, "finished", timeout=400_000)
        finished = read_run(folder)
        assert [row["epoch"] for row in finished.epochs] == list(range(1, epochs + 1))
        assert [dict(row) for row in finished.epochs[: len(stopped.epochs)]] == [
            dict(r) for r in stopped.epochs
        ]

        first = webcam.get("/kv/choices")["weights"][0]["id"]
        page.get_by_role("tab", name="Downloads").last.click()
        press(page, "Export")
        press(page, "Open models")
        mine = name.removesuffix("_kv_fast")
        page.locator(f"[class*='st-key-use'][class*='{mine}'] button").click()  # the others came along
        says(page, f"The webcam page uses kv_fast.{mine}")
        chosen = webcam.get("/kv/choices")["weights"][0]["id"]
        assert chosen == f"kv_fast.{mine}" != first, "without a restart"
        press(page, r"Back to the shipped one .*")
        wait_until(lambda: webcam.get("/kv/choices")["weights"][0]["id"] == first)
    finally:
        webcam.kill()


def test_a_training_outlives_reloads_second_browsers_and_the_dashboard(dashboard, visit, upload, tmp_path):
    page = visit(dashboard.address)
    name = start_training(page, dashboard.address, upload, 400)
    folder = tmp_path / "runs" / name
    says(page, r"epoch \d+ of 400")
    page.reload()
    says(page, r"epoch \d+ of 400")
    second = visit(f"{dashboard.address}/run?run={name}")
    says(second, r"epoch \d+ of 400")
    dashboard.kill()
    before = len(read_run(folder).epochs)
    wait_until(lambda: len(read_run(folder).epochs) > before + 1)
    dashboard.start()
    third = visit(f"{dashboard.address}/run?run={name}")
    says(third, r"epoch \d+ of 400")

    jobs.end(folder)  # as kill -9 does
    says(third, "interrupted")
    whole = len(read_run(folder).epochs)
    press(third, "Resume")
    says(third, "running")
    wait_until(lambda: len(read_run(folder).epochs) > whole)
    press(third, "Stop training")
    says(third, "stopped on request")
    epochs = [row["epoch"] for row in read_run(folder).epochs]
    assert epochs == list(range(1, len(epochs) + 1)), "no epoch is missing, none is there twice"


@pytest.mark.parametrize("width", [1280, 400])
def test_no_page_is_wider_than_its_window(dashboard, visit, tmp_path, width):
    write_toy_run(tmp_path / "runs" / "a", 12)
    write_toy_run(tmp_path / "runs" / "b", 7, planned=9, state="stopped", seed=3)
    page = visit(dashboard.address, width)
    for path in ("/", "/run?run=a", "/run?run=b", "/pictures", "/train", "/models"):
        page.goto(dashboard.address + path)
        page.get_by_role("heading", level=1).wait_for()
        page.wait_for_timeout(1500)
        wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wide, path
        assert page.get_by_text("encountered an error").count() == 0, path
