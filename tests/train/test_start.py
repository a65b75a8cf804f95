"""Where probes and the reading of answers begin."""

from dataclasses import replace

import torch

from weightspace.encode.answers import run_networks
from weightspace.train.loop import EncoderTraining
from weightspace.train.objective import stacked
from weightspace.train.start import start_answers


def test_a_training_begins_at_real_inputs_and_principal_components(config, corpus):
    objective = EncoderTraining(config, corpus).objective
    drawn = {name: value.clone() for name, value in objective.state_dict().items()}
    start_answers(objective, corpus)
    changed = {name for name, value in objective.state_dict().items() if not value.equal(drawn[name])}
    assert changed == {"encoder.probes.image", "encoder.images.matrix", "encoder.images.offset"}  # all take images
    group = corpus.groups["train"][0]
    with torch.no_grad():
        probes = objective.encoder.probes(group.shape)
        told = [
            objective.encoder.images(run_networks(g.module, stacked([(g, torch.arange(len(g)))]), probes))
            for g in corpus.groups["train"]
        ]
    assert torch.cat(told).mean(0).abs().max() < 1e-4
    again = EncoderTraining(config, corpus).objective
    start_answers(again, corpus)
    assert all(value.equal(objective.state_dict()[name]) for name, value in again.state_dict().items())


def test_a_training_that_goes_on_does_not_begin_again(config, corpus, tmp_path, monkeypatch):
    training = EncoderTraining(replace(config, steps=2), corpus)
    training.run(state=tmp_path / "state.pt")
    begun = []
    monkeypatch.setattr("weightspace.train.loop.start_answers", lambda *_: begun.append(1))
    EncoderTraining(replace(config, steps=3), corpus).run(state=tmp_path / "state.pt")
    assert not begun
    EncoderTraining(replace(config, steps=1), corpus).run()
    assert begun
