"""Architectures that read tokens, patches or observations, as plain PyTorch modules, named as real code does."""

import torch
import torch.nn.functional as F
from torch import nn


class Recurrent(nn.Module):
    """Tokens to classes by an LSTM or GRU."""

    def __init__(self, cell, vocab=11, embed=5, hidden=6, layers=1, bidirectional=False, classes=4):
        super().__init__()
        self.embedding = nn.Embedding(vocab, embed)
        self.rnn = cell(embed, hidden, layers, batch_first=True, bidirectional=bidirectional)
        self.fc = nn.Linear(hidden * (1 + bidirectional), classes)

    def forward(self, tokens):
        out, _ = self.rnn(self.embedding(tokens))
        return self.fc(out.mean(1))


class Attention(nn.Module):
    def __init__(self, dim, heads, head_dim):
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.qkv, self.proj = nn.Linear(dim, 3 * heads * head_dim), nn.Linear(heads * head_dim, dim)

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, -1))


class Mlp(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class EncoderBlock(nn.Module):
    def __init__(self, dim, heads, head_dim, hidden):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim), Attention(dim, heads, head_dim)
        self.norm2, self.mlp = nn.LayerNorm(dim), Mlp(dim, hidden)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self, dim=6, heads=3, head_dim=4, hidden=10, depth=2, classes=5):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, dim, 4, stride=4)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + 4, dim))
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, head_dim, hidden) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, classes)

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class CausalSelfAttention(nn.Module):
    def __init__(self, heads, head_dim, context):
        super().__init__()
        self.n_head, width = heads, heads * head_dim
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.register_buffer("bias", torch.tril(torch.ones(context, context)).view(1, 1, context, context), False)

    def forward(self, x):
        b, t, c = x.size()
        q, k, v = (y.view(b, t, self.n_head, -1).transpose(1, 2) for y in self.c_attn(x).split(c, dim=2))
        att = (q @ k.transpose(-2, -1)) * k.size(-1) ** -0.5
        att = F.softmax(att.masked_fill(self.bias[:, :, :t, :t] == 0, float("-inf")), dim=-1)
        return self.c_proj((att @ v).transpose(1, 2).contiguous().view(b, t, c))


class GPTBlock(nn.Module):
    def __init__(self, heads, head_dim, hidden, context):
        super().__init__()
        width = heads * head_dim
        self.ln_1, self.attn = nn.LayerNorm(width), CausalSelfAttention(heads, head_dim, context)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, hidden), "c_proj": nn.Linear(hidden, width)})

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp.c_proj(F.gelu(self.mlp.c_fc(self.ln_2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, vocab=11, heads=2, head_dim=4, hidden=10, context=8, depth=2):
        super().__init__()
        width = heads * head_dim
        blocks = nn.ModuleList(GPTBlock(heads, head_dim, hidden, context) for _ in range(depth))
        parts = {"wte": nn.Embedding(vocab, width), "wpe": nn.Embedding(context, width), "h": blocks}
        self.transformer = nn.ModuleDict(parts | {"ln_f": nn.LayerNorm(width)})
        self.lm_head = nn.Linear(width, vocab, bias=False)
        self.transformer.wte.weight = self.lm_head.weight

    def forward(self, idx):
        x = self.transformer.wte(idx) + self.transformer.wpe(torch.arange(idx.shape[1], device=idx.device))
        for block in self.transformer.h:
            x = block(x)
        return self.lm_head(self.transformer.ln_f(x))


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def rotate_half(x):
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((-x2, x1), dim=-1)


class LlamaAttention(nn.Module):
    def __init__(self, width, kv_heads, groups, head_dim):
        super().__init__()
        self.head_dim, self.groups = head_dim, groups
        self.q_proj = nn.Linear(width, kv_heads * groups * head_dim, bias=False)
        self.k_proj = nn.Linear(width, kv_heads * head_dim, bias=False)
        self.v_proj = nn.Linear(width, kv_heads * head_dim, bias=False)
        self.o_proj = nn.Linear(kv_heads * groups * head_dim, width, bias=False)

    def _repeat(self, x):
        b, kv, t, d = x.shape
        return x[:, :, None].expand(b, kv, self.groups, t, d).reshape(b, kv * self.groups, t, d)

    def forward(self, x, cos, sin):
        b, t, _ = x.shape
        q, k, v = (p(x).view(b, t, -1, self.head_dim).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        q, k = q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
        y = F.scaled_dot_product_attention(q, self._repeat(k), self._repeat(v), is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(b, t, -1))


class LlamaMLP(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class LlamaLayer(nn.Module):
    def __init__(self, width, kv_heads, groups, head_dim, hidden):
        super().__init__()
        self.self_attn = LlamaAttention(width, kv_heads, groups, head_dim)
        self.mlp = LlamaMLP(width, hidden)
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(width), RMSNorm(width)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    def __init__(self, vocab=11, width=6, kv_heads=2, groups=3, head_dim=4, hidden=10, depth=2):
        super().__init__()
        self.embed_tokens = nn.Embedding(vocab, width)
        self.layers = nn.ModuleList(LlamaLayer(width, kv_heads, groups, head_dim, hidden) for _ in range(depth))
        self.norm, self.lm_head = RMSNorm(width), nn.Linear(width, vocab, bias=False)
        frequency = 10000.0 ** (-torch.arange(0, head_dim, 2).float() / head_dim)
        self.register_buffer("inv_freq", frequency, persistent=False)

    def forward(self, tokens):
        angle = torch.arange(tokens.shape[1], device=tokens.device)[:, None] * self.inv_freq
        cos, sin = torch.cat((angle, angle), -1).cos(), torch.cat((angle, angle), -1).sin()
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.lm_head(self.norm(x))


class ActorCritic(nn.Module):
    def __init__(self, observations=5, actor=7, critic=6, actions=3):
        super().__init__()
        sizes = {"policy_net": actor, "value_net": critic}
        self.mlp_extractor = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(observations, n), nn.Tanh(), nn.Linear(n, n), nn.Tanh())
                for name, n in sizes.items()
            }
        )
        self.action_net, self.value_net = nn.Linear(actor, actions), nn.Linear(critic, 1)
        self.log_std = nn.Parameter(torch.zeros(actions))

    def forward(self, observation):
        mean = self.action_net(self.mlp_extractor["policy_net"](observation))
        return mean, self.log_std.exp().expand_as(mean), self.value_net(self.mlp_extractor["value_net"](observation))
