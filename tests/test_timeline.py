"""Timelines: rows, totals, segments, files."""

import csv
import json
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from fer.emotions import SIX_EMOTIONS, Emotion
from fer.faces import Box, Detection, Face, Prediction
from fer.timeline.export import WRITERS, spans, subtitles, timeline_chart, timeline_to_dict, write_timeline
from fer.timeline.table import Timeline

HAPPY, SAD, ANGRY = Emotion.HAPPY, Emotion.SAD, Emotion.ANGRY


def face(emotion: Emotion, track_id: int | None = 1, confidence: float = 0.75) -> Face:
    shares = np.full(6, (1 - confidence) / 5, np.float32)
    shares[SIX_EMOTIONS.index(emotion)] = confidence
    return Face(Detection(Box(1, 2, 33.5, 44), 0.9), Prediction(SIX_EMOTIONS, shares, 0.1), track_id)


def timeline_of(*frames: list[Face], times_s: list[float] | None = None) -> Timeline:
    timeline = Timeline(SIX_EMOTIONS)
    for number, faces in enumerate(frames):
        timeline.add(faces, number / 10 if times_s is None else times_s[number])
    return timeline


EMPTY = Timeline(SIX_EMOTIONS)
NOBODY = timeline_of([], [], [])
ONE_FRAME = timeline_of([face(HAPPY)])
TWO_PEOPLE = timeline_of(
    [face(HAPPY)], [face(HAPPY), face(SAD, 2)], [face(SAD), face(SAD, 2)], [], [face(SAD), face(HAPPY, 2)]
)


@pytest.mark.parametrize(
    ("timeline", "rows"),
    [(EMPTY, 0), (NOBODY, 0), (ONE_FRAME, 1), (TWO_PEOPLE, 7)],
    ids=["empty", "nobody", "1", "2"],
)
def test_one_row_for_each_face_in_each_frame(timeline, rows):
    table = timeline.table()
    assert len(table) == len(timeline) == rows
    assert list(table.columns) == timeline.columns
    assert {"timestamp_s", "track_id", "left", "emotion", "other", *SIX_EMOTIONS} <= set(table.columns)


def test_rows_say_what_was_put_in():
    row = TWO_PEOPLE.table().iloc[2]
    assert (row["timestamp_s"], row["frame"], row["track_id"], row["emotion"]) == (0.1, 1, 2, "sad")
    assert (row["left"], row["top"], row["right"], row["bottom"]) == (1, 2, 33.5, 44)
    # single precision, as the network answers
    assert row["sad"] == pytest.approx(0.75, abs=1e-7)
    assert row["other"] == pytest.approx(0.1, abs=1e-7)
    assert sum(row[emotion.value] for emotion in SIX_EMOTIONS) == pytest.approx(1, abs=1e-6)


def test_faces_that_were_not_followed_have_no_person():
    table = timeline_of([face(HAPPY, None)]).table()
    assert table["track_id"].isna().all()
    (everybody,) = timeline_of([face(HAPPY, None)]).summaries()
    assert everybody.track_id is None


def test_the_order_of_labels_decides_nothing():
    turned = Prediction(SIX_EMOTIONS[::-1], np.array([0, 0, 0, 1, 0, 0], np.float32))
    row = timeline_of([Face(Detection(Box(0, 0, 1, 1), 1.0), turned, 1)]).table().iloc[0]
    assert row["emotion"] == "happy"
    assert row["happy"] == 1


@pytest.mark.parametrize("time_s", [0.2, 0.1])
def test_time_runs_forward(time_s):
    timeline = timeline_of([], [], [])
    with pytest.raises(ValueError, match=r"expected a time after 0\.2 s"):
        timeline.add([], time_s)


def test_shares_are_of_time_not_of_frames():
    """One frame shown for 0.9 s weighs nine times one shown for 0.1 s."""
    timeline = timeline_of([face(HAPPY)], [face(SAD)], [], times_s=[0.0, 0.9, 1.0])
    everybody, person = timeline.summaries()
    assert person.shares[HAPPY] == pytest.approx(0.9, abs=1e-9)
    assert person.shares[SAD] == pytest.approx(0.1, abs=1e-9)
    assert person.seen_s == pytest.approx(1.0, abs=1e-9)
    assert everybody.shares == person.shares


def test_summaries_of_two_people():
    everybody, first, second = TWO_PEOPLE.summaries()
    assert (first.track_id, second.track_id) == (1, 2)
    assert (first.start_s, first.end_s) == (0.0, 0.4)
    assert (first.change_count, second.change_count, everybody.change_count) == (1, 1, 2)
    assert first.shares[HAPPY] == pytest.approx(0.5, abs=1e-9)
    assert second.shares[SAD] == pytest.approx(2 / 3, abs=1e-9)
    assert first.mean_confidence == pytest.approx(0.75, abs=1e-6)
    assert everybody.seen_s == pytest.approx(0.7, abs=1e-9)


@pytest.mark.parametrize("timeline", [EMPTY, NOBODY], ids=["empty", "nobody"])
def test_nobody_has_no_summary(timeline):
    assert timeline.summaries() == []
    assert spans(timeline) == []
    assert subtitles(timeline) == ""
    assert timeline.resample(1.0).empty


def test_a_single_frame_has_a_summary():
    _, person = ONE_FRAME.summaries()
    assert person.shares[HAPPY] == 1
    assert person.seen_s == 0


@pytest.mark.parametrize("rate", [10, 30])
def test_resampling_answers_alike_at_any_frame_rate(rate):
    frames = [[face(HAPPY if i < rate else SAD)] for i in range(2 * rate)]
    timeline = timeline_of(*frames, times_s=[i / rate for i in range(2 * rate)])
    table = timeline.resample(0.5)
    assert table["timestamp_s"].tolist() == [0.0, 0.5, 1.0, 1.5]
    assert table["emotion"].tolist() == ["happy", "happy", "sad", "sad"]
    assert table["frame_count"].tolist() == [rate / 2] * 4
    assert table["happy"].tolist() == pytest.approx([0.75, 0.75, 0.05, 0.05], abs=1e-6)


@pytest.mark.parametrize("step_s", [0.0, -1.0, float("nan")])
def test_impossible_steps_are_refused(step_s):
    with pytest.raises(ValueError, match="expected a step above 0 s"):
        TWO_PEOPLE.resample(step_s)


def test_stretches_end_with_a_change_or_a_long_gap():
    times_s = [0.0, 0.1, 0.2, 0.3, 2.0, 2.1]
    frames = [[face(HAPPY)], [face(HAPPY)], [face(SAD)], [], [face(SAD)], [face(SAD)]]
    found = [(s.emotion, s.start_s, s.end_s) for s in spans(timeline_of(*frames, times_s=times_s))]
    assert found == [(HAPPY, 0.0, 0.2), (SAD, 0.2, pytest.approx(0.3)), (SAD, 2.0, pytest.approx(2.2))]


def test_a_short_miss_does_not_end_a_stretch():
    found = spans(timeline_of([face(HAPPY)], [], [face(HAPPY)]))
    assert [(s.start_s, s.end_s) for s in found] == [(0.0, pytest.approx(0.3))]


def test_subtitles_of_one_person():
    text = subtitles(timeline_of([face(HAPPY)], [face(HAPPY)], [face(SAD)]))
    assert text == ("1\n00:00:00,000 --> 00:00:00,200\nHappy\n\n2\n00:00:00,200 --> 00:00:00,300\nSad\n\n")


def test_subtitles_of_several_people_are_numbered_and_never_overlap():
    text = subtitles(TWO_PEOPLE)
    assert "Person 1: Happy\nPerson 2: Sad" in text
    cues = re.findall(r"(\S+) --> (\S+)", text)
    assert all(start < end for start, end in cues)
    assert all(before[1] <= after[0] for before, after in pairwise(cues))


def test_subtitles_after_an_hour():
    text = subtitles(timeline_of([face(HAPPY)], [face(HAPPY)], times_s=[3725.5, 3726.0]))
    assert "01:02:05,500 --> 01:02:06,500" in text


@pytest.mark.parametrize(
    "timeline", [EMPTY, NOBODY, ONE_FRAME, TWO_PEOPLE], ids=["empty", "nobody", "1", "2"]
)
def test_chart_is_whole(timeline):
    root = ET.fromstring(timeline_chart(timeline))
    people = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text") if "Person" in text.text]
    assert len(people) == max(len(timeline.summaries()) - 1, 0)
    assert float(root.get("data-end")) > 0


def test_chart_leaves_those_seen_briefly_out():
    timeline = timeline_of(*[[face(HAPPY, i)] for i in range(20)])
    chart = timeline_chart(timeline)
    assert chart.count("Person ") == 12
    assert "and 8 more people" in chart


@pytest.mark.parametrize(
    "timeline", [EMPTY, NOBODY, ONE_FRAME, TWO_PEOPLE], ids=["empty", "nobody", "1", "2"]
)
@pytest.mark.parametrize("suffix", WRITERS)
def test_every_file_is_written_whole(suffix, timeline, tmp_path):
    path = tmp_path / f"timeline{suffix}"
    write_timeline(timeline, path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    match suffix:
        case ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                assert len(list(reader)) == len(timeline)
                assert reader.fieldnames == timeline.columns
        case ".parquet":
            pd.testing.assert_frame_equal(pd.read_parquet(path), timeline.table())
        case ".json":
            assert json.loads(path.read_text(encoding="utf-8")) == timeline_to_dict(timeline)


def test_long_timelines_are_written_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("fer.timeline.table._CHUNK_ROWS", 3)
    write_timeline(TWO_PEOPLE, tmp_path / "a.csv")
    write_timeline(TWO_PEOPLE, tmp_path / "a.parquet")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 8
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), TWO_PEOPLE.table())
    assert len(spans(TWO_PEOPLE)) == 4


def test_json_holds_no_rounded_and_no_odd_numbers():
    values = json.loads(json.dumps(timeline_to_dict(timeline_of([face(HAPPY, None)])), allow_nan=False))
    assert values["rows"][0]["track_id"] is None
    assert values["summary"][0]["shares"]["happy"] == 1


@pytest.mark.parametrize("name", ["a.txt", "a", "a.mp4"])
def test_other_endings_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.csv"):
        write_timeline(EMPTY, tmp_path / name)


def test_a_place_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        write_timeline(ONE_FRAME, tmp_path / "no" / "a.csv")
    assert list(tmp_path.iterdir()) == []
