"""The page with a default head of seven expressions: the seventh has a bar, a name and a colour."""

import csv
import io
from pathlib import Path

import pytest
from clips import write_clip as write_video
from page_fakes import encoded

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NAMES = ["Angry", "Fearful", "Happy", "Sad", "Surprised", "Neutral", "Disgusted"]
COLOUR = "rgb(93, 126, 92)"  # of Disgusted, in fer.palette


def bars(page, tab):
    return [
        text.split("\n")[0]
        for text in page.locator(f"{tab} .kv-face >> nth=0").locator(".kv-bar").all_inner_texts()
    ]


def top_colour(page, tab):
    return page.locator(f"{tab} .kv-bar.kv-top .kv-fill").first.evaluate(
        "fill => getComputedStyle(fill).backgroundColor"
    )


def choose(page, tab, part, value):
    page.locator(f"{tab} details summary").first.click()
    page.select_option(f"{tab} [data-part={part}]", value)


def test_photo(browse_seven, astronaut):
    with browse_seven(tab="Photo") as page:
        page.wait_for_selector("[data-part=choose]:enabled", state="attached")
        picture = {"name": "a.png", "mimeType": "image/png", "buffer": encoded(astronaut)}
        page.set_input_files(".kv-photo [data-part=file]", picture)
        page.wait_for_selector(".kv-photo .kv-face")
        assert bars(page, ".kv-photo") == NAMES
        assert page.locator(".kv-photo .kv-word").inner_text() == "Disgusted"
        assert top_colour(page, ".kv-photo") == COLOUR
        with page.expect_download() as download:
            page.click(".kv-photo [data-part=saveCsv]")
        (row,) = csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8")))
        assert (row["emotion"], row["unsure"], row["disgusted"][:3]) == ("disgusted", "false", "0.7")
        choose(page, ".kv-photo", "head", "six")
        page.wait_for_function("document.querySelector('.kv-photo .kv-word').innerText === 'Sad'")
        assert bars(page, ".kv-photo") == NAMES[:6]


def test_live(browse_seven, moving_clip):
    with browse_seven(moving_clip, tab="Live") as page:
        page.click(".kv-live [data-part=start]:enabled")
        page.wait_for_selector(".kv-live .kv-face")
        assert bars(page, ".kv-live") == NAMES
        assert page.locator(".kv-live .kv-word").first.inner_text() == "Disgusted"
        assert top_colour(page, ".kv-live") == COLOUR
        choose(page, ".kv-live", "head", "six")
        page.wait_for_function("document.querySelector('.kv-live .kv-word')?.innerText === 'Sad'")
        assert bars(page, ".kv-live") == NAMES[:6]


def test_video(browse_seven, astronaut, tmp_path):
    clip = tmp_path / "clip.mp4"
    write_video(clip, [astronaut] * 12)
    with browse_seven(tab="Video") as page:
        page.wait_for_selector(".kv-video [data-part=choose]")
        page.wait_for_timeout(500)
        page.set_input_files(".kv-video [data-part=file]", str(clip))
        page.wait_for_selector(".kv-video .kv-face")
        assert bars(page, ".kv-video") == NAMES
        assert "Disgusted" in page.locator(".kv-video [data-part=chart]").inner_text()
        assert "#5d7e5c" in page.locator(".kv-video [data-part=chart]").inner_html()
