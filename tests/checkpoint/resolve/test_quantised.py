"""Packed weights: a quantiser written here from the published layout, and its exact inverse."""

import json

import pytest
import torch
from safetensors.torch import save_file

from weightspace.checkpoint.load import load_checkpoint, read_header
from weightspace.errors import CheckpointError

INPUTS, OUTPUTS, GROUP = 64, 16, 32


def draw(high, *shape, seed=0):
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(seed))


def pack(numbers, bits, order=None):
    """Rows of whole numbers as 32-bit words, one loop a number: number `j` of a word at bit `bits * j`."""
    each = 32 // bits
    words = torch.zeros(numbers.shape[0] // each, numbers.shape[1], dtype=torch.int64)
    for row in range(len(words)):
        for j in range(each):
            source = j if order is None else order[j]
            words[row] |= numbers[row * each + source] << (bits * j)
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)


def grouped(bits):
    groups = INPUTS // GROUP
    q, zeros = draw(2**bits, INPUTS, OUTPUTS), draw(2**bits - 1, groups, OUTPUTS, seed=1) + 1
    scales = (draw(100, groups, OUTPUTS, seed=2) + 1).half() / 64
    return q, zeros, scales


def expected(q, zeros, scales, group):
    weight = torch.empty(OUTPUTS, INPUTS, dtype=torch.float16)
    for i in range(INPUTS):
        for o in range(OUTPUTS):
            weight[o, i] = (q[i, o] - zeros[group[i], o]).half() * scales[group[i], o]
    return weight


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("ordered", [True, False])
def test_gptq_is_undone(bits, ordered, tmp_path):
    q, zeros, scales = grouped(bits)
    group = torch.arange(INPUTS) // GROUP if ordered else draw(INPUTS // GROUP, INPUTS, seed=3)
    state = {"l.qweight": pack(q, bits), "l.qzeros": pack((zeros - 1).T, bits).T.contiguous(), "l.scales": scales}
    state["l.g_idx"] = group.to(torch.int32)
    save_file(state, tmp_path / "model.safetensors")

    found = load_checkpoint(tmp_path)

    assert list(found.tensors) == ["l.weight"]
    assert torch.equal(found.tensors["l.weight"], expected(q, zeros, scales, group))
    assert read_header(tmp_path) == found.header

    config = {"quantization_config": {"quant_method": "gptq", "checkpoint_format": "gptq_v2"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    newer = load_checkpoint(tmp_path).tensors["l.weight"]
    assert torch.equal(newer, expected(q, zeros - 1, scales, group))


def test_awq_is_undone():
    q, zeros, scales = grouped(4)
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    state = {
        "qweight": pack(q.T, 4, order).T.contiguous(),
        "qzeros": pack(zeros.T, 4, order).T.contiguous(),
        "scales": scales,
    }
    found = load_checkpoint(state).tensors
    assert torch.equal(found["weight"], expected(q, zeros, scales, torch.arange(INPUTS) // GROUP))


def test_a_packing_that_is_not_known_is_named():
    state = {
        "l.qweight": draw(9, 6, 32).int(),
        "l.qzeros": draw(9, 2, 3).int(),
        "l.scales": torch.ones(2, 32),
        "w": torch.ones(2),
    }
    found = load_checkpoint(state)
    assert found.left_out["l.qweight"] == "packed by a quantiser whose layout is not known here"
    assert "w" in found.tensors and "l.qweight" not in found.tensors
    assert "l.weight_packed" in load_checkpoint({"l.weight_packed": draw(9, 4, 4).int(), "w": torch.ones(1)}).left_out


def test_groups_that_are_not_there_are_named():
    q, zeros, scales = grouped(4)
    state = {"l.qweight": pack(q, 4), "l.qzeros": pack((zeros - 1).T, 4).T.contiguous(), "l.scales": scales}
    with pytest.raises(CheckpointError, match=r"'l.weight': cannot be worked out"):
        load_checkpoint({**state, "l.g_idx": torch.full((INPUTS,), 99, dtype=torch.int32)})


def test_floats_of_four_bits_are_named(tmp_path):
    header = {
        "a": {"dtype": "F4", "shape": [2, 4], "data_offsets": [0, 4]},
        "b": {"dtype": "U8", "shape": [2], "data_offsets": [4, 6]},
    }
    text = json.dumps(header).encode()
    (tmp_path / "x.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(6))
    found = load_checkpoint(tmp_path / "x.safetensors")
    assert list(found.tensors) == ["b"] and "not known here" in found.left_out["a"]
    assert read_header(tmp_path / "x.safetensors") == found.header


NF4 = torch.tensor([-1.0, -0.7, -0.5, -0.4, -0.3, -0.2, -0.1, 0.0, 0.08, 0.16, 0.25, 0.34, 0.44, 0.56, 0.72, 1.0])


def four_bits(nested):
    codes, size = draw(16, 6 * 32), 64
    plan = {"quant_type": "nf4", "blocksize": size, "dtype": "float32", "shape": [6, 32]}
    scales = torch.tensor([2.0, 0.5, 3.0])
    state = {"l.weight": ((codes[::2] << 4) | codes[1::2]).to(torch.uint8)[:, None], "l.weight.quant_map": NF4}
    if nested:
        table, coarse = torch.linspace(-1, 1, 256), torch.tensor([0.5, 4.0])
        numbers = torch.tensor([3, 200, 255], dtype=torch.uint8)
        plan |= {"nested_blocksize": 2, "nested_dtype": "float32", "nested_offset": 1.25}
        state |= {"l.weight.absmax": numbers, "l.weight.nested_absmax": coarse, "l.weight.nested_quant_map": table}
        scales = torch.stack([table[3] * 0.5, table[200] * 0.5, table[255] * 4.0]) + 1.25
    else:
        state["l.weight.absmax"] = scales
    text = torch.tensor(list(json.dumps(plan).encode()), dtype=torch.uint8)
    state["l.weight.quant_state.bitsandbytes__nf4"] = text
    weight = torch.stack([NF4[codes[i]] * scales[i // size] for i in range(6 * 32)]).reshape(6, 32)
    return state, weight


@pytest.mark.parametrize("nested", [False, True])
def test_four_bits_of_bitsandbytes_are_undone(nested, tmp_path):
    state, weight = four_bits(nested)
    save_file(state, tmp_path / "x.safetensors")
    found = load_checkpoint(tmp_path / "x.safetensors")
    assert list(found.tensors) == ["l.weight"] and torch.equal(found.tensors["l.weight"], weight)
    assert read_header(tmp_path / "x.safetensors") == found.header


@pytest.mark.parametrize(
    "change", [{"shape": [6, 2**40]}, {"shape": [-1]}, {"blocksize": 0}, {"dtype": "x"}, {"blocksize": 1}]
)
def test_a_lying_quant_state_is_named(change):
    state, _ = four_bits(False)
    key = "l.weight.quant_state.bitsandbytes__nf4"
    plan = json.loads(bytes(state[key].tolist())) | change
    state[key] = torch.tensor(list(json.dumps(plan).encode()), dtype=torch.uint8)
    with pytest.raises(CheckpointError, match=r"'l.weight': cannot be worked out"):
        load_checkpoint(state)


def test_rows_of_bitsandbytes_are_undone():
    numbers, scales = (draw(255, 3, 4) - 127).to(torch.int8), torch.tensor([1.0, 2.0, 127.0])
    found = load_checkpoint(
        {"l.weight": numbers, "l.SCB": scales, "l.weight_format": torch.tensor(0, dtype=torch.uint8)}
    )
    assert list(found.tensors) == ["l.weight"]
    torch.testing.assert_close(found.tensors["l.weight"], numbers * scales[:, None] / 127)


def by_loops(weight, scale, rows, columns):
    """Every number times the scale of its block of rows and columns."""
    out = torch.empty(weight.shape)
    for i in range(weight.shape[0]):
        for j in range(weight.shape[1]):
            out[i, j] = weight[i, j].float() * scale[i // rows, j // columns]
    return out


@pytest.mark.parametrize(
    "shape, name, scale, rows, columns",
    [
        ((4, 3), "weight_scale", torch.tensor([[0.5]]), 4, 3),
        ((4, 3), "weight_scale", torch.tensor([[1.0], [2.0], [3.0], [4.0]]), 1, 3),
        ((130, 200), "weight_scale_inv", torch.tensor([[1.0, 2.0], [3.0, 4.0]]), 128, 128),
        ((2, 200), "weight_scale_inv", torch.tensor([[1.0, 2.0]]), 128, 128),
        ((1, 200), "weight_scale_inv", torch.tensor([[1.0, 2.0]]), 128, 128),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8])
def test_eight_bits_are_scaled_back(dtype, shape, name, scale, rows, columns, tmp_path):
    weight = (draw(15, *shape) - 7).float().to(dtype)
    save_file({"l.weight": weight, f"l.{name}": scale, "l.input_scale": torch.ones(1)}, tmp_path / "x.safetensors")
    found = load_checkpoint(tmp_path / "x.safetensors")
    assert list(found.tensors) == ["l.weight"] and list(found.left_out) == ["l.input_scale"]
    assert torch.equal(found.tensors["l.weight"], by_loops(weight, scale, rows, columns))
    assert read_header(tmp_path / "x.safetensors") == found.header


def test_int8_with_a_zero_point_is_scaled_back():
    weight, zero = torch.tensor([[1, 2], [3, 4]], dtype=torch.int8), torch.tensor([[1], [0]], dtype=torch.int8)
    state = {"weight": weight, "weight_scale": torch.tensor([[0.5], [2.0]]), "weight_zero_point": zero}
    assert load_checkpoint(state).tensors["weight"].tolist() == [[0.0, 0.5], [6.0, 8.0]]


def test_eight_bits_without_a_scale_stay_as_they_are():
    weight = torch.ones(2, 2).to(torch.float8_e4m3fn)
    assert load_checkpoint({"weight": weight}).tensors["weight"].dtype == torch.float8_e4m3fn
