"""Keyword spotting and other small TensorFlow networks."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.real.networks.layers import conv_hwio, depthwise_hwcm, keras, keras_batch_norm, lstm_torch, normalise
from tests.real.rebuilt import Rebuilt, Weights, normal, tokens


def dnn(w: Weights, x: Tensor) -> Tensor:
    for i in (1, 2, 3):
        x = F.relu(x @ w[f"fc{i}/W"] + w[f"fc{i}/b"])
    return x @ w["final_fc"] + w["Variable"]


def _norm(w: Weights, name: str, x: Tensor, scale: str) -> Tensor:
    statistics = (w[f"{name}/moving_mean"], w[f"{name}/moving_variance"])
    return normalise(x, statistics, (w[f"{name}/{scale}"], w[f"{name}/beta"]), 1e-3)


def cnn(w: Weights, x: Tensor) -> Tensor:
    """The feature map is flattened channels last, then reduced to 16 without an activation."""
    x = F.relu(_norm(w, "bn1", conv_hwio(x, w["Variable"], w["Variable_1"], padding="valid"), "gamma"))
    x = conv_hwio(x, w["Variable_2"], w["Variable_3"], stride=(2, 1), padding="valid")
    x = F.relu(_norm(w, "bn2", x, "gamma")).permute(0, 2, 3, 1).flatten(1)
    x = (x @ w["W"] + w["b"]) @ w["Variable_4"] + w["Variable_5"]
    return F.relu(_norm(w, "bn3", x, "gamma")) @ w["Variable_6"] + w["Variable_7"]


def basic_lstm(w: Weights, x: Tensor) -> Tensor:
    """Gates i, j, f, o of one kernel that reads input and state side by side."""
    kernel, bias = (w[f"lstm/rnn/basic_lstm_cell/{part}"] for part in ("kernel", "bias"))
    h = c = x.new_zeros(len(x), len(bias) // 4)
    for step in x.unbind(1):
        i, j, f, o = (torch.cat((step, h), -1) @ kernel + bias).chunk(4, -1)
        c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(j)
        h = torch.sigmoid(o) * torch.tanh(c)
    return h @ w["W_o"] + w["b_o"]


def projected_lstm(w: Weights, x: Tensor) -> Tensor:
    """Peepholes from the cell to its gates; the state is a projection of the output."""
    cell = "lstm/rnn/lstm_cell"
    c = x.new_zeros(len(x), len(w[f"{cell}/w_i_diag"]))
    h = x.new_zeros(len(x), w[f"{cell}/projection/kernel"].shape[1])
    for step in x.unbind(1):
        i, j, f, o = (torch.cat((step, h), -1) @ w[f"{cell}/kernel"] + w[f"{cell}/bias"]).chunk(4, -1)
        keep = torch.sigmoid(f + 1 + w[f"{cell}/w_f_diag"] * c)
        c = keep * c + torch.sigmoid(i + w[f"{cell}/w_i_diag"] * c) * torch.tanh(j)
        h = torch.sigmoid(o + w[f"{cell}/w_o_diag"] * c) * torch.tanh(c) @ w[f"{cell}/projection/kernel"]
    return h @ w["W_o"] + w["b_o"]


def _gru(w: Weights, cell: str, steps: Tensor) -> Tensor:
    """TensorFlow's cell: gates r, u; the candidate reads the reset state."""
    name, outputs = f"rnn/multi_rnn_cell/{cell}/gru_cell", []
    h = steps.new_zeros(len(steps), len(w[f"{name}/candidate/bias"]))
    for x in steps.unbind(1):
        gates = torch.cat((x, h), -1) @ w[f"{name}/gates/kernel"] + w[f"{name}/gates/bias"]
        r, u = gates.sigmoid().chunk(2, -1)
        new = torch.cat((x, r * h), -1) @ w[f"{name}/candidate/kernel"] + w[f"{name}/candidate/bias"]
        h = u * h + (1 - u) * new.tanh()
        outputs.append(h)
    return torch.stack(outputs, 1)


def gru(w: Weights, x: Tensor) -> Tensor:
    return _gru(w, "cell_0", x)[:, -1] @ w["W_o"] + w["b_o"]


def crnn(w: Weights, x: Tensor) -> Tensor:
    """Each time step of the feature map is flattened as (frequency, channel)."""
    x = F.relu(conv_hwio(x, w["W"], w["Variable"], stride=(2, 2), padding="valid"))
    x = _gru(w, "cell_1", _gru(w, "cell_0", x.permute(0, 2, 3, 1).flatten(2)))[:, -1]
    return F.relu(x @ w["fcw"] + w["Variable_1"]) @ w["Variable_2"] + w["Variable_3"]


def ds_cnn(w: Weights, x: Tensor) -> Tensor:
    root = "MobileNet/"
    x = conv_hwio(x, w[f"{root}conv_1/weights"], w[f"{root}conv_1/biases"], stride=(2, 2))
    x = F.relu(_norm(w, f"{root}conv_1/batch_norm", x, "Const"))
    for i in range(1, 5):
        name = f"{root}conv_ds_{i}"
        deep = f"{name}/depthwise_conv"
        x = depthwise_hwcm(x, w[f"{deep}/depthwise_weights"], w[f"{deep}/biases"])
        x = F.relu(_norm(w, f"{name}/dw_batch_norm", x, "Const"))
        x = conv_hwio(x, w[f"{name}/pointwise_conv/weights"], w[f"{name}/pointwise_conv/biases"])
        x = F.relu(_norm(w, f"{name}/pw_batch_norm", x, "Const"))
    return x.mean((2, 3)) @ w[f"{root}fc1/weights"] + w[f"{root}fc1/biases"]


def streaming_wake_word(w: Weights, x: Tensor) -> Tensor:
    for i in range(4):
        tail = f"_{i}" if i else ""
        x = depthwise_hwcm(x, keras(w, f"depthwise_conv2d{tail}", "depthwise_kernel"), padding="valid")
        x = conv_hwio(x, keras(w, f"conv2d{tail}", "kernel"))
        x = F.relu(keras_batch_norm(w, f"batch_normalization{tail}", x))
    return (x.permute(0, 2, 3, 1).flatten(1) @ keras(w, "dense", "kernel") + keras(w, "dense", "bias")).softmax(-1)


def autoencoder(w: Weights, x: Tensor) -> Tensor:
    for i in range(10):
        tail = f"_{i}" if i else ""
        x = x @ keras(w, f"dense{tail}", "kernel") + keras(w, f"dense{tail}", "bias")
        x = x if i == 9 else F.relu(keras_batch_norm(w, f"batch_normalization{tail}", x))
    return x


def eegnet(w: Weights, x: Tensor) -> Tensor:
    """Each of 8 temporal filters owns 2 spatial ones; flattened as (time, channel)."""
    x = keras_batch_norm(w, "batch_normalization", conv_hwio(x, keras(w, "conv2d", "kernel")))
    x = depthwise_hwcm(x, keras(w, "depthwise_conv2d", "depthwise_kernel"), padding="valid")
    x = F.avg_pool2d(F.elu(keras_batch_norm(w, "batch_normalization_1", x)), (1, 4))
    x = depthwise_hwcm(x, keras(w, "separable_conv2d", "depthwise_kernel"))
    x = conv_hwio(x, keras(w, "separable_conv2d", "pointwise_kernel"))
    x = F.avg_pool2d(F.elu(keras_batch_norm(w, "batch_normalization_2", x)), (1, 8))
    return (x.permute(0, 2, 3, 1).flatten(1) @ keras(w, "dense", "kernel") + keras(w, "dense", "bias")).softmax(-1)


def text_rnn(w: Weights, letters: Tensor) -> Tensor:
    """Embedding and both recurrent layers side by side, averaged over time with learned weights."""
    parts = [keras(w, "embedding", "embeddings")[letters]]
    for name in ("rnn_1", "rnn_2"):
        kernel, recurrent = keras(w, name, "kernel").T, keras(w, name, "recurrent_kernel").T
        bias = keras(w, name, "bias").unflatten(0, (2, -1)).sum(0)
        h = c = parts[0].new_zeros(len(letters), recurrent.shape[1])
        steps = []
        for x in parts[-1].unbind(1):
            h, c = lstm_torch(kernel, recurrent, bias, x, (h, c))
            steps.append(h)
        parts.append(torch.stack(steps, 1))
    x = torch.cat(parts, -1)
    x = ((x @ keras(w, "attention", "attention_W").reshape(-1, 1)).softmax(1) * x).sum(1)
    return (x @ keras(w, "output", "kernel") + keras(w, "output", "bias")).softmax(-1)


NETWORKS = (
    Rebuilt("kws_mcu/DNN_S", dnn, normal((3, 250))),
    Rebuilt("kws_mcu/CNN_S", cnn, normal((2, 1, 49, 10))),
    Rebuilt("kws_mcu/Basic_LSTM_S", basic_lstm, normal((2, 5, 10))),
    Rebuilt("kws_mcu/LSTM_S", projected_lstm, normal((2, 5, 10))),
    Rebuilt("kws_mcu/GRU_S", gru, normal((2, 5, 10))),
    Rebuilt("kws_mcu/CRNN_S", crnn, normal((2, 1, 25, 10))),
    Rebuilt("kws_mcu/DS_CNN_S", ds_cnn, normal((2, 1, 25, 10))),
    Rebuilt("mlperf_tiny_streaming_ww", streaming_wake_word, normal((2, 40, 30, 1), scale=0.1)),
    Rebuilt("mlperf_tiny_ad_autoencoder", autoencoder, normal((3, 640))),
    Rebuilt("eegnet_8_2", eegnet, normal((2, 1, 60, 151), scale=0.01)),
    Rebuilt("textgenrnn/*", text_rnn, tokens((2, 6), "embedding/embedding/embeddings:0")),
)
