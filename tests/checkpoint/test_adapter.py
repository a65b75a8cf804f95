"""Adapters: read alone as the low-rank pairs; applied, the base computes what base and adapter computed."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from weightspace.checkpoint.adapter import apply_adapter
from weightspace.checkpoint.load import load_checkpoint
from weightspace.errors import CheckpointError, FormatError


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


BASE = {
    "model.a.weight": draw(4, 3),
    "model.a.bias": draw(4),
    "model.conv.weight": draw(5, 4, 3, 3),
    "lm_head.weight": draw(2, 4),
}


def adapter(folder, tensors, **config):
    save_file(
        {f"base_model.model.{name}": tensor for name, tensor in tensors.items()}, folder / "adapter_model.safetensors"
    )
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 6, **config}))
    return load_checkpoint(folder)


PAIR = {"model.a.lora_A.weight": draw(2, 3, seed=1), "model.a.lora_B.weight": draw(4, 2, seed=2)}


@pytest.mark.parametrize("more", [{}, {"use_rslora": True}, {"alpha_pattern": {"a": 4}}], ids=str)
def test_the_applied_adapter_computes_the_same_function(more, tmp_path):
    scale = 6 / 2**0.5 if "use_rslora" in more else 2 if more else 3
    x = draw(7, 3, seed=3)
    down, up = PAIR.values()
    expected = x @ BASE["model.a.weight"].T + BASE["model.a.bias"] + scale * (x @ down.T @ up.T)

    found = apply_adapter(load_checkpoint(BASE), adapter(tmp_path, PAIR, **more)).tensors

    torch.testing.assert_close(x @ found["model.a.weight"].T + found["model.a.bias"], expected)
    assert torch.equal(found["lm_head.weight"], BASE["lm_head.weight"])


def test_alone_it_is_the_pairs_with_their_configuration(tmp_path):
    found = adapter(tmp_path, PAIR)
    assert set(found.tensors) == {"a.lora_A.weight", "a.lora_B.weight"}
    assert json.loads(found.metadata["adapter"])["lora_alpha"] == 6


def test_a_convolution_is_changed_as_two_convolutions_in_a_row(tmp_path):
    pair = {"model.conv.lora_A.weight": draw(2, 4, 3, 3, seed=1), "model.conv.lora_B.weight": draw(5, 2, 1, 1, seed=2)}
    x = draw(1, 4, 6, 6, seed=3)
    down, up = pair.values()
    expected = nn.functional.conv2d(x, BASE["model.conv.weight"]) + 3 * nn.functional.conv2d(
        nn.functional.conv2d(x, down), up
    )
    found = apply_adapter(load_checkpoint(BASE), adapter(tmp_path, pair)).tensors["model.conv.weight"]
    torch.testing.assert_close(nn.functional.conv2d(x, found), expected, rtol=1e-4, atol=1e-4)


def test_an_embedding_is_changed_row_by_row(tmp_path):
    base = {"embed.weight": draw(7, 4), "out.weight": draw(2, 4)}
    pair = {"embed.lora_embedding_A": draw(2, 7, seed=1), "embed.lora_embedding_B": draw(4, 2, seed=2)}
    down, up = pair.values()
    found = apply_adapter(load_checkpoint(base), adapter(tmp_path, pair)).tensors["embed.weight"]
    torch.testing.assert_close(found[5], base["embed.weight"][5] + 3 * (up @ down[:, 5]))


def test_layers_saved_whole_replace_those_of_the_base(tmp_path):
    head = draw(2, 4, seed=9)
    found = apply_adapter(load_checkpoint(BASE), adapter(tmp_path, {**PAIR, "lm_head.modules_to_save.weight": head}))
    assert torch.equal(found.tensors["lm_head.weight"], head)


@pytest.mark.parametrize(
    "tensors, error, said",
    [
        ({"model.b.lora_A.weight": draw(2, 3), "model.b.lora_B.weight": draw(4, 2)}, CheckpointError, "not in"),
        ({"model.a.lora_A.weight": draw(2, 9), "model.a.lora_B.weight": draw(4, 2)}, CheckpointError, r"\(4, 9\)"),
        ({"model.a.lora_A.weight": draw(3, 3), "model.a.lora_B.weight": draw(4, 2)}, CheckpointError, "do not fit"),
        ({"model.a.lora_A.weight": draw(2, 3)}, CheckpointError, "half of the pair is missing"),
        ({**PAIR, "model.a.lora_magnitude_vector": draw(4)}, FormatError, "only LoRA"),
        ({"model.a.hada_w1_a": draw(4, 2)}, FormatError, "only LoRA"),
    ],
)
def test_what_does_not_fit_is_named(tensors, error, said, tmp_path):
    with pytest.raises(error, match=said):
        apply_adapter(load_checkpoint(BASE), adapter(tmp_path, tensors))


def test_an_adapter_without_its_configuration_is_named():
    with pytest.raises(CheckpointError, match=r"adapter_config.json"):
        apply_adapter(load_checkpoint(BASE), load_checkpoint(PAIR))
