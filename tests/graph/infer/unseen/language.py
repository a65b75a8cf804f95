"""Language models and translators, named as the transformers library and its readers name them."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from tests.graph.infer.unseen.case import Unseen, tokens


def split_heads(x, heads):
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def join_heads(x):
    return x.transpose(1, 2).flatten(2)


class BertLayer(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        names = ("query", "key", "value")
        dense, norm = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-12)
        self.attention = nn.ModuleDict(
            {
                "self": nn.ModuleDict({name: nn.Linear(width, width) for name in names}),
                "output": nn.ModuleDict({"dense": dense, "LayerNorm": norm}),
            }
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, hidden)})
        self.output = nn.ModuleDict({"dense": nn.Linear(hidden, width), "LayerNorm": nn.LayerNorm(width, eps=1e-12)})

    def forward(self, x):
        q, k, v = (split_heads(self.attention["self"][name](x), self.heads) for name in ("query", "key", "value"))
        y = join_heads(F.scaled_dot_product_attention(q, k, v))
        x = self.attention["output"]["LayerNorm"](x + self.attention["output"]["dense"](y))
        y = self.output["dense"](F.gelu(self.intermediate["dense"](x)))
        return self.output["LayerNorm"](x + y)


class Bert(nn.Module):
    def __init__(self, vocab=11, width=8, heads=2, hidden=12, depth=2, length=6, classes=3):
        super().__init__()
        layers = nn.ModuleList(BertLayer(width, heads, hidden) for _ in range(depth))
        tables = {"word_embeddings": nn.Embedding(vocab, width), "position_embeddings": nn.Embedding(length, width)}
        tables |= {"token_type_embeddings": nn.Embedding(2, width), "LayerNorm": nn.LayerNorm(width, eps=1e-12)}
        parts = {"embeddings": nn.ModuleDict(tables), "encoder": nn.ModuleDict({"layer": layers})}
        self.bert = nn.ModuleDict(parts | {"pooler": nn.ModuleDict({"dense": nn.Linear(width, width)})})
        self.classifier = nn.Linear(width, classes)

    def forward(self, ids):
        e = self.bert["embeddings"]
        x = e["word_embeddings"](ids) + e["token_type_embeddings"](ids % 2)
        x = e["LayerNorm"](x + e["position_embeddings"](torch.arange(ids.shape[1])))
        for layer in self.bert["encoder"]["layer"]:
            x = layer(x)
        return self.classifier(torch.tanh(self.bert["pooler"]["dense"](x[:, 0])))


class Conv1D(nn.Module):
    """GPT-2's linear layer, stored transposed."""

    def __init__(self, fan_out, fan_in):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(fan_in, fan_out)), nn.Parameter(torch.zeros(fan_out))

    def forward(self, x):
        return x @ self.weight + self.bias


class GPT2Block(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.ModuleDict({"c_attn": Conv1D(3 * width, width), "c_proj": Conv1D(width, width)})
        self.mlp = nn.ModuleDict({"c_fc": Conv1D(hidden, width), "c_proj": Conv1D(width, hidden)})

    def forward(self, x):
        q, k, v = (split_heads(y, self.heads) for y in self.attn["c_attn"](self.ln_1(x)).chunk(3, -1))
        x = x + self.attn["c_proj"](join_heads(F.scaled_dot_product_attention(q, k, v, is_causal=True)))
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x))))


class GPT2(nn.Module):
    def __init__(self, vocab=11, width=8, heads=2, hidden=32, depth=2, length=6):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Embedding(length, width)
        self.h = nn.ModuleList(GPT2Block(width, heads, hidden) for _ in range(depth))
        self.ln_f = nn.LayerNorm(width)

    def forward(self, ids):
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for block in self.h:
            x = block(x)
        return self.ln_f(x) @ self.wte.weight.T


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def turned(x):
    """Rotary positions."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2])[:, None] * 100.0 ** (-torch.arange(half) / half)
    cos, sin = torch.cat((angle, angle), -1).cos().to(x.dtype), torch.cat((angle, angle), -1).sin().to(x.dtype)
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


class GroupedAttention(nn.Module):
    """Llama, Mistral, Qwen2 (biases), Qwen3 (norms of queries and keys) and, without rotation, any of them."""

    def __init__(self, width, heads, kv_heads, head_dim, bias, qk_norm, rotary):
        super().__init__()
        self.heads, self.kv_heads, self.rotary = heads, kv_heads, rotary
        self.q_proj = nn.Linear(width, heads * head_dim, bias=bias)
        self.k_proj = nn.Linear(width, kv_heads * head_dim, bias=bias)
        self.v_proj = nn.Linear(width, kv_heads * head_dim, bias=bias)
        self.o_proj = nn.Linear(heads * head_dim, width, bias=False)
        if qk_norm:
            self.q_norm, self.k_norm = RMSNorm(head_dim), RMSNorm(head_dim)
        self.qk_norm = qk_norm

    def forward(self, x):
        q, k, v = (
            split_heads(self.q_proj(x), self.heads),
            *(split_heads(part(x), self.kv_heads) for part in (self.k_proj, self.v_proj)),
        )
        if self.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        if self.rotary:
            q, k = turned(q), turned(k)
        k, v = (y.repeat_interleave(self.heads // self.kv_heads, 1) for y in (k, v))
        return self.o_proj(join_heads(F.scaled_dot_product_attention(q, k, v, is_causal=True)))


class GatedMLP(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Experts(nn.Module):
    """A mixture of experts; every expert runs, weighted by the gate."""

    def __init__(self, width, hidden, count):
        super().__init__()
        self.gate = nn.Linear(width, count, bias=False)
        shapes = {"w1": (width, hidden), "w2": (hidden, width), "w3": (width, hidden)}
        self.experts = nn.ModuleList(
            nn.ModuleDict({name: nn.Linear(*shape, bias=False) for name, shape in shapes.items()}) for _ in range(count)
        )

    def forward(self, x):
        weight = self.gate(x).softmax(-1)
        each = [e["w2"](F.silu(e["w1"](x)) * e["w3"](x)) for e in self.experts]
        return (torch.stack(each, -1) * weight[..., None, :]).sum(-1)


class DecoderLayer(nn.Module):
    def __init__(self, width, hidden, experts, **attention):
        super().__init__()
        self.self_attn = GroupedAttention(width, **attention)
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(width), RMSNorm(width)
        if experts:
            self.block_sparse_moe = Experts(width, hidden, experts)
        else:
            self.mlp = GatedMLP(width, hidden)

    def forward(self, x):
        x = x + self.self_attn(self.input_layernorm(x))
        mlp = self.mlp if hasattr(self, "mlp") else self.block_sparse_moe
        return x + mlp(self.post_attention_layernorm(x))


class CausalLM(nn.Module):
    def __init__(self, vocab=11, width=8, hidden=12, depth=2, experts=0, positions=0, **attention):
        super().__init__()
        given = {"heads": 4, "kv_heads": 2, "head_dim": 4, "bias": False, "qk_norm": False, "rotary": True} | attention
        layers = nn.ModuleList(DecoderLayer(width, hidden, experts, **given) for _ in range(depth))
        self.model = nn.ModuleDict({"embed_tokens": nn.Embedding(vocab, width), "layers": layers})
        if positions:
            self.model["embed_positions"] = nn.Embedding(positions, width)
        self.model["norm"] = RMSNorm(width)
        self.lm_head = nn.Linear(width, vocab, bias=False)

    def forward(self, ids):
        x = self.model["embed_tokens"](ids)
        if "embed_positions" in self.model:
            x = x + self.model["embed_positions"](torch.arange(ids.shape[1]))
        for layer in self.model["layers"]:
            x = layer(x)
        return self.lm_head(self.model["norm"](x))


class T5Attention(nn.Module):
    def __init__(self, width, heads, head_dim, buckets):
        super().__init__()
        self.heads, self.buckets, inner = heads, buckets, heads * head_dim
        self.q, self.k = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.v, self.o = nn.Linear(width, inner, bias=False), nn.Linear(inner, width, bias=False)
        if buckets:
            self.relative_attention_bias = nn.Embedding(buckets, heads)

    def forward(self, x, memory, bias):
        if self.buckets:
            away = torch.arange(memory.shape[1])[None] - torch.arange(x.shape[1])[:, None]
            bias = self.relative_attention_bias(away.clamp(0, self.buckets - 1)).permute(2, 0, 1)
        q, k, v = (split_heads(f(y), self.heads) for f, y in ((self.q, x), (self.k, memory), (self.v, memory)))
        scores = q @ k.transpose(-1, -2)
        return self.o(join_heads((scores if bias is None else scores + bias).softmax(-1) @ v)), bias


class T5Block(nn.Module):
    def __init__(self, width, heads, head_dim, hidden, buckets, is_decoder):
        super().__init__()
        first = T5Attention(width, heads, head_dim, buckets)
        layers = [nn.ModuleDict({"SelfAttention": first, "layer_norm": RMSNorm(width)})]
        if is_decoder:
            cross = T5Attention(width, heads, head_dim, 0)
            layers.append(nn.ModuleDict({"EncDecAttention": cross, "layer_norm": RMSNorm(width)}))
        dense = {"wi": nn.Linear(width, hidden, bias=False), "wo": nn.Linear(hidden, width, bias=False)}
        layers.append(nn.ModuleDict({"DenseReluDense": nn.ModuleDict(dense), "layer_norm": RMSNorm(width)}))
        self.layer = nn.ModuleList(layers)

    def forward(self, x, memory, bias):
        y = self.layer[0]["layer_norm"](x)
        y, bias = self.layer[0]["SelfAttention"](y, y, bias)
        x = x + y
        if memory is not None:
            x = x + self.layer[1]["EncDecAttention"](self.layer[1]["layer_norm"](x), memory, None)[0]
        last = self.layer[-1]
        return x + last["DenseReluDense"]["wo"](F.relu(last["DenseReluDense"]["wi"](last["layer_norm"](x)))), bias


class T5Stack(nn.Module):
    def __init__(self, embed, depth, is_decoder, **sizes):
        super().__init__()
        self.embed_tokens, buckets = embed, sizes.pop("buckets")
        self.block = nn.ModuleList(
            T5Block(buckets=0 if i else buckets, is_decoder=is_decoder, **sizes) for i in range(depth)
        )
        self.final_layer_norm = RMSNorm(sizes["width"])

    def forward(self, ids, memory=None):
        x, bias = self.embed_tokens(ids), None
        for block in self.block:
            x, bias = block(x, memory, bias)
        return self.final_layer_norm(x)


class T5(nn.Module):
    def __init__(self, vocab=11, width=6, heads=2, head_dim=4, hidden=10, depth=2, buckets=5):
        super().__init__()
        self.shared = nn.Embedding(vocab, width)
        sizes = {"width": width, "heads": heads, "head_dim": head_dim, "hidden": hidden, "buckets": buckets}
        self.encoder, self.decoder = (T5Stack(self.shared, depth, is_decoder, **sizes) for is_decoder in (False, True))

    def forward(self, source, target):
        return self.decoder(target, self.encoder(source)) @ self.shared.weight.T


class AlibiAttention(nn.Module):
    """Scores fall with distance, with a slope a head; one fused projection, queries, keys and values by head."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query_key_value, self.dense = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        q, k, v = self.query_key_value(x).view(*x.shape[:2], self.heads, 3, -1).transpose(1, 2).unbind(3)
        slope = 2.0 ** -torch.arange(1, self.heads + 1, dtype=x.dtype)
        away = (torch.arange(x.shape[1])[None] - torch.arange(x.shape[1])[:, None]).clamp(max=0)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + slope[:, None, None] * away
        return self.dense(join_heads(scores.softmax(-1) @ v))


class Bloom(nn.Module):
    def __init__(self, vocab=11, width=8, heads=2, depth=2):
        super().__init__()
        self.word_embeddings, self.word_embeddings_layernorm = nn.Embedding(vocab, width), nn.LayerNorm(width)
        self.h = nn.ModuleList(
            nn.ModuleDict(
                {
                    "input_layernorm": nn.LayerNorm(width),
                    "self_attention": AlibiAttention(width, heads),
                    "post_attention_layernorm": nn.LayerNorm(width),
                    "mlp": nn.ModuleDict(
                        {"dense_h_to_4h": nn.Linear(width, 4 * width), "dense_4h_to_h": nn.Linear(4 * width, width)}
                    ),
                }
            )
            for _ in range(depth)
        )
        self.ln_f = nn.LayerNorm(width)

    def forward(self, ids):
        x = self.word_embeddings_layernorm(self.word_embeddings(ids))
        for block in self.h:
            x = x + block["self_attention"](block["input_layernorm"](x))
            y = F.gelu(block["mlp"]["dense_h_to_4h"](block["post_attention_layernorm"](x)))
            x = x + block["mlp"]["dense_4h_to_h"](y)
        return self.ln_f(x) @ self.word_embeddings.weight.T


class AlibiSeparate(nn.Module):
    """The same slopes with separate projections, one layer, no position table."""

    def __init__(self, vocab=11, width=8, heads=4, hidden=10):
        super().__init__()
        self.heads, self.embed = heads, nn.Embedding(vocab, width)
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.head = nn.Linear(width, vocab)

    def forward(self, ids):
        x = self.embed(ids)
        y = self.norm1(x)
        q, k, v = (split_heads(f(y), self.heads) for f in (self.q_proj, self.k_proj, self.v_proj))
        slope = 2.0 ** -torch.arange(1, self.heads + 1, dtype=x.dtype)
        away = (torch.arange(x.shape[1])[None] - torch.arange(x.shape[1])[:, None]).abs()
        x = x + self.out_proj(join_heads((q @ k.transpose(-1, -2) - slope[:, None, None] * away).softmax(-1) @ v))
        return self.head(x + self.fc2(F.relu(self.fc1(self.norm2(x)))))


def variant(**given):
    return lambda **sizes: CausalLM(**(given | sizes))


WORDS = tokens(11, (2, 6))
CASES = {
    "bert": Unseen(Bert, WORDS, {"width": 12, "heads": 3, "hidden": 12}),
    "gpt2": Unseen(GPT2, WORDS, {"width": 6, "heads": 1, "hidden": 10}),
    "mistral": Unseen(CausalLM, WORDS, {"width": 16, "head_dim": 6, "kv_heads": 1}),
    "qwen2": Unseen(variant(bias=True), WORDS, {"width": 10, "kv_heads": 4}),
    "qwen3": Unseen(variant(qk_norm=True), WORDS, {"heads": 2, "kv_heads": 2}),
    "rotary_with_table": Unseen(variant(positions=8, kv_heads=4), WORDS, {"head_dim": 2}),
    "mixtral": Unseen(variant(experts=3), WORDS, {"hidden": 8, "experts": 2}),
    "t5": Unseen(T5, tokens(11, (2, 6), (2, 5)), {"width": 8, "heads": 4, "head_dim": 2, "hidden": 8}),
    "bloom": Unseen(Bloom, WORDS, {"width": 12, "heads": 3}),
    "alibi_separate": Unseen(AlibiSeparate, WORDS, {"heads": 2, "hidden": 8}),
}
