# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 Read one network
#
# **Question.** One checkpoint, no data sheet. What is it, is anything odd about it, which of its units matter, and
# what did the last training change?
#
# **Answer.** A report reads sizes, spectra and oddities off the file. An encoder predicts how good the network is and
# gradients put that down to units; taking away the highest ones changes the prediction several times as much as
# random ones. Whether those units matter to the *network* is a question of its own, which can be put to the network
# itself, with labels or without.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import spearmanr

import weightspace as ws
from weightspace import zoo
from weightspace.execute.stack import run_stacked
from weightspace.graph.layout import Side
from weightspace.graph.symmetry.gates import Gates
from weightspace.inspect.deletion import deletion_curve
from weightspace.inspect.examine import examine
from weightspace.inspect.question import ask_accuracy, ask_answers, ask_predictor
from weightspace.zoo.data import load_dataset

encoder = ws.Encoder.from_pretrained()
population = zoo.load("mlp_digits")
rows = population.frame(where=[("split", "==", "test"), ("snapshot", "==", 2), ("activation", "==", "relu")])
row = rows[(rows["width"] == 32) & (rows["depth"] == 2)].sort_values("test_accuracy").iloc[-1]
net = population.checkpoint(row["id"])

# %% [markdown]
# ## What it is

# %%
found = examine(net)
print(f"{found.report.header.weights:,} weights, understood {found.report.graph.understood:.3f}")
for anomaly in found.anomalies:
    print("odd:", anomaly)
(told,) = encoder.predict(net)
for name in ("test_accuracy", "epoch", "activation", "dataset"):
    interval = told.intervals.get(name)
    between = "" if interval is None else f"  ({interval[0]:.3g} to {interval[1]:.3g})"
    print(f"{name:15} {told.values[name]!s:.8}{between}   true: {row[name]}")
print(f"novelty {told.novelty:.2f}")

# %% [markdown]
# ## Which units carry the predicted accuracy?
#
# A gate of 1 stands before each unit's outgoing weights. Slopes in the gates, on ways along which some units fade,
# say what each unit adds to the prediction.

# %%
question = ask_predictor(encoder, "test_accuracy")
parts = ws.attribute(encoder, net, question)
curve = deletion_curve(encoder, net, question, parts)
for unit in parts.ranked[:5]:
    print(f"{unit.axis:14} unit {unit.unit:3}  {unit.part:+.4f}")

# %%
figure, axes = plt.subplots(figsize=(5.4, 3.2), dpi=80)
shares = [100 * d.share for d in curve]
axes.plot(shares, [abs(d.top) for d in curve], marker="o", label="highest units")
axes.errorbar(shares, [d.random for d in curve], [d.spread for d in curve], marker="o", capsize=3, label="random units")
axes.set(xlabel="units taken away, %", ylabel="change of predicted accuracy")
axes.legend()
figure.tight_layout()

# %% [markdown]
# **What one sees.** The highest units change the prediction far more than random ones, at every share.
#
# **What it does not show.** This is what the encoder *believes*. It was never shown a network with a unit missing.

# %% [markdown]
# ## Which units does the network itself need?
#
# The truth, for once we have the data: take each unit away and measure on half of the digits. Beside the prediction we
# ask two more questions. Without the unit, would the network still *answer* the same, to the encoder's learned inputs?
# That needs no data. And: would it still name the *other half* of the digits right? That needs labels, but only slopes:
# no unit is taken away for it.

# %%
digits = load_dataset("digits")
x, y = torch.cat([digits.x, digits.x_test]), torch.cat([digits.y, digits.y_test])
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
asked, checked = order[::2], order[1::2]
gates = Gates.of(ws.build_graph(net), Side.READ)
weights = {name: tensor[None].float() for name, tensor in net.tensors.items()}
count = len(gates.units)
versions = gates.apply(weights, torch.cat([torch.ones(1, count), 1 - torch.eye(count)]))
with torch.no_grad():
    right = (run_stacked(ws.to_module(net).float(), versions, x[checked]).argmax(2) == y[checked]).float().mean(1)
lost = (right[0] - right[1:]).numpy()

told_by = {
    "predicted accuracy": parts,
    "answers": ws.attribute(encoder, net, ask_answers(encoder, net)),
    "accuracy on labels": ws.attribute(encoder, net, ask_accuracy(encoder, net, x[asked], y[asked])),
}
believed = {q: np.array([u.part for u in p.units]) for q, p in told_by.items()}
agree = {q: spearmanr(p, lost).statistic for q, p in believed.items()}

# %%
figure, panels = plt.subplots(1, 3, figsize=(10, 3.2), dpi=80, sharey=True)
for panel, (name, values) in zip(panels, believed.items()):
    panel.scatter(values, 100 * lost, s=14)
    panel.set(xlabel=f"part of the {name}")
    panel.set_title(f"rank correlation {agree[name]:.2f}", fontsize=10)
panels[0].set_ylabel("accuracy lost, points")
figure.tight_layout()

# %% [markdown]
# **What one sees.** Most units cost next to nothing, a few cost points. All three find those few. Of this network, that
# names nearly all digits right, the *answers* say most: few labelled digits lie where a unit tips the scale.
#
# **What it does not show.** One network is an anecdote. Over a hundred, labels order units best by far;
# `benchmarks/inspect/attribute.py` prints that, beside how well anyone could do.

# %% [markdown]
# ## The units as pictures
#
# First-layer weights of a perceptron on 8 x 8 images are pictures themselves. Above: the units that carry the answers
# most; below: least.

# %%
first = [i for i, (axis, _) in enumerate(gates.units) if axis == gates.units[0][0]]
order = sorted(first, key=lambda i: -believed["answers"][i])
filters = weights["layers.0.weight"].reshape(-1, 8, 8)
figure, panels = plt.subplots(2, 8, figsize=(8, 2.4), dpi=80)
for panel, i in zip(panels.ravel(), [*order[:8], *order[-8:]]):
    panel.imshow(filters[gates.units[i][1]].numpy(), cmap="coolwarm", vmin=-0.8, vmax=0.8)
    panel.set_title(f"{100 * lost[i]:.1f} points", fontsize=7)
    panel.axis("off")
figure.tight_layout()

# %% [markdown]
# ## What did the last training change?
#
# A network of the population `lineage` and its child, fine-tuned on mirrored digits. `diff` matches units and says
# what moved; integrated gradients say which changes moved the *prediction*.

# %%
family = zoo.load("lineage")
before, after = (family.checkpoint(f"lineage/000000/{node}") for node in ("0", "child_mirror"))
change = ws.diff(before, after)
print(change.verdict)
carried = ws.attribute_difference(encoder, before, after)
moved = {block.tensor: block.change for block in change.blocks}

# %%
names, place = list(carried.blocks), np.arange(len(carried.blocks))
share = np.array([carried.blocks[name] for name in names]) / carried.value
figure, axes = plt.subplots(figsize=(7, 3), dpi=80)
axes.bar(place - 0.2, [moved[name] for name in names], 0.4, label="change of the weights, relative")
axes.bar(place + 0.2, share, 0.4, label="share of the latent's way")
axes.axhline(0, color="grey", lw=0.6)
axes.set_xticks(place, names, rotation=20, fontsize=8)
axes.set_ylim(0, 0.7)
axes.legend(fontsize=8, ncols=2, loc="upper center")
figure.tight_layout()

# %% [markdown]
# **What one sees.** Biases moved most, relative to their size; what moved the latent most is the first layer: the
# encoder weighs blocks by what they do.
#
# **What it does not show.** Shares add up to the whole way of the latent along a straight line between the two
# networks; another way would share out somewhat differently.

# %% [markdown]
# ## What was claimed

# %%
low, high = told.intervals["test_accuracy"]
tenth = next(d for d in curve if d.share == 0.1)
assert found.report.graph.understood == 1 and low <= row["test_accuracy"] <= high
assert tenth.ratio > 2 and agree["answers"] > agree["predicted accuracy"] > 0.3 and agree["accuracy on labels"] > 0.3
assert abs(sum(carried.blocks.values()) / carried.value - 1) < 0.1
