"""What is timed on an accelerator is the encoder itself, and its floor makes the products that the encoder makes."""

import json
import sys
from argparse import Namespace

import pytest
import torch
from torch import Generator
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.encoder import accelerator
from benchmarks.encoder.drawn import SMALL_CNN, describe_network, draw_networks
from benchmarks.encoder.floors import products
from benchmarks.encoder.in_memory import LARGE, checkpoint_in, fill_memory, llama_of
from weightspace.encode.encoder import Encoder
from weightspace.encode.plan import compile_plan
from weightspace.graph.trace import trace_graph
from weightspace.nn.cosines import kernel_cosines


def count(shapes):
    return sum(torch.Size(shape).numel() for shape in shapes.values())


@pytest.mark.parametrize("weights", [1e6, 2e7, LARGE])
def test_a_llama_has_as_many_weights_as_asked_and_hardly_more(weights):
    assert weights <= count(llama_of(weights)) <= 1.5 * weights + 1e6
    assert count(llama_of(LARGE)) <= 1.03 * LARGE


def test_tensors_lie_side_by_side_and_differ():
    shapes = llama_of(1e6)
    memory = fill_memory(shapes)
    tensors = checkpoint_in(memory, shapes).tensors
    assert {name: tuple(t.shape) for name, t in tensors.items()} == shapes and memory.isfinite().all()
    assert sum(t.nbytes for t in tensors.values()) == memory.nbytes
    starts = [t.data_ptr() for t in tensors.values()]
    assert starts == sorted(set(starts))
    query, key = (tensors[f"model.layers.0.self_attn.{name}_proj.weight"].float() for name in "qk")
    assert query.std() > 0.01 and (query * key).mean().abs() < 0.1 * query.std() * key.std()
    assert (tensors["model.norm.weight"] >= 1).all()


def test_the_floor_makes_the_products_of_small_networks():
    group = draw_networks([describe_network(SMALL_CNN)], 3, generator=Generator().manual_seed(0)).groups[0]
    plan = compile_plan(trace_graph(group.architecture.module(), (torch.zeros(2, 1, 32, 32),)))
    encoder = Encoder.from_pretrained("random-sweep")
    multiply, width = products(plan, group.weights, encoder), encoder.network.config.width
    with FlopCounterMode(display=False) as counter:
        multiply()
    of_kernel, of_matrix = (len(kernel_cosines(kernel)[0]) + 1 for kernel in ((3, 3), ()))
    assert of_kernel > of_matrix == 2
    factors = of_kernel * (16 * 1 + 16 * 16 + 16 * 16) + of_matrix * 10 * 16
    assert counter.get_total_flops() == 2 * 3 * width * 2 * factors  # twice: ahead and back


def test_every_part_is_told_and_one_that_fails_leaves_the_others(monkeypatch, capsys):
    command = ["accelerator", "--device", "cpu", "--weights", "1e6", "--networks", "4", "--json"]
    monkeypatch.setattr(sys, "argv", command)

    def fail(encoder, options):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(accelerator, "measure_large", fail)
    assert accelerator.main() == 1
    told, early = capsys.readouterr()
    report = json.loads(told)
    assert report["large_failed"] == "OutOfMemoryError: full" and "large_failed" in early
    for part in ("networks_forward", "networks_encode", "networks_with_probes_forward", "networks_with_probes_encode"):
        row = report[part]
        floor = sum(value for name, value in row.items() if name.startswith("floor"))
        assert row["share"] == pytest.approx(floor / row["seconds"])
        assert row["networks_per_second"] == pytest.approx(4 / row["seconds"]) and part in early
    assert "floor_running" in report["networks_with_probes_forward"]
    assert "floor_running" not in report["networks_forward"]


def test_a_small_checkpoint_never_passes_for_a_large_one():
    encoder = Encoder.from_pretrained("random-sweep")
    with torch.no_grad():
        [(kind, told)] = accelerator.measure_large(encoder, Namespace(device="cpu", weights=1e6))
    assert kind == "pageable" and told["weights"] >= 1e6 and not told["passed"]
    assert told["seconds"] == pytest.approx(told["planning"] + told["encoding"])
