"""The text that people read about a detector, made from its card."""

from collections.abc import Mapping
from typing import Any

from fer.detection.card import DetectorCard
from fer.detection.kv_face import FINER_SIDE
from fer.detection.verifier import VERIFIED_SIDE
from fer.model_card import INT8_FILE


def detector_card_text(card: DetectorCard, config: Mapping[str, Any], epoch_count: int) -> str:
    """The model card as Markdown.

    Args:
        card: With the figures of benchmarks/detectors.py, or without.
        config: The training's settings.
        epoch_count: How many epochs were run.
    """
    sets = "\n".join(f"- `{data['name']}` (SHA-256 `{data['sha256'][:12]}…`)" for data in card.data_sets)
    return f"""# {card.name}

{card.description}

- Architecture: `{card.architecture}`, anchor-free, strides 8, 16 and 32, see `training/detector/network.py`
- Input: RGB `uint8` of any size; the long side of photos is searched at {card.photo_side} pixels, and at {FINER_SIDE}
  where faces are small; that of streams at {card.live_side}
- Used in {"eight-bit integers (`model.int8.onnx`)" if INT8_FILE in card.files else "single precision (`model.onnx`)"}
- Output: box, five landmarks (the subject's right eye, left eye, nose, right and left mouth corner), score
{_verification(card)}- Shown from a score of {card.least_score:g}
- Licence: code and weights MIT; the pictures it learned from are for research use

## What it is for

Finding faces so that their expressions can be read, in photos and live video, on an ordinary computer. It says where
a face is, not whose. **Not for** identifying people, counting them for surveillance, or deciding about them.

## What it learned from

{sets}

Boxes and landmarks were written by a teacher, YuNet (OpenCV Zoo, MIT licence), at two sizes; faces that it scored
under 0.7 were left aside. Views were turned by up to 110°, mirrored, scaled, darkened, blurred, compressed and joined;
single faces, and as many parts without a face, were pasted into photos. Photos that stand among those for choosing, and frames of the same clips, were
left out. {epoch_count} epochs, seed {config.get("seed", "?")}, settings in `run/config.json`, history in `run/epochs.jsonl`;
where the training went on from an earlier one, that one's lie in `run/before/`.{_verifier_data(card)}

## Figures

{_figures(card.metrics)}

The photos measured on also chose the epoch and the least score; they are no untouched test.
Boxes map to the reference square of the classifiers by scale {card.framing.scale:g} of the mean side and a downward
shift of {card.framing.shift_y:g} (`benchmarks/framing.py`).

## Limits

- It sees what its teacher saw on upright faces: masks, profiles beyond about 70°, drawings and faces under some ten
  pixels at the searched size are missed more often.
- The teacher's landmarks hardly follow a head that is tilted in the photo; ours learned tilt from turned views and
  come out somewhat too upright.
- Heads upside down were not trained. How it does by age, sex or skin colour was not measured: the photos carry no such labels.

## Again

```
python -m training.detector.train --photos … --faces … --boxed-photos … --web-photos … --epochs {config.get("epochs", epoch_count)}
{_verifier_command(card)}python -m training.detector.export --run runs/…{_verifier_options(card)} --photos … --least-score {card.least_score:g} --photo-side {card.photo_side} --live-side {card.live_side} --scale {card.framing.scale:g} --shift-y={card.framing.shift_y:g}
python -m benchmarks.detectors
```
"""


def _verification(card: DetectorCard) -> str:
    if card.verification is None:
        return ""
    return (
        f"- Places scored from {card.verification.candidate_score:g} are looked at again by a verifier "
        f"(`verifier.onnx`, see `training/detector/verifier.py`): {VERIFIED_SIDE}×{VERIFIED_SIDE} pixels, upright, with some surroundings. "
        f"The score is the sum of its log-odds and {card.verification.trust:g} times the detector's\n"
    )


def _verifier_data(card: DetectorCard) -> str:
    if card.verification is None:
        return ""
    return """

The verifier learned afterwards, from what the detector takes for faces in the same photos when it is asked eagerly, as
they are and turned: places on the teacher's sure faces against parts of faces and places where neither the lists nor
a second question to the teacher know a face. Its settings and history lie in `run/verifier/`."""


def _verifier_command(card: DetectorCard) -> str:
    if card.verification is None:
        return ""
    return (
        "python -m training.detector.export --run runs/… --photos …\n"
        "python -m training.detector.train_verifier --detector weights/… --photos … --boxed-photos … "
        "--web-photos …\n"
    )


def _verifier_options(card: DetectorCard) -> str:
    verification = card.verification
    if verification is None:
        return ""
    return f" --verifier runs/… --candidate-score {verification.candidate_score:g} --trust {verification.trust:g}"


def _figures(metrics: Mapping[str, Any]) -> str:
    """One column a detector, as measured in one run."""
    if not metrics:
        return "Not measured yet; run `python -m benchmarks.detectors`."
    names = list(metrics)
    rows = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for key in dict.fromkeys(key for row in metrics.values() for key in row):
        cells = [metrics[name].get(key) for name in names]
        shown = ["–" if cell is None else f"{cell:.4g}" for cell in cells]
        rows.append(f"| {key} | {' | '.join(shown)} |")
    return "\n".join(rows)
