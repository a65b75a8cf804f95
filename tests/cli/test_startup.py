"""Help, completion and header-only inspection start without torch."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "torch_geometric", "pandas", "sklearn", "scipy"}
PROGRAM = """
import sys
{body}
print(*sorted({heavy} & set(sys.modules)), file=sys.stderr)
"""


def _heavy_imports(body, *arguments):
    program = PROGRAM.format(body=body, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return done.stdout, done.stderr.split()


RUN = "from weightspace.cli import run\nassert run(sys.argv[1:]) == 0"


VERBS = [
    ["inspect"],
    ["embed"],
    ["generate"],
    ["explore"],
    ["map"],
    ["report"],
    ["probe"],
    ["cluster"],
    ["search"],
    ["zoo"],
    ["zoo", "build"],
]
HELP = [
    [],
    ["--help"],
    ["--version"],
    *([*verb, "--help"] for verb in VERBS),
]


@pytest.mark.parametrize("arguments", HELP)
def test_help_imports_nothing_heavy(arguments):
    said, heavy = _heavy_imports(RUN, *arguments)
    assert heavy == [] and said.strip()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_imports_nothing_heavy(shell):
    body = f"from weightspace.cli import app\nprint(app().generate_completion(shell={shell!r}))"
    said, heavy = _heavy_imports(body)
    assert heavy == [] and "neighbours" in said and "stats" in said and "deterministic" in said


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_inspecting_headers_imports_nothing_heavy(runs, flags):
    said, heavy = _heavy_imports(RUN, "inspect", str(runs), *flags)
    assert heavy == [] and "net2.safetensors" in said


def test_the_check_sees_torch_when_it_is_there(runs):
    assert "torch" in _heavy_imports(RUN, "inspect", str(runs), "--stats")[1]


def test_help_lists_every_verb_without_importing_one():
    body = RUN + "\nassert not {'weightspace.cli.embed', 'weightspace.cli.inspect'} & set(sys.modules)"
    said, _ = _heavy_imports(body, "--help")
    assert "embed" in said and "inspect" in said
