"""Live streams: newest frame, lag, and addresses without passwords."""

import time

import pytest

from fer.printable import hide_password
from fer.video import LiveStream
from fer.video.cameras import LagMeter


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://user:secret@door:554/live", "rtsp://***@door:554/live"),
        ("http://door/live", "http://door/live"),
        ("0", "0"),
    ],
)
def test_passwords_are_not_shown(address, shown):
    assert hide_password(address) == shown


def test_a_stream_gives_the_newest_frame_and_comes_back(sender):
    with LiveStream(sender.address) as stream:
        first = stream.next_frame(10)
        assert first.image.shape == (120, 160, 3)
        time.sleep(0.3)
        second = stream.next_frame(10)
        assert second.timestamp_s - first.timestamp_s > 0.25  # those in between were left out
        sender.kill()
        until = time.monotonic() + 10
        while stream.problem is None and time.monotonic() < until:
            stream.next_frame(0.1)
        assert stream.problem
        sender.start()
        until = time.monotonic() + 10
        while stream.problem is not None and time.monotonic() < until:
            stream.next_frame(0.1)
        assert stream.next_frame(10) is not None
        assert stream.problem is None


def lags(media: list[float | None], clock: list[float]) -> list[float]:
    meter = LagMeter()
    return [meter.update(m, c, waited_s=0.0) for m, c in zip(media, clock, strict=True)]


@pytest.mark.parametrize(
    ("media", "clock", "expected"),
    [
        pytest.param([0, 1, 2, 3], [10, 11, 12, 13], 0, id="in step"),
        pytest.param([0, 1, 2, 3], [10, 12, 14, 16], 3, id="half as fast"),
        pytest.param([0, 1, 2, 3], [10, 10, 10, 13], 2, id="a burst at the start is no lag to begin with"),
        pytest.param([0, 1, 2, 6], [10, 12, 14, 17], 1, id="caught up in part"),
        pytest.param([5, 6, 0, 1], [10, 11, 12, 13], 0, id="a jump back"),
        pytest.param([0, None, 2, None], [10, 11, 12, 12], 0, id="packets without a time"),
    ],
)
def test_lag_is_told_from_both_clocks(media, clock, expected):
    assert lags(media, clock)[-1] == pytest.approx(expected, abs=0.02)  # a thousandth is forgotten a second


def test_clocks_that_run_apart_are_no_lag():
    """A camera whose clock loses a second a day, watched for a week."""
    meter = LagMeter()
    day_s = 86_400.0
    assert max(meter.update(t * (1 - 1 / day_s), t, 0.0) for t in range(0, int(7 * day_s), 4)) < 0.1


@pytest.mark.parametrize("waited_s", [0.0, 0.5])
def test_a_sender_slower_than_its_times_is_no_lag_of_ours(waited_s):
    """A second of pictures takes the sender two; a reader that waits has nothing to leave out."""
    meter = LagMeter()
    lag_s = [meter.update(t, 2 * t, waited_s) for t in range(20)]
    assert max(lag_s) == (0 if waited_s else pytest.approx(19, abs=0.1))


def test_a_pause_of_the_sender_is_no_lag_of_ours():
    meter = LagMeter()
    for frame in range(60):
        meter.update(frame / 30, frame / 30, 0.02)
    meter.update(2.0, 7.0, 5.02)
    assert max(meter.update(2 + frame / 30, 7 + frame / 30, 0.02) for frame in range(1, 60)) < 0.1
