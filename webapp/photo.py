"""The tab that analyses photos."""

import base64
import csv
import io
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

import cv2
import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from PIL import Image
from pydantic import BaseModel, Field, FiniteFloat

from fer.analysis import FaceAnalyzer
from fer.annotation import FaceAnnotator
from fer.anonymising import Cover, cover_photo
from fer.cropping import crop_face, crop_square
from fer.emotions import label_of
from fer.explanation import annotate_heat, explain
from fer.faces import Box, Detection, Face
from fer.folders.records import picture_record
from fer.images import Picture, RgbImage, UnreadableImageError, read_image, read_picture
from fer.palette import label_styles
from fer.printable import plain_cells
from fer.reports import face_columns, record_rows
from webapp.analyzers import Analyzers
from webapp.page import Tab, add_part
from webapp.uploads import received_photo

_MOST_OUTSIDE: Final = 64
"""A face with less than a 64th of its area inside the image cannot be one of its detections."""

_SHOWN_SIDES: Final = (960, 1600)
"""Least and greatest longest side of the returned image: large enough for sharp text, at most a screen."""

CROWD: Final = 7
"""Number of faces from which the image is returned without names, and the page draws numbers over it."""


@dataclass(frozen=True, slots=True)
class ReadPhoto:
    """A photo with its detected faces, in pixels of the decoded image."""

    picture: Picture
    faces: list[Face]

    def as_answer(self, name: str, *, bare: bool = False) -> dict[str, Any]:
        """Return the answer for the page: record, label styles, CSV table, image.

        Args:
            name: Name of the photo.
            bare: Whether to return the image without boxes and names, which the page then draws over it.
        """
        record = picture_record(self.picture, self.faces, name)
        labels = self.faces[0].prediction.labels if self.faces else ()
        return {
            "record": record,
            "labels": label_styles(labels),
            "csv": _as_csv(record),
            "picture": self.annotated_jpeg(bare=bare),
        }

    def annotated_jpeg(self, *, bare: bool = False) -> str:
        """Return the annotated image as a ``data:`` URL, without annotations from ``CROWD`` faces on."""
        read = self.picture.image
        longest_side = max(read.shape[:2])
        factor = min(max(longest_side, _SHOWN_SIDES[0]), _SHOWN_SIDES[1]) / longest_side
        height, width = (max(round(side * factor), 1) for side in read.shape[:2])
        method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        image = np.asarray(cv2.resize(read, (width, height), interpolation=method), dtype=np.uint8)
        if bare or len(self.faces) >= CROWD:
            return jpeg_address(image)
        faces = [_scale(face, factor) for face in self.faces]
        return jpeg_address(FaceAnnotator(numbered=len(faces) > 1).annotate(image, faces))


def read_photo(data: bytes, analyzer: FaceAnalyzer) -> ReadPhoto:
    """Decode and analyse a photo.

    Raises:
        UnreadableImageError: The bytes are not an image, or the image is too large.
    """
    picture = read_picture(data)
    return ReadPhoto(picture, analyzer.analyze(picture.image))


class Place(BaseModel):
    """Reference to one face of an image, with the models that read it."""

    left: FiniteFloat
    top: FiniteFloat
    right: FiniteFloat
    bottom: FiniteFloat
    roll: Annotated[FiniteFloat, Field(ge=-360, le=360)] = 0.0
    weights: str | None = None
    detector: str | None = None
    head: str | None = None

    def detection(self) -> Detection:
        """Return the face as a detection, with a score of 1 in place of the unknown one."""
        try:
            return Detection(Box(self.left, self.top, self.right, self.bottom), 1.0, roll=self.roll)
        except ValueError as error:
            raise UnreadableImageError(str(error)) from error


def explain_photo(data: bytes, detection: Detection, analyzer: FaceAnalyzer) -> dict[str, Any]:
    """Return a heat map of the network's attention in one face of an image, given in pixels of its file.

    Raises:
        UnreadableImageError: The bytes are not an image, or the face lies outside it.
    """
    picture = read_picture(data)
    image = picture.image
    detection = replace(detection, box=detection.box.scale(1 / picture.reduced))
    inside = detection.box.clip(image.shape[1], image.shape[0])
    if inside is None or detection.box.area > _MOST_OUTSIDE * inside.area:
        raise UnreadableImageError("expected a face inside the picture; choose the picture again")
    square = crop_square(image, detection, analyzer.detector.framing)
    crop = crop_face(image, square, analyzer.classifier.card.preprocessing.margin)
    explanation = explain(analyzer.classifier, crop)
    word = explanation.emotion.display_name
    before, after = (f"{100 * share:.0f} %" for share in (explanation.confidence, explanation.lowest))
    text = (
        f"Hiding the brightest part takes “{word}” from {before} to {after}."
        if explanation.heat.any()
        else f"No single part decides: “{word}” stays at {before} whatever is hidden."
    )
    return {"picture": jpeg_address(annotate_heat(crop, explanation)), "text": text}


def jpeg_address(image: RgbImage) -> str:
    """Return an image as a ``data:`` URL, which needs no file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def routes(analyzers: Analyzers) -> APIRouter:
    """Build ``POST photo``, which takes the bytes of a photo and returns its faces; nothing is kept.

    ``POST covered`` returns the photo with every face covered.
    """
    router = APIRouter()

    @router.post("/photo")
    async def photo(
        request: Request,
        name: str = "photo",
        weights: str | None = None,
        detector: str | None = None,
        head: str | None = None,
        thorough: bool = False,
        bare: bool = False,
    ) -> dict[str, Any]:
        async with received_photo(request) as data:

            def answer() -> dict[str, Any]:
                analyzer = analyzers.get(weights, detector, head=head, thorough=thorough)
                photo = read_photo(data, analyzer)
                return photo.as_answer(name, bare=bare)

            return await run_in_threadpool(answer)

    @router.post("/covered")
    async def cover(
        request: Request,
        cover: Annotated[Cover, Query()],
        detector: str | None = None,
        thorough: bool = False,
    ) -> dict[str, str]:
        async with received_photo(request) as data:

            def answer() -> dict[str, str]:
                finder = analyzers.finder(detector, thorough=thorough)
                covered, _ = cover_photo(read_image(data), finder, cover)
                return {"picture": jpeg_address(covered)}

            return await run_in_threadpool(answer)

    @router.post("/explain")
    async def explain_face(
        request: Request,
        place: Annotated[Place, Query()],
    ) -> dict[str, Any]:
        async with received_photo(request) as data:

            def answer() -> dict[str, Any]:
                analyzer = analyzers.get(place.weights, place.detector, head=place.head)
                return explain_photo(data, place.detection(), analyzer)

            return await run_in_threadpool(answer)

    return router


def _scale(face: Face, factor: float) -> Face:
    detection = replace(face.detection, box=face.detection.box.scale(factor), landmarks=None)
    return replace(face, detection=detection)


def _as_csv(record: dict[str, Any]) -> str:
    """Return the CSV rows of an image; empty without a face."""
    text = io.StringIO()
    if record["faces"]:
        emotions = [label_of(word) for word in record["faces"][0]["probabilities"]]
        columns = ["path", "width", "height", "face", *face_columns(emotions)]
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(plain_cells(row) for row in record_rows(record))
    return text.getvalue()


def build(_: Analyzers) -> None:
    """Lay out the tab."""
    add_part("photo")


TAB: Final = Tab("Photo", build, routes)
