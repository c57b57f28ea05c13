"""Dependencies with their licences and reasons: ``python -m benchmarks.dependencies`` writes docs/dependencies.md."""

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from training.command import run_command

REPOSITORY: Final = Path(__file__).resolve().parent.parent
DOCUMENT: Final = REPOSITORY / "docs" / "dependencies.md"

_FILES: Final = {
    "requirements-lite.txt": "page and shell",
    "requirements.txt": "training and dashboard",
    "requirements-dev.txt": "tests",
}
_LINE: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?P<bounds>[<>=!~][^#]*?)?\s*(?:#\s*(?P<reason>.+))?$")
_UNREACHABLE: Final = "Could not connect"
"""Part of what pip-audit says without a network."""

_UNKNOWN: Final = "not stated"
_LONGEST_LICENCE: Final = 60


@dataclass(frozen=True)
class Options:
    """Write the table of dependencies, or look for known weaknesses in what is installed.

    Attributes:
        audit: Ask the registry for known weaknesses of the packages in this environment (pip-audit).
    """

    audit: bool = False


@dataclass(frozen=True)
class Dependency:
    """A package that the project names.

    Attributes:
        name: As it is written in the requirements.
        bounds: Allowed versions.
        reason: Its use, and the reason of an upper bound.
        part: The part of the project that needs it.
    """

    name: str
    bounds: str
    reason: str
    part: str


def main(options: Options) -> int:
    if options.audit:
        return audit()
    DOCUMENT.write_text(page(), "utf-8")
    print(f"{DOCUMENT.relative_to(REPOSITORY)} is written")
    return 0


def named_dependencies() -> list[Dependency]:
    """Return what the requirements files and the extras name, with the comments beside."""
    found = []
    for file, part in _FILES.items():
        for line in (REPOSITORY / file).read_text("utf-8").splitlines():
            match = _LINE.match(line)
            if match and not line.startswith("#"):
                words = {key: (value or "").strip() for key, value in match.groupdict().items()}
                found.append(Dependency(**words, part=part))
    names = {canonicalize_name(dependency.name) for dependency in found}
    text = (REPOSITORY / "pyproject.toml").read_text("utf-8")
    for extra, wanted in tomllib.loads(text)["project"]["optional-dependencies"].items():
        comment = re.search(rf"^{extra} = .*\]  # (.+)$", text, re.MULTILINE)
        for each in wanted:
            match = _LINE.match(each)
            if match and canonicalize_name(match["name"]) not in names:
                reason = comment[1] if comment else ""
                found.append(Dependency(match["name"], match["bounds"].strip(), reason, f"extra [{extra}]"))
    return found


def licence_of(name: str) -> str | None:
    """Return the licence that an installed package states; None where it is not installed."""
    try:
        metadata = distribution(name).metadata
    except PackageNotFoundError:
        return None
    classifiers = [
        line.rsplit(" :: ", 1)[-1]
        for line in metadata.get_all("Classifier", [])
        if line.startswith("License ::")
    ]
    stated = (metadata.get("License") or "").strip()
    if len(stated) > _LONGEST_LICENCE or "\n" in stated:
        stated = ""  # the whole text of a licence
    return metadata.get("License-Expression") or stated or ", ".join(classifiers) or _UNKNOWN


def page() -> str:
    """Return the document: what the project names, then what that brings along in this environment."""
    named = named_dependencies()
    known = _known_licences()
    lines = [
        "# Dependencies",
        "",
        "Written by `python -m benchmarks.dependencies` from the comments in `requirements*.txt` and `pyproject.toml` and the",
        "metadata of the installed packages. `make test-lowest` runs the tests with the lowest versions allowed, `make audit` asks",
        "for known weaknesses.",
        "",
        "| Package | Versions | Licence | For | Reason |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.name} | {each.bounds or 'any'} | {licence_of(each.name) or known.get(each.name, _UNKNOWN)} "
        f"| {each.part} | {each.reason} |"
        for each in named
    ]
    lines += ["", "## Brought along by these", "", "| Package | Licence | By |", "|---|---|---|"]
    lines += [
        f"| {name} | {licence_of(name)} | {', '.join(sorted(by))} |" for name, by in _brought(named).items()
    ]
    return "\n".join(lines) + "\n"


def _known_licences() -> dict[str, str]:
    """Return the licences of the document as it stands, for packages that are not installed here."""
    if not DOCUMENT.exists():
        return {}
    rows = [line.split(" | ") for line in DOCUMENT.read_text("utf-8").splitlines() if line.startswith("| ")]
    return {row[0].removeprefix("| "): row[2] for row in rows if len(row) == 5}


def _brought(named: list[Dependency]) -> dict[str, set[str]]:
    """Return the installed packages that no file names, with those that need them."""
    seen = {canonicalize_name(each.name) for each in named}
    waiting, brought = sorted(seen), dict[str, set[str]]()
    while waiting:
        parent = waiting.pop()
        for name in _needs(parent):
            if name not in brought and name not in seen:
                waiting.append(name)
            if name not in seen:
                brought.setdefault(name, set()).add(parent)
    return dict(sorted(brought.items()))


def _needs(name: str) -> list[str]:
    try:
        requires = Distribution.from_name(name).requires or []
    except PackageNotFoundError:
        return []
    wanted = [Requirement(line) for line in requires]
    names = [each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    return [canonicalize_name(each) for each in names if licence_of(each) is not None]


def audit(packages: Path | None = None) -> int:
    """Look for known vulnerabilities in an environment with pip-audit; print the reason if that is impossible.

    Args:
        packages: Folder of installed packages; None for this environment's.

    Returns:
        The exit status of pip-audit; 0 if it cannot be installed or reach its service.
    """
    packages = packages or Path(distribution("tyro").locate_file(""))
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        quiet = ["--quiet", "--disable-pip-version-check", "--retries", "1"]
        if subprocess.run([python, "-m", "pip", "install", *quiet, "pip-audit"], check=False).returncode:
            print("not audited: pip-audit cannot be installed; run 'make audit' with a network")
            return 0
        command = [python, "-m", "pip_audit", "--path", packages]
        answer = subprocess.run(command, check=False, capture_output=True, text=True)
    print(answer.stdout, answer.stderr, sep="")
    if _UNREACHABLE in answer.stderr:
        print("not audited: the service of pip-audit cannot be reached; run 'make audit' with a network")
        return 0
    return answer.returncode


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.dependencies"))
