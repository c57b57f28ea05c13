"""The rule on docstrings: they begin with a verb or a noun, never with a question word."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("benchmarks", "dashboard", "fer", "tests", "training", "webapp")
QUESTION = re.compile(r"\s*(What|How|Where|Who|Which|Why)\b")


def beginnings(tree: ast.AST) -> list[tuple[int, str]]:
    """Docstrings of modules, classes, functions and constants, with their lines."""
    bodies = [node.body for node in ast.walk(tree) if isinstance(getattr(node, "body", None), list)]
    return [
        (statement.lineno, statement.value.value)
        for body in bodies
        for statement in body
        if isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    ]


def test_question_words_are_seen() -> None:
    source = '"""How it works."""\nNAME = 1\n"""What it is."""\ndef f():\n    """Return one."""\n'
    assert [line for line, text in beginnings(ast.parse(source)) if QUESTION.match(text)] == [1, 3]


@pytest.mark.parametrize("folder", [*FOLDERS, ""], ids=[*FOLDERS, "top"])
def test_no_docstring_begins_with_a_question_word(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py")) if folder else sorted(ROOT.glob("*.py"))
    assert files
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for path in files
        for line, text in beginnings(ast.parse(path.read_text(encoding="utf-8")))
        if QUESTION.match(text)
    ]
    assert not found, "\n".join(found)
