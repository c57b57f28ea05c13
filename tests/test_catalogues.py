"""The catalogues: each contains every text that the code uses, and no other."""

import ast
import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from dashboard.setting_form import ELSEWHERE
from fer.printable import plain_markdown
from fer.translation import LOCALES, catalogues
from training.config import TrainConfig
from training.setting_help import SETTING_HELP

REPOSITORY = Path(__file__).resolve().parent.parent
ASSETS = REPOSITORY / "webapp" / "assets"
LANGUAGES = sorted(path.stem for path in LOCALES.glob("*.json"))
GAP = re.compile(r"\{(\w+)\}")

LITERAL = r'"((?:[^"\\]|\\.)*)"'
SAY = re.compile(rf"\bsay\(\s*{LITERAL}")
SAY_COUNT = re.compile(rf"\bsayCount\(\s*[^\"]+?,\s*{LITERAL},\s*{LITERAL}")
IN_HTML_AS_IT_IS = {"KV FaceRecognition", "JSON", "CSV", "LANGUAGES"}
TABS = {"Live", "Photo", "Video", "About"}

SPOKEN_MODULES = (
    "fer/images.py", "fer/foreign_formats.py", "fer/picture_decoding.py", "fer/video/files.py", "fer/video/sound.py", "fer/streams/recorded.py",
    "fer/streams/resting.py", "webapp/limits.py", "webapp/uploads.py", "webapp/answers.py", "webapp/live.py",
    "webapp/photo.py", "webapp/video.py", "webapp/video_jobs.py", "webapp/video_reading.py", "webapp/worker.py", "webapp/analyzers.py",
    "fer/streams/tracking.py", "fer/video/writing.py", "fer/door.py", "fer/emotions.py", "fer/model_shelf.py",
    "training/config.py", "training/jobs.py", "training/runs.py", "training/data/csv_files.py",
    "training/data/datasets.py", "training/data/layout.py", "training/data/parquet_files.py",
    "training/data/splits.py", "training/data/words.py",
)  # fmt: skip
"""Modules whose messages visitors of the pages meet, beside the dashboard's own."""

NOT_FOR_VISITORS = (
    "expected an image", "expected a path", "expected the path", "expected a prediction", "expected steadiness",
    "expected a time and", "expected a finite", "expected 'learn'", "nothing was sent", "7 does not exist",
    "from 7 s on",  # a part of a note
    "expected an output", "7 is the video itself", "usage:",  # the shell
    "Raw profile", "default-src", "7=7; HttpOnly", "7: 7 blank row7",  # headers, and a text put together
    "expected an origin", "the process that reads videos ended", "a file could not be read", "a video could not be read",  # the log
)  # fmt: skip
MADE_OF_PARTS = re.compile(
    r"\{count\} expressions|\{detector\}|restore the folder|Automatic|\{expression\}, |and \{count\} more|broken off$|No space|Read-only file|cannot be kept"
    r"|This photo has at least|Classifies six|Architecture: |Each answer is|(1 or )?a value in |STEM=SHARE|no images in .*Skipped|\{set\}: |Confidence was fitted on|Verifier: detections with"
)
"""Texts that no single string of the code holds."""


def catalogue_file(code):
    return json.loads((LOCALES / f"{code}.json").read_text(encoding="utf-8"))


def script_words():
    """Texts of the scripts; of a number's two forms the one that catalogues have."""
    texts, counted = set(), set()
    for path in ASSETS.glob("*.js"):
        source = path.read_text(encoding="utf-8")
        texts |= {json.loads(f'"{text}"') for text in SAY.findall(source)}
        counted |= {json.loads(f'"{many}"') for _, many in SAY_COUNT.findall(source)}
        assert len(re.findall(r"\bsay\((?!text)", source)) == len(SAY.findall(source)), (
            f"{path.name}: say a literal"
        )
        calls = len(re.findall(r"\bsayCount\((?!count, one)", source))
        assert calls == len(SAY_COUNT.findall(source)), f"{path.name}: sayCount takes two literals"
    return texts, counted


def html_words():
    """Texts, labels and tooltips of the parts of the page."""
    texts = set()
    for path in ASSETS.glob("*.html"):
        for place, part in enumerate(re.split(r"(<[^>]*>)", path.read_text(encoding="utf-8"))):
            if place % 2:
                texts |= {
                    text for _, text in re.findall(r'\b(title|aria-label|placeholder|alt)="([^"]+)"', part)
                }
            else:
                texts.add(" ".join(part.split()))
    return {text for text in texts if re.search(r"[a-z]{2}", text)} - IN_HTML_AS_IT_IS


def about_words():
    """Headings, paragraphs and items of the tab About."""
    text = (ASSETS / "about.md").read_text(encoding="utf-8").replace("EXPRESSIONS", "{expressions}")
    blocks = re.split(r"\n\s*\n|\n(?=- )", text)
    return {" ".join(re.sub(r"^(#+ |- )", "", block).split()) for block in blocks} | {"The model in use"}


def templates(path):
    """Texts of a module that have several words, what they insert as ``{}``; docstrings are none."""
    tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    inner = {id(part) for node in joined for value in node.values for part in ast.walk(value)}
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in inner | alone:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("code", LANGUAGES)
def test_catalogue_has_the_words_of_the_page_and_no_others(code):
    texts, counted = script_words()
    used = texts | counted | html_words() | about_words() | TABS
    with_gaps = {text for text in about_words() if GAP.search(text)}  # comes finished
    assert with_gaps <= set(catalogue_file(code)["sentences"])
    used -= with_gaps
    held = set(catalogue_file(code)["page"])
    assert used - held == set(), "these words have no translation"
    assert held - used == set(), "nothing uses these words any more"


@pytest.mark.parametrize("code", LANGUAGES)
def test_catalogue_has_a_form_for_every_number(code):
    content = catalogue_file(code)
    forms = {*content["plurals"], content["last_plural"]}
    counted = script_words()[1]
    for section in ("page", "dashboard", "sentences"):
        for text, translation in content[section].items():
            if isinstance(translation, dict):
                assert set(translation) == forms, text
            else:
                assert section != "page" or text not in counted, f"{text}: one form for each number is needed"


@pytest.mark.parametrize("code", LANGUAGES)
def test_translations_keep_the_gaps(code):
    content = catalogue_file(code)
    for section in ("page", "dashboard", "sentences"):
        for text, translation in content[section].items():
            for form in translation.values() if isinstance(translation, dict) else [translation]:
                assert sorted(set(GAP.findall(form))) == sorted(set(GAP.findall(text))), text
                assert form.strip(), text


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("path", SPOKEN_MODULES)
def test_messages_to_visitors_are_translated(code, path):
    missing = []
    for template in templates(path):
        said = template.replace("{}", "7").strip()
        if len(said.split()) < 4 or said.startswith(NOT_FOR_VISITORS):
            continue
        if not any(
            is_known(code, form.format(said))
            for form in ("{}", "This photo {}.", "This video {}.", "the file {}")
        ):
            missing.append(said)
    assert missing == []


def is_known(code, text):
    return catalogues()[code].translate(text) != text


@pytest.mark.parametrize("code", LANGUAGES)
def test_catalogue_has_no_messages_that_nobody_makes(code):
    made = {
        text
        for room in ("fer", "webapp", "training", "dashboard", "benchmarks")
        for path in sorted((REPOSITORY / room).rglob("*.py"))
        for text in templates(path)
    }
    plain = "\n".join(re.sub(r"[^\w{}]+", " ", text).strip() for text in made)
    unused = []
    for text in catalogue_file(code)["sentences"]:
        bare = GAP.sub("{}", text).removeprefix("This video ").removeprefix("This photo ")
        bare = re.sub(r"[^\w{}]+", " ", bare).strip()
        is_made = text in about_words() or MADE_OF_PARTS.match(text) or bare.removeprefix("{} ") in plain
        if len(bare.split()) >= 4 and not is_made:
            unused.append(text)
    assert unused == []


DASHBOARD_SOURCES = (
    "streamlit_app.py", "training/setting_help.py",
    *(path.relative_to(REPOSITORY).as_posix() for path in sorted((REPOSITORY / "dashboard").glob("*.py"))),
)  # fmt: skip
NO_TEXTS = re.compile(
    r":|<br>|<s|_|\\.|[A-Z]\w*-\d+$|--|\d+$|\{\}\W*(\{\}|zip|png|tmp)|cells \{|sure \{|delete \{|note \{|\{\}=|line \{\}|"
    r"(set|use|remove|rename|restore|open|stop|look|crop|trial|camera|download|everything|confusion|\w+_\w+) ?.*\{\}$|"
    r"(folder|password file|another host|Training dashboard|No module|MemAvailable|README|SHA|KV Face|TensorBoard|Accept-|Spoken)"
)
"""Keys of widgets, names of files, fields of charts, help of the shell."""

PARTS = {
    *(" from the start", ". Other programs make it slower.", " times {}", " of {}", "Resume{}", "GB", "MB"),
    "TensorBoard",  # a name
    "About {} per epoch, {} in total, at {} images per second on {}",
    "expected crops of one or three channels, got shape {}",  # a mistake in our own code
}
"""Parts of texts that the catalogue has as a whole."""

JOINED = {
    *("{} kB", "{} MB", "{} GB", "{} bytes", "Time per epoch (s)", "Resume from the start", "{} times {}"),
    "No training has run on this machine yet (looked in `{}`).{}",
    *("{} run folder cannot be read", "{} run folders cannot be read"),
    *(
        "epoch {} of {}{}",
        ", step {} of {}{}",
        "see its log",
        "Skipped",
        "Kept so far: {}",
        "the folder is not writable",
    ),
    *("{} across splits", "{} within train", "{} within val", "{} within test", "{} conflicting"),
    *("{} of {}", "The webcam page uses **{}**{}"),
    "About {} per epoch, {} in total, at {} images per second on {}. Other programs make it slower.",
}
"""Texts that the code puts together."""


def dashboard_texts():
    """Texts of the dashboard as far as they can be told from keys and names."""
    for path in DASHBOARD_SOURCES:
        for template in templates(path):
            text = template.replace("``", "`")
            is_text = re.search(r"[A-Za-z]{2}", text) and (" " in text.strip() or text[:1].isupper())
            if is_text and not NO_TEXTS.match(text):
                yield text


@pytest.mark.parametrize("code", LANGUAGES)
def test_the_dashboard_is_translated(code):
    asked_elsewhere = {SETTING_HELP[name].replace("``", "`") for name in ELSEWHERE}
    texts = set(dashboard_texts()) - PARTS - asked_elsewhere
    assert sorted(text for text in texts if not is_known(code, text.replace("{}", "7"))) == []


@pytest.mark.parametrize("code", LANGUAGES)
def test_catalogue_has_no_words_that_the_dashboard_does_not_say(code):
    said = {
        template.replace("``", "`") for path in DASHBOARD_SOURCES for template in templates(path)
    } | JOINED
    names = {field.name.replace("_", " ") for field in fields(TrainConfig)} | {
        "ema decay",
        "validation share",
    }
    texts = [text for text in catalogue_file(code)["dashboard"] if " " in text and text.lower() not in names]
    assert [text for text in texts if GAP.sub("{}", text) not in said] == []


@pytest.mark.golden
@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("name", ["kv_fast.crowd", "kv_accurate.crowd", "kv_face.web"])
def test_model_cards_are_translated(name, code):
    path = REPOSITORY / "weights" / name / "README.md"
    if not path.is_file():
        pytest.skip("needs the committed weights")
    text = plain_markdown(re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL))
    blocks = [
        block
        for block in re.split(r"\n\s*\n|\n(?=- )", text)
        if not block.startswith(("|", "# ")) and block.strip() and "(SHA-256 `" not in block  # names of files
    ]
    assert [block for block in blocks if catalogues()[code].markdown(block) == block] == []
