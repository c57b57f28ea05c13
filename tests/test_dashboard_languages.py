"""The dashboard in Russian: no visible English text, unchanged stored and returned values."""

import json
import re
from pathlib import Path

import altair as alt
import pandas as pd
import pytest
from dashboard_pages import open_page, texts

from dashboard.spoken import translate_chart, translate_table, translated
from fer.translation import catalogues

REPOSITORY = Path(__file__).resolve().parent.parent
RUSSIAN = catalogues()["ru"]
NAMES = re.compile(
    r"`[^`]*`|\(\S*/runs\)|\b(kv_\w+|F1|CSV|JSON|FER2013|zip|parquet|PNG|CUDA|NVIDIA|ECE|GPU|MIT|KV Face|TensorBoard|OpenCV Zoo|YuNet|yunet|haar|SHA|Haar|Keep"
    r"|fer2013|crowd|six|seven|votes|web|rgb|cpu|Download as|loss|macro_f1|20\d{6}-\w+|log|toy|RAF-DB|RAF-ML|AffectNet|ExpW)\b|<[^>]*>|&\w+;|\S+\.(parquet|py|json|log)"
    r"|:(material|gray)\S*|:\w+-badge|/\S+"
)
"""Names of programs, models, formats, heads and files, which are the same in all languages."""


@pytest.fixture
def in_russian(monkeypatch):
    monkeypatch.setattr("dashboard.spoken.page_catalogue", lambda: RUSSIAN)


@pytest.mark.parametrize("module", ["runs", "run", "data", "train", "models"])
def test_page_speaks_russian(in_russian, one, module):
    page = open_page(module, one)
    assert not page.exception
    said = texts(page).splitlines()
    said += [
        part.label
        for kind in ("selectbox", "button", "text_input", "checkbox", "toggle", "tabs")
        for part in page.get(kind)
    ]
    for table in page.dataframe:
        columns = json.loads(table.proto.columns or "{}").values()
        said += [str(column["label"]) for column in columns if column.get("label")]
    assert said
    blocks = [line for line in said if not line.startswith(("|", "- ", "python -m"))]
    english = [line for line in blocks if re.search(r"[A-Za-z]{3,}", NAMES.sub("", line))]
    assert english == []


def test_empty_choices_have_russian_words(in_russian, one):
    shown = open_page("runs", one).multiselect[0].proto
    assert shown.placeholder == "Выберите значения"
    assert not shown.select_all


def test_choices_are_shown_in_russian_and_returned_in_english(in_russian, one):
    page = open_page("train", one)
    preset = page.radio(key="train_preset")
    assert preset.options[0] == "Быстрая проба"
    assert preset.value == "quick"


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (
            "Expected teacher_share to be a value in [0, 1], got 2.0.",
            "Настройка «teacher_share»: нужно указать значение из [0, 1], а указано 2,0.",
        ),
        (
            "Expected epochs to be at least 1, got 0.",
            "Настройка «эпохи»: нужно указать не меньше 1, а указано 0.",
        ),
        (
            "Expected initial weights of one of kv_fast, got kv_accurate.",
            "Начальные веса должны быть для kv_fast, а указаны для kv_accurate.",
        ),
        (
            "Skipped: here: 3 images outside of class folders, such as a.png.",
            "Пропущено: here: 3 изображения вне папок классов, например a.png.",
        ),
        ("Stopped before it started", "Остановлено до начала"),
        ("Words that nobody wrote.", "Words that nobody wrote."),
    ],
)
def test_errors_are_said_in_russian(in_russian, sentence, expected):
    assert translated(sentence) == expected


def test_tables_keep_their_columns_and_numbers():
    table = pd.DataFrame({"name": ["mine"], "state": ["finished"], "macro F1": [0.5]})
    shown, columns = translate_table(table, {"name": {"pinned": True}}, RUSSIAN)
    assert list(shown.columns) == ["name", "state", "macro F1"]
    assert shown["state"][0] == "завершено"
    assert shown["macro F1"][0] == 0.5
    assert columns["name"] == {"pinned": True, "label": "название"}
    assert columns["macro F1"]["label"] == "макро-F1"
    assert table["state"][0] == "finished"


def test_charts_keep_their_fields_and_colours():
    table = pd.DataFrame({"expression": ["happy", "sad"], "count": [1, 2]})
    chart = alt.Chart(table).mark_bar().encode(
        alt.X("count:Q", title="pictures"),
        alt.Color("expression:N", scale=alt.Scale(domain=["happy", "sad"], range=["#111111", "#222222"])),
        tooltip=["expression"],
    )  # fmt: skip
    spec = translate_chart(chart.to_dict(), RUSSIAN)
    encoding = spec["encoding"]
    assert encoding["x"] == {"field": "count", "title": "снимки", "type": "quantitative"}
    assert encoding["color"]["scale"] == {"domain": ["радость", "грусть"], "range": ["#111111", "#222222"]}
    assert encoding["tooltip"][0]["title"] == "выражение"
    (rows,) = spec["datasets"].values()
    assert rows == [{"expression": "радость", "count": 1}, {"expression": "грусть", "count": 2}]
