"""Find weights by name: shipped weights, the user's exports, the default."""

import json
import re
from pathlib import Path
from typing import Final

import platformdirs

from fer.files import replaced
from fer.model_card import CARD_FILE, UnknownModelError

DEFAULT_WEIGHTS: Final = "kv_fast.crowd"
APPLICATION: Final = "kv-facerecognition"
SELECTION_FILE: Final = "selection.json"

_PACKAGE: Final = Path(__file__).resolve().parent
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")


def weights_shelf() -> Path:
    """Return the folder of the shipped weights: beside the package, or inside an installed one."""
    inside = _PACKAGE / "weights"
    return inside if inside.is_dir() else _PACKAGE.parent / "weights"


def user_folder() -> Path:
    """Return the folder of this user's models and images; it may not exist yet."""
    return platformdirs.user_data_path(APPLICATION, appauthor=False)


def user_shelf() -> Path:
    """Return the folder of the weights that this user exported; it may not exist yet."""
    return user_folder() / "weights"


def list_shipped_weights() -> list[str]:
    """List the names of the shipped weights, sorted."""
    return _names(weights_shelf())


def list_user_weights() -> list[str]:
    """List the names of the weights that this user exported, sorted."""
    return _names(user_shelf())


def list_weights() -> list[str]:
    """List all names: shipped ones first, then the user's own."""
    shipped = list_shipped_weights()
    return shipped + [name for name in list_user_weights() if name not in shipped]


def find_weights(weights: str | Path | None = None) -> Path:
    """Return the folder of a name or path; None for the selected weights or the shipped default.

    Raises:
        UnknownModelError: There is no such folder with a card.
    """
    wanted = str(weights or selected_weights() or DEFAULT_WEIGHTS)
    folder = _folder(wanted)
    if folder is None:
        known = ", ".join(list_weights()) or "none"
        raise UnknownModelError(
            f"no weights named {wanted!r}; expected a folder with a {CARD_FILE} or one of the names {known}"
        )
    return folder


def is_plain_name(name: str) -> bool:
    """Return whether a name is a valid folder name: up to 80 letters, digits, ``_``, ``-`` and ``.``."""
    return _PLAIN_NAME.fullmatch(name) is not None


def selected_weights() -> str | None:
    """Return the name of the weights that replace the default; None if none are selected or they are gone."""
    try:
        name = json.loads((user_folder() / SELECTION_FILE).read_text(encoding="utf-8")).get("weights")
    except (OSError, ValueError, AttributeError):
        return None
    return name if isinstance(name, str) and _folder(name) else None


def select_weights(name: str | None) -> None:
    """Make weights the default, also for running pages; None restores the shipped default.

    Raises:
        UnknownModelError: No weights have this name.
        OSError: The choice cannot be written.
    """
    path = user_folder() / SELECTION_FILE
    if name is None:
        path.unlink(missing_ok=True)
        return
    if _folder(name) is None:
        raise UnknownModelError(f"no weights named {name!r} in {user_shelf()}; export a run first")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as temporary:
        temporary.write_text(json.dumps({"weights": name}) + "\n", encoding="utf-8")


def _names(shelf: Path) -> list[str]:
    return sorted(path.parent.name for path in shelf.glob(f"*/{CARD_FILE}"))


def _folder(wanted: str) -> Path | None:
    """Return the folder of a path or name; shipped weights take precedence over the user's."""
    for folder in (Path(wanted), weights_shelf() / wanted, user_shelf() / wanted):
        if (folder / CARD_FILE).is_file():
            return folder
    return None
