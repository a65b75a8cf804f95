"""Transformers on images, with and without text, and mixers."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.graph.infer.unseen.case import Unseen, floats
from tests.graph.infer.unseen.language import join_heads, split_heads


class WindowAttention(nn.Module):
    def __init__(self, dim, heads, window):
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        at = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        away = at[:, :, None] - at[:, None] + window - 1
        self.register_buffer("relative_position_index", away[0] * (2 * window - 1) + away[1])
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)].view(n, n, -1)
        return self.proj(join_heads((q @ k.transpose(-2, -1) + bias.permute(2, 0, 1)).softmax(-1) @ v))


class SwinBlock(nn.Module):
    def __init__(self, dim, heads, window, hidden, shift):
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(dim), WindowAttention(dim, heads, window), nn.LayerNorm(dim)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, hidden), "fc2": nn.Linear(hidden, dim)})

    def forward(self, x):
        b, h, w, c = x.shape
        s = self.window
        y = torch.roll(self.norm1(x), (-self.shift, -self.shift), (1, 2))
        y = y.view(b, h // s, s, w // s, s, c).transpose(2, 3).reshape(-1, s * s, c)
        y = self.attn(y).view(b, h // s, w // s, s, s, c).transpose(2, 3).reshape(b, h, w, c)
        x = x + torch.roll(y, (self.shift, self.shift), (1, 2))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class PatchMerging(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.reduction, self.norm = nn.Linear(4 * dim, 2 * dim, bias=False), nn.LayerNorm(4 * dim)

    def forward(self, x):
        corners = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, -1)))


class Swin(nn.Module):
    def __init__(self, dim=8, heads=2, hidden=12, window=2, classes=5):
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dim, 4, 4), "norm": nn.LayerNorm(dim)})
        blocks = [
            nn.ModuleList(SwinBlock(dim * n, heads * n, window, hidden * n, shift) for shift in (0, 1)) for n in (1, 2)
        ]
        self.layers = nn.ModuleList(
            [
                nn.ModuleDict({"blocks": blocks[0], "downsample": PatchMerging(dim)}),
                nn.ModuleDict({"blocks": blocks[1]}),
            ]
        )
        self.norm, self.head = nn.LayerNorm(2 * dim), nn.Linear(2 * dim, classes)

    def forward(self, x):
        x = self.patch_embed["norm"](self.patch_embed["proj"](x).permute(0, 2, 3, 1))
        for layer in self.layers:
            for block in layer["blocks"]:
                x = block(x)
            x = layer["downsample"](x) if "downsample" in layer else x
        return self.head(self.norm(x).mean((1, 2)))


class Tower(nn.Module):
    def __init__(self, width, heads, hidden, depth):
        super().__init__()
        self.resblocks = nn.ModuleList(ResidualAttention(width, heads, hidden) for _ in range(depth))

    def forward(self, x):
        for block in self.resblocks:
            x = block(x)
        return x


class ResidualAttention(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, hidden), "c_proj": nn.Linear(hidden, width)})

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        y = self.mlp["c_fc"](self.ln_2(x))
        return x + self.mlp["c_proj"](y * torch.sigmoid(1.702 * y))


class VisualTower(nn.Module):
    def __init__(self, width, heads, hidden, depth, joint):
        super().__init__()
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn(17, width))
        self.proj = nn.Parameter(torch.randn(width, joint))
        self.conv1 = nn.Conv2d(3, width, 4, 4, bias=False)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Tower(width, heads, hidden, depth)

    def forward(self, x):
        x = self.conv1(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.class_embedding.expand(len(x), 1, -1), x), 1) + self.positional_embedding
        return self.ln_post(self.transformer(self.ln_pre(x))[:, 0]) @ self.proj


class CLIP(nn.Module):
    def __init__(self, vision=8, text=12, joint=6, vocab=11, depth=2):
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(6, text))
        self.text_projection = nn.Parameter(torch.randn(text, joint))
        self.logit_scale = nn.Parameter(torch.ones([]))
        self.visual = VisualTower(vision, 2, 2 * vision, depth, joint)
        self.transformer = Tower(text, 2, 2 * text, depth)
        self.token_embedding, self.ln_final = nn.Embedding(vocab, text), nn.LayerNorm(text)

    def forward(self, image, ids):
        a = self.visual(image)
        b = self.ln_final(self.transformer(self.token_embedding(ids) + self.positional_embedding))
        b = b[:, -1] @ self.text_projection
        return self.logit_scale * F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T


class RegisterBlock(nn.Module):
    def __init__(self, dim, heads, hidden):
        super().__init__()
        self.heads, self.norm1, self.norm2 = heads, nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(dim, 3 * dim), "proj": nn.Linear(dim, dim)})
        self.ls1, self.ls2 = (nn.ParameterDict({"gamma": nn.Parameter(torch.ones(dim))}) for _ in range(2))
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, hidden), "fc2": nn.Linear(hidden, dim)})

    def forward(self, x):
        q, k, v = (split_heads(y, self.heads) for y in self.attn["qkv"](self.norm1(x)).chunk(3, -1))
        x = x + self.ls1["gamma"] * self.attn["proj"](join_heads(F.scaled_dot_product_attention(q, k, v)))
        return x + self.ls2["gamma"] * self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class RegisterViT(nn.Module):
    """DINOv2 with class token, register tokens and layer scale."""

    def __init__(self, dim=8, heads=2, hidden=12, depth=2, registers=3, classes=5):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 17, dim))
        self.register_tokens = nn.Parameter(torch.zeros(1, registers, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, dim))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dim, 4, 4)})
        self.blocks = nn.ModuleList(RegisterBlock(dim, heads, hidden) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(2 * dim, classes)

    def forward(self, x):
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        x = torch.where(torch.arange(16)[:, None] % 5 == 0, self.mask_token, x)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), 1) + self.pos_embed
        x = torch.cat((x[:, :1], self.register_tokens.expand(len(x), -1, -1), x[:, 1:]), 1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.head(torch.cat((x[:, 0], x[:, 4:].mean(1)), -1))


class MixerBlock(nn.Module):
    def __init__(self, tokens, dim, token_hidden, hidden):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        pairs = {"mlp_tokens": (tokens, token_hidden), "mlp_channels": (dim, hidden)}
        for name, (size, wide) in pairs.items():
            self.add_module(name, nn.ModuleDict({"fc1": nn.Linear(size, wide), "fc2": nn.Linear(wide, size)}))

    @staticmethod
    def _run(mlp, x):
        return mlp["fc2"](F.gelu(mlp["fc1"](x)))

    def forward(self, x):
        x = x + self._run(self.mlp_tokens, self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self._run(self.mlp_channels, self.norm2(x))


class Mixer(nn.Module):
    def __init__(self, dim=8, token_hidden=6, hidden=10, depth=2, classes=5):
        super().__init__()
        self.stem = nn.ModuleDict({"proj": nn.Conv2d(3, dim, 4, 4)})
        self.blocks = nn.ModuleList(MixerBlock(16, dim, token_hidden, hidden) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, classes)

    def forward(self, x):
        x = self.stem["proj"](x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


IMAGE = floats((2, 3, 16, 16))


def picture_and_words(g):
    return (*IMAGE(g), torch.randint(11, (2, 6), generator=g))


CASES = {
    "swin": Unseen(Swin, IMAGE, {"dim": 12, "heads": 3, "hidden": 24}),
    "clip": Unseen(CLIP, picture_and_words, {"vision": 8, "text": 8, "joint": 8}),
    "vit_registers": Unseen(RegisterViT, IMAGE, {"dim": 12, "heads": 3, "hidden": 24}),
    "mlp_mixer": Unseen(Mixer, IMAGE, {"dim": 16, "token_hidden": 16, "hidden": 16}),
}
