"""The examples of the guide run, one after another."""

import re
from pathlib import Path

import pytest

from weightspace.cli import run

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "probe_cluster_search.md"


@pytest.mark.slow
def test_the_examples_of_the_guide_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shell, *examples = re.findall(r"```(?:sh|python)\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    for line in shell.splitlines():
        words = [word.strip("'") for word in line.split()[1:]]
        words += ["--where", "snapshot==2"] if words[0] == "zoo" else []
        assert run(words) == 0, line
    names = {}
    for example in examples:
        exec(example, names)
    assert "activation" in capsys.readouterr().out
