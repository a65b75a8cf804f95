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
# # 02 Probe latents
#
# **Question.** A vector was made from the weights alone. Which facts of the training are written in it: how good the
# network is, with which optimizer it was trained, on how much data, for how long? And at which stage of the network
# are they written?
#
# **Answer.** Accuracy and activation can be read off almost perfectly by a linear probe, on training runs that it has
# not seen; two thirds of what tells width and depth; the optimizer, the learning rate and the share of data partly.
# Each score below stands beside chance and beside a control that a probe passes by memory alone.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import weightspace as ws
from weightspace import zoo
from weightspace.latents.probing import ProbeSettings
from weightspace.zoo.embed import embed_population

population = zoo.load("mlp_digits")
encoder = ws.Encoder.from_pretrained()
found = embed_population(encoder, population, population.frame())
table = found.table
print(f"{len(table)} networks of {table.to_pandas()['run'].nunique()} runs, three snapshots each")

# %% [markdown]
# ## A probe is a question, not a proof
#
# Runs are parted: a probe is fitted to four fifths of them and asked about the rest. The **control** asks the same of
# a random value that each run carries: whoever recognises a run can tell it. Score less control is **selectivity**.

# %%
columns = ["test_accuracy", "activation", "width", "depth", "epoch", "optimizer", "learning_rate", "train_fraction"]
decade = [float(np.floor(np.log10(rate))) for rate in table.to_pandas()["learning_rate"]]
table = table.assign({"learning_rate_decade": [f"1e{int(d)}" for d in decade]})
columns = [c if c != "learning_rate" else "learning_rate_decade" for c in columns]

settings = ProbeSettings(folds=4, seeds=2, permutations=50)
reports = {column: ws.probe_property(table, column, settings) for column in columns}

# %%
rows = [(c, r.kind, r.score, r.spread, r.chance, r.control, r.selectivity, r.p_value) for c, r in reports.items()]
heads = ["property", "kind", "score", "spread", "chance", "control", "selectivity", "p"]
summary = pd.DataFrame(rows, columns=heads).set_index("property")
summary.style.format(precision=3)

# %%
place = np.arange(len(summary))
figure, axes = plt.subplots(figsize=(8, 3.6), dpi=80)
axes.bar(place - 0.2, summary["score"], 0.4, yerr=summary["spread"], label="score, held-out runs", color="tab:blue")
axes.bar(place + 0.2, summary["control"], 0.4, label="control (memory of runs)", color="tab:orange")
axes.scatter(place, summary["chance"], marker="_", s=700, color="black", label="chance", zorder=3)
axes.set_xticks(place, [f"{n}\n({k})" for n, k in zip(summary.index, summary["kind"])], fontsize=7, rotation=20)
axes.axhline(0, color="grey", lw=0.6)
axes.legend(fontsize=8)
axes.set_ylabel("R2, or accuracy of names")
figure.tight_layout()

# %% [markdown]
# **What one sees.** How good a network is, is written in plain sight. So are its activation and its sizes, which is
# less of a feat: they are in the file, one way or another. Optimizer, decade of the learning rate and share of the
# data are above chance, and above what memory of runs explains.
#
# **What it does not show.** A low score says "not linear", never "not there". A high one does not say *why*: a probe
# may read the learning rate off the size of the weights. All networks here were trained on the same dataset, so
# nothing is said about recognising datasets.

# %% [markdown]
# ## Predicted against true accuracy, held out by run

# %%
frame = table.to_pandas()
held_out = pd.factorize(frame["run"])[0] % 4 == 0
probe = ws.PropertyProbe().fit(table.vectors[~held_out], frame["test_accuracy"][~held_out])
told = probe.predict(table.vectors[held_out])

figure, axes = plt.subplots(figsize=(4.6, 4.2), dpi=80)
points = axes.scatter(frame["test_accuracy"][held_out], told, c=frame["epoch"][held_out], s=12, cmap="plasma")
axes.plot([0, 1], [0, 1], color="grey", lw=0.8)
axes.set_xlabel("test accuracy, measured")
axes.set_ylabel("read off the vector")
figure.colorbar(points, label="epoch")
figure.tight_layout()

# %% [markdown]
# **What one sees.** The points hug the diagonal from chance to 0.97, in unseen runs, though no image was ever shown
# to the probe.
#
# **What it does not show.** Most of this spread is between untrained and trained networks. Among *finished* networks
# the question is harder:

# %%
finished = frame["snapshot"].to_numpy() == 2
within = [np.corrcoef(told[m[held_out]], frame["test_accuracy"][held_out & m])[0, 1] for m in (finished, ~finished)]
print(f"correlation among finished networks {within[0]:.3f}, among the others {within[1]:.3f}")

# %% [markdown]
# ## Which stage knows it?
#
# A latent has a part for each stage of the network. The same probes, stage by stage (networks without a third layer
# are left out there):

# %%
asked = ["test_accuracy", "epoch", "optimizer", "learning_rate_decade", "train_fraction"]
quick = ProbeSettings(folds=4, seeds=1, permutations=10)
by_stage = {column: ws.probe_stages(table, found.stages, column, quick) for column in asked}
grid = np.array([[by_stage[c][s].score - by_stage[c][s].chance for s in found.stages] for c in asked])

figure, axes = plt.subplots(figsize=(5.4, 3), dpi=80)
image = axes.imshow(grid, cmap="viridis", vmin=0, vmax=1, aspect="auto")
axes.set_xticks(range(grid.shape[1]), list(found.stages))
axes.set_yticks(range(len(asked)), asked)
for i, j in np.ndindex(*grid.shape):
    axes.text(j, i, f"{grid[i, j]:.2f}", ha="center", va="center", color="white" if grid[i, j] < 0.6 else "black")
axes.set_title("score above chance, by stage", fontsize=10)
figure.tight_layout()

# %% [markdown]
# **What one sees.** The first layer alone tells a good deal of how long and how well a network was trained.
#
# **What it does not show.** Stage states have seen messages from the whole network, so a stage "knows" more than its
# own weights do.

# %% [markdown]
# ## What was claimed

# %%
score = summary["score"]
assert score["test_accuracy"] > 0.9 and score["activation"] > 0.95 and score["width"] > 0.6 and score["depth"] > 0.6
assert (summary["selectivity"][["test_accuracy", "activation", "train_fraction", "optimizer"]] > 0).all()
assert (summary["score"] > summary["chance"]).all() and (summary["p"] < 0.05).all()
assert within[0] > 0.5
