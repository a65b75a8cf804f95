"""The rebuilt networks are the real ones: they do what they were trained for."""

import io
import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from tests.real.networks.images import lenet5
from tests.real.networks.language import grapheme_to_phoneme
from tests.real.networks.policies import ppo_pytorch, q_network, sb3_actor_critic
from tests.real.networks.resnets import cifar_resnet
from tests.real.networks.speech import basic_pitch, crepe
from tests.real.table import PATHS, weights_of
from weightspace.checkpoint.load import load_checkpoint


def real(name):
    if name not in PATHS:
        pytest.skip(f"{name} is not among the checkpoints in model_zoo, and shared/data is not beside this checkout")
    return weights_of(load_checkpoint(PATHS[name]))


def test_lenet5_reads_digits(shared_datasets):
    with np.load(shared_datasets / "mnist.npz") as data:
        images, labels = data["x_test"][:1000], torch.from_numpy(data["y_test"][:1000].astype(np.int64))
    pixels = torch.nn.functional.pad(torch.from_numpy(images).double() / 255, (2, 2, 2, 2))
    found = lenet5(real("mnist_lenet5"), pixels).argmax(1)
    assert (found == labels).double().mean() > 0.98


def test_resnet20_sees_what_it_was_trained_on(shared_datasets):
    pillow = pytest.importorskip("PIL.Image", reason="reading cifar10_jpeg needs Pillow")
    with np.load(shared_datasets / "cifar10_jpeg.npz") as data:
        ends, blob, labels = (
            data["offset_test"][:201],
            data["jpeg_test"].tobytes(),
            torch.from_numpy(data["y_test"][:200]),
        )
    images = [np.asarray(pillow.open(io.BytesIO(blob[a:b])).convert("RGB")) for a, b in pairwise(ends)]
    pixels = torch.from_numpy(np.stack(images)).double().permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(t).reshape(3, 1, 1) for t in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    found = cifar_resnet(real("cifar10_resnet20"), (pixels - mean) / std).argmax(1)
    assert 0.7 < (found == labels).double().mean() < 0.92


@pytest.mark.parametrize("pitch", [220.0, 440.0])
def test_crepe_hears_the_pitch(pitch):
    tone = torch.sin(2 * math.pi * pitch * torch.arange(1024, dtype=torch.float64) / 16000)
    cents = 20 * crepe(real("crepe_tiny"), ((tone - tone.mean()) / tone.std())[None]).argmax().item() + 1997.3794
    assert 10 * 2 ** (cents / 1200) == pytest.approx(pitch, rel=0.02)


@pytest.mark.parametrize("pitch", [220.0, 440.0])
def test_basic_pitch_hears_the_pitch(pitch):
    tone = torch.sin(2 * math.pi * pitch * torch.arange(16384, dtype=torch.float64) / 22050)
    contour, note, _ = basic_pitch(real("basic_pitch_nmp"), tone[None])
    octaves = math.log2(pitch / 27.5)
    assert abs(contour[0, 0, 32].argmax().item() - 36 * octaves) <= 1
    assert note[0, 0, 32].argmax().item() == round(12 * octaves)


@pytest.mark.parametrize(("word", "said"), [("weights", "W EY1 T S"), ("permute", "P ER0 M Y UW1 T")])
def test_g2p_says_words(word, said):
    weights = real("g2p_en_gru")
    vowels = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split()
    consonants = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split()
    sounds = sorted([v + stress for v in vowels for stress in "012"] + ["UW"] + consonants)
    names = ["<pad>", "<unk>", "<s>", "</s>", *sounds]
    letters = torch.tensor([[3 + ord(c) - ord("a") for c in word] + [2]])
    spoken = [2]
    while spoken[-1] != 3 and len(spoken) < 20:
        spoken.append(grapheme_to_phoneme(weights, letters, torch.tensor([spoken]))[0, -1].argmax().item())
    assert " ".join(names[i] for i in spoken[1:-1]) == said


def cart_pole(choose, steps=200):
    """Steps for which the pole stays up; Barto, Sutton and Anderson (1983), constants of OpenAI Gym."""
    x, speed, angle, turn = 0.01, 0.02, -0.03, 0.04
    for step in range(steps):
        if abs(x) > 2.4 or abs(angle) > 12 * math.pi / 180:
            return step
        force = 10.0 if choose(torch.tensor([[x, speed, angle, turn]], dtype=torch.float64)) else -10.0
        push = (force + 0.05 * turn**2 * math.sin(angle)) / 1.1
        gain = 9.8 * math.sin(angle) - math.cos(angle) * push
        swing = gain / (0.5 * (4 / 3 - 0.1 * math.cos(angle) ** 2 / 1.1))
        drive = push - 0.05 * swing * math.cos(angle) / 1.1
        x, speed, angle, turn = x + 0.02 * speed, speed + 0.02 * drive, angle + 0.02 * turn, turn + 0.02 * swing
    return steps


@pytest.mark.parametrize(
    ("name", "forward"),
    [
        ("sb3_zoo/ppo_CartPole-v1", sb3_actor_critic),
        ("sb3_zoo/a2c_CartPole-v1", sb3_actor_critic),
        ("ppo_pytorch/CartPole-v1", ppo_pytorch),
        ("drl_pytorch/2_3_LightPriorDQN_gym0_2x_DDQN_CPV1_100", q_network),
    ],
)
def test_agents_balance_the_pole(name, forward):
    weights = real(name)

    def choose(state):
        found = forward(weights, state)
        return (found[0] if isinstance(found, tuple) else found).argmax().item()

    assert cart_pole(choose) == 200
    assert cart_pole(lambda state: 1 - choose(state)) < 50
