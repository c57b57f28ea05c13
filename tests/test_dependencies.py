"""The table of dependencies matches the requirements; the audit reports what it could not check."""

import re

import pytest

from benchmarks.dependencies import DOCUMENT, audit, licence_of, named_dependencies

NAMED = named_dependencies()


def rows() -> dict[str, list[str]]:
    table = DOCUMENT.read_text("utf-8").split("## ")[0]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {cells[0]: cells for cells in lines[1:]}


def test_the_table_agrees_with_the_requirements():
    """Else run ``python -m benchmarks.dependencies``."""
    found = {name: (cells[1], cells[3], cells[4]) for name, cells in rows().items()}
    assert found == {each.name: (each.bounds or "any", each.part, each.reason) for each in NAMED}


@pytest.mark.parametrize("dependency", NAMED, ids=lambda each: each.name)
def test_each_has_a_reason_a_lowest_version_and_a_licence(dependency):
    assert len(dependency.reason) > 4
    assert re.match(r">=\d", dependency.bounds)
    assert rows()[dependency.name][2] not in ("", "not stated")


def test_the_files_are_read(repository):
    """A line that the pattern does not know would be missing in table and test alike."""
    lines = [
        line
        for path in repository.glob("requirements*.txt")
        for line in path.read_text("utf-8").splitlines()
        if line and not line.startswith(("#", "-r"))
    ]
    extras = [each.name for each in NAMED if each.part.startswith("extra")]
    assert len(NAMED) == len(lines) + len(extras)
    assert "ray" in extras


def test_a_package_that_is_not_installed_has_no_licence():
    assert licence_of("no-such-package-anywhere") is None


def test_the_audit_is_skipped_with_a_sentence_without_a_network(capfd, monkeypatch):
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/nothing")
    assert audit() == 0
    assert "not audited: pip-audit cannot be installed" in capfd.readouterr().out
