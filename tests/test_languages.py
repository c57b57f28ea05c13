"""Translation: numbers, finished messages, Markdown, the language of each visitor, the two READMEs."""

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from page_fakes import FakeAnalyzers

from fer.door import Door
from fer.translation import COOKIE, LOCALES, catalogues, choose_language
from webapp.languages import translate_html
from webapp.page import build_routes

REPOSITORY = Path(__file__).resolve().parent.parent
LANGUAGES = sorted(path.stem for path in LOCALES.glob("*.json"))


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 файлов"),
        (1, "1 файл"),
        (2, "2 файла"),
        (5, "5 файлов"),
        (11, "11 файлов"),
        (12, "12 файлов"),
        (21, "21 файл"),
        (22, "22 файла"),
        (111, "111 файлов"),
        (1004, "1004 файла"),
    ],
)
def test_russian_numbers(count, expected):
    assert catalogues()["ru"].translate(f"{count} files") == expected


TRANSLATED = [
    ("the file is a folder, not an image", "файл: это папка, а не изображение"),
    ("6 expressions, also disgusted, contemptuous", "6 выражений, также отвращение, презрение"),
    ("Automatic: KV Face", "Автоматически: KV Face"),
    ("these settings cannot be used: something", "с такими настройками работать нельзя: something"),
    ("Happy, 1.0–2.5 s", "Радость, 1,0–2,5 с"),
    ("and 2 more people, seen more briefly", "и ещё 2 человека, которых видно меньше"),
    ("words that nobody wrote", "words that nobody wrote"),
    ("", ""),
]


@pytest.mark.parametrize(("english", "russian"), TRANSLATED)
def test_finished_sentences(english, russian):
    assert catalogues()["ru"].translate(english) == russian
    assert catalogues()["en"].translate(english) == english


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ((None, None, "ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7"), "ru"),
        ((None, None, "en-US,en;q=0.9,ru;q=0.8"), "en"),
        ((None, None, "de-DE,de;q=0.9"), "en"),
        ((None, None, "uk, ru;q=0.5, en;q=0.3"), "ru"),
        ((None, None, "ru;q=0, en"), "en"),
        ((None, "en", "ru"), "en"),
        (("ru", "en", "en"), "ru"),
        (("xx", "ru", "en"), "ru"),
        ((None, None, None), "en"),
        ((None, None, ";;q=,,ru;q=many"), "ru"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_language_is_that_of_the_visitor(wishes, expected):
    assert choose_language(*wishes) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, "this page is not meant"),
        ({"Accept-Language": "ru"}, "эту страницу не открывают"),
        ({"Cookie": f"{COOKIE}=ru"}, "эту страницу не открывают"),
    ],
)
def test_the_door_refuses_in_the_language_of_the_visitor(headers, expected):
    answer = TestClient(Door(build_routes([], FakeAnalyzers())), "http://elsewhere.example").get(
        "/", headers=headers
    )
    assert answer.status_code == 403
    assert answer.text.startswith(expected)


def test_server_tells_the_scripts_the_language():
    client = TestClient(build_routes([], FakeAnalyzers()))
    russian = client.get("/kv/language", headers={"Accept-Language": "ru"}).json()
    assert russian["code"] == "ru"
    assert russian["page"]["Freeze"] == "Стоп-кадр"
    assert client.get("/kv/language", headers={"Accept-Language": "fr"}).json() == {
        "code": "en",
        "expressions": {},
        "page": {},
        "sentences": {},
    }
    chosen = client.get("/kv/language", headers={"Accept-Language": "ru", "Cookie": f"{COOKIE}=en"}).json()
    assert chosen["code"] == "en"
    assert client.get("/kv/language?language=ru", headers={"Cookie": f"{COOKIE}=en"}).json()["code"] == "ru"


def test_html_is_translated_and_keeps_its_shape():
    html = '<button title="Space" data-part="stop">\n  Stop\n</button><p>Any other words</p>'
    expected = '<button title="Пробел" data-part="stop">\n  Остановить\n</button><p>Any other words</p>'
    assert translate_html(html, catalogues()["ru"]) == expected


def test_markdown_is_translated_and_keeps_its_shape():
    text = "## Limits\n\nAny words\nin lines\n\n- Any item\n- The page loads nothing from other\n  servers: no fonts, no scripts, no statistics.\n"
    translated = catalogues()["ru"].markdown(text)
    assert translated.startswith(
        "## Ограничения\n\nAny words\nin lines\n\n- Any item\n- Страница ничего не загружает"
    )
    assert translated.endswith("счётчиков.\n")


def readme_parts(name):
    """Commands, code, links and figures of a README, without their words."""
    text = (
        (REPOSITORY / name).read_text(encoding="utf-8").split("\n", 3)[3]
    )  # the line that leads to the other one
    blocks = re.findall(r"```(.*?)```", text, re.DOTALL)
    commands = [re.sub(r"\s+#.*", "", line) for block in blocks for line in block.splitlines()]
    words = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return {
        "commands": commands,
        "code": sorted(re.findall(r"`([^`]+)`", words)),
        "links": sorted(re.findall(r"\]\(([^)]+)\)", words)),
        "figures": sorted(re.findall(r"\d[\d.,]*\d|\b\d\b", words)),
        "headings": len(re.findall(r"^#+ ", words, re.MULTILINE)),
    }


@pytest.mark.parametrize("part", ["commands", "code", "links", "figures", "headings"])
def test_russian_readme_says_the_same(part):
    assert readme_parts("README.ru.md")[part] == readme_parts("README.md")[part]
