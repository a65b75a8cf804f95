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
# # 03 Cluster and map a zoo
#
# **Question.** A map of many networks shows islands. Are they there, or did the drawing make them? And what are they?
#
# **Answer.** Clusters are found in the full space, not on the picture, and held against two tests: do they come again
# from 80 % of the rows, and does one property name them better than it names random groups of the same size? Both
# hold here. *What* they are depends on who looks: the trained encoder groups networks by what they do, an untrained
# one by what they are built of. A cloud with the same spread and no structure gives nothing.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa

import weightspace as ws
from weightspace import zoo
from weightspace.latents.cluster import ClusterSettings
from weightspace.latents.map import fit_map
from weightspace.zoo.embed import embed_population

population = zoo.load("mlp_digits")
encoders = {"trained": ws.Encoder.from_pretrained(), "untrained": ws.Encoder.from_pretrained("random-sweep")}
tables = {name: embed_population(e, population, population.frame()).table for name, e in encoders.items()}
frame = tables["trained"].to_pandas()
print(f"{len(frame)} networks: {frame['run'].nunique()} runs, before, during and after training")

# %% [markdown]
# ## Two maps of the same networks

# %%
maps = {name: fit_map(table, seed=0) for name, table in tables.items()}
figure, panels = plt.subplots(2, 3, figsize=(11, 7), dpi=72)
for line, (name, drawn) in zip(panels, maps.items()):
    x, y = np.asarray(drawn.places).T
    for panel, column in zip(line, ("activation", "snapshot", "test_accuracy")):
        codes = frame[column].astype("category").cat.codes if column == "activation" else frame[column]
        panel.scatter(x, y, c=codes, s=9, cmap="coolwarm" if column == "activation" else "viridis")
        panel.set(title=f"{name} encoder: {column}", xticks=[], yticks=[])
figure.tight_layout()

# %% [markdown]
# **What one sees.** Both encoders keep networks before training apart (two islands, one an activation). In the upper
# map each branch of trained networks runs from bad to good; in the lower one good and bad lie mixed.
#
# **What it does not show.** t-SNE keeps neighbours. How far two islands lie apart, how large they are and whether a
# gap is a gap means little. So we ask again, without the picture.

# %% [markdown]
# ## Clusters in the full space
#
# HDBSCAN says how many there are, if any; then four are asked for.

# %%
natural = {name: ws.cluster(table) for name, table in tables.items()}
four = {name: ws.cluster(table, ClusterSettings("kmeans", 4)) for name, table in tables.items()}
for way, clusterings in {"HDBSCAN": natural, "four means": four}.items():
    for name, found in clusterings.items():
        print(f"{way}, {name} encoder: stability {found.stability:.2f}, noise {found.noise:.2f}")
        for one in (c.name for c in found.clusters):
            print(f"    {one.column} = {one.value}: agreement {one.agreement:.2f}, chance {one.chance:.2f}")

# %%
figure, panels = plt.subplots(1, 2, figsize=(8, 3.8), dpi=72)
for panel, (name, drawn) in zip(panels, maps.items()):
    x, y = np.asarray(drawn.places).T
    panel.scatter(x, y, c=four[name].labels, s=9, cmap="tab10", vmax=9)
    panel.set(title=f"{name} encoder: four means", xticks=[], yticks=[])
figure.tight_layout()

# %% [markdown]
# **What one sees.** In the untrained encoder's space two clusters are natural, networks before training and the rest,
# and they come again every time. In the trained one's there are more: networks before training again, groups of good
# and of bad ones, and one that no property names. They come again less surely, and a quarter of all networks, most of
# middling accuracy, is noise between them. Asked for four, the trained encoder gives the untrained networks and three
# grades of loss; the untrained one gives activations beside them. Clusters of the full space lie together on the map,
# so the islands were no accident of the drawing.
#
# **What it does not show.** That there are natural *kinds* of trained networks. Four was our wish. The grades lie on
# a slope that k-means cuts in pieces, and the untrained encoder's four come again less surely.

# %% [markdown]
# ## Would a cloud do the same?
#
# The same number of points, drawn from one normal distribution with the same spread in every direction.

# %%
table = tables["trained"]
draws = np.random.default_rng(0)
cloud = draws.multivariate_normal(table.vectors.mean(0), np.cov(table.vectors.T), len(table), method="eigh")
column = table.data.column_names.index("vector")
values = pa.FixedSizeListArray.from_arrays(cloud.astype(np.float32).ravel(), cloud.shape[1])
blank = ws.LatentTable(table.data.set_column(column, table.data.schema.field(column), values))
nothing = ws.cluster(blank)
named = [c.name.column for c in nothing.clusters if c.label >= 0 and c.name.column]
print(f"cloud: {len(nothing.clusters)} groups, stability {nothing.stability:.2f}, noise {nothing.noise:.2f}: {named}")

# %% [markdown]
# **What one sees.** Of a cloud with the same spread nearly everything is noise, and no group of it has a name.
#
# ## One page to share
#
# `weightspace map digits.parquet -o map.html` writes such a map as one page that works offline, with every row,
# hover, colours, search and a lasso.

# %% [markdown]
# ## What was claimed

# %%
columns = {name: {c.name.column for c in found.clusters} for name, found in four.items()}
groups = {name: [c for c in found.clusters if c.label >= 0] for name, found in natural.items()}
assert len(groups["untrained"]) == 2 < len(groups["trained"])
assert natural["untrained"].stability > 0.95 and natural["trained"].stability > 0.6
assert natural["untrained"].noise < 0.05 and 0.1 < natural["trained"].noise < 0.4
assert all(any(c.name.column in ("snapshot", "epoch") for c in found) for found in groups.values())
assert "activation" in columns["untrained"] and "activation" not in columns["trained"]
assert four["trained"].stability > 0.9 and four["untrained"].stability < four["trained"].stability
assert not named and nothing.noise > 0.5
