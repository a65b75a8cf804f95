"""What networks answer is their own, however many threads ask at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Generator, Tensor
from torch.func import functional_call, vmap

from tests.execute.meeting import Meeting
from weightspace.encode import stacked
from weightspace.encode.answers import Runner
from weightspace.encode.encoder import Encoder
from weightspace.encode.stacked import encode_networks
from weightspace.execute.stack import run_stacked
from weightspace.nn.probes import ProbeBank
from weightspace.zoo.stacks import Stack, encode_stack, stack_rows
from weightspace.zoo.store import find_population


def two_networks() -> tuple[dict[str, Tensor], ...]:
    generator = Generator().manual_seed(0)
    sizes = {"weight": (2, 3, 5), "bias": (2, 3)}
    return tuple({n: torch.randn(s, generator=generator) for n, s in sizes.items()} for _ in range(2))


def linear(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    return torch.einsum("moi,pi->mpo", weights["weight"], x) + weights["bias"][:, None]


def test_threads_that_ask_at_once_are_told_of_their_own_networks():
    probes, networks = ProbeBank(4, generator=Generator().manual_seed(1)), two_networks()
    runner = Runner(Meeting(5, 3).eval(), (5,))
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda weights: runner.answer(probes, weights), networks))
    for found, weights in zip(told, networks, strict=True):
        torch.testing.assert_close(found, linear(weights, probes((5,))).detach())


@pytest.mark.parametrize("apart", [True, False])
def test_one_module_in_two_threads_runs_networks_of_the_other_thread_unless_it_is_run_apart(apart):
    module, x, networks = Meeting(5, 3).eval(), torch.eye(5), two_networks()

    def told(weights: dict[str, Tensor]) -> bool:
        plain = vmap(lambda tensors: functional_call(module, tensors, (x,)))
        found = run_stacked(module, weights, x) if apart else plain(weights)
        return torch.allclose(found, linear(weights, x), atol=1e-5)

    with ThreadPoolExecutor(2) as pool:
        right = [future for future in [pool.submit(told, weights) for weights in networks] if not future.exception()]
    assert (sum(future.result() for future in right) == 2) == apart


@pytest.fixture(scope="module")
def some() -> Stack:
    population = find_population("mlp_digits")
    rows = population.frame()
    return next(stack_rows(population, rows[rows["architecture"] == rows["architecture"].mode()[0]]))


def test_vectors_are_the_same_from_one_thread_and_from_four(some, monkeypatch, set_threads):
    monkeypatch.setattr(stacked, "WORTH", 1)
    monkeypatch.setattr(stacked, "TOGETHER", 8 * sum(t[0].numel() for t in some.weights.values()))
    encoder = Encoder.from_pretrained()
    known = encoder.architectures.of(some.first)
    set_threads(1)
    alone = encode_networks(encoder, known, some.weights).vector
    set_threads(4)
    for _ in range(5):
        torch.testing.assert_close(encode_stack(encoder, some), alone, rtol=1e-4, atol=1e-5)
