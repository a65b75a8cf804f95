"""Statistics of a block that the encoder cannot see."""

import torch
from torch import Generator

from weightspace.train.loop import EncoderTraining
from weightspace.train.masked import MaskedHead, ask_block, blanked
from weightspace.train.shown import Batch, stacked


def test_a_blanked_block_is_zero_and_all_others_stay(corpus):
    group = corpus.groups["train"][0]
    weights = stacked([(group, torch.arange(2))])
    name = group.plan.edges[0].tensor
    found = blanked(weights, name)
    assert not found[name].any() and weights[name].any()
    assert all(found[other] is tensor for other, tensor in weights.items() if other != name)


def test_the_blanked_block_is_asked_for_and_learned(config, corpus):
    objective, group = EncoderTraining(config, corpus).objective, corpus.groups["train"][0]
    parts = [(group, torch.arange(len(group)))]
    weights, number = stacked(parts), 0
    seen = objective.encode(parts, blanked(weights, group.plan.edges[number].tensor))
    head = MaskedHead(config.sizes, generator=Generator().manual_seed(0))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    losses = []
    for _ in range(200):
        loss = head(seen, ask_block(group.plan, number, weights))
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward(retain_graph=True)
        optimizer.step()
    assert losses[-1] < losses[0] / 3
    nothing = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    assert head(seen, ask_block(group.plan, number, nothing)).detach() == 0


def test_whatever_block_is_lacking_slopes_are_finite(config, corpus):
    objective, group = EncoderTraining(config, corpus).objective, corpus.groups["train"][0]
    for seed in range(2 * len(group.plan.edges)):  # blanked last layers leave networks silent
        objective.zero_grad()
        batch = Batch([(group, torch.arange(4))], False, True)
        torch.stack(list(objective(batch, Generator().manual_seed(seed)).values())).sum().backward()
        assert all(p.grad.isfinite().all() for p in objective.parameters() if p.grad is not None)
