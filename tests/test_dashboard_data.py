"""The dashboard's page of data sets: inspect, upload, collect by camera, delete."""

import io
import shutil
import zipfile

import numpy as np
import pytest
from dashboard_pages import button, fine, open_page, went
from PIL import Image
from toy_faces import encode_png, toy_face, write_folder

from fer import model_shelf
from fer.emotions import Emotion
from training.data.datasets import read_table

pytestmark = pytest.mark.usefixtures("shelves")


def test_a_data_set_is_counted_and_checked(tmp_path, faces):
    shutil.copy(faces / "val" / "happy" / "0.png", faces / "train" / "happy" / "copy.png")
    (faces / "train" / "sad" / "bad.png").write_bytes(b"no picture")
    page = open_page("data", tmp_path)
    page.text_input(key="data_path").set_value(str(faces)).run()
    said = fine(page)
    counts = page.dataframe[0].value
    assert counts.loc["happy", "train"] == 7
    assert counts.loc["all", "val"] == 36
    assert "1 training pictures are also validation" in said
    assert "1 of 74 pictures cannot be read" in said
    assert "Few training pictures of" in said
    button(page, "Train with these").click().run()
    assert went(page) == "train"
    assert page.session_state["train_path"] == str(faces)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        pytest.param(
            {"Happiness": 14, "SAD": 14}, ["Few training pictures of happy (14), sad (14)"], id="fine"
        ),
        pytest.param({"happy": 3}, ["Only happy has training pictures"], id="one class"),
        pytest.param({"happy": -3, "sad": -2}, ["5 of 5 pictures cannot be read"], id="none is a picture"),
    ],
)
def test_class_folders_without_splits_are_counted(tmp_path, files, words):
    """Negative counts are files that are no pictures."""
    for word, count in files.items():
        (tmp_path / "plain" / word).mkdir(parents=True)
        for number in range(abs(count)):
            face = encode_png(toy_face("happy", number)) if count > 0 else b"no picture"
            (tmp_path / "plain" / word / f"{number}.png").write_bytes(face)
    page = open_page("data", tmp_path)
    page.text_input(key="data_path").set_value(str(tmp_path / "plain")).run()
    said = fine(page)
    assert page.dataframe[0].value.loc["all", "pictures"] == sum(map(abs, files.values()))
    assert [word for word in words if word not in said] == []


def test_the_split_is_chosen_anew_for_other_pictures(tmp_path, faces, repository, monkeypatch):
    """The training split is not judged unasked because pictures without splits were chosen before."""
    monkeypatch.setattr(model_shelf, "weights_shelf", lambda: repository / "weights")
    write_folder(tmp_path / "data" / "b", 3)
    shutil.copytree(tmp_path / "data" / "b" / "train", tmp_path / "data" / "a")
    page = open_page("models", tmp_path)

    def split():
        return next(element for element in page.selectbox if element.label == "Split")

    fine(page)
    assert split().value == "everything"
    page.selectbox(key="models_set").set_value("b").run()
    fine(page)
    assert split().value == "val"
    split().set_value("everything").run()
    assert "look better here than they are" in fine(page)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda path: None, "no data at", id="missing"),
        pytest.param(lambda path: path.mkdir(), "no images in", id="empty"),
        pytest.param(
            lambda path: (
                write_folder(path, 1, ("happy",)) and (path / "train" / "happy").rename(path / "grumpy")
            ),
            "unknown expression 'grumpy'",
            id="class",
        ),
        pytest.param(lambda path: path.write_text("x"), "expected a folder of class folders", id="text"),
    ],
)
def test_a_path_that_is_no_data_set_is_a_sentence(tmp_path, make, words):
    make(tmp_path / "where")
    for module, key in (("data", "data_path"), ("train", "train_folder")):
        page = open_page(module, tmp_path)
        page.text_input(key=key).set_value(str(tmp_path / "where")).run()
        assert words in fine(page), module


def test_data_sets_are_uploaded_looked_at_and_deleted(tmp_path, faces):
    page = open_page("data", tmp_path)
    page.segmented_control(key="data_part").set_value("Upload").run()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in faces.rglob("*.png"):
            archive.write(path, "mine/" + str(path.relative_to(faces)))
    page.file_uploader(key="data_upload").set_value(
        ("my faces.zip", content.getvalue(), "application/zip")
    ).run()
    assert not (tmp_path / "data").exists(), "nothing is kept before the button"
    button(page, "Save these").click().run()
    assert "72 files are kept as the data set my-faces" in fine(page)
    button(page, "Open").click().run()
    assert page.dataframe[0].value.loc["all", "train"] == 36
    page.checkbox(key="sure my-faces").check().run()
    page.button(key="delete my-faces").click().run()
    fine(page)
    assert not (tmp_path / "data" / "my-faces").exists()


def test_a_refused_upload_leaves_nothing(tmp_path):
    page = open_page("data", tmp_path)
    page.segmented_control(key="data_part").set_value("Upload").run()
    page.file_uploader(key="data_upload").set_value(("a.zip", b"PK no zip", "application/zip")).run()
    button(page, "Save these").click().run()
    assert "Nothing was saved: this is no zip file" in fine(page)
    assert list((tmp_path / "data").iterdir()) == []


def test_pictures_are_taken_kept_and_deleted(tmp_path, astronaut):
    page = open_page("data", tmp_path)
    page.segmented_control(key="data_part").set_value("Take pictures").run()
    page.segmented_control(key="collect_emotion").set_value(Emotion.HAPPY).run()
    content = io.BytesIO()
    Image.fromarray(astronaut).save(content, "jpeg")
    page.camera_input[0].set_value(("photo.jpg", content.getvalue(), "image/jpeg")).run()
    assert not (tmp_path / "data").exists(), "nothing is kept before the button"
    button(page, "Keep").click().run()
    assert "Happy: 1 kept" in fine(page)
    (kept,) = (tmp_path / "data" / "my-face" / "happy").glob("*.png")
    with Image.open(kept) as crop:
        assert crop.size[0] == crop.size[1]
    page.button(key=f"delete {kept}").click().run()
    assert not kept.exists()


def test_pictures_of_classes_of_ones_own(tmp_path, astronaut):
    page = open_page("data", tmp_path)
    page.segmented_control(key="data_part").set_value("Take pictures").run()
    names = page.text_input(key="collect_classes my-face")
    names.set_value("bored, Bored").run()
    assert "The classes: expected different class names, got 'bored' and 'Bored'" in fine(page)
    page.text_input(key="collect_classes my-face").set_value("bored, test").run()
    assert "got the split 'test'" in fine(page)
    page.text_input(key="collect_classes my-face").set_value("bored, Joy, half_smile").run()
    content = io.BytesIO()
    Image.fromarray(astronaut).save(content, "jpeg")
    page.camera_input[0].set_value(("photo.jpg", content.getvalue(), "image/jpeg")).run()
    button(page, "Keep").click().run()
    assert "Bored: 1 kept" in fine(page)
    folder = tmp_path / "data" / "my-face"
    assert (folder / "classes.txt").read_text() == "bored\nhappy\nhalf_smile\n"
    assert [path.parent.name for path in folder.rglob("*.png")] == ["bored"]
    assert read_table(folder).labels == ("bored",)
    again = open_page("data", tmp_path)
    again.segmented_control(key="data_part").set_value("Take pictures").run()
    assert again.text_input(key="collect_classes my-face").value == "bored, happy, half_smile"


def test_a_picture_without_a_face_is_not_kept(tmp_path):
    page = open_page("data", tmp_path)
    page.segmented_control(key="data_part").set_value("Take pictures").run()
    content = io.BytesIO()
    Image.fromarray(np.full((240, 320, 3), 90, np.uint8)).save(content, "jpeg")
    page.camera_input[0].set_value(("photo.jpg", content.getvalue(), "image/jpeg")).run()
    assert "No face was found" in fine(page)
    assert not (tmp_path / "data").exists()
