"""The page in Russian: no visible English text, and a language switch that persists."""

import re

import pytest

from fer.translation import COOKIE, catalogues

pytestmark = pytest.mark.browser

SEEN = """(root) => {
    const texts = [];
    const isEnglish = (element) => element.closest("[lang=en]:not(html)");
    const walker = document.createTreeWalker(document.querySelector(root), NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const parent = node.parentElement;
        if (/^(SCRIPT|STYLE)$/.test(parent.tagName) || isEnglish(parent)) continue;
        if (parent.checkVisibility() || parent.tagName === "OPTION") texts.push(node.data.trim());
    }
    for (const element of document.querySelectorAll(`${root} *`)) {
        if (!element.checkVisibility() || isEnglish(element)) continue;
        for (const name of ["title", "aria-label", "placeholder", "alt"]) texts.push(element.getAttribute(name) ?? "");
    }
    return texts.filter((text) => text);
}"""
NAMES = re.compile(
    r"KV Face\w*|kv_\w+\.\w+|JSON|CSV|Parquet|MP4|MOV|MKV|WebM|AVI|Ctrl\+V|Haar|YuNet|H\.264|«python[^»]*»|--demo"
    r"|JPEG|PNG|WebP|HEIC|AVIF|TIFF|BMP|GIF|fake_device_\d+|sample\.jpg|\S+\.mjpeg|notes\.\w+|\bhttps?\b"
)
"""Names of programs, models, formats and files, which are the same in all languages."""


def english_in(page, root="body"):
    return [text for text in page.evaluate(SEEN, root) if re.search(r"[A-Za-z]{2,}", NAMES.sub("", text))]


def wait_for_script(page, tab):
    page.wait_for_selector(f".kv-{tab} [data-part=detector] option", state="attached")


def test_live_tab_speaks_russian(browse, moving_clip):
    with browse(clip=moving_clip, locale="ru-RU") as page:
        page.locator(".kv-live [data-part=start]:not([disabled])").wait_for()
        assert page.locator("html").get_attribute("lang") == "ru"
        assert page.get_by_role("tab").all_inner_texts() == ["Камера", "Фото", "Видео", "Справка"]
        page.locator(".kv-live summary").click()
        assert english_in(page) == []
        page.locator(".kv-live [data-part=start]").click()
        page.locator(".kv-live .kv-face").first.wait_for()
        page.locator(".kv-live [data-part=count]", has_text="1 лицо").wait_for()
        page.keyboard.press("f")
        page.get_by_role("button", name="Куда смотрела модель?").first.click()
        page.locator(".kv-heat p").wait_for()
        page.locator(".kv-live [data-part=record]").click()
        assert english_in(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_photo_tab_speaks_russian_and_files_stay_english(browse):
    with browse(tab="Фото", locale="ru-RU") as page:
        page.locator(".kv-photo [data-part=sample]:not([disabled])").click()
        page.locator(".kv-photo .kv-face").wait_for()
        page.locator(".kv-photo [data-part=marks]").wait_for()  # the names are drawn here
        assert english_in(page) == []
        with page.expect_download() as download:
            page.locator(".kv-photo [data-part=saveCsv]").click()
        assert "emotion" in download.value.path().read_text("utf-8")
        assert not re.search("[а-яё]", download.value.path().read_text("utf-8"))
        page.locator(".kv-photo [data-part=file]").set_input_files(
            {"name": "notes.txt", "mimeType": "image/png", "buffer": b"no picture"}
        )
        page.locator(".kv-photo [data-part=notice]", has_text="не изображение").wait_for()
        assert english_in(page) == []


@pytest.mark.slow
def test_video_tab_speaks_russian(browse, moving_clip):
    with browse(tab="Видео", locale="ru-RU") as page:
        wait_for_script(page, "video")
        assert english_in(page) == []
        page.locator(".kv-video [data-part=file]").set_input_files(
            {"name": "notes.avi", "mimeType": "video/avi", "buffer": b"no video"}
        )
        page.locator(".kv-video [data-part=notice]", has_text="это не видео").wait_for()
        assert english_in(page) == []
        page.locator(".kv-video [data-part=file]").set_input_files(moving_clip)
        page.locator(".kv-video .kv-chart svg").wait_for(timeout=120_000)
        page.locator(".kv-video [data-part=subtitle]", has_text="кадров").wait_for()
        assert english_in(page) == []


def test_problems_of_the_camera_are_said_in_russian(browse):
    with browse(camera_count=0, locale="ru-RU") as page:
        page.locator(".kv-live [data-part=start]:not([disabled])").click()
        page.locator(".kv-live [data-part=notice]", has_text="Камера не найдена.").wait_for()
        assert english_in(page) == []


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_cut_off_in_russian(browse, width):
    with browse(locale="ru-RU", viewport={"width": width, "height": 900}) as page:
        page.locator(".kv-live [data-part=start]:not([disabled])").wait_for()
        for tab in ["Камера", "Фото", "Видео", "Справка"]:
            page.get_by_role("tab", name=tab).click()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            cut = """() => [...document.querySelectorAll(".kv-button, .kv-bar span, h1, h2, summary, [role=tab]")]
                .filter((each) => each.checkVisibility() && each.scrollWidth > each.clientWidth + 1 && each.clientWidth)
                .map((each) => each.textContent)"""
            assert page.evaluate(cut) == []


def test_switch_is_remembered(browse, page_server):
    with browse(locale="ru-RU") as page:
        switch = page.get_by_role("combobox", name="Язык")
        page.locator(".kv-live [data-part=start]:not([disabled])").wait_for()
        assert switch.input_value() == "ru"
        assert switch.locator("option").all_inner_texts() == [each.name for each in catalogues().values()]
        switch.select_option("en")
        page.get_by_role("tab", name="Photo").wait_for()
        page.locator(".kv-live [data-part=start]:not([disabled])").wait_for()
        assert page.get_by_role("combobox", name="Language").input_value() == "en"
        page.wait_for_url(f"{page_server.address}/")  # the wish left the address, for the cookie holds it
        page.goto(page_server.address)
        page.get_by_role("tab", name="Photo").wait_for()
        assert {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}[COOKIE] == "en"


def test_scripts_translate_as_the_server_does(browse):
    texts = [
        "the file is a folder, not an image", "6 expressions, also disgusted, contemptuous", "Automatic: KV Face",
        "these settings cannot be used: something", "Happy, 1.0–2.5 s", "and 2 more people, seen more briefly",
        "words that nobody wrote", "the video is 21 minutes long; at most 10 are read here, 'python -m fer' on the "
        "command line reads any length", "0.5 s", "sad", "2.5 s", "expected a video, got an empty file",
    ]  # fmt: skip
    counts = [0, 1, 2, 5, 11, 21, 104]
    with browse(locale="ru-RU") as page:
        said, counted = page.evaluate(
            """async ([texts, counts]) => {
                const { translated, sayCount } = await import("/kv/assets/language.js");
                return [texts.map(translated), counts.map((count) => sayCount(count, "One face", "{count} faces"))];
            }""",
            [texts, counts],
        )
    assert said == [catalogues()["ru"].translate(text) for text in texts]
    assert counted == ["0 лиц", "1 лицо", "2 лица", "5 лиц", "11 лиц", "21 лицо", "104 лица"]
