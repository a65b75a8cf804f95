"""The peers by name. One more encoder is one more line here.

A neural one is `NeuralPeer(build)`, where `build(train, outputs)` gives a module that takes a `Batch`; anything else
keeps the protocol `Peer` itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.encoder.graph_peer import GraphNet
from benchmarks.encoder.nfn_peer import NFNNet
from benchmarks.encoder.probes import ProbeNet
from benchmarks.encoder.statnn import StatBoosting, StatNet
from benchmarks.encoder.sweep_peer import SweepRead
from benchmarks.encoder.training import NeuralPeer, Peer, Schedule

SWEEPS = Schedule(rates=(1.5e-3,), batch=256)

PEERS: dict[str, Callable[[], Peer]] = {
    "statnn-boosting": StatBoosting,
    "statnn-mlp": lambda: NeuralPeer(StatNet),
    "probes": lambda: NeuralPeer(ProbeNet),
    "graph": lambda: NeuralPeer(GraphNet),
    "nfn": lambda: NeuralPeer(NFNNet),
    "sweeps": lambda: NeuralPeer(partial(SweepRead, run=False), SWEEPS),
    "sweeps+probes": lambda: NeuralPeer(partial(SweepRead, run=True), SWEEPS),
}
