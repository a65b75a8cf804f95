"""Every notebook runs from what ships, its claims hold, and its pair with outputs is of the same cells."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9]*.py"))
CELL = re.compile(r"^# %%.*\n", re.MULTILINE)


def source_cells(path):
    """Code cells of a percent script."""
    marks, parts = CELL.findall(path.read_text()), CELL.split(path.read_text())[1:]
    return [part.strip() for mark, part in zip(marks, parts, strict=True) if "[markdown]" not in mark]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_claims_hold(path, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    monkeypatch.chdir(path.parent)
    exec(compile(path.read_text(), str(path), "exec"), {"__name__": "__main__"})
    assert plt.get_fignums()
    plt.close("all")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_pair_has_the_same_cells_and_their_outputs(path):
    pair = json.loads(path.with_suffix(".ipynb").read_text())
    code = [cell for cell in pair["cells"] if cell["cell_type"] == "code"]
    assert ["".join(cell["source"]).strip() for cell in code] == source_cells(path)
    kinds = {kind for cell in code for output in cell["outputs"] for kind in output.get("data", {})}
    assert "image/png" in kinds and not [o for cell in code for o in cell["outputs"] if o["output_type"] == "error"]
    assert all(cell["execution_count"] for cell in code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_stays_short_and_says_what_it_does_not_show(path):
    text, cells = path.read_text(), source_cells(path)
    assert len(cells) <= 15 and cells[-1].count("assert ") >= 3
    for word in ("**Question.**", "**Answer.**", "**What one sees.**", "**What it does not show.**"):
        assert word in text, word
