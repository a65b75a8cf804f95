"""How every verb behaves: exit status, standard input, pipes, terminals, Ctrl-C."""

import subprocess
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import weightspace.cli
from weightspace.cli import VERBS, run


@pytest.mark.parametrize("arguments", [["nonsense"], ["inspect"], ["inspect", "x", "--nonsense"], ["embed", "x"]])
def test_wrong_usage_is_status_2_and_one_line(arguments, capsys):
    assert run(arguments) == 2
    said, errors = capsys.readouterr()
    assert said == "" and errors.startswith("weightspace: ") and errors.count("\n") == 1
    assert "--help" in errors


def test_a_list_comes_from_standard_input(runs, shell):
    names = [str(runs / "net0.safetensors"), str(runs / "net2.safetensors")]
    done = shell("inspect", "-", text="\n".join(names) + "\n\n")
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if line.endswith("safetensors")] == names


def test_an_empty_list_is_wrong_usage(shell):
    done = shell("inspect", "-", text="")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("weightspace: no inputs")


def test_a_pipe_gets_plain_text_that_does_not_depend_on_its_width(runs, shell):
    narrow, wide = (shell("inspect", runs, COLUMNS=c) for c in ("20", "200"))
    assert narrow.stdout == wide.stdout and narrow.stdout.isascii()
    assert narrow.stderr == ""


@pytest.mark.parametrize("columns", [80, 160])
def test_a_terminal_gets_tables_without_broken_words(runs, command, columns, on_a_terminal):
    path = runs / "net0.safetensors"
    words = [command, "inspect", str(path), "--stats"]
    plain = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    said = on_a_terminal(words, columns=columns, stream="stdout")
    assert "─" in said and "100.0%" in said
    numbers = {word for line in plain.split("statistics\n")[1].splitlines()[1:] for word in line.split()}
    assert numbers <= set(said.split())


def test_a_terminal_gets_a_progress_bar(runs, command, tmp_path, on_a_terminal):
    said = on_a_terminal([command, "embed", runs, "-o", tmp_path / "l.parquet"], columns=80, stream="stderr")
    assert "checkpoint" in said and "3/3" in said


def test_a_reader_that_leaves_is_no_error(tmp_path, command):
    path = tmp_path / "long.safetensors"
    save_file({f"layers.{i}.weight": torch.ones(2, 2) for i in range(2000)}, path)
    running = subprocess.Popen([command, "inspect", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout.readline() == f"{path}\n"
    running.stdout.close()
    assert running.stderr.read() == ""
    running.stderr.close()
    assert running.wait() == 141


def test_ctrl_c_leaves_quietly(monkeypatch, capsys):
    class Interrupted:
        def __iter__(self):
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", Interrupted())
    assert run(["inspect", "-"]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_verb_is_a_file_and_a_line():
    folder = Path(weightspace.cli.__file__).parent
    assert set(VERBS) <= {path.stem for path in folder.glob("*.py")}


@pytest.mark.parametrize("verb", [["inspect"], ["inspect", "--stats"], ["embed", "-o", "latents.parquet"]])
def test_reviewed_classes_pass_with_trust_and_the_refusal_says_so(verb, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save({"args": Namespace(lr=0.1), "state_dict": {"fc.weight": torch.ones(2, 3)}}, "run.pt")

    assert run([*verb, "run.pt"]) == 1
    assert "argparse.Namespace" in (errors := capsys.readouterr().err) and "--trust" in errors
    assert run([*verb, "run.pt", "--trust", *(["--force"] if verb[0] == "embed" else [])]) == 0
    assert capsys.readouterr().err == ""


def test_trust_lets_no_code_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save({"w": torch.ones(2), "code": exec}, "evil.pt")

    assert run(["inspect", "evil.pt", "--trust"]) == 1
    assert "could run code; nothing was run" in capsys.readouterr().err
