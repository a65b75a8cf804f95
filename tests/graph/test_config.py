"""A transformers configuration beside the weights is traced; whatever does not fit is inferred, and says why."""

import json
import logging

import pytest
import torch

from weightspace.checkpoint.checkpoint import Checkpoint
from weightspace.checkpoint.load import load_checkpoint, read_header
from weightspace.graph.build import build_graph
from weightspace.graph.check import difference, randomise
from weightspace.graph.infer import infer_graph
from weightspace.graph.symmetry.orders import random_permutations
from weightspace.graph.symmetry.relabel import relabel, relabel_only

SMALL = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 10}
MODELS = {
    "BertForMaskedLM": SMALL | {"max_position_embeddings": 16},
    "GPT2LMHeadModel": {"vocab_size": 30, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16}
    | {"bos_token_id": 0, "eos_token_id": 0},
    "LlamaForCausalLM": SMALL | {"num_key_value_heads": 2},
    "T5ForConditionalGeneration": {"vocab_size": 30, "d_model": 8, "d_kv": 3, "num_layers": 1, "num_heads": 2}
    | {"d_ff": 10, "decoder_start_token_id": 0},
    "ViTForImageClassification": {k: v for k, v in SMALL.items() if k != "vocab_size"}
    | {"image_size": 8, "patch_size": 4, "num_labels": 3},
}
# Worked out by hand: residual stream; then in each layer the heads, their query and key units, their value units, the
# hidden units. Words in and out are never free; rotary positions fix queries and keys.
FREE = {
    "BertForMaskedLM": 8 + 2 * (4 + 8 + 8 + 10),  # the tied words tie the prediction head to the stream
    "GPT2LMHeadModel": 8 + 2 * (2 + 8 + 8 + 32),
    "LlamaForCausalLM": 8 + 2 * (2 + 4 + 4 + 10),  # pairs of queries in each of two groups, two value units a group
    "T5ForConditionalGeneration": 8 + 3 * (2 + 6 + 6) + 2 * 10,
    "ViTForImageClassification": 8 + 2 * (4 + 8 + 8 + 10),
}


def build(name, **changes):
    """Return a tiny random model in float64, every weight and statistic drawn, and its configuration."""
    transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")
    kind = getattr(transformers, name)
    config = kind.config_class(**MODELS[name], architectures=[name], **changes)
    torch.manual_seed(0)
    return kind._from_config(config, attn_implementation="eager").double().eval(), config.to_dict()


def stored(model, config):
    """Return the checkpoint, tied tensors kept once."""
    tensors, shared, first = {}, {}, {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        kept = first.setdefault(id(tensor), name)
        if kept == name:
            tensors[name] = tensor.detach().clone()
        else:
            shared[name] = kept
    return Checkpoint(tensors, {"config": json.dumps(config)}, shared=shared)


def outputs(model, checkpoint):
    model.load_state_dict({**checkpoint.tensors}, strict=False)
    g = torch.Generator().manual_seed(1)
    words = torch.randint(30, (2, 11), generator=g)
    given = {"input_ids": words}
    if model.config.is_encoder_decoder:
        given["decoder_input_ids"] = words.flip(1)
    if model.main_input_name == "pixel_values":
        given = {"pixel_values": torch.randn(2, 3, 8, 8, generator=g).double()}
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "float32", torch.float64)  # some norms are written to compute in single precision
        return [model(**given).logits]


@pytest.mark.parametrize("name", list(MODELS))
def test_a_configured_model_is_traced_and_relabels(name):
    model, config = build(name)
    g = torch.Generator().manual_seed(0)
    kinds = {b.tensor: b.kind for b in infer_graph(stored(model, config)).blocks.values()}
    randomise(model, kinds, g)
    checkpoint = stored(model, config)

    graph = build_graph(checkpoint)

    assert graph.source == "trace" and graph.understood == 1
    assert set(graph.blocks) == set(checkpoint.tensors)
    assert graph.free_units == FREE[name] >= infer_graph(checkpoint).free_units
    before = outputs(model, checkpoint)
    orders = random_permutations(graph, generator=g)
    assert difference(before, outputs(model, relabel(checkpoint, graph, orders))) < 1e-9
    for axis, order in orders.items():
        block = next(b for b in graph.blocks.values() if axis in b.axes and "bias" not in b.kind)
        d = next(d for d, term in enumerate(block.dims) if axis in str(term))
        broken = relabel_only(checkpoint, graph, {axis: order}, [(block.tensor, d)])
        assert difference(before, outputs(model, broken)) > 1e-9, (axis, block.tensor)


def test_names_without_the_prefix_of_the_inner_model_are_matched():
    model, config = build("GPT2LMHeadModel")
    whole = stored(model, config)
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in whole.tensors.items()}
    tensors["h.0.attn.bias"] = torch.ones(1, 1, 16, 16).tril()  # a mask that older versions stored
    graph = build_graph(Checkpoint(tensors, whole.metadata))

    assert graph.source == "trace" and graph.free_units == FREE["GPT2LMHeadModel"]
    assert set(graph.blocks) == set(tensors)


def test_a_folder_carries_its_configuration(tmp_path):
    model, _ = build("BertForMaskedLM")
    model.float().save_pretrained(tmp_path)

    assert build_graph(load_checkpoint(tmp_path)).source == "trace"
    assert build_graph(read_header(tmp_path)).free_units == FREE["BertForMaskedLM"]
    (tmp_path / "config.json").unlink()
    assert build_graph(load_checkpoint(tmp_path)).source == "infer"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "of-tomorrow"}, "does not know the model type 'of-tomorrow'"),
        ({"model_type": ["bert"]}, "names no model_type"),
        ({"hidden_size": 16}, "of its tensors are not in the checkpoint, 'bert.embeddings"),
        ({"hidden_size": "wide"}, "hidden_size"),
        ({"num_hidden_layers": 1}, "does not have 16 tensors of the checkpoint, 'bert.encoder.layer.1"),
        ({"num_hidden_layers": 3}, "of its tensors are not in the checkpoint, 'bert.encoder.layer.2"),
        ({"hidden_size": 2**20, "intermediate_size": 2**24}, "would have"),
        ({"num_attention_heads": 3}, "cannot be built: ValueError"),
        ({"hidden_act": "os.system"}, "cannot be built"),
    ],
)
def test_what_does_not_fit_is_inferred_and_says_why(changes, reason, caplog):
    model, config = build("BertForMaskedLM")
    checkpoint = stored(model, config | changes)
    with caplog.at_level(logging.INFO, "weightspace.graph"):
        graph = build_graph(checkpoint)

    assert graph.source == "infer" and graph == infer_graph(checkpoint)
    assert "inferred from names and shapes, not traced from config.json" in caplog.text and reason in caplog.text


def test_code_that_a_repository_brings_along_is_not_asked_for(monkeypatch):
    """No function that could fetch a file or import a module by name is called."""
    model, config = build("LlamaForCausalLM")
    import transformers.dynamic_module_utils as dynamic

    monkeypatch.setattr(dynamic, "get_class_from_dynamic_module", lambda *a, **k: pytest.fail("asked for code"))
    hostile = {
        "auto_map": {"AutoModel": "evil--modeling.Evil", "AutoConfig": "evil--config.Evil"},
        "attn_implementation": "evil/kernel",
        "_attn_implementation": "evil/kernel",
        "quantization_config": {"quant_method": "gptq", "bits": 4},
        "architectures": ["Evil", "LlamaForCausalLM"],
    }
    assert build_graph(stored(model, config | hostile)).source == "infer"
    hostile["architectures"] = ["LlamaForCausalLM"]
    assert build_graph(stored(model, config | hostile)).source == "trace"


def test_without_the_extra_the_graph_is_inferred(monkeypatch, caplog):
    checkpoint = Checkpoint({"fc.weight": torch.ones(2, 3)}, {"config": '{"model_type": "bert"}'})
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with caplog.at_level(logging.INFO, "weightspace.graph"):
        assert build_graph(checkpoint).source == "infer"
    assert "transformers is not installed: pip install 'weightspace[transformers]'" in caplog.text
