"""Networks on sound: pitch, voice, quality, noise, transcription."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.real.networks.layers import batch_norm, conv, linear, lstm_torch
from tests.real.rebuilt import Rebuilt, Weights, normal


def crepe(w: Weights, x: Tensor) -> Tensor:
    """The feature map is flattened as (time, channel)."""
    x = x[:, None, :, None]
    for i in range(1, 7):
        pad, stride = ((254, 254), 4) if i == 1 else ((31, 32), 1)
        x = F.relu(conv(w, f"conv{i}", F.pad(x, (0, 0, *pad)), stride=(stride, 1)))
        x = F.max_pool2d(batch_norm(w, f"conv{i}_BN", x, eps=0.001), (2, 1))
    return linear(w, "classifier", x.permute(0, 2, 1, 3).flatten(1)).sigmoid()


def speaker_embedding(w: Weights, mels: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings of three utterances, and their scaled similarities as in training."""
    x = mels.transpose(0, 1)
    for layer in range(3):
        w_ih, w_hh = w[f"lstm.weight_ih_l{layer}"], w[f"lstm.weight_hh_l{layer}"]
        bias = w[f"lstm.bias_ih_l{layer}"] + w[f"lstm.bias_hh_l{layer}"]
        h = c = x.new_zeros(x.shape[1], w_hh.shape[1])
        steps = []
        for step in x:
            h, c = lstm_torch(w_ih, w_hh, bias, step, (h, c))
            steps.append(h)
        x = torch.stack(steps)
    embedding = F.normalize(F.relu(linear(w, "linear", x[-1])), dim=1)
    return embedding, embedding @ embedding.T * w["similarity_weight"] + w["similarity_bias"]


def silero_vad(w: Weights, x: Tensor) -> Tensor:
    """Real and imaginary half of the spectrum become one magnitude; the state of one chunk feeds the next."""
    h = c = x.new_zeros(len(x), w["lstm_cell.weight_hh"].shape[1])
    bias = w["lstm_cell.bias_ih"] + w["lstm_cell.bias_hh"]
    speech = []
    for chunk in x.unbind(1):
        y = conv(w, "stft_conv", F.pad(chunk[:, None], (0, 64), mode="reflect"), stride=128)
        real, imaginary = y.chunk(2, 1)
        y = (real**2 + imaginary**2).sqrt()
        for i, stride in ((1, 1), (2, 2), (3, 2), (4, 1)):
            y = F.relu(conv(w, f"conv{i}", y, stride=stride, padding=1))
        h, c = lstm_torch(w["lstm_cell.weight_ih"], w["lstm_cell.weight_hh"], bias, y[..., 0], (h, c))
        speech.append(conv(w, "final_conv", F.relu(h)[..., None]).sigmoid())
    return torch.stack(speech, 1)


def dnsmos(w: Weights, frames: Tensor) -> Tensor:
    """Frames of 320 samples, discrete Fourier transform as a product, log power, convolutions, dense layers."""
    real, imaginary = (frames @ w[f"time2freq/stft-{part}/kernel:0"][..., 0].T for part in ("real", "imag"))
    x = (real**2 + imaginary**2 + 1e-12).log10()[:, None]
    for i in range(7):
        name = f"conv2d_{i}" if i else "conv2d"
        x = F.relu(F.conv2d(x, w[f"{name}/kernel:0"], w[f"{name}/bias:0"], padding=1))
        if i in (1, 3, 5):
            x = F.max_pool2d(x, 2)
    x = x.amax((2, 3))
    for name in ("dense", "dense_1", "dense_3"):
        part = f"mos_estimator_logpow/{name}/{{}}/ReadVariableOp/resource:0"
        x = x @ w[part.format("MatMul")] + w[part.format("BiasAdd")]
        x = x if name == "dense_3" else F.relu(x)
    return x


def _gru_onnx(w: Tensor, r: Tensor, b: Tensor, steps: Tensor) -> Tensor:
    """One direction of ONNX's GRU as PyTorch exports it: gates z, r, h; `linear_before_reset`."""
    b_x, b_h = b.chunk(2)
    h, outputs = steps.new_zeros(steps.shape[1], r.shape[1]), []
    for x in steps:
        z_x, r_x, n_x = F.linear(x, w, b_x).chunk(3, -1)
        z_h, r_h, n_h = F.linear(h, r, b_h).chunk(3, -1)
        z = torch.sigmoid(z_x + z_h)
        h = (1 - z) * torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h) + z * h
        outputs.append(h)
    return torch.stack(outputs)


def aecmos(w: Weights, x: Tensor) -> Tensor:
    for i in range(1, 5):
        x = F.max_pool2d(F.leaky_relu(conv(w, f"conv{i}", x, padding=1)), 2)
    x = x.amax(3).permute(2, 0, 1)
    for bias, kernel, recurrent in (("205", "206", "207"), ("248", "249", "250")):
        ahead = _gru_onnx(w[kernel][0], w[recurrent][0], w[bias][0], x)
        back = _gru_onnx(w[kernel][1], w[recurrent][1], w[bias][1], x.flip(0)).flip(0)
        x = torch.cat((ahead, back), -1)
    x = x.amax(0)
    x = F.leaky_relu(x @ w["251"] + w["dense1.bias"])
    x = F.leaky_relu(x @ w["252"] + w["dense2.bias"])
    return x @ w["253"] + w["dense3.bias"]


def _gru_rnnoise(w: Weights, name: str, x: Tensor, h: Tensor) -> Tensor:
    """Gates z, r, h; the state is reset before its product."""
    kernel, recurrent, bias = (w[f"{name}.{part}"] for part in ("kernel", "recurrent_kernel", "bias"))
    z_x, r_x, n_x = (x @ kernel + bias).chunk(3, -1)
    z_r, r_r, n_r = recurrent.chunk(3, -1)
    z, r = torch.sigmoid(z_x + h @ z_r), torch.sigmoid(r_x + h @ r_r)
    return z * h + (1 - z) * F.relu(n_x + (r * h) @ n_r)


def rnnoise(w: Weights, features: Tensor) -> tuple[Tensor, Tensor]:
    """Three recurrent layers; the later ones read the outputs of the earlier ones beside the features."""
    vad, noise, denoise = (
        features.new_zeros(len(features), w[f"{name}_gru.recurrent_kernel"].shape[0])
        for name in ("vad", "noise", "denoise")
    )
    gains, speech = [], []
    for x in features.unbind(1):
        dense = torch.tanh(x @ w["input_dense.kernel"] + w["input_dense.bias"])
        vad = _gru_rnnoise(w, "vad_gru", dense, vad)
        noise = _gru_rnnoise(w, "noise_gru", torch.cat((dense, vad, x), -1), noise)
        denoise = _gru_rnnoise(w, "denoise_gru", torch.cat((vad, noise, x), -1), denoise)
        speech.append((vad @ w["vad_output.kernel"] + w["vad_output.bias"]).sigmoid())
        gains.append((denoise @ w["denoise_output.kernel"] + w["denoise_output.bias"]).sigmoid())
    return torch.stack(gains, 1), torch.stack(speech, 1)


def _constant_q(w: Weights, audio: Tensor) -> Tensor:
    """Log power of 309 pitch bins, 36 an octave; the audio is halved for each octave. (batch, 1, time, bins)"""
    bias = w["model_1/cq_t2010v2_1/conv1d_25;model_1/cq_t2010v2_1/conv1d_25"]
    octaves, x = [], audio[:, None, None]
    for octave in range(9):
        padded, stride = F.pad(x, (128, 128)), (1, 256 >> octave)
        parts = [F.conv2d(padded, w[f"const_fold_opt__{n}"], bias, stride) for n in ("655", "664")]
        octaves.insert(0, torch.stack((parts[0], -parts[1]), -1)[:, :, 0])
        x = F.conv2d(F.pad(x, (127, 127)), w["const_fold_opt__734"], stride=(1, 2))
    frames = min(o.shape[2] for o in octaves)
    bins = torch.cat([o[:, :, :frames] for o in octaves], 1)[:, 15:]
    bins = bins * w["model_1/cq_t2010v2_1/Sqrt;model_1/cq_t2010v2_1/Sqrt"]
    return ((bins**2).sum(-1) + 1e-10).log10().transpose(1, 2)[:, None]


def basic_pitch(w: Weights, audio: Tensor) -> tuple[Tensor, ...]:
    """Pitch bins shifted by each harmonic become eight channels; three heads, two of them read another's output."""
    pitch = _constant_q(w, audio)
    pitch = (pitch - pitch.amin()) / (pitch.amax() - pitch.amin())
    shifts = [round(36 * math.log2(harmonic)) for harmonic in (0.5, 1, 2, 3, 4, 5, 6, 7)]
    x = torch.cat([F.pad(pitch, (max(-s, 0), max(s, 0)))[..., max(s, 0) :][..., :309] for s in shifts], 1)[..., :264]
    bias = {len(t): t for name, t in w.items() if "re_lu_" in name and t.ndim == 1}
    contour = F.relu(F.conv2d(x, w["const_fold_opt__727"], bias[8], padding=(1, 19)))
    contour = F.conv2d(contour, w["const_fold_opt__710"], padding=2).sigmoid()
    second = w["model_1/conv2d_2/BiasAdd/ReadVariableOp;model_1/conv2d_2/BiasAdd/ReadVariableOp"]
    note = F.relu(F.conv2d(contour, w["const_fold_opt__738"], second, (1, 3), (3, 2)))
    note = F.conv2d(note, w["const_fold_opt__702"], padding=(3, 1)).sigmoid()
    onset = F.relu(F.conv2d(x, w["const_fold_opt__707"], bias[32], (1, 3), (2, 1)))
    onset = F.conv2d(torch.cat((note, onset), 1), w["const_fold_opt__680"], padding=1).sigmoid()
    return contour, note, onset


NETWORKS = (
    Rebuilt("crepe_tiny", crepe, normal((1, 1024))),
    Rebuilt("resemblyzer_ge2e", speaker_embedding, normal((3, 4, 40))),
    Rebuilt("silero_vad_16k", silero_vad, normal((1, 2, 512), scale=0.02)),
    Rebuilt("dnsmos_sig_bak_ovr", dnsmos, normal((1, 44, 320)), assumed="where pooling and padding stand"),
    Rebuilt(
        "aecmos_run_1663915512",
        aecmos,
        normal((1, 3, 48, 16)),
        assumed="maximum over frequency before the recurrent layers and over time after them",
    ),
    Rebuilt("rnnoise/*", rnnoise, normal((2, 6, 42))),
    Rebuilt(
        "basic_pitch_nmp",
        basic_pitch,
        normal((1, 4096)),
        assumed="zeros instead of reflections at the ends; scalar biases, which the file leaves out, are 0",
    ),
)
