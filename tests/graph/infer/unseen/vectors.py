"""Networks on vectors: fields, value functions, gates, autoencoders, graphs, low-rank additions, shared weights."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from tests.graph.infer.unseen.case import Unseen, floats, tokens


class SineLayer(nn.Module):
    def __init__(self, fan_in, fan_out):
        super().__init__()
        self.linear = nn.Linear(fan_in, fan_out)

    def forward(self, x):
        return torch.sin(3 * self.linear(x))


class Siren(nn.Module):
    def __init__(self, hidden=8, layers=3):
        super().__init__()
        widths = [2] + [hidden] * layers
        sines = [SineLayer(a, b) for a, b in pairwise(widths)]
        self.net = nn.Sequential(*sines, nn.Linear(hidden, 3))

    def forward(self, x):
        return self.net(x)


class DuelingQ(nn.Module):
    """Value and advantage heads over pixels; the advantage is centred over actions."""

    def __init__(self, maps=4, hidden=6, actions=3):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(2, maps, 4, 2), nn.ReLU(), nn.Conv2d(maps, maps + 2, 3), nn.ReLU())
        flat = (maps + 2) * 4 * 4
        self.advantage = nn.Sequential(nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, actions))
        self.value = nn.Sequential(nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, x):
        x = self.features(x).flatten(1)
        advantage = self.advantage(x)
        return self.value(x) + advantage - advantage.mean(1, keepdim=True)


class TwinCritic(nn.Module):
    """Soft actor-critic: two critics of state and action side by side, and the actor."""

    def __init__(self, state=5, action=2, hidden=8):
        super().__init__()
        self.q1, self.q2 = (
            nn.ModuleList([nn.Linear(state + action, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 1)])
            for _ in range(2)
        )
        self.fc1, self.fc2 = nn.Linear(state, hidden), nn.Linear(hidden, hidden)
        self.mean, self.log_std = nn.Linear(hidden, action), nn.Linear(hidden, action)

    @staticmethod
    def _run(layers, x):
        for layer in layers[:-1]:
            x = F.relu(layer(x))
        return layers[-1](x)

    def forward(self, state):
        x = F.relu(self.fc2(F.relu(self.fc1(state))))
        mean = torch.tanh(self.mean(x))
        both = torch.cat((state, mean), 1)
        return mean, self.log_std(x), torch.minimum(self._run(self.q1, both), self._run(self.q2, both))


class Highway(nn.Module):
    def __init__(self, size, layers):
        super().__init__()
        for name in ("nonlinear", "linear", "gate"):
            self.add_module(name, nn.ModuleList(nn.Linear(size, size) for _ in range(layers)))

    def forward(self, x):
        for a, b, g in zip(self.nonlinear, self.linear, self.gate, strict=True):
            gate = torch.sigmoid(g(x))
            x = gate * F.relu(a(x)) + (1 - gate) * b(x)
        return x


class HighwayNet(nn.Module):
    def __init__(self, fan_in=5, size=6, layers=2, classes=3):
        super().__init__()
        self.fc_in, self.highway, self.fc_out = nn.Linear(fan_in, size), Highway(size, layers), nn.Linear(size, classes)

    def forward(self, x):
        return self.fc_out(self.highway(self.fc_in(x)))


class VAE(nn.Module):
    def __init__(self, fan_in=9, hidden=7, latent=3):
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(fan_in, hidden), nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.fc3, self.fc4 = nn.Linear(latent, hidden), nn.Linear(hidden, fan_in)

    def forward(self, x):
        h = F.relu(self.fc1(x))
        mu, logvar = self.fc21(h), self.fc22(h)
        z = mu + torch.exp(0.5 * logvar)
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar


class TiedAutoencoder(nn.Module):
    """The decoder is the encoder transposed; only its biases are its own."""

    def __init__(self, fan_in=9, hidden=6, code=3):
        super().__init__()
        self.enc1, self.enc2 = nn.Linear(fan_in, hidden), nn.Linear(hidden, code)
        self.dec_bias1, self.dec_bias2 = nn.Parameter(torch.zeros(hidden)), nn.Parameter(torch.zeros(fan_in))

    def forward(self, x):
        code = torch.tanh(self.enc2(torch.tanh(self.enc1(x))))
        return F.linear(
            torch.tanh(F.linear(code, self.enc2.weight.T, self.dec_bias1)), self.enc1.weight.T, self.dec_bias2
        )


class Recycled(nn.Module):
    """One layer used again and again (weight sharing over depth)."""

    def __init__(self, fan_in=4, hidden=6, classes=3):
        super().__init__()
        self.encoder, self.layer, self.decoder = (
            nn.Linear(fan_in, hidden),
            nn.Linear(hidden, hidden),
            nn.Linear(hidden, classes),
        )

    def forward(self, x):
        x = torch.tanh(self.encoder(x))
        for _ in range(3):
            x = torch.tanh(self.layer(x))
        return self.decoder(x)


class LowRank(nn.Module):
    """A linear layer with a low-rank addition beside it."""

    def __init__(self, fan_in, fan_out, rank):
        super().__init__()
        self.base_layer = nn.Linear(fan_in, fan_out)
        self.lora_A, self.lora_B = nn.Linear(fan_in, rank, bias=False), nn.Linear(rank, fan_out, bias=False)

    def forward(self, x):
        return self.base_layer(x) + 2 * self.lora_B(self.lora_A(x))


class LowRankMLP(nn.Module):
    def __init__(self, fan_in=6, hidden=8, rank=2, classes=4):
        super().__init__()
        self.fc1, self.fc2 = LowRank(fan_in, hidden, rank), LowRank(hidden, hidden, rank)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x):
        return self.head(F.relu(self.fc2(F.relu(self.fc1(x)))))


class ResidualMLP(nn.Module):
    """Fields with a skip of the input at the middle layer, as radiance fields have."""

    def __init__(self, fan_in=6, hidden=8):
        super().__init__()
        self.pts_linears = nn.ModuleList(
            [
                nn.Linear(fan_in, hidden),
                nn.Linear(hidden, hidden),
                nn.Linear(hidden + fan_in, hidden),
                nn.Linear(hidden, hidden),
            ]
        )
        self.feature_linear, self.alpha_linear = nn.Linear(hidden, hidden), nn.Linear(hidden, 1)
        self.views_linears = nn.ModuleList([nn.Linear(hidden + 3, hidden // 2)])
        self.rgb_linear = nn.Linear(hidden // 2, 3)

    def forward(self, x, view):
        h = x
        for i, layer in enumerate(self.pts_linears):
            h = F.relu(layer(h))
            h = torch.cat((x, h), -1) if i == 1 else h
        feature = torch.cat((self.feature_linear(h), view), -1)
        return self.rgb_linear(F.relu(self.views_linears[0](feature))), self.alpha_linear(h)


class GraphNet(nn.Module):
    """Graph convolutions: neighbours and self in two matrices, then summed readout."""

    def __init__(self, fan_in=4, hidden=6, classes=3):
        super().__init__()
        sizes = [(fan_in, hidden), (hidden, hidden)]
        self.convs = nn.ModuleList(
            nn.ModuleDict({"lin_l": nn.Linear(a, b), "lin_r": nn.Linear(a, b, bias=False)}) for a, b in sizes
        )
        self.lin = nn.Linear(hidden, classes)

    def forward(self, x, adjacency):
        for conv in self.convs:
            x = F.relu(conv["lin_l"](adjacency @ x) + conv["lin_r"](x))
        return self.lin(x.mean(0))


class FactorModel(nn.Module):
    """Recommendation: user and item tables multiplied, and an MLP over both side by side."""

    def __init__(self, users=7, items=9, dim=4, hidden=6):
        super().__init__()
        self.embed_user_GMF, self.embed_item_GMF = nn.Embedding(users, dim), nn.Embedding(items, dim)
        self.embed_user_MLP, self.embed_item_MLP = nn.Embedding(users, hidden), nn.Embedding(items, hidden)
        self.MLP_layers = nn.Sequential(nn.Dropout(0.1), nn.Linear(2 * hidden, hidden), nn.ReLU())
        self.predict_layer = nn.Linear(dim + hidden, 1)

    def forward(self, user, item):
        both = self.embed_user_GMF(user) * self.embed_item_GMF(item)
        x = self.MLP_layers(torch.cat((self.embed_user_MLP(user), self.embed_item_MLP(item)), -1))
        return self.predict_layer(torch.cat((both, x), -1))


CASES = {
    "siren": Unseen(Siren, floats((5, 2)), {"hidden": 5, "layers": 2}),
    "dueling_q": Unseen(DuelingQ, floats((2, 2, 14, 14)), {"maps": 6, "hidden": 8}),
    "twin_critic": Unseen(TwinCritic, floats((3, 5)), {"hidden": 7}),
    "highway": Unseen(HighwayNet, floats((3, 5)), {"layers": 1}),
    "vae": Unseen(VAE, floats((3, 9)), {"hidden": 9, "latent": 4}),
    "tied_autoencoder": Unseen(TiedAutoencoder, floats((3, 9)), {"hidden": 9}),
    "weight_sharing": Unseen(Recycled, floats((3, 4)), {"hidden": 4}),
    "low_rank": Unseen(LowRankMLP, floats((3, 6)), {"rank": 8}),
    "radiance_field": Unseen(ResidualMLP, floats((3, 6), (3, 3)), {"hidden": 6}),
    "graph_network": Unseen(GraphNet, floats((5, 4), (5, 5)), {"hidden": 4}),
    "recommender": Unseen(FactorModel, tokens(7, (4,), (4,)), {"dim": 6, "hidden": 6}),
}
