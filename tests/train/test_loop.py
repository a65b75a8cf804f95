"""Training depends on seed and step alone: stopped, resumed or shared, it ends the same; and it learns."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.encode.network import LEARNED_SHARE
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel
from weightspace.graph.trace import trace_graph
from weightspace.train import loop
from weightspace.train.data import draw_shares, load_corpus
from weightspace.train.loop import EncoderTraining
from weightspace.train.objective import contrast
from weightspace.train.predict import predict, validation_losses
from weightspace.train.shown import Batch, stacked, told_shuffled
from weightspace.train.views import draw_kept, with_noise, with_shuffled
from weightspace.zoo.store import Population


def final(training: EncoderTraining) -> dict[str, torch.Tensor]:
    training.run()
    return training.objective.state_dict()


def read(objective, parts, weights, run=True):
    """Vectors of networks, run on the probes or not."""
    return objective.encode(parts, weights, told=objective.ask(parts, weights) if run else None).vector


def test_the_same_seed_gives_the_same_bits_and_another_does_not(config, corpus):
    one, same = final(EncoderTraining(config, corpus)), final(EncoderTraining(config, corpus))
    other = final(EncoderTraining(replace(config, seed=1), corpus))
    assert all(one[name].equal(same[name]) for name in one)
    assert not one["encoder.head.linear"].equal(other["encoder.head.linear"])


def test_a_stopped_training_goes_on_to_the_same_bits(config, corpus, tmp_path):
    whole = final(EncoderTraining(config, corpus))

    def stop(step, steps, losses) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        EncoderTraining(config, corpus).run(state=tmp_path / "state.pt", save_every=0.0, report=stop)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 2
    resumed = EncoderTraining(config, corpus)
    resumed.run(state=tmp_path / "state.pt")
    assert all(whole[name].equal(value) for name, value in resumed.objective.state_dict().items())
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == config.steps


def test_the_state_that_reads_the_validation_part_best_is_the_result(config, corpus, monkeypatch):
    training, seen = EncoderTraining(config, corpus), []

    def judge(objective, groups, populations) -> torch.Tensor:
        assert groups == corpus.groups["validation"]
        seen.append(objective.encoder.head.linear.detach().clone())
        return torch.tensor([[2 * [3.0, 1.0, 2.0, 1.5, 4.0, 2.0][len(seen) - 1]], [2.0]])

    monkeypatch.setattr(loop, "validation_losses", judge)
    training.run()
    assert len(seen) == config.steps and training.least == 1.0
    assert training.objective.encoder.head.linear.equal(seen[1]) and not seen[1].equal(seen[-1])


def test_the_validation_loss_is_of_the_main_property_alone(config, corpus):
    objective, groups = EncoderTraining(config, corpus).objective, corpus.groups["validation"]
    name = groups[0].population
    found, count = validation_losses(objective, groups, [name, "none"])
    assert count.tolist() == [2 * len(groups), 0] and found[1] == 0
    worse = [replace(g, targets=g.targets | {"test_accuracy": g.targets["test_accuracy"] + 5}) for g in groups]
    other = [replace(g, targets=g.targets | {"epoch": g.targets["epoch"] + 5}) for g in groups]
    assert validation_losses(objective, worse, [name])[0] > found[0] + 5 * count[0]
    assert validation_losses(objective, other, [name])[0] == found[0]


def test_a_population_is_drawn_by_its_size_however_many_architectures_share_it(corpus):
    groups = corpus.groups["train"]
    whole, apart = draw_shares([groups]), draw_shares([[group] for group in groups])
    assert sum(apart) == pytest.approx(whole[0]) and whole[0] == pytest.approx(sum(map(len, groups)) ** 0.5)
    twin = [replace(group, population="twin") for group in groups]
    assert draw_shares([[*groups, *twin]])[0] == pytest.approx(2 * whole[0])


def test_every_parameter_is_learned(config, corpus):
    training = EncoderTraining(config, corpus)
    before = {name: value.clone() for name, value in training.objective.state_dict().items()}
    after = final(training)
    learned = {name for name, _ in training.objective.named_parameters()}
    others = "encoder.probes.row", "encoder.rows.offset", "encoder.pictures."  # these networks take images
    assert [name for name in learned if after[name].equal(before[name]) and not name.startswith(others)] == []


@pytest.mark.parametrize("run", [True, False])
def test_vectors_stay_when_hidden_units_are_relabelled(config, corpus, run):
    objective, group = EncoderTraining(config, corpus).objective.double().eval(), corpus.groups["test"][0]
    graph = trace_graph(group.module, (torch.zeros(2, *group.shape),))
    weights = {name: tensor[:1].double() for name, tensor in group.weights.items()}
    permutations = random_permutations(graph, generator=torch.Generator().manual_seed(0))
    turned = relabel(Checkpoint({name: t[0] for name, t in weights.items()}), graph, permutations).tensors
    double = group.module.double()
    parts = [(group, torch.arange(1))]
    before = read(objective, parts, weights, run=run)
    after = read(objective, parts, {name: t[None] for name, t in turned.items()}, run=run)
    double.float()
    assert not all(turned[name].equal(weights[name][0]) for name in turned)
    torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-6)


def test_two_processes_train_what_one_does(config, corpus, population, tmp_path):
    text = f"""
name: small
populations: [{population.folder}]
steps: 4
groups: 2
batch_size: 12
warmup: 2
inputs: 6
sizes:
  {{width: 8, pairs: 6, waves: 4, features: 12, stage: 10, latent: 34, depths: 3, probes: 6, hidden: 24, signals: 4,
   fixed: 24, answers: 4, picture: 4}}
"""
    (tmp_path / "config.yaml").write_text(text)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    call = ["weightspace", "train", "encoder", "--config", str(tmp_path / "config.yaml"), "-o", str(tmp_path / "two")]
    run = subprocess.run(
        [*launch, "-m", *call], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert run.returncode == 0, run.stderr

    from weightspace.encode.encoder import Encoder

    shared = Encoder.from_pretrained(str(tmp_path / "two")).network.state_dict()
    alone = EncoderTraining(replace(config, steps=4), corpus)
    before = alone.objective.encoder.head.linear.detach().clone()
    alone.run()
    assert not alone.objective.encoder.head.linear.equal(before)
    for name, value in alone.objective.encoder.state_dict().items():
        torch.testing.assert_close(shared[name], value, rtol=1e-3, atol=1e-5)


def test_accuracy_of_held_out_runs_is_learned_and_shuffled_targets_are_not(config, corpus):
    config = replace(config, steps=60, batch_size=32, learning_rate=5e-3, behaviour=0.0, views=0.0)
    config = replace(config, damaged=0.0)  # the accuracy of damaged networks is measured, whatever is recorded

    def held_out(corpus) -> float:
        training = EncoderTraining(config, corpus)
        training.run()
        pairs = [(g.targets["test_accuracy"], predict(training.objective, g, run=True)) for g in corpus.groups["test"]]
        truth = torch.cat([t for t, _ in pairs])
        told = torch.cat([torch.tensor(frame["test_accuracy"].to_numpy()) for _, frame in pairs])
        return float(1 - (told - truth).square().mean() / truth.var(unbiased=False))

    draw = torch.Generator().manual_seed(0)
    shuffled = [
        replace(
            g, targets=g.targets | {"test_accuracy": g.targets["test_accuracy"][torch.randperm(len(g), generator=draw)]}
        )
        for g in corpus.groups["train"]
    ]
    assert held_out(corpus) > 0.6
    assert held_out(replace(corpus, groups=dict(corpus.groups) | {"train": shuffled})) < 0.3


def test_a_network_is_told_from_others_by_its_other_view():
    a = torch.eye(4)
    assert contrast(a, a) < 0.01 < 1 < contrast(a, a.roll(1, 0))


def test_losses_of_a_batch_are_named_and_finite(config, corpus):
    objective, group = EncoderTraining(config, corpus).objective, corpus.groups["train"][0]
    losses = objective(Batch([(group, torch.arange(4))], True, True, 2), torch.Generator().manual_seed(0))
    assert {"test_accuracy", "activation", "trained", "behaviour", "views"} <= set(losses)
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_noise_is_another_share_for_each_network_and_spares_what_is_not_learned():
    weights = {"w": torch.ones(400, 50), "running_var": torch.ones(400, 3), "steps": torch.ones(400, dtype=torch.long)}
    noisy = with_noise(weights, ["w"], 0.1, torch.Generator().manual_seed(0))
    assert noisy["running_var"] is weights["running_var"] and noisy["steps"] is weights["steps"]
    share = (noisy["w"] - 1).std(1)
    assert share.max() < 0.15 and abs(float(share.mean()) - 0.05) < 0.01 and share.std() > 0.02


def test_dropping_keeps_the_mean():
    kept = draw_kept((200, 100), 0.25, torch.Generator().manual_seed(0))
    assert kept.unique().tolist() == pytest.approx([0.0, 4 / 3]) and abs(float(kept.mean()) - 1) < 0.02
    assert draw_kept((200, 100), 0.0, torch.Generator()) is None


def test_populations_of_one_architecture_train_together_as_they_do_alone(config, corpus, population, tmp_path):
    shutil.copytree(population.folder, tmp_path / "again")
    both = load_corpus([population, Population(tmp_path / "again")], inputs=6)
    training = EncoderTraining(config, both)
    assert len(training.together) == len(corpus.groups["train"])
    assert all(len({group.population for group in groups}) == 2 for groups in training.together)

    objective, groups = training.objective.eval(), training.together[0]
    parts = [(group, torch.arange(3 + i)) for i, group in enumerate(groups)]
    together = read(objective, parts, stacked(parts))
    alone = [read(objective, [part], stacked([part])) for part in parts]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)
    losses = objective.property_losses(parts, together, objective.show.recorded(parts))
    each = [
        objective.property_losses([part], vector, objective.show.recorded([part]))
        for part, vector in zip(parts, alone, strict=True)
    ]
    mean = sum(len(p[1]) * loss["test_accuracy"] for p, loss in zip(parts, each, strict=True)) / 7
    torch.testing.assert_close(losses["test_accuracy"], mean, rtol=1e-4, atol=1e-5)


def test_fixed_numbers_know_nothing_that_was_learned_but_their_parts(config, corpus):
    training = EncoderTraining(config, corpus)
    before = training.objective.encoder.likeness.directions.clone()
    training.run()
    assert training.objective.encoder.likeness.directions.equal(before)
    group = corpus.groups["test"][0]
    parts = [(group, torch.arange(5))]
    vector = read(training.objective.eval(), parts, stacked(parts))
    sizes = config.sizes
    assert vector.shape == (5, sizes.latent)
    for learned in vector[:, sizes.fixed :].split([sizes.latent - sizes.fixed - sizes.answers, sizes.answers], 1):
        torch.testing.assert_close(learned.mean(1), torch.zeros(5), rtol=0, atol=1e-5)
        torch.testing.assert_close(learned.square().mean(1).sqrt(), torch.full((5,), LEARNED_SHARE), rtol=1e-3, atol=0)


def test_running_a_network_adds_its_answers_and_changes_nothing_else(config, corpus):
    objective = EncoderTraining(config, corpus).objective.eval()
    parts = [(corpus.groups["test"][0], torch.arange(5))]
    run, unrun = (read(objective, parts, stacked(parts), run=run) for run in (True, False))
    assert run[:, : -config.sizes.answers].equal(unrun[:, : -config.sizes.answers])
    assert (run != 0).all() and not unrun[:, -config.sizes.answers :].any()


def test_shuffled_networks_keep_their_numbers_and_lose_their_properties(config, corpus):
    group = corpus.groups["train"][0]
    parts, generator = [(group, torch.arange(6))], torch.Generator().manual_seed(0)
    plain, where = stacked(parts), torch.tensor([True, False] * 3)
    names = [name for name, _ in group.module.named_parameters()]
    found = with_shuffled(plain, names, where, generator)
    for name in names:
        assert found[name].flatten(1).sort(1).values.equal(plain[name].flatten(1).sort(1).values)
        assert found[name][~where].equal(plain[name][~where])
    assert not found[names[0]][where].equal(plain[names[0]][where])

    objective = EncoderTraining(config, corpus).objective.eval()
    vector = read(objective, parts, found).detach()
    told = objective.property_losses(parts, vector, told_shuffled(objective.show.recorded(parts), where))
    kept = [(group, torch.tensor([1, 3, 5]))]
    alone = objective.property_losses(kept, vector[~where], objective.show.recorded(kept))
    torch.testing.assert_close(told["test_accuracy"], alone["test_accuracy"])
    assert not told["wiring"].isclose(alone["wiring"])
