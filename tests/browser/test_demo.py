"""The demo mode and the sample photo, for visitors without a camera or a photo."""

import io

import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.browser, pytest.mark.golden]


def test_the_sample_is_the_freely_licensed_photograph(repository, astronaut):
    data = (repository / "webapp" / "assets" / "sample.jpg").read_bytes()
    sample = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=int)
    assert sample.shape == astronaut.shape
    assert np.abs(sample - astronaut).mean() < 4  # JPEG of quality 85: 2.7


def test_a_sample_photo_is_read_at_a_press(browse):
    with browse(tab="Photo") as page:
        page.click(".kv-photo [data-part=sample]:enabled")
        page.locator(".kv-photo [data-part=picture]").wait_for(state="visible")
        assert "One face" in page.inner_text(".kv-photo [data-part=subtitle]")
        assert "happy" in page.get_attribute(".kv-photo [data-part=picture]", "alt")


def test_the_demonstration_plays_in_place_of_a_camera(browse, demo_server):
    """On a machine without a camera, and on a page that came over plain http from another machine."""
    live = ".kv-live"
    with browse(tab="Live", camera_count=0, allowed=False, server=demo_server) as page:
        page.evaluate("() => Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
        page.wait_for_selector(f"{live} [data-part=start]:enabled")
        assert page.inner_text(f"{live} [data-part=start]") == "Start the demonstration"
        assert "--demo" in page.inner_text(f"{live} [data-part=source]")
        page.evaluate(
            """() => { window.places = []; document.addEventListener('kv-faces', ({ detail: { answer } }) =>
            window.places.push(answer.faces.map(({ emotion, box }) => [emotion, box[0]]))); }"""
        )
        page.click(f"{live} [data-part=start]")
        page.wait_for_function(  # it moves
            """() => { const lefts = window.places.filter((faces) => faces.length === 1).map(([[, left]]) => left);
            return lefts.length >= 8 && Math.max(...lefts) - Math.min(...lefts) > 10; }"""
        )
        emotions = [emotion for faces in page.evaluate("window.places") for emotion, _ in faces]
        assert emotions.count("happy") > 0.9 * len(emotions)
        page.click(f"{live} [data-part=stop]")
        assert page.locator(f"{live} [data-part=start]").is_enabled()
