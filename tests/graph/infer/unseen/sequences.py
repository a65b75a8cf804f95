"""Sequences and signals: recurrent translators, cells, dilated convolutions, audio."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.graph.infer.unseen.case import Unseen, floats, tokens


class Translator(nn.Module):
    """Encoder and decoder LSTM with additive attention over the encoder's states."""

    def __init__(self, vocab=11, embed=5, hidden=6, attention=7):
        super().__init__()
        self.encoder = nn.ModuleDict(
            {
                "embedding": nn.Embedding(vocab, embed),
                "rnn": nn.LSTM(embed, hidden, batch_first=True, bidirectional=True),
            }
        )
        self.bridge = nn.Linear(2 * hidden, hidden)
        self.decoder = nn.ModuleDict(
            {
                "embedding": nn.Embedding(vocab, embed),
                "attn": nn.Linear(3 * hidden, attention),
                "v": nn.Linear(attention, 1, bias=False),
                "rnn": nn.LSTMCell(embed + 2 * hidden, hidden),
                "fc_out": nn.Linear(3 * hidden + embed, vocab),
            }
        )

    def forward(self, source, target):
        states, (h, _) = self.encoder["rnn"](self.encoder["embedding"](source))
        h = torch.tanh(self.bridge(torch.cat((h[0], h[1]), 1)))
        c, out, d = torch.zeros_like(h), [], self.decoder
        for word in target.unbind(1):
            x = d["embedding"](word)
            energy = torch.tanh(d["attn"](torch.cat((h[:, None].expand(-1, states.shape[1], -1), states), 2)))
            context = (d["v"](energy).softmax(1) * states).sum(1)
            h, c = d["rnn"](torch.cat((x, context), 1), (h, c))
            out.append(d["fc_out"](torch.cat((h, context, x), 1)))
        return torch.stack(out, 1)


class CellTagger(nn.Module):
    """Two stacked GRU cells, added where they are of one size."""

    def __init__(self, vocab=11, embed=6, hidden=6, classes=4):
        super().__init__()
        self.embed = nn.Embedding(vocab, embed)
        self.cell, self.cell2 = nn.GRUCell(embed, hidden), nn.GRUCell(hidden, hidden)
        self.out = nn.Linear(hidden, classes)

    def forward(self, ids):
        h1 = h2 = self.embed.weight.new_zeros(len(ids), self.cell.hidden_size)
        for x in self.embed(ids).unbind(1):
            h1 = self.cell(x, h1)
            h2 = self.cell2(h1, h2) + h1
        return self.out(h2)


class WaveBlock(nn.Module):
    def __init__(self, residual, gate, skip, dilation):
        super().__init__()
        self.filter_conv = nn.Conv1d(residual, gate, 2, dilation=dilation)
        self.gate_conv = nn.Conv1d(residual, gate, 2, dilation=dilation)
        self.residual_conv, self.skip_conv = nn.Conv1d(gate, residual, 1), nn.Conv1d(gate, skip, 1)

    def forward(self, x):
        y = torch.tanh(self.filter_conv(x)) * torch.sigmoid(self.gate_conv(x))
        return self.residual_conv(y) + x[..., -y.shape[-1] :], self.skip_conv(y)


class WaveNet(nn.Module):
    def __init__(self, residual=6, gate=5, skip=7, classes=8):
        super().__init__()
        self.start_conv = nn.Conv1d(1, residual, 1)
        self.blocks = nn.ModuleList(WaveBlock(residual, gate, skip, 2**i) for i in range(3))
        self.end_conv_1, self.end_conv_2 = nn.Conv1d(skip, skip + 2, 1), nn.Conv1d(skip + 2, classes, 1)

    def forward(self, x):
        x, total = self.start_conv(x), 0.0
        for block in self.blocks:
            x, skip = block(x)
            total = skip[..., -1:] + (total[..., -1:] if torch.is_tensor(total) else total)
        return self.end_conv_2(F.relu(self.end_conv_1(F.relu(total))))


class FusedWaveBlock(nn.Module):
    """Filter and gate in one convolution, residual and skip in another, as vocoders write it."""

    def __init__(self, channels, dilation):
        super().__init__()
        self.in_layer = nn.Conv1d(channels, 2 * channels, 3, padding=dilation, dilation=dilation)
        self.res_skip_layer = nn.Conv1d(channels, 2 * channels, 1)

    def forward(self, x):
        a, b = self.in_layer(x).chunk(2, 1)
        res, skip = self.res_skip_layer(torch.tanh(a) * torch.sigmoid(b)).chunk(2, 1)
        return x + res, skip


class FusedWaveNet(nn.Module):
    def __init__(self, mels=4, channels=6):
        super().__init__()
        self.pre = nn.Conv1d(mels, channels, 1)
        self.layers = nn.ModuleList(FusedWaveBlock(channels, 2**i) for i in range(3))
        self.proj = nn.Conv1d(channels, mels, 1)

    def forward(self, x):
        x, total = self.pre(x), 0.0
        for layer in self.layers:
            x, skip = layer(x)
            total = total + skip
        return self.proj(total)


class TemporalBlock(nn.Module):
    def __init__(self, fan_in, fan_out, dilation):
        super().__init__()
        self.conv1 = nn.Conv1d(fan_in, fan_out, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv1d(fan_out, fan_out, 3, padding=dilation, dilation=dilation)
        self.downsample = nn.Conv1d(fan_in, fan_out, 1) if fan_in != fan_out else None

    def forward(self, x):
        y = F.relu(self.conv2(F.relu(self.conv1(x))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class TemporalNet(nn.Module):
    def __init__(self, fan_in=4, width=6, wide=8, classes=3):
        super().__init__()
        self.network = nn.Sequential(
            TemporalBlock(fan_in, width, 1), TemporalBlock(width, width, 2), TemporalBlock(width, wide, 4)
        )
        self.linear = nn.Linear(wide, classes)

    def forward(self, x):
        return self.linear(self.network(x)[:, :, -1])


class SpeechNet(nn.Module):
    """Two convolutions over spectrograms, flattened by frame into a bidirectional GRU, as DeepSpeech does."""

    def __init__(self, mels=8, maps=4, hidden=6, classes=5):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, maps, 3, (2, 1), 1), nn.BatchNorm2d(maps), nn.Hardtanh(), nn.Conv2d(maps, maps, 3, (2, 1), 1)
        )
        self.rnns = nn.GRU(maps * mels // 4, hidden, 2, batch_first=True, bidirectional=True)
        self.fc = nn.Sequential(nn.LayerNorm(2 * hidden), nn.Linear(2 * hidden, classes, bias=False))

    def forward(self, x):
        x = self.conv(x)
        return self.fc(self.rnns(x.flatten(1, 2).transpose(1, 2))[0])


class ProjectedLSTM(nn.Module):
    def __init__(self, fan_in=5, hidden=8, state=4, classes=3):
        super().__init__()
        self.lstm = nn.LSTM(fan_in, hidden, 2, proj_size=state, batch_first=True)
        self.linear = nn.Linear(state, classes)

    def forward(self, x):
        return self.linear(self.lstm(x)[0])


def pair(g):
    return tokens(11, (2, 5), (2, 4))(g)


CASES = {
    "translator": Unseen(Translator, pair, {"embed": 6, "hidden": 6, "attention": 6}),
    "gru_cells": Unseen(CellTagger, tokens(11, (2, 4)), {"embed": 5}),
    "wavenet": Unseen(WaveNet, floats((2, 1, 12)), {"residual": 6, "gate": 6, "skip": 6}),
    "wavenet_fused": Unseen(FusedWaveNet, floats((2, 4, 12)), {"channels": 4}),
    "temporal_convolution": Unseen(TemporalNet, floats((2, 4, 9)), {"width": 4, "wide": 4}),
    "speech": Unseen(SpeechNet, floats((2, 1, 8, 6)), {"maps": 6, "hidden": 4}),
    "projected_lstm": Unseen(ProjectedLSTM, floats((2, 4, 5)), {"hidden": 5, "state": 2}),
}
