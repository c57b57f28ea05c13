import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from page_fakes import encoded

from fer.images import read_image

pytestmark = [pytest.mark.browser, pytest.mark.golden, pytest.mark.slow]


def send(page, content, name="visitor.png"):
    page.wait_for_selector("[data-part=choose]:enabled", state="attached")
    page.set_input_files(
        ".kv-photo [data-part=file]", {"name": name, "mimeType": "image/png", "buffer": content}
    )


def saved(page, part):
    with page.expect_download() as download:
        page.click(f".kv-photo [data-part={part}]")
    return download.value.suggested_filename, Path(download.value.path()).read_text("utf-8")


def test_photo_gives_bars_table_and_files(browse, astronaut):
    with browse(tab="Photo") as page:
        send(page, encoded(astronaut))
        page.wait_for_selector(".kv-photo .kv-face")
        assert page.locator(".kv-photo .kv-face").count() == 1
        assert page.locator(".kv-photo .kv-bar").count() == 6
        assert page.locator(".kv-photo .kv-word").inner_text() == "Happy"
        assert page.locator(".kv-photo [data-part=rows] tr").count() == 1
        assert "happy" in page.locator(".kv-photo [data-part=picture]").get_attribute("alt")
        name, text = saved(page, "saveJson")
        record = json.loads(text)
        assert name == "visitor.json"
        assert list(record) == ["path", "width", "height", "faces"]
        assert record["faces"][0]["emotion"] == "happy"
        name, text = saved(page, "saveCsv")
        (row,) = csv.DictReader(io.StringIO(text))
        assert name == "visitor.csv"
        assert row["emotion"] == "happy"
        page.click(".kv-photo .kv-face-extra button")
        page.wait_for_selector(".kv-photo .kv-heat img")
        assert "Hiding the brightest part" in page.locator(".kv-photo .kv-heat p").inner_text()


def test_the_saved_picture_can_have_every_face_covered(browse, astronaut):
    with browse(tab="Photo") as page:
        send(page, encoded(astronaut))
        page.wait_for_selector(".kv-photo .kv-face")
        page.click(".kv-photo details:has([data-part=cover]) summary")
        page.select_option(".kv-photo [data-part=cover]", "box")
        with page.expect_download() as download:
            page.click(".kv-photo [data-part=savePicture]")
        assert download.value.suggested_filename == "visitor_covered.jpg"
        covered = read_image(Path(download.value.path()))
        assert covered.shape == astronaut.shape
        assert covered[90:150, 200:250].mean() < 10  # her face is black


def test_no_face_and_no_picture_are_said_kindly(browse, astronaut):
    with browse(tab="Photo") as page:
        send(page, encoded(np.full((300, 400, 3), 140, dtype=np.uint8)))
        notice = page.locator(".kv-photo [data-part=notice]")
        notice.wait_for(state="visible")
        assert "No face was found" in notice.inner_text()
        assert notice.locator("li").count() >= 2
        send(page, b"this is text")
        page.wait_for_function(
            "document.querySelector('.kv-photo [data-part=notice]').innerText.includes('The file is text, not an image')"
        )
        assert "Traceback" not in page.content()
        send(page, encoded(astronaut))  # and the page goes on
        page.wait_for_selector(".kv-photo .kv-face")
        assert notice.is_hidden()


def test_paste(browse, astronaut):
    with browse(tab="Photo") as page:
        page.wait_for_selector("[data-part=choose]:enabled")
        page.evaluate(
            """bytes => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], "pasted.png", { type: "image/png" }));
                document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
            }""",
            list(encoded(astronaut)),
        )
        page.wait_for_selector(".kv-photo .kv-face")


def test_camera_photo(browse, moving_clip):
    with browse(moving_clip, tab="Photo") as page:
        page.click(".kv-photo [data-part=camera]:enabled")
        page.wait_for_function("document.querySelector('.kv-photo video').videoWidth > 0")
        page.wait_for_timeout(500)
        page.click(".kv-photo [data-part=take]")
        page.wait_for_selector(".kv-photo .kv-face")
        assert (
            page.evaluate("document.querySelector('.kv-photo video').srcObject") is None
        )  # the camera is off


@pytest.mark.parametrize("tab", ["Photo", "Live", "About"])
def test_phone_has_no_sideways_scrolling(browse, astronaut, tab):
    with browse(tab=tab, viewport={"width": 390, "height": 844}) as page:
        if tab == "Photo":
            send(page, encoded(astronaut))
            page.wait_for_selector(".kv-photo .kv-face")
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_nothing_is_written(browse, astronaut, page_server):
    with browse(tab="Photo") as page:
        send(page, encoded(astronaut))
        page.wait_for_selector(".kv-photo .kv-face")
    written = [path for path in page_server.folder.rglob("*") if path.is_file() and path.name != "server.log"]
    assert written == []


def test_the_switch_for_small_faces_reads_again(browse, astronaut):
    with browse(tab="Photo") as page:
        send(page, encoded(astronaut))
        page.wait_for_selector(".kv-photo .kv-face")
        page.click(".kv-photo details:has([data-part=thorough]) summary")
        with page.expect_request(lambda request: "kv/photo" in request.url) as asked:
            page.check(".kv-photo [data-part=thorough]")
        assert "thorough=true" in asked.value.url
        with page.expect_request(lambda request: "kv/photo" in request.url) as asked:
            page.uncheck(".kv-photo [data-part=thorough]")
        assert "thorough" not in asked.value.url
        page.check(".kv-photo [data-part=thorough]")
        page.select_option(".kv-photo [data-part=cover]", "box")
        with page.expect_request(lambda request: "kv/covered" in request.url) as asked:
            page.click(".kv-photo [data-part=savePicture]")
        assert "thorough=true" in asked.value.url


def test_a_photo_without_its_end_says_so(browse, astronaut):
    with browse(tab="Photo") as page:
        send(page, encoded(astronaut, "JPEG")[:-20])
        page.wait_for_selector(".kv-photo .kv-face")
        notice = page.inner_text(".kv-photo [data-part=notice]")
        assert notice == "This photo is cut off at its end; the remaining part was read."
