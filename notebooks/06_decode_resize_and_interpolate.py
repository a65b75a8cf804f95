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
# # 06 Decode, resize and interpolate
#
# **Question.** A vector came from a network's weights. Does it hold enough to make a network again, one of another
# size? And what lies between two vectors?
#
# **Answer.** Decoded networks of any width give about four fifths of the original's answers, and everything
# between two vectors decodes into a working network. But they are worse than the original by nearly a tenth; where
# two networks are of one architecture, averaging their *matched weights* does better.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import weightspace as ws
from weightspace import zoo
from weightspace.execute.stack import run_stacked
from weightspace.graph.trace.program import Program
from weightspace.zoo.data import load_dataset

encoder, decoder = ws.Encoder.from_pretrained(), ws.Decoder.from_pretrained()
population, digits = zoo.load("mlp_digits"), load_dataset("digits")
x, y = digits.x_test, digits.y_test
rows = population.frame(where=[("split", "==", "test"), ("snapshot", "==", 2), ("test_accuracy", ">", 0.9)])
rows = rows[rows["architecture"] == rows["architecture"].mode()[0]]
first, second = (population.checkpoint(i) for i in rows["id"].iloc[:2])


# %%
def answers_of(tensors, program):
    like = ws.Checkpoint({n: t[0] for n, t in tensors.items()}, {"architecture": program.to_json()})
    with torch.no_grad():
        return run_stacked(ws.to_module(like).float(), {n: t.float() for n, t in tensors.items()}, x).argmax(2)


# %% [markdown]
# ## One vector, several widths

# %%
own = Program.from_json(first.metadata["architecture"])
before = answers_of({n: t[None] for n, t in first.tensors.items()}, own)[0]
vectors = torch.stack([encoder.encode(net).vector for net in (first, second)])
widths = [8, 16, 32, 64]
programs = [ws.architecture_of(f"mlp:width={w},depth=2,inputs=1x8x8,classes=10") for w in widths]
decoded = [answers_of(decoder.decode(vectors[:1], p), p)[0] for p in programs]
agree = [float((found == before).float().mean()) for found in decoded]
accuracy = [float((found == y).float().mean()) for found in decoded]
original = float((before == y).float().mean())

# %%
figure, axes = plt.subplots(figsize=(5.4, 3.2), dpi=80)
axes.plot(widths, accuracy, marker="o", label="accuracy, decoded")
axes.plot(widths, agree, marker="o", label="agreement with the original")
axes.axhline(original, color="grey", ls=":", label="accuracy, original")
axes.axhline(0.1, color="black", lw=0.8, label="chance")
axes.set_xscale("log", base=2)
axes.set(xlabel="width of the decoded network", ylim=(0, 1))
axes.legend(fontsize=8)
figure.tight_layout()
print([f"{a:.2f}" for a in agree], [f"{a:.2f}" for a in accuracy], f"{original:.2f}")

# %% [markdown]
# **What one sees.** One vector becomes working networks of 8 to 64 units a layer.
#
# **What it does not show.** That the weights come back: they do not, nor all of the answers. For the same weights,
# use the codec (`weightspace compress`).

# %% [markdown]
# ## Between two networks
#
# Halfway between two networks: in the space of vectors, in the space of weights once units are matched, and of
# weights as they are stored.

# %%
shares = torch.linspace(0, 1, 9)
between = torch.stack([torch.lerp(vectors[0], vectors[1], float(s)) for s in shares])
by_vector = (answers_of(decoder.decode(between, own), own) == y).float().mean(1)


def mixed(a, b):
    return {
        n: torch.stack([torch.lerp(t.float(), b.tensors[n].float(), float(s)) for s in shares])
        for n, t in a.tensors.items()
    }


by_weight = (answers_of(mixed(ws.align(first, second), second), own) == y).float().mean(1)
as_stored = (answers_of(mixed(first, second), own) == y).float().mean(1)

# %%
figure, axes = plt.subplots(figsize=(5.4, 3.2), dpi=80)
axes.plot(shares, by_vector, marker="o", label="vectors, decoded")
axes.plot(shares, by_weight, marker="o", label="weights, units matched")
axes.plot(shares, as_stored, marker="o", label="weights, as stored")
axes.set(xlabel="share of the second network", ylabel="accuracy", ylim=(0, 1))
axes.legend(fontsize=8)
figure.tight_layout()
for line in (by_vector, by_weight, as_stored):
    print(np.round(line.numpy(), 2))

# %% [markdown]
# **What one sees.** Along the line between vectors every decoded network works as well as those at its ends. Weights
# as stored break down halfway; matched weights don't, and stay above the decoded ones.
#
# **What it does not show.** That vectors are the better place to mix: they are where the two networks differ in
# architecture, for then there are no weights to average. And a network in between is no proof of something new: see
# notebook 07 and `weightspace generate` for an audit.

# %% [markdown]
# ## What was claimed

# %%
assert 0.75 < min(agree) and max(agree) < 0.85 and 0.05 < original - max(accuracy) < 0.12
assert float(by_vector.min()) > 0.95 * float(by_vector[[0, -1]].mean())
assert float(as_stored.min()) < float(by_vector.min()) < float(by_weight.min())
