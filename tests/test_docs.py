"""The documentation: working links, existing commands and options, a short front page."""

import re
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
PROGRAMS = {
    r"(?:python -m fer|kv-fer) (?!fetch|watch|password|page|dashboard)": ("-m", "fer"),
    r"(?:python -m fer|kv-fer) watch ": ("-m", "fer", "watch"),
    r"(?:python -m fer|kv-fer) password ": ("-m", "fer", "password"),
    r"(?:python app\.py|kv-fer page) ": ("app.py",),
}


def anchors(page: Path) -> set[str]:
    """The names under which a page's headings can be linked, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text("utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {link}"


def test_the_index_names_every_document() -> None:
    linked = set(LINK.findall((REPOSITORY / "docs" / "README.md").read_text("utf-8")))
    linked = {link.split("#")[0] for link in linked}
    assert {page.name for page in PAGES if page.parent.name == "docs"} - {"README.md"} <= linked


def test_the_front_page_is_short_and_keeps_its_two_commands() -> None:
    text = (REPOSITORY / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 120
    assert "\nmake app  " in text and "\nmake test  " in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 4  # tables of figures stand in docs/results.md


def test_modules_and_targets_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    for page in PAGES:
        text = page.read_text("utf-8")
        for module in re.findall(r"python -m ([a-z_.]*[a-z_])", text):
            assert find_spec(module) is not None, f"{page.name} names python -m {module}"
        for target in re.findall(r"^make ([a-z]+)|`make ([a-z]+)", text, re.MULTILINE):
            assert re.search(rf"^{''.join(target)}:", makefile, re.MULTILINE), f"{page.name}: make {target}"


@cache
def options_of(program: tuple[str, ...]) -> set[str]:
    command = [sys.executable, *program, "--help"]
    told = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=True)
    return set(re.findall(r"--[a-z][a-z-]+", told.stdout))


@pytest.mark.parametrize("pattern", PROGRAMS, ids=lambda pattern: " ".join(PROGRAMS[pattern]))
def test_options_in_the_documents_exist(pattern: str) -> None:
    used = {
        option
        for page in PAGES
        for line in page.read_text("utf-8").splitlines()
        for command in re.findall(rf"{pattern}[^`#]*", line)
        for option in re.findall(r"--[a-z][a-z-]+", command)
    }
    assert used
    assert used <= options_of(PROGRAMS[pattern])


def test_the_front_pages_show_a_small_picture_that_moves(repository):
    picture = repository / "docs" / "images" / "live.webp"
    assert picture.stat().st_size < 2_000_000
    with Image.open(picture) as frames:
        assert frames.n_frames > 20
    for page in ("README.md", "README.ru.md"):
        assert "(docs/images/live.webp)" in (repository / page).read_text("utf-8")
