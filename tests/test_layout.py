"""The house keeps its sizes, and light imports stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import weightspace

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "weightspace").rglob("*.py")) + sorted((ROOT / "benchmarks").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function less its signature and docstring."""
    statements = function.body[1:] if ast.get_docstring(function) else function.body
    return statements[-1].end_lineno - statements[0].lineno + 1 if statements else 0


def arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[int, int]:
    """How many arguments, and how many of them may be given by position; `self` and `cls` are not counted."""
    a = function.args
    names = [arg.arg for arg in (*a.posonlyargs, *a.args) if arg.arg not in ("self", "cls")]
    return len(names) + len(a.kwonlyargs), len(names)


def test_files_and_functions_keep_their_size():
    found = []
    for path in SOURCES + TESTS:
        text, limit = path.read_text(), 400 if path in TESTS else 300
        name = path.relative_to(ROOT)
        if text.count("\n") > limit:
            found.append(f"{name}: {text.count(chr(10))} lines, at most {limit}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if body_lines(node) > 40:
                    found.append(f"{name}: {node.name} has {body_lines(node)} lines, at most 40")
                if path in SOURCES and arguments(node)[0] > 6:
                    found.append(f"{name}: {node.name} takes {arguments(node)[0]} arguments, at most 6")
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("word", ["utils", "common", "helpers", "core", "base", "misc"])
def test_no_room_without_a_name(word):
    assert not [p for p in ROOT.glob("weightspace/**/*") if p.stem == word]


def test_every_public_name_loads():
    for name in weightspace.__all__:
        assert getattr(weightspace, name).__doc__, name


@pytest.mark.parametrize(
    "line",
    [
        "import weightspace",
        "import weightspace.errors, weightspace.checkpoint.header, weightspace.graph.axes",
        "import weightspace.graph.infer, weightspace.graph.kinds, weightspace.graph.layout",
        "import weightspace.cli",
    ],
)
def test_light_imports_stay_light(line):
    heavy = "[m for m in ('torch', 'torch_geometric', 'sklearn', 'pandas') if m in sys.modules]"
    out = subprocess.run(
        [sys.executable, "-c", f"import sys\n{line}\nprint({heavy})"], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"


def test_committed_text_names_no_machine():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    marks = ["/" + "work/", "/" + "root/", "files." + "pythonhosted", "deb." + "debian.org", "registry." + "npmjs"]
    found = []
    for name in tracked.stdout.split("\n"):
        path = ROOT / name
        if path.is_file() and path.suffix in {".py", ".md", ".cfg", ".toml", ".yaml", ".json", ".ipynb", ""}:
            text = path.read_text(errors="ignore")
            found += [f"{name}: {mark}" for mark in marks if mark in text]
    assert not found, found
