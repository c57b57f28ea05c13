"""Frames on their way from the video to the server and back, in a real engine."""

import numpy as np
import pytest

pytestmark = pytest.mark.browser

READER = """
    const sent = [];
    window.VideoFrame = class { constructor(video) { this.shown = video.shown; } };
    window.Worker = class { postMessage(data) { if (data.frame || data.wake) sent.push(data.frame?.shown ?? "wake"); } };
    const { FrameReader } = await import("./reader.js");
    const video = { videoWidth: 4, videoHeight: 3, requestVideoFrameCallback: (seen) => (video.next = seen) };
    const reader = new FrameReader(video, {}, { onFaces() {}, onState(state) { sent.push(state); } });
    const show = async (number) => { video.shown = number; video.next(number); await null; await null; };
    const hear = async (data) => { reader.receive(data); await null; await null; };
    const answer = { answer: { kind: "frame" } };
"""


def test_people_on_a_frozen_frame_are_the_same_after_a_long_look(script_page):
    times = script_page.evaluate(
        f"""async () => {{ {READER}
            const times = []; let now = 5000; performance.now = () => now;
            reader.worker.postMessage = ({{ time }}) => times.push(time);
            await hear({{ state: "open" }}); await show(5000); reader.pause(true); await hear(answer);
            for (now of [65000, 66000]) {{ reader.readOnce(); await null; await null; await hear(answer); }}
            return times; }}"""
    )
    gaps = np.diff(times)
    assert len(times) == 3
    assert (gaps > 0).all()
    assert (gaps < 1).all()  # TrackingSettings().gap_s


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param(
            """await hear({ state: "open" });
            for (const number of [1, 2, 3, 4]) await show(number);
            await hear(answer); await hear(answer); await show(5); return sent;""",
            ["open", 1, 4, 5],
            id="only the newest frame, one at a time",
        ),
        pytest.param(
            """await hear({ state: "open" }); await show(1); await hear(answer);
            await hear({ state: "idle" }); await show(2); await show(3); await hear({ state: "open" });
            return sent;""",
            ["open", 1, "wake", "open", 3],
            id="a connection closed for silence is opened by the next frame",
        ),
        pytest.param(
            """await hear({ state: "open" }); await show(1); reader.pause(true); await hear(answer);
            await hear({ state: "idle" }); await show(2); reader.readOnce(); await hear({ state: "open" });
            await hear(answer); await hear(answer); return sent;""",
            ["open", 1, "wake", "open", 2, 2],
            id="a frozen frame is read twice by a new connection",
        ),
        pytest.param(
            """await hear({ state: "open" }); await show(1); await hear({ state: "lost" }); await show(2);
            await hear({ state: "open" }); return sent;""",
            ["open", 1, "lost", "open", 2],
            id="a lost connection",
        ),
    ],
)
def test_frames_go_to_the_server_in_order(script_page, code, expected):
    assert script_page.evaluate(f"async () => {{ {READER} {code} }}") == expected


def test_a_connection_that_ends_for_silence_is_no_problem_to_report(script_page):
    told = script_page.evaluate("""async () => {
        const told = [], sockets = [];
        window.WebSocket = class { constructor() { sockets.push(this); } send(data) { told.push(data); } };
        window.postMessage = ({ state }) => told.push(state);
        await import("./live_worker.js");
        const say = (data) => window.onmessage({ data });
        say({ address: "ws://x", settings: "settings" });
        sockets[0].onopen();
        sockets[0].onclose({ code: 1001, reason: "nothing was sent for a while" });
        const before = sockets.length;
        say({ wake: true });
        sockets[1].onopen();
        sockets[1].onclose({ code: 1006, reason: "" });
        return [told, before];
    }""")
    assert told == [["settings", "open", "idle", "settings", "open", "lost"], 1]
