"""Settings of a detector training."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorConfig:
    """Settings of one training of the detector; a wrong value is refused when the object is made.

    Attributes:
        photos: Parquet with whole photos and the teacher's faces.
        faces: Parquet with crops of single faces to paste; empty for none.
        teacher: YuNet's file, which labels those crops and is asked again about false places; empty for the
            fetched one.
        boxed_photos: Photos with boxes made by people, for choosing the epoch.
        web_photos: Web photos with labelled faces, for choosing the epoch.
        initial_run: Run directory of an earlier training whose weights this one starts from; empty for none.
        epochs: Passes over the photos.
        batch_size: Views a step.
        view_size: Side of the square views in pixels.
        learning_rate: The peak, of AdamW.
        warmup_epochs: Epochs of linear rise to the peak; a cosine to 0 follows.
        weight_decay: L2 strength.
        ema_decay: Decay of the averaged weights a step.
        val_share: Share of the photos whose loss is only watched.
        search_every: Epochs between two searches for places that are taken for faces wrongly, which are then
            looked at more often; the first comes before the first epoch. 0 is never.
        judge_every: Epochs between two looks at the photos for choosing.
        seed: Of every random choice.
        thread_count: CPU threads of PyTorch.
        runs: The folder that gets the run directory.
        name: The run directory's name; empty for ``<time>_kv_face``. An existing run is resumed.
    """

    photos: Path
    faces: str = ""
    teacher: str = ""
    boxed_photos: Path
    web_photos: Path
    initial_run: str = ""
    epochs: int = 80
    batch_size: int = 24
    view_size: int = 256
    learning_rate: float = 2e-3
    warmup_epochs: int = 1
    weight_decay: float = 0.02
    ema_decay: float = 0.998
    val_share: float = 0.04
    search_every: int = 0
    judge_every: int = 4
    seed: int = 0
    thread_count: int = 1
    runs: Path = Path("runs")
    name: str = ""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "judge_every", "thread_count"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of at least 1, got {getattr(self, name)}")
        if self.search_every < 0:
            raise ValueError(f"expected search_every of 0 or more, got {self.search_every}")
        if self.view_size < 64 or self.view_size % 64:
            raise ValueError(f"expected view_size to be a multiple of 64, got {self.view_size}")
        if not 0 < self.learning_rate <= 1:
            raise ValueError(f"expected learning_rate in (0, 1], got {self.learning_rate}")
        if not 0 < self.val_share < 0.9:
            raise ValueError(f"expected val_share in (0, 0.9), got {self.val_share}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as stored in a run directory."""
        data = {
            name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()
        }
        return {"architecture": "kv_face", **data}
