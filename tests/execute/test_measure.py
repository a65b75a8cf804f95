from itertools import product
from math import log

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, jaccard_score, log_loss

from weightspace.errors import ArchitectureError
from weightspace.execute.measure import compare, score

LOGITS = torch.randn(5, 200, 4, generator=torch.Generator().manual_seed(0)) * 2
LABELS = torch.randint(4, (200,), generator=torch.Generator().manual_seed(1))


def in_batches(*tensors, size=30):
    return zip(*(t.split(size, dim=1 if t.ndim == 3 else 0) for t in tensors), strict=True)


def test_scores_are_those_of_scikit_learn_and_do_not_depend_on_batches():
    found, whole = score(in_batches(LOGITS, LABELS)), score([(LOGITS, LABELS)])
    for i, logits in enumerate(LOGITS):
        expected = log_loss(LABELS.numpy(), logits.double().softmax(-1).numpy())
        assert found.loss[i].item() == pytest.approx(expected, rel=1e-6)
        assert found.accuracy[i].item() == pytest.approx((logits.argmax(-1) == LABELS).float().mean().item())
    torch.testing.assert_close(found.calibration_error, whole.calibration_error)


def test_calibration_is_that_of_scikit_learns_reliability_curve():
    """Two classes of which the second is always the more likely, so that its probability is the confidence."""
    generator = torch.Generator().manual_seed(3)
    sure = 0.5 + torch.rand(300, generator=generator, dtype=torch.float64) / 2
    labels = (torch.rand(300, generator=generator) < 0.7).long()
    found = score([(torch.stack([1 - sure, sure], 1).log()[None], labels)]).calibration_error
    share, mean = calibration_curve(labels, sure, n_bins=15)
    count = np.histogram(sure, np.linspace(0, 1, 16))[0]
    assert found.item() == pytest.approx((abs(share - mean) * count[count > 0]).sum() / 300, rel=1e-6)


def test_pairs_are_those_of_scipy_and_scikit_learn():
    found, p = compare([(LOGITS[:2], LOGITS[2:], LABELS)]), LOGITS.double().softmax(-1).numpy()
    answers = LOGITS.argmax(-1)
    for i, j in product(range(2), range(3)):
        wrong, missed = ((answers[k] != LABELS).numpy() for k in (i, 2 + j))
        apart = (jensenshannon(p[i], p[2 + j], axis=1) ** 2).mean()
        assert found.divergence[i, j].item() == pytest.approx(apart, rel=1e-6)
        assert found.error_overlap[i, j].item() == pytest.approx(jaccard_score(wrong, missed), rel=1e-6)
        assert found.agreement[i, j].item() == pytest.approx(accuracy_score(answers[i], answers[2 + j]), rel=1e-6)


def test_no_inputs_are_named():
    for measure in (score, compare):
        with pytest.raises(ArchitectureError, match="pass at least one batch"):
            measure([])


def test_calibration_by_hand():
    # 4 inputs answered with confidence 0.8, of which 1 is right: |0.8 - 0.25|
    sure = torch.tensor([0.8, 0.2]).log().expand(1, 4, 2)
    found = score([(sure, torch.tensor([0, 1, 1, 1]))])
    assert found.calibration_error.item() == pytest.approx(0.55, abs=1e-6)


def test_pairs_by_hand():
    answers = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 0]])
    logits = torch.nn.functional.one_hot(answers, 2).float() * 1000
    found = compare([(logits, logits, torch.tensor([0, 0, 0, 0]))])
    assert found.agreement.tolist() == [[1.0, 0.5], [0.5, 1.0]]
    # wrong: {2, 3} and {1, 2}
    assert found.error_overlap[0, 1].item() == pytest.approx(1 / 3)
    assert found.error_overlap.diagonal().tolist() == [1.0, 1.0]
    torch.testing.assert_close(found.divergence, torch.tensor([[0.0, log(2) / 2], [log(2) / 2, 0.0]]))


def test_comparing_is_symmetric_and_streams():
    found, whole = compare(in_batches(LOGITS, LOGITS, LABELS)), compare([(LOGITS, LOGITS, LABELS)])
    for key in ("agreement", "error_overlap", "divergence"):
        matrix = getattr(found, key)
        torch.testing.assert_close(matrix, matrix.T)
        torch.testing.assert_close(matrix, getattr(whole, key))
    assert bool((found.divergence >= -1e-7).all()) and found.divergence.max().item() < log(2)
