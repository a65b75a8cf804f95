"""Where probes and the reading of answers begin."""

from dataclasses import replace

import torch

from weightspace.train.loop import EncoderTraining
from weightspace.train.shown import stacked


def begun(config, corpus):
    training = EncoderTraining(config, corpus)
    training._start()
    return training.objective


def test_a_training_begins_at_real_inputs_and_principal_components(config, corpus):
    objective = begun(config, corpus)
    drawn = EncoderTraining(config, corpus).objective.state_dict()
    changed = {name for name, value in objective.state_dict().items() if not value.equal(drawn[name])}
    assert changed == {"encoder.probes.image", "encoder.images.matrix", "encoder.images.offset"}  # all take images
    parts = [(g, torch.arange(len(g))) for g in corpus.groups["train"]]
    with torch.no_grad():
        told = [objective.encoder.images(objective.ask([part], stacked([part]))) for part in parts]
    assert torch.cat(told).mean(0).abs().max() < 1e-4
    assert all(value.equal(objective.state_dict()[name]) for name, value in begun(config, corpus).state_dict().items())


def test_a_training_that_goes_on_does_not_begin_again(config, corpus, tmp_path, monkeypatch):
    training = EncoderTraining(replace(config, steps=2), corpus)
    training.run(state=tmp_path / "state.pt")
    calls = []
    monkeypatch.setattr("weightspace.train.loop.start_answers", lambda *_: calls.append(1))
    EncoderTraining(replace(config, steps=3), corpus).run(state=tmp_path / "state.pt")
    assert not calls
    EncoderTraining(replace(config, steps=1), corpus).run()
    assert calls
