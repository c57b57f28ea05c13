"""The Video tab: jobs, routes, and the page in a real browser."""

import json
import pickle
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from clips import moving_face, write_clip
from fakes import fake_analyzer
from fastapi.testclient import TestClient

from fer.video import VideoFile
from webapp import limits
from webapp.page import build_routes
from webapp.video import TAB
from webapp.video_jobs import MAX_JOBS, UNASKED_FOR_S, TooManyVideosError, VideoJob, VideoJobs
from webapp.video_reading import PageReading, check_limits

REPOSITORY = Path(__file__).resolve().parent.parent


def wait_for(job: VideoJob) -> None:
    until = time.monotonic() + 30
    while job.state not in ("finished", "failed") and time.monotonic() < until:
        time.sleep(0.01)


@pytest.fixture(scope="module")
def jobs() -> VideoJobs:
    return VideoJobs()


def test_a_job_leaves_every_file_and_deletes_the_video(jobs, tmp_path):
    key, job = jobs.open("holiday.mov")
    write_clip(tmp_path / "a.mp4", moving_face(20)).rename(job.source)
    jobs.start(job, fake_analyzer)
    wait_for(job)
    assert (job.state, job.share, job.problem, job.name) == ("finished", 1.0, None, "holiday")
    assert {path.name for path in job.folder.iterdir()} == {
        "annotated.mp4",
        *(f"timeline{suffix}" for suffix in (".csv", ".json", ".parquet", ".srt", ".svg")),
    }
    assert json.loads(job.answer)["row_count"] == 20
    jobs.drop(key)
    assert not job.folder.exists()
    assert jobs.get(key) is None


def test_the_copy_can_have_every_face_covered(tmp_path, monkeypatch):
    monkeypatch.setattr("webapp.video_reading.load_eager_detector", lambda name: fake_analyzer().detector)
    source = write_clip(tmp_path / "a.mp4", moving_face(30), sound="aac")
    shares = []
    reading = PageReading(source, pickle.dumps(fake_analyzer), 0.0, 0.0, tmp_path, "a", "box")
    answer = json.loads(reading(shares.append))
    assert answer["row_count"] == 30  # the timeline is of the faces before they were covered
    with VideoFile(tmp_path / "annotated.mp4") as video:
        frames = [frame.image for frame in video.frames()]
    assert len(frames) == 30
    assert all(fake_analyzer().analyze(frame) == [] for frame in frames)
    with av.open(tmp_path / "annotated.mp4") as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
    assert shares == sorted(shares)
    assert len(set(shares)) > 40  # both passes tell of their progress


def test_a_job_has_failed_only_when_its_files_are_gone(jobs, monkeypatch):
    key, job = jobs.open("notes.txt")
    job.source.write_bytes(b"Dear reader")
    states = []
    remove = shutil.rmtree
    monkeypatch.setattr(
        shutil, "rmtree", lambda folder, **how: (states.append(job.state), remove(folder, **how))
    )
    jobs.start(job, fake_analyzer)
    wait_for(job)
    assert states[0] == "running"
    jobs.drop(key)


def test_a_job_that_fails_says_why_without_its_place(jobs):
    key, job = jobs.open("notes.txt")
    job.source.write_bytes(b"Dear reader")
    jobs.start(job, fake_analyzer)
    wait_for(job)
    assert job.state == "failed"
    assert job.problem.startswith("the file is not a readable video")
    assert not job.folder.exists()
    jobs.drop(key)


def test_a_job_can_be_cancelled_in_the_middle(jobs, tmp_path):
    key, job = jobs.open("a.mp4")
    write_clip(tmp_path / "a.mp4", moving_face(400)).rename(job.source)
    jobs.start(job, fake_analyzer)
    while job.state == "waiting":
        time.sleep(0.001)
    jobs.drop(key)
    wait_for(job)
    assert job.answer is None
    until = time.monotonic() + 5
    while job.folder.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert not job.folder.exists()


def test_places_are_limited_and_given_back():
    jobs = VideoJobs()
    keys = [jobs.open("a")[0] for _ in range(MAX_JOBS)]
    with pytest.raises(TooManyVideosError, match="try again in a few minutes"):
        jobs.open("a")
    jobs.drop(keys[0])
    jobs.open("a")


def test_failed_videos_hold_no_places(jobs):
    for _ in range(MAX_JOBS):
        key, job = jobs.open("notes.txt")
        job.source.write_bytes(b"Dear reader")
        jobs.start(job, fake_analyzer)
        wait_for(job)
        assert job.state == "failed"
        assert jobs.get(key).problem  # why it failed can still be asked
    jobs.drop(jobs.open("a")[0])


def test_a_waiting_video_is_deleted_with_its_job():
    jobs = VideoJobs()
    key, job = jobs.open("a")
    job.source.write_bytes(b"x")
    jobs.drop(key)
    assert not job.folder.exists()


def test_a_video_that_nobody_asks_for_gives_its_place_to_a_newcomer():
    jobs = VideoJobs()
    places = [jobs.open("a") for _ in range(MAX_JOBS)]
    for _, job in places:
        job.state = "finished"
    with pytest.raises(TooManyVideosError):
        jobs.open("a")
    places[3][1].asked_s -= UNASKED_FOR_S
    jobs.open("a")
    assert jobs.get(places[3][0]) is None
    assert not places[3][1].folder.exists()


def test_a_waiting_video_that_nobody_asks_for_gives_its_place_too(tmp_path):
    jobs = VideoJobs()
    places = [jobs.open("a") for _ in range(MAX_JOBS)]
    places[0][1].state = "running"
    places[0][1].asked_s -= 2 * UNASKED_FOR_S  # it is being read: no place is won by dropping it
    key, left = places[2]
    write_clip(tmp_path / "a.mp4", moving_face(4)).rename(left.source)
    left.asked_s -= UNASKED_FOR_S
    jobs.open("newcomer")
    assert jobs.get(key) is None
    assert not left.folder.exists()
    jobs.start(left, fake_analyzer)  # its turn comes, and nothing is read
    last = places[3][1]
    write_clip(tmp_path / "b.mp4", moving_face(4)).rename(last.source)
    jobs.start(last, fake_analyzer)
    wait_for(last)
    assert (last.state, left.state) == ("finished", "waiting")
    with pytest.raises(TooManyVideosError):
        jobs.open("a")


def test_a_broken_video_does_not_stop_the_next_one(jobs, tmp_path):
    wide = [np.zeros((40_000, 2, 3), np.uint8)] * 2
    for clip in (
        write_clip(tmp_path / "a.avi", wide, codec="ffvhuff"),
        write_clip(tmp_path / "b.mp4", moving_face(5)),
    ):
        _, job = jobs.open(clip.name)
        clip.rename(job.source)
        jobs.start(job, fake_analyzer)
        wait_for(job)
    assert job.state == "finished"


def test_old_jobs_are_forgotten():
    jobs = VideoJobs()
    key, job = jobs.open("a")
    job.state, job.expires_s = "failed", time.monotonic() - 1
    assert jobs.get(key) is None
    assert not job.folder.exists()


@pytest.mark.parametrize(
    ("limit", "value", "sentence"),
    [("MAX_LENGTH_S", 0.5, "minutes long"), ("MAX_PIXELS", 1000, "160×120 pixels")],
)
def test_what_would_take_too_long_is_refused(limit, value, sentence, tmp_path, monkeypatch):
    monkeypatch.setattr(f"webapp.video_reading.{limit}", value)
    path = write_clip(tmp_path / "a.mp4", moving_face(30))
    with VideoFile(path) as video, pytest.raises(ValueError, match=sentence):
        check_limits(video)


@pytest.fixture(scope="module")
def address():
    command = [sys.executable, "tests/fake_page.py", "webapp.video"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().strip()
        server.terminate()


def ask(address: str, method: str = "GET", content: bytes | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(address, data=content, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_a_video_goes_in_and_its_files_come_out(address, tmp_path):
    content = write_clip(tmp_path / "a.mp4", moving_face(20)).read_bytes()
    key = json.loads(ask(f"{address}/kv/video?name=a.mp4", "POST", content)[1])["key"]
    until = time.monotonic() + 30
    while (state := json.loads(ask(f"{address}/kv/video/{key}")[1]))["state"] != "finished":
        assert time.monotonic() < until
        time.sleep(0.05)
    assert state["row_count"] == 20
    assert state["chart"]["svg"].startswith("<svg")
    assert ask(f"{address}/kv/video/{key}/annotated.mp4")[1][4:8] == b"ftyp"
    assert ask(f"{address}/kv/video/{key}/timeline.csv")[1].startswith(b"timestamp_s,")
    assert ask(f"{address}/kv/video/{key}/..%2F..%2Fetc")[0] == 404
    ask(f"{address}/kv/video/{key}", "DELETE")
    status, answer = ask(f"{address}/kv/video/{key}")
    assert status == 404
    assert b"not kept any more" in answer


def test_an_empty_upload_is_refused(address):
    status, answer = ask(f"{address}/kv/video", "POST", b"")
    assert status == 422
    assert b"empty file" in answer


@pytest.fixture(scope="module")
def browser(playwright_session, chromium):
    flags = ["--no-sandbox", "--disable-background-networking"]
    browser = playwright_session.chromium.launch(executable_path=chromium, args=flags)
    yield browser
    browser.close()


@pytest.fixture
def page(browser, address):
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(20_000)
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(address)
    yield page
    page.close()
    assert problems == []


@pytest.mark.browser
def test_the_tab_plays_the_annotated_video_and_jumps_by_the_chart(page, tmp_path):
    clip = write_clip(tmp_path / "a.mp4", moving_face(75), sound="aac")
    page.locator("#kv-video input[type=file]").set_input_files(clip)
    player = page.locator("#kv-video video")
    player.wait_for(state="visible")
    page.wait_for_function("document.querySelector('#kv-video video').readyState >= 1")
    assert player.evaluate("video => [video.videoWidth, video.videoHeight]") == [160, 120]
    assert player.evaluate("video => video.duration") == pytest.approx(
        3.0, abs=0.1
    )  # sound is padded a little
    player.evaluate("video => { video.muted = true; return video.play(); }")
    page.wait_for_function("document.querySelector('#kv-video video').currentTime > 0.3")
    player.evaluate("video => video.pause()")

    chart = page.locator("#kv-video .kv-chart")
    box = chart.bounding_box()
    chart.click(position={"x": box["width"] * (90 + 850 / 2) / 960, "y": 30})
    page.wait_for_function("Math.abs(document.querySelector('#kv-video video').currentTime - 1.5) < 0.1")
    chart.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("Math.abs(document.querySelector('#kv-video video').currentTime - 2.5) < 0.1")
    assert page.locator("#kv-video [data-part=people] .kv-face").count() == 1
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == "a_timeline.csv"
    assert len(Path(download.value.path()).read_text().splitlines()) == 76


@pytest.mark.browser
def test_what_is_wrong_is_said_kindly(page, tmp_path):
    (tmp_path / "notes.mp4").write_bytes(b"Dear reader")
    page.locator("#kv-video input[type=file]").set_input_files(tmp_path / "notes.mp4")
    notice = page.locator("#kv-video [data-part=notice]")
    notice.wait_for(state="visible")
    assert "not a readable video" in notice.inner_text()
    assert page.locator("#kv-video [data-part=drop]").is_visible()


@pytest.mark.browser
def test_a_video_can_be_cancelled(page, tmp_path):
    clip = write_clip(tmp_path / "a.mp4", moving_face(1500))
    page.locator("#kv-video input[type=file]").set_input_files(clip)
    cancel = page.locator("#kv-video [data-part=cancel]")
    cancel.wait_for(state="visible")
    cancel.click()
    page.locator("#kv-video [data-part=drop]").wait_for(state="visible")
    assert not page.locator("#kv-video [data-part=notice]").is_visible()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
@pytest.mark.parametrize("kind", ["full", "unplugged"])
def test_a_disk_that_takes_no_video_is_said(kind, monkeypatch, tmp_path):
    place = Path("/dev/full") if kind == "full" else tmp_path / "gone" / "video"
    monkeypatch.setattr(VideoJob, "source", property(lambda job: place))
    with TestClient(build_routes([TAB], fake_analyzer)) as page:
        answer = page.post("/kv/video", content=b"v" * 3_000_000)
    assert answer.status_code == 507
    reason = "No space left on device" if kind == "full" else "No such file or directory"
    assert answer.json()["detail"] == f"the video cannot be kept ({reason}); ask whoever runs this server"


@pytest.mark.parametrize(("kind", "reason"), [("full", "its disk is full"), ("unplugged", "Not a directory")])
def test_a_disk_that_takes_no_upload_of_gradio_is_said(kind, reason, monkeypatch, tmp_path):
    if kind == "full":
        monkeypatch.setattr(limits.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10))
    else:
        (tmp_path / "uploads").write_bytes(b"")

    async def page(scope, receive, send):
        raise AssertionError("the upload was handed on")

    client = TestClient(limits.Patience(page, upload_folder=tmp_path / "uploads" / "here"))
    answer = client.post("/gradio_api/upload", files={"files": ("a.jpg", b"photo")})
    assert (answer.status_code, answer.text) == (
        507,
        f"the server cannot keep the file: {reason}; try again later",
    )
