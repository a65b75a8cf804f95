"""Read-outs that are learned once more: better on held-out runs, of vectors that stay."""

from dataclasses import replace

import torch

from weightspace.train import heads
from weightspace.train.loop import EncoderTraining


def settled(config, corpus, steps):
    objective = EncoderTraining(replace(config, steps=steps), corpus).objective
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    held_out = [heads._held_out(objective, group) for group in corpus.groups["validation"]]
    least = heads._judge(objective, held_out)
    heads.settle_heads(objective, corpus.groups, torch.Generator().manual_seed(0))
    changed = {name for name, value in objective.state_dict().items() if not value.equal(before[name])}
    return changed, least, heads._judge(objective, held_out)


def test_only_read_outs_change_and_they_read_held_out_runs_better(config, corpus):
    changed, before, after = settled(config, corpus, 40)
    assert changed and all(name.startswith("predictor.heads.") for name in changed)
    assert after < before


def test_those_from_before_stay_where_no_others_are_better(config, corpus, monkeypatch):
    monkeypatch.setattr(heads, "RATE", 0.0)
    changed, before, after = settled(config, corpus, 10)
    assert not changed and after == before
