"""Attention whose projections are not three of one size: fused with shared key heads, or beside distances."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.graph.infer.unseen.case import Unseen, tokens
from tests.graph.infer.unseen.language import RMSNorm, join_heads, split_heads, turned


class FusedLayer(nn.Module):
    """Phi-3: queries, keys and values in one matrix, with fewer key heads than query heads; gate and up in another."""

    def __init__(self, width, heads, kv_heads, head_dim, hidden):
        super().__init__()
        self.sizes = [heads * head_dim, kv_heads * head_dim, kv_heads * head_dim]
        self.heads, self.kv_heads = heads, kv_heads
        self.self_attn = nn.ModuleDict(
            {
                "o_proj": nn.Linear(heads * head_dim, width, bias=False),
                "qkv_proj": nn.Linear(width, sum(self.sizes), bias=False),
            }
        )
        self.mlp = nn.ModuleDict(
            {
                "gate_up_proj": nn.Linear(width, 2 * hidden, bias=False),
                "down_proj": nn.Linear(hidden, width, bias=False),
            }
        )
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(width), RMSNorm(width)

    def forward(self, x):
        q, k, v = self.self_attn["qkv_proj"](self.input_layernorm(x)).split(self.sizes, -1)
        q, k, v = split_heads(q, self.heads), split_heads(k, self.kv_heads), split_heads(v, self.kv_heads)
        k, v = (y.repeat_interleave(self.heads // self.kv_heads, 1) for y in (k, v))
        x = x + self.self_attn["o_proj"](join_heads(F.scaled_dot_product_attention(turned(q), turned(k), v)))
        gate, up = self.mlp["gate_up_proj"](self.post_attention_layernorm(x)).chunk(2, -1)
        return x + self.mlp["down_proj"](F.silu(gate) * up)


class FusedLM(nn.Module):
    def __init__(self, width=24, heads=4, kv_heads=2, head_dim=6, hidden=40, vocab=11):
        super().__init__()
        sizes = (width, heads, kv_heads, head_dim, hidden)
        self.model = nn.ModuleDict(
            {
                "embed_tokens": nn.Embedding(vocab, width),
                "layers": nn.ModuleList(FusedLayer(*sizes) for _ in range(2)),
                "norm": RMSNorm(width),
            }
        )
        self.lm_head = nn.Linear(width, vocab, bias=False)

    def forward(self, ids):
        x = self.model["embed_tokens"](ids)
        for layer in self.model["layers"]:
            x = layer(x)
        return self.lm_head(self.model["norm"](x))


class DistanceAttention(nn.Module):
    """DeBERTa: queries and keys also meet projections of a table of distances, which all layers share."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        for name in ("query_proj", "key_proj", "value_proj", "pos_key_proj", "pos_query_proj"):
            self.add_module(name, nn.Linear(width, width))

    def forward(self, x, table):
        q, k, v = (split_heads(part(x), self.heads) for part in (self.query_proj, self.key_proj, self.value_proj))
        far = split_heads(self.pos_key_proj(table)[None], self.heads)
        near = split_heads(self.pos_query_proj(table)[None], self.heads)
        length, middle = x.shape[1], len(table) // 2
        place = (torch.arange(length)[:, None] - torch.arange(length) + middle).expand(len(x), self.heads, -1, -1)
        scores = q @ k.transpose(-1, -2) + (q @ far.transpose(-1, -2)).gather(-1, place)
        scores = scores + (k @ near.transpose(-1, -2)).gather(-1, place).transpose(-1, -2)
        return join_heads((scores / (3 * q.shape[-1]) ** 0.5).softmax(-1) @ v)


class DistanceLayer(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        output = {"dense": nn.Linear(width, width), "LayerNorm": nn.LayerNorm(width)}
        self.attention = nn.ModuleDict({"self": DistanceAttention(width, heads), "output": nn.ModuleDict(output)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, hidden)})
        self.output = nn.ModuleDict({"dense": nn.Linear(hidden, width), "LayerNorm": nn.LayerNorm(width)})

    def forward(self, x, table):
        first, last = self.attention["output"], self.output
        x = first["LayerNorm"](x + first["dense"](self.attention["self"](x, table)))
        return last["LayerNorm"](x + last["dense"](F.gelu(self.intermediate["dense"](x))))


class DistanceEncoder(nn.Module):
    def __init__(self, width=24, heads=4, hidden=40, vocab=11):
        super().__init__()
        words, norm = nn.Embedding(vocab, width), nn.LayerNorm(width)
        self.embeddings = nn.ModuleDict({"word_embeddings": words, "LayerNorm": norm})
        layers = nn.ModuleList(DistanceLayer(width, heads, hidden) for _ in range(2))
        self.encoder = nn.ModuleDict({"layer": layers, "rel_embeddings": nn.Embedding(16, width)})

    def forward(self, ids):
        x = self.embeddings["LayerNorm"](self.embeddings["word_embeddings"](ids))
        for layer in self.encoder["layer"]:
            x = layer(x, self.encoder["rel_embeddings"].weight)
        return x


WORDS = tokens(11, (2, 6))
CASES = {
    "shared_fused": Unseen(FusedLM, WORDS, {"heads": 3, "kv_heads": 1, "head_dim": 8, "hidden": 24}),
    "shared_fused_wide": Unseen(FusedLM, WORDS, {"heads": 6, "kv_heads": 2, "head_dim": 4, "width": 16}),
    "distances": Unseen(DistanceEncoder, WORDS, {"width": 16, "heads": 2, "hidden": 16}),
}
