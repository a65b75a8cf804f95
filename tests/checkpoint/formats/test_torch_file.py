"""Files of torch.save: the network comes out, whatever it was wrapped in; nothing in them is run."""

import argparse
import collections
import io
import os
import pathlib
import pickle
import warnings
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import CheckpointError, FormatError, UnsafeCheckpointError, WeightspaceError

W, B = torch.arange(6.0).reshape(2, 3), torch.tensor([7.0, 8.0])
STATE = {"fc.weight": W, "fc.bias": B}
ADAM = {"state": {0: {"exp_avg": torch.ones(2, 3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}


class Runs:
    """A pickle of it creates a file where it is loaded by `pickle`."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def saved(tmp_path, content, name="x.pt", **options):
    torch.save(content, tmp_path / name, **options)
    return tmp_path / name


def assert_is_state(checkpoint):
    assert set(checkpoint.tensors) == set(STATE)
    assert all(torch.equal(checkpoint.tensors[name], STATE[name]) for name in STATE)


WRAPPED = {
    "bare": STATE,
    "state_dict": {"state_dict": STATE, "epoch": 3, "optimizer": ADAM},
    "model": {"model": STATE, "optimizer_state_dict": ADAM, "lr_scheduler": {"last_lr": [0.1]}},
    "model_state_dict": {"model_state_dict": STATE},
    "twice": {"model": {"state_dict": STATE}},
    "net": {"net": STATE, "acc": 0.5},
    "params": {"params": STATE},
    "ema beside it": {"model": STATE, "ema": {name: t + 1 for name, t in STATE.items()}},
    "only the average": {"ema": STATE, "step": 4},
    "DataParallel": {f"module.{name}": t for name, t in STATE.items()},
    "compiled DataParallel": {"state_dict": {f"module._orig_mod.{name}": t for name, t in STATE.items()}},
    "Lightning": {
        "state_dict": {f"model.{name}": t for name, t in STATE.items()},
        "callbacks": {"best": torch.ones(1)},
    },
    "DeepSpeed": {"module": STATE, "buffer_names": [], "optimizer": None},
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older form"])
@pytest.mark.parametrize("content", WRAPPED.values(), ids=WRAPPED.keys())
def test_the_network_is_found(content, zipped, tmp_path):
    assert_is_state(load_checkpoint(saved(tmp_path, content, _use_new_zipfile_serialization=zipped)))


@pytest.mark.parametrize("suffix", ["pt", "pth", "th", "bin", "ckpt"])
def test_every_suffix_is_read(suffix, tmp_path):
    assert_is_state(load_checkpoint(saved(tmp_path, STATE, f"x.{suffix}")))


def test_what_is_left_out_is_listed_with_the_reason(tmp_path):
    content = {"state_dict": STATE, "optimizer": ADAM, "ema": STATE, "epoch": 3, "best": 0.5, "log": [torch.ones(1)]}
    found = load_checkpoint(saved(tmp_path, content))
    assert found.left_out["optimizer"] == "optimizer or training state"
    assert found.left_out["ema"] == "moving average of 'state_dict'"
    assert found.left_out["log"] == "stands beside 'state_dict', which holds the network"
    assert "fc.weight" in found.tensors and len(found.tensors) == 2
    assert found.metadata["epoch"] == "3" and found.metadata["best"] == "0.5"


@pytest.mark.parametrize("key", ["opt", "adam", "g_sgd", 0])
def test_an_optimizer_is_known_by_its_form_whatever_it_is_called(key, tmp_path):
    found = load_checkpoint(saved(tmp_path, {"model": STATE, key: ADAM}))
    assert_is_state(found)
    assert found.left_out[str(key)] == "optimizer or training state"


def test_a_network_called_like_an_optimizer_is_none(tmp_path):
    found = load_checkpoint(saved(tmp_path, {"opt": STATE, "critic": {"w": B.clone()}}))
    assert {"opt.fc.weight", "critic.w"} <= set(found.tensors) and not found.left_out


def test_networks_side_by_side_keep_their_keys(tmp_path):
    found = load_checkpoint(saved(tmp_path, {"actor": {"w": W}, "critic": {"w": B}, "optimizer_actor": ADAM}))
    assert set(found.tensors) == {"actor.w", "critic.w"} and list(found.left_out) == ["optimizer_actor"]


def test_a_prefix_goes_only_where_all_names_share_it(tmp_path):
    found = load_checkpoint(saved(tmp_path, {"model.a": W, "model.b": B, "head.c": B.clone()}))
    assert set(found.tensors) == {"model.a", "model.b", "head.c"}


def test_names_that_would_collide_stay(tmp_path):
    found = load_checkpoint(saved(tmp_path, {"module.a": W, "a": B}))
    assert torch.equal(found.tensors["module.a"], W) and torch.equal(found.tensors["a"], B)


def test_tied_weights_are_kept_once(tmp_path):
    content = {"embed": W, "head": W, "copy": W.clone(), "turned": W.T}
    found = load_checkpoint(saved(tmp_path, content))
    assert set(found.tensors) == {"embed", "copy", "turned"} and dict(found.shared) == {"head": "embed"}


def test_a_zip_is_mapped_and_not_copied(tmp_path):
    path = saved(tmp_path, {"w": torch.zeros(1000)})
    tensor = load_checkpoint(path).tensors["w"]
    assert tensor.untyped_storage().filename is not None or not tensor.untyped_storage().resizable()


def test_quantised_and_sparse_tensors_become_plain_ones(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch deprecates what old files still hold
        quantised = torch.quantize_per_tensor(W, 0.5, 3, torch.qint8)
    content = {"q": quantised, "s": W.to_sparse(), "w": nn.Parameter(W)}
    found = load_checkpoint(saved(tmp_path, content)).tensors
    assert torch.equal(found["q"], content["q"].dequantize()) and torch.equal(found["s"], W)
    assert not found["w"].requires_grad


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older form"])
@pytest.mark.parametrize("trust", [True, False])
def test_a_pickle_that_runs_code_is_refused_and_not_run(zipped, trust, tmp_path):
    marker = tmp_path / "marker"
    path = saved(tmp_path, {"state_dict": STATE, "extra": Runs(marker)}, _use_new_zipfile_serialization=zipped)

    with pytest.raises(UnsafeCheckpointError, match=r"x.pt: the pickle asks for .*mkdir.*nothing was run"):
        load_checkpoint(path, trust=trust)

    assert not marker.exists()
    if zipped:  # the opposite: the file is indeed one that runs where nobody looks
        torch.load(path, weights_only=False)
        assert marker.exists()


def test_a_bare_pickle_that_runs_code_is_refused_and_not_run(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(pickle.dumps(Runs(tmp_path / "marker"), protocol=2))
    with pytest.raises(UnsafeCheckpointError, match=r"mkdir"):
        load_checkpoint(path, trust=True)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older form"])
def test_a_pickled_module_is_refused_by_the_name_of_its_class(zipped, tmp_path):
    path = saved(tmp_path, nn.Linear(2, 3), _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeCheckpointError, match=r"torch.nn.modules.linear.Linear.*save model.state_dict\(\)"):
        load_checkpoint(path)


HARMLESS = {
    "namespace": (argparse.Namespace(lr=0.1), "argparse.Namespace"),
    "scalar": (np.float64(0.25), "multiarray.scalar"),
    "array": (np.arange(4, dtype=np.float32).reshape(2, 2), "_reconstruct"),
    "path": (pathlib.PurePosixPath("a/b"), "pathlib"),
    "dict": (collections.defaultdict(list, {"a": [1]}), "defaultdict"),
}


@pytest.mark.parametrize("value, said", HARMLESS.values(), ids=HARMLESS.keys())
def test_reviewed_classes_need_the_flag_and_pass_with_it(value, said, tmp_path):
    path = saved(tmp_path, {"state_dict": STATE, "extra": value})
    with pytest.raises(UnsafeCheckpointError, match=f"{said}.*reviewed list: pass trust=True"):
        load_checkpoint(path)
    assert_is_state(load_checkpoint(path, trust=True))


def test_what_other_libraries_allow_in_the_whole_process_counts_for_nothing(tmp_path):
    path = saved(tmp_path, {"state_dict": STATE, "extra": collections.defaultdict(list, {"a": [1]})})
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([collections.defaultdict, list, Runs])
    try:
        allowed = torch.serialization.get_safe_globals()
        with pytest.raises(UnsafeCheckpointError, match="defaultdict"):
            load_checkpoint(path)
        assert_is_state(load_checkpoint(path, trust=True))
        assert set(torch.serialization.get_safe_globals()) == set(allowed)
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def test_numpy_arrays_keep_their_numbers(tmp_path):
    arrays = {
        "c": np.arange(6, dtype=">f8").reshape(2, 3),
        "f": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    }
    found = load_checkpoint(saved(tmp_path, arrays), trust=True).tensors
    assert all(np.array_equal(found[name].numpy(), arrays[name]) for name in arrays)
    assert found["c"].dtype == torch.float64


def test_arrays_of_python_objects_are_refused_even_with_the_flag(tmp_path):
    marker = tmp_path / "marker"
    path = saved(tmp_path, {"a": np.array([Runs(marker)], dtype=object)})
    with pytest.raises(CheckpointError):
        load_checkpoint(path, trust=True)
    assert not marker.exists()


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"x.pt: a name or text in it is not UTF-8"):
        load_checkpoint(saved(tmp_path, {"\udc80": W}))


def test_names_that_become_one_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"x.pt: the name 'a.b' stands twice"):
        load_checkpoint(saved(tmp_path, {"a": {"b": W}, "a.b": B}))


BAD = {
    "empty": (b"", "ends early|cannot read"),
    "text": (b"hello, this is no checkpoint", "cannot read"),
    "short zip": (b"PK\x03\x04rest", "cannot read|zip"),
}


@pytest.mark.parametrize("content, said", BAD.values(), ids=BAD.keys())
def test_other_files_are_refused(content, said, tmp_path):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"x.pt: .*({said})"):
        load_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize("content", [{}, {"a": 1}, [1, 2], 3, {"optimizer": ADAM}], ids=str)
def test_a_file_without_weights_says_what_it_holds(content, tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no tensor"):
        load_checkpoint(saved(tmp_path, content))


def test_torchscript_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", b"")
        archive.writestr("x/constants.pkl", b"")
    with pytest.raises(FormatError, match=r"TorchScript"):
        load_checkpoint(tmp_path / "x.pt")


def test_a_tensor_that_repeats_one_number_for_ever_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"'bomb' claims 4398046511104 bytes"):
        load_checkpoint(saved(tmp_path, {"bomb": torch.zeros(1).expand(2**40)}))


def test_a_sparse_tensor_that_would_fill_the_memory_is_refused(tmp_path):
    bomb = torch.sparse_coo_tensor(torch.tensor([[5]]), torch.ones(1), (2**40,), check_invariants=True)
    with pytest.raises(CheckpointError, match=r"x.pt: a sparse tensor"):
        load_checkpoint(saved(tmp_path, {"bomb": bomb}))


def test_whole_numbers_alone_load(tmp_path):
    assert load_checkpoint(saved(tmp_path, {"n": torch.arange(3)})).tensors["n"].tolist() == [0, 1, 2]


@settings(deadline=None, derandomize=True)
@given(place=st.floats(0, 1), byte=st.integers(0, 255), keep=st.floats(0.2, 1), zipped=st.booleans())
def test_no_damage_raises_anything_but_our_errors(place, byte, keep, zipped, tmp_path_factory):
    file = io.BytesIO()
    torch.save({"state_dict": STATE, "optimizer": ADAM}, file, _use_new_zipfile_serialization=zipped)
    content = bytearray(file.getvalue())
    content[int(place * (len(content) - 1))] = byte
    path = tmp_path_factory.mktemp("damaged") / "x.pt"
    path.write_bytes(content[: int(len(content) * keep)] if keep < 0.9 else content)
    try:
        load_checkpoint(path)
    except WeightspaceError as error:
        assert str(path) in str(error)
