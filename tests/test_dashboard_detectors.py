"""Face detectors and verifiers among the dashboard's runs and models."""

import pytest
from dashboard_pages import fine, open_page
from toy_runs import write_toy_detector, write_toy_detector_run, write_toy_verifier_run

pytestmark = pytest.mark.usefixtures("shelves")


@pytest.fixture
def detectors(one):
    """Beside a training of expressions: one of the detector, one that failed, one that came along."""
    write_toy_detector_run(one / "runs" / "20260102-000000_kv_face")
    write_toy_detector_run(one / "runs" / "20260103-000000_kv_face", 8, state="failed")
    write_toy_verifier_run(one / "runs" / "20260104-000000_kv_face_verifier")
    write_toy_detector(one / "shipped" / "kv_face.web")
    return one


def test_detectors_stand_among_the_runs(detectors):
    page = open_page("runs", detectors)
    fine(page)
    table = page.dataframe[0].value.set_index("name")
    assert table.loc["kv_face.web", "state"] == "shipped"
    found = table.loc["20260102-000000_kv_face"]
    assert (found["best epoch"], found["data"], found["epochs"]) == (8, "all.parquet", "12 / 12")
    assert found[["val accuracy", "macro F1"]].isna().all()


@pytest.mark.parametrize(
    ("name", "words", "missing"),
    [
        pytest.param(
            "20260102-000000_kv_face",
            ["finished", "Boxed faces found", "90.0 %", "85.0 %", "0.25", "training.detector.export"],
            ["Export", "Resume", "Validation accuracy", "Confusion matrix"],
            id="finished",
        ),
        pytest.param(
            "20260103-000000_kv_face",
            ["no photos any more", "training.detector.train", "report appears when"],
            ["Export", "Resume"],
            id="failed",
        ),
        pytest.param(
            "kv_face.web", ["Shipped", "90.0 %"], ["Export", "training.detector.export"], id="shipped"
        ),
    ],
)
def test_a_detectors_run_shows_what_it_measured_and_offers_nothing_more(detectors, name, words, missing):
    page = open_page("run", detectors, run=name)
    said = fine(page) + "\n".join(
        [element.label for element in page.button] + [metric.label for metric in page.metric]
    )
    assert [word for word in words if word not in said] == []
    assert [word for word in missing if word in said] == []
    assert [tab.label for tab in page.tabs] == ["Curves", "Report", "Settings", "Log", "Downloads"]
    titles = str([element.proto.spec for element in page.get("vega_lite_chart")])
    for title in ("Loss", "Boxed faces found", "Web faces found", "False positives per photo"):
        assert f'"{title}"' in titles
    assert "Accuracy" not in titles


def test_a_verifiers_run_shows_how_often_it_was_right(detectors):
    page = open_page("run", detectors, run="20260104-000000_kv_face_verifier")
    said = fine(page) + "\n".join(metric.label for metric in page.metric)
    for words in (
        "Accuracy",
        "94.0 %",
        "candidates in held-out photos",
        "--run RUN --verifier",
    ):
        assert words in said
    assert "Boxed faces found" not in [metric.label for metric in page.metric]


def test_a_detector_is_no_model_of_expressions(detectors):
    page = open_page("models", detectors)
    said = fine(page)
    assert "kv_face.web" in said
    assert "Finds faces of any tilt." in said
    assert page.dataframe[0].value.loc["recall"].tolist() == [0.91, 0.7]
    assert not any("Use this model" in element.label for element in page.button)
    form = open_page("train", detectors)
    fine(form)
    choices = [
        choice
        for kind in ("selectbox", "multiselect")
        for box in getattr(form, kind)
        for choice in box.options
    ]
    assert not [choice for choice in choices if "kv_face" in choice]


def test_a_detectors_card_that_cannot_be_read_is_a_sentence(detectors):
    (detectors / "shipped" / "kv_face.web" / "detector.json").write_text("{}")
    assert "is not a valid card" in fine(open_page("models", detectors))
