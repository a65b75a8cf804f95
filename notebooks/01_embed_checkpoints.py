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
# # 01 Embed checkpoints
#
# **Question.** A folder holds trained networks of all sorts: image classifiers, a tiny GPT, agents, a noise
# suppressor. Can one function turn each into a vector, without its code and its data, such that the vector is about
# the network and not about how its file happens to be laid out?
#
# **Answer.** Yes: eighteen real checkpoints from ten sources become eighteen vectors. Reordering hidden units, which
# changes most numbers of a file and nothing that the network computes, moves none of them; reordering one tensor
# alone, which breaks the network, moves its vector.

# %%
from importlib.resources import files
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import weightspace as ws
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import places, relabel_only

folder = Path(str(files("weightspace.model_zoo"))) / "checkpoints"
encoder = ws.Encoder.from_pretrained("random-sweep")

# %% [markdown]
# ## What the weights say about themselves
#
# A residual network for CIFAR-10, as its authors published it: names and shapes, no code. The graph says which
# tensors share which units.

# %%
net = ws.load_checkpoint(folder / "cifar10_resnet20.safetensors")
graph = ws.build_graph(net)
print(graph)
for axis in list(graph.axes.values())[:6]:
    print(f"{axis.name:32} {axis.size:4} units  {axis.role}")

# %% [markdown]
# ## Every checkpoint of the folder
#
# `encode_many` groups equal architectures, and a file that fails becomes a row that says why.

# %%
table = encoder.encode_many([folder])
frame = table.to_pandas()
frame["group"] = [Path(p).relative_to(folder).parts[0].removesuffix(".safetensors") for p in frame["path"]]
frame[["group", "weights", "understood", "free_units"]].style.format(precision=3).hide()

# %% [markdown]
# ## Who is near whom

# %%
vectors = table.vectors - table.vectors.mean(0)
order = np.argsort(frame["group"].to_numpy(), kind="stable")
apart = np.linalg.norm(vectors[order][:, None] - vectors[order][None], axis=2)
names = [Path(frame["path"][i]).stem for i in order]

figure, axes = plt.subplots(figsize=(7.2, 6), dpi=80)
image = axes.imshow(apart, cmap="viridis")
axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
axes.set_yticks(range(len(names)), names, fontsize=7)
axes.set_title("distance of latents")
figure.colorbar(image, shrink=0.7)
figure.tight_layout()

# %% [markdown]
# **What one sees.** Dark squares on the diagonal are networks of one source: seeds of evolved walkers, two noise
# models, agents of one library. The two residual networks for CIFAR-10, from different authors, are nearest each
# other.
#
# **What it does not show.** `random-sweep` has learned nothing. Architecture and the sizes of weights are most of
# what tells these networks apart here: names and shapes alone would find most of the squares, too. Whether a network
# is *good* is another question (notebook 02).

# %% [markdown]
# ## What the vector must not see, and what it must
#
# Now we shuffle all hidden units of the residual network, everywhere alike: the same function. Then we shuffle one
# tensor only: another function.

# %%
generator = torch.Generator().manual_seed(0)
orders = random_permutations(graph, generator=generator)
legal = ws.relabel(net, graph, orders)
moved = np.mean([float((legal.tensors[n] != t).double().mean()) for n, t in net.tensors.items()])

axis = next(name for name, axis in graph.axes.items() if axis.role == "hidden" and len(places(graph, name)) > 1)
broken = relabel_only(net, graph, orders, places(graph, axis)[:1])
print(f"{moved:.0%} of the file's numbers are others after relabelling")

# %%
start = encoder.encode(net).vector
nearest = float(np.sort(np.linalg.norm(table.vectors - start.numpy(), axis=1))[1])
changes = {
    "relabelled\n(same function)": float((encoder.encode(legal).vector - start).norm()),
    "one tensor shuffled\n(broken)": float((encoder.encode(broken).vector - start).norm()),
    "nearest other\ncheckpoint": nearest,
}
figure, axes = plt.subplots(figsize=(5.5, 3), dpi=80)
axes.bar(list(changes), list(changes.values()), color=["tab:green", "tab:red", "tab:grey"])
axes.set_ylabel("distance of latents")
figure.tight_layout()
changes

# %% [markdown]
# **What one sees.** Relabelling moves the vector by nothing at all; a single broken tie moves it by a good part of
# the way to another checkpoint.
#
# **What it does not show.** Other changes that keep the function are not all free: doubling a unit's incoming weights
# and halving its outgoing ones moves the vector a little. And a small distance says "alike in weights and wiring",
# not "answers alike".

# %% [markdown]
# ## Where a latent lives
#
# Beside the vector there is a state for each unit and each stage. Unit states move with their units: that is what
# makes them comparable.

# %%
latent, again = encoder.encode(net), encoder.encode(legal)
name = next(iter(orders))
follows = (again.units[name] - latent.units[name][orders[name]]).abs().max().item()
stays = (again.units[name] - latent.units[name]).abs().max().item()
print(f"{len(latent.stages)} stages; {name}: {follows:.1e} off if units follow the relabelling, {stays:.2f} if not")

# %% [markdown]
# ## What was claimed

# %%
assert len(frame) == 18 and frame["group"].nunique() == 10 and (frame["understood"] > 0.9).all()
assert moved > 0.5
assert changes["relabelled\n(same function)"] < 1e-4 * nearest
assert changes["one tensor shuffled\n(broken)"] > 0.05 * nearest
assert follows < 1e-4 < stays
