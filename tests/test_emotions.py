import pytest

from fer.emotions import (
    FER2013_CODES,
    OTHER,
    SIX_EMOTIONS,
    SPELLINGS,
    Emotion,
    UnknownEmotionError,
    emotion_from_name,
)


@pytest.mark.parametrize(
    ("name", "emotion"),
    [
        pytest.param("happy", Emotion.HAPPY, id="our own word"),
        pytest.param("happiness", Emotion.HAPPY, id="FER+"),
        pytest.param("Happiness", Emotion.HAPPY, id="RAF-DB"),
        pytest.param("Fear", Emotion.FEARFUL, id="FER2013"),
        pytest.param("surprise", Emotion.SURPRISED, id="ExpW"),
        pytest.param("sadness", Emotion.SAD, id="sadness"),
        pytest.param("ANGER", Emotion.ANGRY, id="upper case"),
        pytest.param(" neutral\n", Emotion.NEUTRAL, id="white space"),
        pytest.param("disgust", Emotion.DISGUSTED, id="beyond the six"),
        pytest.param("contempt", Emotion.CONTEMPTUOUS, id="CK+"),
    ],
)
def test_every_data_sets_word_is_understood(name, emotion):
    assert emotion_from_name(name) is emotion


@pytest.mark.parametrize("name", ["", " ", "bored", "happy!", "0", "other", "unknown"])
def test_other_words_are_refused_with_those_that_are_known(name):
    with pytest.raises(UnknownEmotionError, match=r"known words are .*happiness"):
        emotion_from_name(name)


def test_no_word_means_two_expressions():
    words = [word for spellings in SPELLINGS.values() for word in spellings]
    assert len(words) == len(set(words))
    assert all(word == word.strip().lower() for word in words)
    assert OTHER not in words


def test_every_expression_has_its_own_word():
    assert set(SPELLINGS) == set(Emotion)
    assert all(emotion.value in SPELLINGS[emotion] for emotion in Emotion)


def test_the_six_are_those_of_the_product():
    assert {emotion.display_name for emotion in SIX_EMOTIONS} == {
        "Angry",
        "Fearful",
        "Happy",
        "Sad",
        "Surprised",
        "Neutral",
    }


def test_fer2013_codes_are_those_of_its_publication():
    published = ["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"]
    assert [emotion_from_name(name) for name in published] == list(FER2013_CODES)


def test_the_six_are_named_where_the_default_is_chosen_and_nowhere_else(repository):
    """Everything else takes its labels from the head that answers."""
    rooms = ("fer", "training", "webapp", "dashboard", "benchmarks")
    sources = [path for room in rooms for path in (repository / room).rglob("*.py")]
    named = {path.name for path in sources if "SIX_EMOTIONS" in path.read_text(encoding="utf-8")}
    assert named == {"emotions.py", "targets.py"}
