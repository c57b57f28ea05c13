import json
from dataclasses import fields
from pathlib import Path

import pytest
import tyro

from training.config import SettingsError, TrainConfig
from training.setting_help import SETTING_HELP

DATA = (Path("a"), Path("b.csv"))


def test_stored_values_give_the_same_config_again():
    config = TrainConfig(data=DATA, heads=("crowd",), dropout=0.1, runs=Path("x/y"), name="n", augment=False)
    stored = json.loads(json.dumps(config.to_dict()))
    assert TrainConfig.from_dict(stored) == config
    assert set(stored) == {field.name for field in fields(TrainConfig)}
    assert TrainConfig.from_dict({"data": ["a"]}) == TrainConfig(data=(Path("a"),)), "an older, shorter one"


def test_settings_of_another_version_are_refused_by_name():
    with pytest.raises(ValueError, match="unknown kindness, magic"):
        TrainConfig.from_dict({"data": ["a"], "magic": 1, "kindness": "grey"})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"data": ()}, "data to be at least one folder or file, got ()", id="no data"),
        pytest.param({"heads": ()}, "heads to be at least one of crowd", id="no heads"),
        pytest.param({"epochs": 0, "warmup_epochs": 0}, "epochs to be at least 1, got 0", id="epochs"),
        pytest.param({"batch_size": 1}, "batch_size to be at least 2, got 1", id="batch"),
        pytest.param({"learning_rate": 0}, "learning_rate to be a value in (0, 1], got 0", id="rate 0"),
        pytest.param({"learning_rate": 10}, "learning_rate to be a value in (0, 1], got 10", id="rate 10"),
        pytest.param({"learning_rate": float("nan")}, "learning_rate to be a value", id="rate nan"),
        pytest.param({"warmup_epochs": 61}, "warmup_epochs to be 0 to epochs, got 61", id="warm-up"),
        pytest.param({"plateau_patience": 0}, "plateau_patience to be at least 1", id="patience"),
        pytest.param({"weight_decay": 1}, "weight_decay to be a value in [0, 1), got 1", id="decay"),
        pytest.param({"dropout": 1.0}, "dropout to be a value in [0, 1), got 1.0", id="dropout"),
        pytest.param({"crowd_share": 1.5}, "crowd_share to be a value in [0, 1]", id="share"),
        pytest.param({"class_balance": -0.1}, "class_balance to be a value in [0, 1]", id="balance"),
        pytest.param(
            {"inner_view": 0.98}, "inner_view to be 1 or a value in [0.5, 0.95], got 0.98", id="inner view"
        ),
        pytest.param({"mixup": 3}, "mixup to be a value in [0, 2], got 3", id="mixup"),
        pytest.param({"early_epochs": -1}, "early_epochs to be 0 or more", id="early epochs"),
        pytest.param({"early_epochs": 1, "architecture": "kv_cnn"}, "0 for kv_cnn", id="one size"),
        pytest.param({"early_side": 8}, "early_side to be 16 to 48 pixels, got 8", id="early side"),
        pytest.param({"ema_decay": 1}, "ema_decay to be a value in [0, 1), got 1", id="average"),
        pytest.param(
            {"early_stopping_patience": -1}, "early_stopping_patience to be 0 or more", id="stopping"
        ),
        pytest.param({"val_share": 0}, "val_share to be a value in (0, 0.9), got 0", id="split"),
        pytest.param({"thread_count": -1}, "thread_count to be 0 or more", id="threads"),
        pytest.param({"name": "../x"}, "name to be a plain folder name, got '../x'", id="name"),
        pytest.param({"name": "a\\b"}, "name to be a plain folder name", id="name on Windows"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_expected(changes, words):
    with pytest.raises(ValueError) as caught:
        TrainConfig(**({"data": DATA} | changes))
    assert words in str(caught.value)


def test_all_wrong_values_are_told_at_once_with_their_settings():
    with pytest.raises(SettingsError) as caught:
        TrainConfig(data=(), epochs=0, learning_rate=2, name="a/b")
    assert [setting for setting, _ in caught.value.problems] == ["data", "epochs", "learning_rate", "name"]
    assert str(caught.value) == caught.value.problems[0][1]


@pytest.mark.parametrize("value", [None, "3", True, 2.5])
def test_what_is_no_number_is_refused_by_name(value):
    with pytest.raises(SettingsError, match="expected epochs to be a whole number"):
        TrainConfig(data=DATA, epochs=value)


def test_every_setting_is_described_on_the_command_line(capsys):
    assert list(SETTING_HELP) == [field.name for field in fields(TrainConfig)]
    with pytest.raises(SystemExit):
        tyro.cli(TrainConfig, args=["--help"], console_outputs=True)
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name in ("epochs", "plateau_patience", "early_side"):
        assert SETTING_HELP[name] in shown


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 1, "warmup_epochs": 1},
        {"learning_rate": 1.0, "batch_size": 2, "dropout": 0.0},
        {
            "crowd_share": 0.0,
            "class_balance": 1.0,
            "mixup": 2.0,
            "ema_decay": 0.0,
            "early_stopping_patience": 0,
        },
    ],
)
def test_border_values_are_fine(changes):
    config = TrainConfig(data=DATA, **changes)
    assert all(getattr(config, name) == value for name, value in changes.items())


def test_the_command_line_is_made_from_it():
    config = tyro.cli(
        TrainConfig, args=["--data", "a", "b.csv", "--epochs", "3", "--no-augment", "--dropout", "0.2"]
    )
    assert config == TrainConfig(data=DATA, epochs=3, augment=False, dropout=0.2)


def test_a_config_does_not_change():
    config = TrainConfig(data=DATA)
    with pytest.raises(AttributeError):
        config.epochs = 3
    assert hash(config) == hash(TrainConfig(data=DATA))


def test_sets_teach_the_heads_that_are_named() -> None:
    config = TrainConfig(
        data=(Path("a.parquet"),),
        heads=("web", "votes"),
        teaches=("rafdb=web", "fer=web+votes"),
        insets=("affect=0.1",),
        draws=("fer=0.25",),
    )
    assert config.heads_of("rafdb") == ("web",)
    assert config.heads_of("fer") == ("web", "votes")
    assert config.heads_of("anything else") == ("web", "votes")
    assert (config.inset_of("affect"), config.inset_of("rafdb")) == (0.1, 0.0)
    assert (config.draw_of("fer"), config.draw_of("rafdb")) == (0.25, 1.0)
    assert TrainConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        pytest.param({"heads": ("six",)}, "heads", id="a head that is fitted, not trained"),
        pytest.param({"teaches": ("rafdb",)}, "teaches", id="no head"),
        pytest.param({"teaches": ("rafdb=wbe",)}, "teaches", id="unknown head"),
        pytest.param({"insets": ("rafdb=much",)}, "insets", id="no number"),
        pytest.param({"insets": ("rafdb=0.5",)}, "insets", id="nothing left"),
        pytest.param({"draws": ("rafdb=0",)}, "draws", id="nothing drawn"),
        pytest.param({"draws": ("=0.5",)}, "draws", id="no set"),
        pytest.param({"size": 50}, "size", id="no multiple of 8"),
        pytest.param({"size": 64, "architecture": "kv_cnn"}, "size", id="an architecture of one size"),
    ],
)
def test_entries_for_data_sets_are_checked(settings: dict, name: str) -> None:
    with pytest.raises(ValueError, match=f"expected {name} to be"):
        TrainConfig(data=(Path("a.parquet"),), **settings)
