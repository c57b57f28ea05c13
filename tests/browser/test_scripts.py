"""The page's scripts in a real engine: syntax, imports, and unit tests of their functions."""

import re
from pathlib import Path

import numpy as np
import pytest

import webapp
from fer.annotation import place_labels
from fer.faces import Box

pytestmark = pytest.mark.browser

ASSETS = Path(webapp.__file__).parent / "assets"
SCRIPTS = sorted(path.name for path in ASSETS.glob("*.js"))

LOAD = """address => new Promise(done => {
    const tell = ({ filename, lineno, message }) => done(`${filename.split("/").pop()}:${lineno}: ${message}`);
    window.addEventListener("error", tell, { once: true });
    const script = Object.assign(document.createElement("script"), { type: "module", src: address });
    script.onload = () => done("fine");
    script.onerror = () => done(`${address} or what it imports cannot be fetched`);
    document.head.append(script);
})"""


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_parses_and_finds_its_imports(script_page, script_address, name):
    assert script_page.evaluate(LOAD, f"{script_address}/{name}") == "fine"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("const one = 1;\nconst two = ;", "broken.js:2: .*SyntaxError"),
        ("const one = 1;\nconst one = 2;", "broken.js:2: .*already been declared"),
        ('\nimport { nothing } from "./rate.js";', "broken.js:2: .*does not provide an export"),
        ('import "./gone.js";', "cannot be fetched"),
        ("nowhere();", "broken.js:1: .*nowhere is not defined"),
    ],
    ids=["syntax", "declared twice", "missing export", "missing file", "unknown name"],
)
def test_a_broken_script_is_told_with_its_line(script_page, script_address, text, expected):
    script_page.route("**/broken.js", lambda route: route.fulfill(body=text, content_type="text/javascript"))
    assert re.search(expected, script_page.evaluate(LOAD, f"{script_address}/broken.js"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_uses_what_it_imports_and_keeps_the_form(name):
    text = (ASSETS / name).read_text("utf-8")
    imported = [
        word for names in re.findall(r"import \{([^}]*)\}", text) for word in re.findall(r"\w+", names)
    ]
    assert [word for word in imported if len(re.findall(rf"\b{word}\b", text)) < 2] == []
    lines = text.splitlines()
    assert [number for number, line in enumerate(lines, 1) if line != line.rstrip() or "\t" in line] == []
    assert [number for number, line in enumerate(lines, 1) if len(line) > 125] == []
    assert not re.search(
        r"\bvar\b|console\.|debugger|[^=!]==[^=]|!=[^=]", re.sub(r"/\*.*?\*/|//.*", "", text, flags=re.S)
    )


HAPPY = (
    '{ emotion: "happy", confidence: 0.875, probabilities: { happy: 0.875, sad: 0.125 }, box: [1, 2, 3, 4],'
    " score: 0.5, other: 0, roll: 1.5 }"
)
EMOTIONS = (
    '[{ id: "happy", name: "Happy", colour: "#ffcc00" }, { id: "sad", name: "Sad", colour: "#0000ff" }]'
)
CAMERA = """const { openCamera } = await import("./camera.js");
    Object.defineProperty(navigator, "mediaDevices", { configurable: true, value: %s });
    return openCamera({}).then(() => "", (error) => `${error.message} ${error.advice.join(" ")}`);"""
REJECTS = '{ getUserMedia: () => Promise.reject(new DOMException("words", "%s")) }'


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param(
            """const { RateMeter } = await import("./rate.js"); const meter = new RateMeter();
            return [meter.rate, meter.latency];""",
            [0, 0],
            id="rate of nothing",
        ),
        pytest.param(
            """const { RateMeter } = await import("./rate.js"); const meter = new RateMeter();
            for (let now = 0; now <= 10000; now += 40) meter.add(now - (now % 80 ? 30 : 10), now);
            return [Math.round(meter.rate), meter.latency, meter.frames.length];""",
            [25, 10, 51],
            id="rate over two seconds",
        ),
        pytest.param(
            f"""const {{ SessionRecord }} = await import("./record.js"); const record = new SessionRecord({EMOTIONS});
            const before = record.isEmpty;
            record.add({{ time: 7.5, faces: [] }});
            record.add({{ time: 7.75, faces: [{{ track_id: 3, unsure: false, ...{HAPPY} }}] }});
            record.setLabels([{{ id: "sad" }}, {{ id: "bored" }}]); // the visitor chose another model
            return [before, record.isEmpty, record.isFull, record.asCsv()];""",
            [
                True,
                False,
                False,
                "time_s,person,emotion,unsure,left,top,right,bottom,confidence,score,other,roll,happy,sad,bored\n"
                "0.250,3,happy,false,1,2,3,4,0.875,0.5,0,1.5,0.875,0.125,\n",
            ],
            id="record as CSV",
        ),
        pytest.param(
            f"""const {{ SessionRecord }} = await import("./record.js"); const record = new SessionRecord({EMOTIONS});
            const face = {{ track_id: 1, unsure: true, ...{HAPPY} }};
            for (let time = 0; time < 210000; time += 1) record.add({{ time, faces: [face] }});
            return [record.isFull, record.rows.length];""",
            [True, 200_000],
            id="record is bounded",
        ),
        pytest.param(
            """const { percent, sentence } = await import("./elements.js");
            return [percent(0), percent(0.456), percent(1), sentence("no model here"), sentence(" Fine! ")];""",
            ["0 %", "46 %", "100 %", "No model here.", "Fine!"],
            id="words",
        ),
        pytest.param(
            """const { fillChoices } = await import("./elements.js"); const select = document.createElement("select");
            fillChoices(select, [{ id: "a", name: "First" }, { id: "b", name: "Second", is_ready: false }]);
            return [select.value, [...select.options].map(({ value, text, disabled }) => [value, text, disabled])];""",
            ["a", [["a", "First", False], ["b", "Second", True]]],
            id="choices",
        ),
        pytest.param(
            f"""const {{ FaceCard }} = await import("./faces.js"); const card = new FaceCard({EMOTIONS});
            const texts = () => ["number", "word", "share"].map((part) => card[part].textContent);
            card.update(2, {HAPPY}, false); const sure = texts();
            card.update(2, {HAPPY}, true);
            return [sure, texts(), card.root.ariaLabel, card.root.querySelectorAll(".kv-top").length,
                card.bars.map(({{ output }}) => output.textContent)];""",
            [
                ["2", "Happy", "88 %"],
                ["2", "Unsure: happy", "88 %"],
                "Face 2: Unsure: happy, 88 %",
                1,
                ["88 %", "13 %"],
            ],
            id="card of a face",
        ),
        pytest.param(
            f"""const {{ FaceCard }} = await import("./faces.js"); const card = new FaceCard({EMOTIONS});
            const update = (face) => {{
                card.update(2, face, face.turned_away);
                return [card.word.textContent, card.share.textContent,
                    card.root.querySelectorAll(".kv-top").length, card.root.classList.contains("kv-away")];
            }};
            return [update({{ ...{HAPPY}, turned_away: true }}), update({{ ...{HAPPY}, turned_away: false }})];""",
            [["Turned away", "", 0, True], ["Happy", "88 %", 1, False]],
            id="card of a face turned away names no expression",
        ),
        pytest.param(
            f"""const {{ PeoplePanel }} = await import("./people.js"); const root = document.createElement("div");
            const panel = new PeoplePanel(root, () => "#ffffff");
            panel.setLabels({EMOTIONS});
            const see = (time, ids) => {{
                panel.update({{ time, faces: ids.map((track_id) => ({{ track_id, unsure: false, ...{HAPPY} }})) }});
                return [root.children.length, root.querySelectorAll(".kv-gone").length];
            }};
            return [see(0, [1, 2]), see(1, [1]), see(6, [1]), see(7, [...Array(20).keys()]), see(2, [])];""",
            [[2, 0], [2, 1], [1, 0], [20, 0], [0, 0]],
            id="people come and go",
        ),
        pytest.param(
            f"""const {{ PeoplePanel }} = await import("./people.js"); const root = document.createElement("div");
            const panel = new PeoplePanel(root, () => "#ffffff");
            panel.setLabels({EMOTIONS});
            const see = (time, ids) =>
                panel.update({{ time, faces: ids.map((track_id) => ({{ track_id, unsure: false, ...{HAPPY} }})) }});
            see(0, [1]); see(0.03, [1, 2]); // sooner than the panel is usually refreshed
            return [...root.querySelectorAll(".kv-word")].map((word) => word.textContent);""",
            ["Happy", "Happy"],
            id="a new card is filled in at once",
        ),
        pytest.param(
            """const { partBrief } = await import("./video.js");
            const parted = (...times) => partBrief(times.map((seen_s) => ({ seen_s }))).map((part) => part.length);
            return [parted(), parted(0.2, 0.4), parted(0.2, 1, 7, 0.9)];""",
            [[0, 0], [2, 0], [2, 2]],
            id="people of a video",
        ),
        pytest.param(
            """const { inkOn, shownTurn } = await import("./overlay.js");
            return [[0, 3, 8, 20, -20].map(shownTurn), inkOn("#ffffff"), inkOn("#101010")];""",
            [[0, 0, 4, 20, -20], "#10141a", "#fff"],
            id="boxes and letters",
        ),
    ],
)  # fmt: skip
def test_parts_of_the_scripts(script_page, code, expected):
    assert script_page.evaluate(f"async () => {{ {code} }}") == expected


PLACE = """async ([boxes, size, image]) => {
    const { placeLabels } = await import("./label_places.js");
    const [width, height] = size;
    const corners = ([left, top, right, bottom]) => ({ left, top, right, bottom });
    const labels = boxes.map((box, id) => ({ id, width, height, box: corners(box) }));
    const sides = new Map();
    const places = placeLabels(labels, ...image, sides);
    return [places.map(({ x, y }) => [x, y]), placeLabels(labels, ...image, sides).map(({ x, y }) => [x, y])];
}"""


@pytest.mark.parametrize("seed", range(5))
def test_labels_go_where_the_annotated_picture_has_them(script_page, seed):
    draw = np.random.default_rng(seed)
    middles, sides = draw.uniform(20, 380, (7, 2)), draw.uniform(15, 110, 7)
    boxes = [
        [x - side / 2, y - side / 2, x + side / 2, y + side / 2]
        for (x, y), side in zip(middles, sides, strict=True)
    ]
    size, image = [90, 20], [400, 400]
    expected = place_labels([(90, 20)] * len(boxes), [Box(*box) for box in boxes], (400, 400))
    places, again = script_page.evaluate(PLACE, [boxes, size, image])
    np.testing.assert_allclose(places, expected)
    assert again == places, "a picture that rests has resting labels"


def test_a_label_stays_on_its_side_until_another_is_far_better(script_page):
    sides_of = """async (boxes) => {
        const { placeLabels } = await import("./label_places.js");
        const sides = new Map();
        return boxes.map((tops) => {
            const labels = tops.map((top, id) => {
                return { id, width: 60, height: 16, box: { left: 100, top, right: 140, bottom: top + 40 } };
            });
            return placeLabels(labels, 400, 400, sides)[0].y > tops[0];
        });
    }"""
    # The second face comes nearer from above until the label has to go below, then leaves again.
    below = script_page.evaluate(sides_of, [[200, 130], [200, 138], [200, 150], [200, 142], [200, 100]])
    assert below == [False, False, True, True, False]


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        pytest.param("undefined", ["secure pages", "--https", "certificate"], id="insecure origin"),
        pytest.param(REJECTS % "NotAllowedError", ["denied", "address bar"], id="denied"),
        pytest.param(REJECTS % "NotFoundError", ["No camera", "Photo tab"], id="no camera"),
        pytest.param(
            REJECTS % "OverconstrainedError", ["No camera", "choose another"], id="camera unplugged"
        ),
        pytest.param(REJECTS % "NotReadableError", ["in use", "other program"], id="camera in use"),
        pytest.param(REJECTS % "WeirdError", ["words", "another browser"], id="anything else"),
    ],
)
def test_what_keeps_the_camera_shut_is_said(script_page, devices, words):
    said = script_page.evaluate(f"async () => {{ {CAMERA % devices} }}")
    assert [word for word in words if word not in said] == []
