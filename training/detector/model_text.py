"""The model card of a detector as Markdown, written from ``detector.json``."""

from collections.abc import Mapping, Sequence
from typing import Any

from fer.detection.card import DetectorCard
from fer.detection.kv_face import FINER_SIDE
from fer.detection.verifier import Verification
from fer.model_card import INT8_FILE, ONNX_FILE


def detector_card_text(
    card: DetectorCard,
    config: Mapping[str, Any],
    epoch_count: int,
    verifier_configs: Sequence[Mapping[str, Any]],
) -> str:
    """Return the model card as Markdown.

    Args:
        card: The card, with or without the figures of benchmarks/detectors.py.
        config: Settings of the training.
        epoch_count: Number of epochs.
        verifier_configs: Settings of the verifier's trainings whose weights were averaged, in order.
    """
    sets = "\n".join(f"- `{data['name']}` (SHA-256 `{data['sha256'][:12]}…`)" for data in card.data_sets)
    return f"""# {card.name}

{card.description}

- Architecture: `{card.architecture}`, anchor-free, strides 8, 16 and 32, see `training/detector/network.py`
- Input: RGB `uint8` of any size; the long side of photos is searched at {card.photo_side} pixels, and at {FINER_SIDE}
  where faces are small; that of streams at {card.live_side}
- Precision: {_precision(card)}
- Output: box, five landmarks (the subject's right eye, left eye, nose, right and left mouth corner), score
{_verification(card)}- Score threshold: {card.least_score:g}
- Licence: code and weights MIT; the training images are for research use

## Intended use

Detecting faces for expression recognition, in photos and live video, on an ordinary computer. It locates faces, but
does not recognise people. **Not for** identifying people, counting them for surveillance, or deciding about them.

## Training data

{sets}

Boxes and landmarks were labelled by a teacher, YuNet (OpenCV Zoo, MIT licence), at two sizes; faces with a teacher
score below 0.7 were ignored. Augmentation: rotation by up to 110°, mirroring, scaling, darkening, blur, compression,
mosaics; single faces, and an equal number of patches without a face, were pasted into photos. Copies of the evaluation
photos, and frames of the same clips, were excluded. {epoch_count} epochs, seed {config.get("seed", "?")}, settings in `run/config.json`, history in
`run/epochs.jsonl`; `history/` contains those of earlier trainings, if the training started from one.{_crowds(config)}{_verifier_data(verifier_configs)}

## Figures

{_figures(card.metrics)}

The photos of this evaluation were also used to select the epoch and the score threshold; they are not an untouched test
set. The classifiers' reference square has {card.framing.scale:g} times the mean side of the box, and its centre is shifted downwards by
{card.framing.shift_y:g} of that side (`benchmarks/framing.py`).

## Limits

- It inherits the limits of its teacher on upright faces: masks, profiles beyond about 70°, drawings and faces below
  about ten pixels at the searched size are missed more often.
- The teacher's landmarks hardly follow heads that are tilted in the photo; this detector learned tilt from rotated
  views, and its landmarks are somewhat too upright.
- It was not trained on upside-down heads. Differences by age, sex or skin colour were not measured, since the photos
  have no such labels.

## Reproduction

```
python -m training.detector.train --photos …{_crowds_option(config)} --faces … --boxed-photos … --web-photos … --epochs {config.get("epochs", epoch_count)}
{_verifier_command(verifier_configs)}python -m training.detector.export --run runs/…{_verifier_options(card, len(verifier_configs))} --photos … --least-score {card.least_score:g} --photo-side {card.photo_side} --live-side {card.live_side} --scale {card.framing.scale:g} --shift-y={card.framing.shift_y:g}
python -m benchmarks.detectors
```
"""


def _precision(card: DetectorCard) -> str:
    if INT8_FILE in card.files:
        return f"eight-bit integers (`{INT8_FILE}`)"
    return f"single precision (`{ONNX_FILE}`)"


def _verification(card: DetectorCard) -> str:
    if card.verification is None:
        return ""
    return (
        f"- Verifier: detections with a score of at least {card.verification.candidate_score:g}{_live_score(card.verification)} are checked by a second network "
        f"(`verifier.onnx`, see `training/detector/verifier.py`) on {_crops(card.verification)}. "
        f"The final log-odds are the verifier's plus {card.verification.trust:g} times the detector's\n"
        f"{_even_score(card.verification)}"
    )


def _crops(verification: Verification) -> str:
    side = f"{verification.side}×{verification.side} pixels with some context"
    if verification.mirrored_margin in (None, verification.margin):
        return f"upright crops of {side}"
    return f"two upright crops of {side}, one of them mirrored and wider"


def _even_score(verification: Verification) -> str:
    if verification.even_score is None:
        return ""
    return (
        f"- Rejection by a classifier: the threshold of `other` in its card applies at a score of {verification.even_score:g}; "
        "at other scores, the log-odds of both are added\n"
    )


def _live_score(verification: Verification) -> str:
    live = verification.live_candidate_score
    return "" if live is None else f" ({live:g} in live frames)"


def _crowds(config: Mapping[str, Any]) -> str:
    if not config.get("crowds"):
        return ""
    return """

In further photos of crowds, all faces were labelled by hand, and the teacher added the landmarks that it found; others show
no face at all. Three of ten of both kinds were held out of every training."""


def _crowds_option(config: Mapping[str, Any]) -> str:
    return " --crowds …" if config.get("crowds") else ""


def _verifier_data(configs: Sequence[Mapping[str, Any]]) -> str:
    if not configs:
        return ""
    paragraphs = [
        """The verifier was trained afterwards, on detections at a low threshold in the same photos, unchanged and rotated.
Positives are faces of which the teacher is certain; negatives are parts of faces, and detections for which neither the
labels nor a second check by the teacher show a face. In photos of crowds, whose faces are all listed, everything beside them
counts as none. `run/verifier/` contains its settings and history."""
    ]
    if configs[-1].get("faces"):
        paragraphs.append(
            "Since a face may fill its picture, about half of the verifier's views end near the face, and pictures of "
            "single\nfaces, labelled by the teacher, were added."
        )
    if len(configs) > 1:
        paragraphs.append(
            f"The verifier's weights are the mean of those of its last {len(configs)} trainings."
        )
    return "".join(f"\n\n{paragraph}" for paragraph in paragraphs)


def _verifier_command(configs: Sequence[Mapping[str, Any]]) -> str:
    if not configs:
        return ""
    faces = " --faces …" if configs[-1].get("faces") else ""
    return (
        "python -m training.detector.export --run runs/… --photos …\n"
        f"python -m training.detector.train_verifier --detector weights/… --photos …{_crowds_option(configs[-1])}{faces} "
        "--boxed-photos … --web-photos …\n"
    )


def _verifier_options(card: DetectorCard, count: int) -> str:
    verification = card.verification
    if verification is None:
        return ""
    live = verification.live_candidate_score
    return (
        f" --verifier{' runs/…' * count} --candidate-score {verification.candidate_score:g}"
        f"{'' if live is None else f' --live-candidate-score {live:g}'} --trust {verification.trust:g}"
    )


def _figures(metrics: Mapping[str, Any]) -> str:
    """Return a table of the figures of one evaluation, with one column per detector."""
    if not metrics:
        return "Not measured yet; run `python -m benchmarks.detectors`."
    names = list(metrics)
    rows = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for key in dict.fromkeys(key for row in metrics.values() for key in row):
        cells = [metrics[name].get(key) for name in names]
        shown = ["–" if cell is None else f"{cell:.4g}" for cell in cells]
        rows.append(f"| {key} | {' | '.join(shown)} |")
    return "\n".join(rows)
