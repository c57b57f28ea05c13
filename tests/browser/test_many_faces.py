"""Many faces, many photos and the first visit: layout and keyboard focus."""

import numpy as np
import pytest
from page_fakes import encoded

pytestmark = [pytest.mark.browser, pytest.mark.golden, pytest.mark.slow]

PHOTO = ".kv-photo"


def item(name, content):
    return {"name": name, "mimeType": "image/png", "buffer": content}


def send(page, *files):
    page.wait_for_selector(f"{PHOTO} [data-part=choose]:enabled")
    page.set_input_files(f"{PHOTO} [data-part=file]", [item(name, content) for name, content in files])


@pytest.fixture(scope="module")
def crowd(astronaut):
    """25 faces."""
    head = astronaut[10:230, 115:335]
    return encoded(np.tile(head, (5, 5, 1)))


@pytest.mark.parametrize("width", [1280, 390])
def test_a_crowd_is_summed_up_and_each_face_opens(browse, crowd, width):
    with browse(tab="Photo", viewport={"width": width, "height": 844}) as page:
        send(page, ("crowd.png", crowd))
        page.wait_for_selector(f"{PHOTO} .kv-crowd-row")
        count = page.locator(f"{PHOTO} .kv-crowd-row").count()
        assert count >= 20  # the cascade's; the project's own detector finds all 25
        groups = page.locator(f"{PHOTO} .kv-crowd-groups strong").all_inner_texts()
        assert sum(map(int, groups)) == count
        assert f"{count} numbered faces" in page.get_attribute(f"{PHOTO} [data-part=picture]", "alt")
        assert page.locator(f"{PHOTO} .kv-bar").count() == 0  # none is open yet
        page.focus(f"{PHOTO} .kv-crowd-list")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        assert page.inner_text(f"{PHOTO} .kv-crowd-picked .kv-number") == "2"
        assert page.locator(f"{PHOTO} .kv-bar").count() == 6
        page.wait_for_selector(f"{PHOTO} .kv-crowd-picked .kv-heat img")
        assert page.evaluate("document.activeElement.className") == "kv-crowd-list"
        # A click on the middle of the picture means the middle face, and the picture marks it.
        marks = page.locator(f"{PHOTO} [data-part=marks]")
        before = marks.evaluate("canvas => canvas.toDataURL()")
        box = marks.bounding_box()
        marks.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
        row = page.locator(f"{PHOTO} .kv-crowd-row[aria-selected=true]")
        assert row.count() == 1
        assert page.inner_text(f"{PHOTO} .kv-crowd-picked .kv-number") != "2"
        assert marks.evaluate("canvas => canvas.toDataURL()") != before
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        with page.expect_download() as download:
            page.click(f"{PHOTO} [data-part=savePicture]")
        assert download.value.suggested_filename == "crowd_faces.jpg"


def test_all_photos_are_read_and_one_is_shown(browse, astronaut, crowd):
    with browse(tab="Photo") as page:
        page.wait_for_selector(f"{PHOTO} [data-part=choose]:enabled")
        page.focus(f"{PHOTO} [data-part=choose]")
        send(page, ("one.png", encoded(astronaut)), ("text.png", b"text"), ("crowd.png", crowd))
        page.wait_for_function(
            "[...document.querySelectorAll('.kv-photo .kv-thumb-count')].map(e => e.textContent)"
            ".every((text, at, all) => all.length === 3 && text !== '…')"
        )
        counts = page.locator(f"{PHOTO} .kv-thumb-count").all_inner_texts()
        assert counts[:2] == ["1", "!"]
        assert int(counts[2]) >= 20
        assert page.inner_text(f"{PHOTO} [data-part=subtitle]") == "One face"
        # The focused button is gone with the empty stage: the one that stands in for it has the focus.
        assert page.evaluate("document.activeElement.dataset.part") == "chooseAgain"
        page.locator(f"{PHOTO} .kv-thumb").nth(2).press("Enter")
        page.wait_for_selector(f"{PHOTO} .kv-crowd-row")
        assert "crowd.png" in page.evaluate("document.activeElement.getAttribute('aria-label')")
        page.click(f"{PHOTO} [data-part=clear]")
        assert page.locator(f"{PHOTO} .kv-thumb").count() == 0
        assert page.evaluate("document.activeElement.dataset.part") == "choose"


@pytest.mark.parametrize(("tab", "kind"), [("Photo", "picture"), ("Video", "video")])
def test_an_address_that_is_dropped_says_what_to_do(browse, tab, kind):
    part = f".kv-{tab.lower()}"
    with browse(tab=tab) as page:
        page.wait_for_selector(f"{part} [data-part=weights] option", state="attached")
        page.evaluate(
            """part => {
                const dataTransfer = new DataTransfer();
                dataTransfer.setData("text/uri-list", "https://example.org/face.jpg");
                const drop = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
                document.querySelector(`${part} [data-part=stage]`).dispatchEvent(drop);
            }""",
            part,
        )
        said = page.inner_text(f"{part} [data-part=notice]")
        assert "address" in said
        assert f"Save the {kind}" in said


@pytest.mark.parametrize("width", [1280, 390])
def test_the_first_visit_is_one_click_from_the_camera(browse, width):
    with browse(viewport={"width": width, "height": 844}) as page:
        start = page.locator(".kv-live [data-part=start]:enabled")
        start.wait_for(state="visible")
        said = page.inner_text(".kv-live [data-part=source]")
        assert "on this machine" in said
        assert "Article 50(3)" in said
        screen, button = page.locator(".kv-live .kv-screen").bounding_box(), start.bounding_box()
        assert screen["y"] < button["y"]
        assert button["y"] + button["height"] < screen["y"] + screen["height"]  # not cut off
