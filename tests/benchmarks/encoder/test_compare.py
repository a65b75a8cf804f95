"""The comparison as a whole: what is done is not done again, and its table says what its fits say."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.stats import kendalltau

from benchmarks.encoder import compare, speed
from benchmarks.encoder.results import add_leads, held, summarise_fits


def run_compare(monkeypatch, capsys, folder, *more):
    peers = ["--peers", "statnn-boosting", "statnn-mlp"]
    arguments = ["mlp_digits", *peers, "--seeds", "2", "--budget", "0.5", "--runs", "12", "--draws", "50"]
    monkeypatch.setattr(sys, "argv", ["compare", *arguments, "--output", str(folder), *more])
    compare.main()
    return capsys.readouterr().out


@pytest.fixture
def compared(monkeypatch, capsys, tmp_path):
    return tmp_path, json.loads(run_compare(monkeypatch, capsys, tmp_path, "--json"))


def test_a_comparison_goes_on_where_it_stopped(compared, monkeypatch, capsys):
    folder, found = compared
    fitted = []
    fit = compare.fit_peer
    monkeypatch.setattr(compare, "fit_peer", lambda *a: fitted.append(a[0]) or fit(*a))

    again = json.loads(run_compare(monkeypatch, capsys, folder, "--json"))
    assert (again, fitted) == (found, [])

    (folder / "mlp_digits.test_accuracy.statnn-mlp.1.json").unlink()
    run_compare(monkeypatch, capsys, folder)
    assert fitted == ["statnn-mlp"]


def test_a_fit_that_another_process_is_at_is_waited_for(compared, monkeypatch, capsys):
    folder, (found,) = compared
    path = folder / "mlp_digits.test_accuracy.statnn-mlp.0.json"
    kept, fitted, fit = path.read_text(), [], compare.fit_peer
    monkeypatch.setattr(compare, "fit_peer", lambda *a: fitted.append(a[2]["seed"]) or fit(*a))
    for other in (path, folder / "mlp_digits.test_accuracy.statnn-mlp.1.json"):
        other.unlink()
    with ThreadPoolExecutor(1) as pool:
        with held(path, wait=True):
            again = pool.submit(run_compare, monkeypatch, capsys, folder, "--json")
            while not (folder / "mlp_digits.test_accuracy.statnn-mlp.1.json").exists():
                time.sleep(0.05)
            assert not again.done()
            path.write_text(kept)
        rows = json.loads(again.result())[0]["peers"]
    assert fitted == [1], "the fit that was held is the other process's"
    assert rows[0]["tau"] == found["peers"][0]["tau"] and rows[1]["seeds"] == 2


def test_other_settings_are_fitted_anew(compared, monkeypatch, capsys):
    folder, _ = compared
    fitted = []
    fit = compare.fit_peer
    monkeypatch.setattr(compare, "fit_peer", lambda *a: fitted.append(a[0]) or fit(*a))
    run_compare(monkeypatch, capsys, folder, "--budget", "0.6")
    assert len(fitted) == 4


def test_the_table_holds_what_its_fits_say(compared):
    folder, (found,) = compared
    row = found["peers"][1]
    fits = [json.loads((folder / f"mlp_digits.test_accuracy.statnn-mlp.{seed}.json").read_text()) for seed in (0, 1)]
    taus = [kendalltau(fit["target"], fit["scores"]).statistic for fit in fits]

    assert row["tau"] == pytest.approx(np.mean(taus))
    assert row["tau_spread"] == pytest.approx(abs(taus[0] - taus[1]) / 2**0.5)
    assert row["tau_of_ceiling"] == pytest.approx(row["tau"] / row["tau_ceiling"])
    assert row["interval"][0] < row["tau"] < row["interval"][1]
    assert row["lead"] == pytest.approx(-found["peers"][0]["lead"])
    assert found["networks"] == {"train": 36, "validation": 36, "test": 36}


def test_a_lead_is_paired_over_the_same_draws():
    random = np.random.default_rng(0)
    target = random.random(60)
    fit = {"seed": 0, "target": target.tolist(), "runs": list(range(60)), "strata": [0] * 60}
    fit |= {"parameters": 1, "seconds": 1.0, "networks_per_second": 1.0}
    told = {"a": target + 0.2 * random.random(60), "same": None}
    told["same"] = told["a"]
    rows = [summarise_fits([fit | {"peer": name, "scores": each.tolist()}], 40) for name, each in told.items()]

    first = add_leads(rows)[0]

    assert first["lead"] == 0
    assert first["lead_interval"] == (0, 0), "the same scores must lead by nothing in every draw"


def test_accuracy_is_told_of_each_stratum():
    fit = {"peer": "a", "seed": 0, "target": [0, 1, 0, 1], "runs": [0, 0, 1, 1], "strata": [0, 1, 0, 1]}
    fit |= {"parameters": 1, "seconds": 1.0, "networks_per_second": 1.0}
    told = ([[1, 0], [1, 0], [1, 0], [0, 1]], [[1, 0], [0, 1], [0, 1], [0, 1]])  # right: 1, half; half, 1
    found = summarise_fits([fit | {"seed": i, "scores": each} for i, each in enumerate(told)], 5)
    assert (found["accuracy"], found["accuracy_within"]) == (0.75, [0.75, 0.75])
    assert summarise_fits([fit | {"scores": told[0]}], 5)["accuracy_within"] == [1.0, 0.5]


def test_a_refusal_is_listed_with_its_reason():
    row = summarise_fits([{"peer": "nfn", "refused": "no chain"}])
    assert add_leads([row]) == [{"peer": "nfn", "refused": "no chain"}]


def test_speed_is_paired_and_memory_is_of_its_own_process():
    args = speed.argparse.Namespace(
        device="cpu",
        batch=4,
        width=4,
        probes=6,
        repeats=3,
        seconds=0.02,
        against=["probes"],
        first="statnn-mlp",
    )
    found = speed.time_pairs(["statnn-mlp", "probes"], "training", args)

    assert found["statnn-mlp"]["times_first"] == 1
    ratio = found["probes"]["networks_per_second"] / found["statnn-mlp"]["networks_per_second"]
    assert found["probes"]["times_first"] == pytest.approx(ratio, rel=0.8)
    assert speed.measure_memory("graph", "training", speed.argparse.Namespace(**vars(args) | {"batch": 64})) > 3e6
