"""The examples of the guide run as they stand, one after the other."""

import re
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "find_copies_and_parents.md"


@pytest.mark.slow
def test_the_examples_run(capsys):
    space: dict[str, object] = {}
    examples = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    for example in examples:
        exec(example, space)
    said = capsys.readouterr().out
    assert len(examples) == 3 and "of 58 units" in said and len(space["tree"].roots) == 8
