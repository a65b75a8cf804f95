import math

import pytest
import torch
from torch import Generator

from weightspace.nn.answers import AnswerMap, ProbeReadout, codes
from weightspace.nn.cosines import depth_cosines
from weightspace.nn.probes import ProbeBank


def bank(probes: int = 5) -> ProbeBank:
    return ProbeBank(probes, generator=Generator().manual_seed(0)).double()


def test_a_probe_is_one_picture_at_every_size():
    small, large = bank()((1, 16, 16)), bank()((1, 48, 48))
    middles = large.unfold(2, 3, 3).unfold(3, 3, 3)[..., 1, 1]  # they lie where small pixels do
    torch.testing.assert_close(middles, small)


def test_a_row_of_few_numbers_can_be_any_row():
    probes = bank()
    probes.row.data.zero_()
    wanted = torch.tensor([0.3, -0.7], dtype=torch.float64)  # coordinates
    waves = depth_cosines(2, 2)
    probes.row.data[0, 0, :2] = torch.linalg.solve(waves, wanted)
    torch.testing.assert_close(probes((2,))[0], wanted)
    assert probes((2,))[1:].abs().max() == 0


def test_channels_beyond_the_third_start_again():
    x = bank()((5, 8, 8))
    assert x[:, 3].equal(x[:, 0]) and x[:, 4].equal(x[:, 1]) and not x[:, 1].equal(x[:, 0])


def test_sequences_of_tokens_have_no_probes():
    with pytest.raises(ValueError, match=r"not inputs of shape \(4, 4\)"):
        bank()((4, 4))


def test_answers_of_up_to_sixteen_outputs_are_told_apart_in_full():
    for outputs in (1, 2, 10, 16):
        waves = depth_cosines(outputs, 16)
        assert int(torch.linalg.matrix_rank(waves)) == outputs


def test_numbers_of_answers_by_hand():
    told = AnswerMap(2, 4, generator=Generator().manual_seed(1)).double()
    answers = torch.tensor([[[1.0, 2.0], [0.5, -1.0]]], dtype=torch.float64)
    centred = torch.tensor([[-0.5, 0.5], [0.75, -0.75]], dtype=torch.float64)
    shape = centred / (centred.square().mean().sqrt() + 1e-3)
    size = answers[0].log_softmax(1) / 2
    x = (torch.cat([shape, size]) @ depth_cosines(2, 16).double()).flatten() / math.sqrt(2)
    torch.testing.assert_close(told(answers)[0], x @ told.matrix)
    assert not told(answers).allclose(told(answers.flip(2)))  # classes have an order
    assert not told(answers).allclose(told(answers.flip(1)))  # and so have probes


def test_one_output_and_huge_logits_are_read_too():
    readout = ProbeReadout(2, 4, generator=Generator().manual_seed(1)).double()
    one = torch.tensor([[[0.1], [0.4]]], dtype=torch.float64)
    assert not readout(one).allclose(readout(2 * one)) and not readout(one).allclose(readout(-one))
    huge = torch.tensor([[[1e30, -1e30], [0.0, 0.0]]], dtype=torch.float64)
    assert torch.isfinite(readout(huge)).all() and torch.isfinite(readout(0 * huge)).all()


def test_probes_begin_as_real_inputs_that_cosines_show_in_full():
    probes = bank(4)
    images, rows = (torch.randn(shape, generator=Generator().manual_seed(2)) for shape in ((9, 1, 8, 8), (20, 10)))
    before = probes((10,)).detach()
    probes.start([images, rows], Generator().manual_seed(0))
    shown = probes((1, 8, 8)).detach().float()
    assert all((shown[i] - images).flatten(1).abs().amax(1).min() < 1e-5 for i in range(4))
    told = probes((10,)).detach()
    assert all((told[i].float() - rows).abs().amax(1).min() < 1e-5 for i in range(0, 16, 2))
    assert told[1::2].equal(before[1::2])  # the others stay random


def test_probes_begin_in_equal_shares_of_each_dataset_and_keep_what_there_is_no_input_for():
    probes = bank(5)
    before = probes((1, 8, 8)).detach()
    probes.start([torch.zeros(1, 1, 8, 8), torch.ones(9, 3, 8, 8)], Generator().manual_seed(0))
    shown = probes((1, 8, 8)).detach()
    assert shown[0].abs().max() < 1e-9 and shown[[2, 4]].equal(before[[2, 4]])  # one zero image for three places
    torch.testing.assert_close(shown[[1, 3]], torch.ones(2, 1, 8, 8, dtype=torch.float64))


def test_numbers_of_answers_begin_as_principal_components():
    drawn = torch.randn(200, 3, 5, generator=Generator().manual_seed(4)).double()
    found = codes(drawn)
    told = AnswerMap(3, 4, generator=Generator().manual_seed(1)).double()
    told.start(found, Generator().manual_seed(0))
    numbers = told(drawn).detach()
    assert numbers.mean(0).abs().max() < 1e-9 and float(numbers.square().mean()) == pytest.approx(1)
    covariance = torch.cov(numbers.T)
    assert (covariance - covariance.diagonal().diag()).abs().max() < 1e-3 * covariance.diagonal().min()
    centred = found - found.mean(0)
    kept = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:4].T
    basis = torch.linalg.qr(numbers).Q
    torch.testing.assert_close(basis @ (basis.T @ kept), kept, rtol=1e-3, atol=1e-3)


def test_too_few_networks_have_no_principal_components():
    told = AnswerMap(3, 4, generator=Generator().manual_seed(1))
    before = told.matrix.clone()
    told.start(torch.randn(4, len(before)), Generator().manual_seed(0))
    assert told.matrix.equal(before)
