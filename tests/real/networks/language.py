"""Text, fields and weights as sequences: transformers, sequence to sequence, a radiance field, two meta-networks."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from tests.real.networks.layers import attention, batch_norm, conv, gru_torch, layer_norm, linear, mlp
from tests.real.rebuilt import Rebuilt, Weights, normal, tokens


def gpt_by_hand(w: Weights, letters: Tensor) -> Tensor:
    """Two heads; layer norm without shift; queries, keys and values in one matrix."""

    def norm(name: str, x: Tensor) -> Tensor:
        gamma = w[f"{name}.gamma"]
        return F.layer_norm(x, gamma.shape, gamma)

    x = w["transformer.wte.weight"][letters] + w["transformer.wpe.weight"][: letters.shape[1]]
    for layer in range(2):
        name = f"transformer.h.{layer}"
        q, k, v = linear(w, f"{name}.attn.c_attn", norm(f"{name}.ln_1", x)).chunk(3, -1)
        x = x + linear(w, f"{name}.attn.c_proj", attention(q, k, v, 2, causal=True))
        x = x + mlp(w, (f"{name}.mlp.c_fc", f"{name}.mlp.c_proj"), norm(f"{name}.ln_2", x), F.gelu)
    return linear(w, "lm_head", norm("transformer.ln_f", x))


def minilm(w: Weights, segments: Tensor) -> Tensor:
    """The two layers in the file, twelve heads; the word embedding is not in the file and adds nothing."""
    x = w["embeddings.position_embeddings.weight"][: segments.shape[1]]
    x = layer_norm(w, "embeddings.LayerNorm", x + w["embeddings.token_type_embeddings.weight"][segments], 1e-12)
    for layer in range(2):
        name = f"encoder.layer.{layer}"
        q, k, v = (linear(w, f"{name}.attention.self.{part}", x) for part in ("query", "key", "value"))
        y = linear(w, f"{name}.attention.output.dense", attention(q, k, v, 12))
        x = layer_norm(w, f"{name}.attention.output.LayerNorm", x + y, 1e-12)
        y = mlp(w, (f"{name}.intermediate.dense", f"{name}.output.dense"), x, F.gelu)
        x = layer_norm(w, f"{name}.output.LayerNorm", x + y, 1e-12)
    return linear(w, "pooler.dense", x[:, 0]).tanh()


def attacut(w: Weights, letters: Tensor, syllables: Tensor) -> Tensor:
    """Three convolutions of the same input; the largest answer goes on."""
    x = torch.cat((w["ch_embeddings.weight"][letters], w["sy_embeddings.weight"][syllables]), 2).transpose(1, 2)
    views = []
    for i, kernel, dilation in ((1, 3, 1), (2, 5, 3), (3, 9, 2)):
        y = conv(w, f"conv{i}.conv", x, padding=kernel // 2 * dilation, dilation=dilation)
        views.append(batch_norm(w, f"conv{i}.bn", F.relu(y)))
    return mlp(w, ("linear1", "linear2"), torch.stack(views).amax(0).transpose(1, 2), F.relu)


def grapheme_to_phoneme(w: Weights, letters: Tensor, phonemes: Tensor) -> Tensor:
    """The decoder starts from the encoder's last state; its own words are given here."""

    def cell(side: str, x: Tensor, h: Tensor) -> Tensor:
        return gru_torch(*(w[f"{side}_{part}"] for part in ("w_ih", "w_hh", "b_ih", "b_hh")), x, h)

    h = w["enc_emb"].new_zeros(len(letters), w["enc_w_hh"].shape[1])
    for letter in letters.unbind(1):
        h = cell("enc", w["enc_emb"][letter], h)
    outputs = []
    for phoneme in phonemes.unbind(1):
        h = cell("dec", w["dec_emb"][phoneme], h)
        outputs.append(F.linear(h, w["fc_w"], w["fc_b"]))
    return torch.stack(outputs, 1)


def radiance_field(w: Weights, position: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """The position joins again after block 0, the direction after block 1."""

    def block(name: str, layers: int, x: Tensor) -> Tensor:
        for i in range(layers):
            x = layer_norm(w, f"{name}.{3 * i + 2}", F.relu(linear(w, f"{name}.{3 * i}", x)))
        return x

    x = block("block_1", 4, torch.cat((block("block_0", 4, position), position), -1))
    return linear(w, "density", x), linear(w, "color", block("block_2", 2, torch.cat((x, direction), -1)))


def nino_mlp(w: Weights, kinds: Tensor, past: Tensor) -> Tensor:
    x = linear(w, "edge_proj.fc.0", past) + w["layer_embed.weight"][kinds]
    return past[:, -1:] + mlp(w, tuple(f"edge_mlp.fc.{i}" for i in (0, 2, 4, 6)), x, F.silu)


def nino_mlp_inputs(w: Weights, generator: Generator) -> tuple[Tensor, Tensor]:
    return torch.arange(15), torch.randn(15, 5, generator=generator, dtype=torch.float64)


def nino_gnn(w: Weights, kinds: Tensor, past: Tensor, nodes: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """Messages are scaled and shifted by their edge and averaged; edges are updated after the first two layers."""
    source, target = edges
    x = linear(w, "node_proj.fc.0", nodes)
    e = linear(w, "edge_proj.fc.0", past) + w["layer_embed.weight"][kinds]
    degree = x.new_zeros(len(x)).index_add(0, target, x.new_ones(len(target))).clamp(min=1)[:, None]
    for layer in range(3):
        name = f"gnn.convs.{layer}"
        scale, shift = linear(w, f"{name}.edge_encoder", e).chunk(2, -1)
        message = scale * linear(w, f"{name}.pre_nns.0.0", torch.cat((x[target], x[source]), -1)) + shift
        mean = torch.zeros_like(x).index_add(0, target, message) / degree
        x = linear(w, f"{name}.lin", linear(w, f"{name}.post_nns.0.0", torch.cat((x, mean), -1)))
        if layer < 2:
            x, update = F.silu(x), f"gnn.edge_update.{layer}"
            e = linear(w, f"{update}.lin_e", e) + linear(w, f"{update}.lin_s", x)[source]
            e = linear(w, f"{update}.lin1", F.silu(e + linear(w, f"{update}.lin_t", x)[target]))
    return x, mlp(w, ("edge_out.fc.0", "edge_out.fc.2"), e, F.silu)


def nino_gnn_inputs(w: Weights, generator: Generator) -> tuple[Tensor, ...]:
    past, nodes = (torch.randn(n, k, generator=generator, dtype=torch.float64) for n, k in ((15, 45), (6, 8)))
    return torch.arange(15), past, nodes, torch.randint(6, (2, 15), generator=generator)


NETWORKS = (
    Rebuilt("gpt_by_hand", gpt_by_hand, tokens((4, 8), "transformer.wte.weight")),
    Rebuilt(
        "minilm_l6_v2_layers0to1_fp16",
        minilm,
        tokens((1, 12), "embeddings.token_type_embeddings.weight"),
        unused=("*.key.bias",),
        why="a key bias adds the same to all scores of a query",
        assumed="the word embedding and layers 2 to 5 are not in the file: words add nothing, the pooler reads layer 1",
    ),
    Rebuilt(
        "attacut_sc",
        attacut,
        tokens((2, 9), "ch_embeddings.weight", "sy_embeddings.weight"),
        assumed="ReLU before batch norm",
    ),
    Rebuilt("g2p_en_gru", grapheme_to_phoneme, tokens((2, 4), "enc_emb", "dec_emb")),
    Rebuilt("nerf_example", radiance_field, normal((3, 60), (3, 36)), assumed="ReLU before each layer norm"),
    Rebuilt("nino_mlp", nino_mlp, nino_mlp_inputs),
    Rebuilt("nino_no_posw", nino_gnn, nino_gnn_inputs, assumed="its node states count as an output beside the edges"),
)
