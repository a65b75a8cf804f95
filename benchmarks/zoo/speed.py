"""How fast stacked training is: network-images a second, and against a loop over modules.

    python -m benchmarks.zoo.speed --device cpu --networks 64 --batch 4 --loop --json

The ratio to the loop falls as batches grow: what a stack saves is the cost of each call, not arithmetic.

`Source:` the network is that of the Small CNN Zoo on 32 x 32 grey images; forward, backward and update of each.
"""

import argparse
import json
import time

import torch
import torch.nn.functional as F

from weightspace.zoo.families.signature import Signature
from weightspace.zoo.families.smallcnn import SmallCNN
from weightspace.zoo.tasks import Examples, Sampling
from weightspace.zoo.training import StackTraining

SIGNATURE = Signature((1, 32, 32), 10)
# multiply-adds of one image: 3 convolutions (15, 7, 3 pixels a side), dense
MULTIPLY_ADDS = 15**2 * 16 * 9 + 7**2 * 16 * 144 + 3**2 * 16 * 144 + 160
# numbers that must pass through memory at least once each way: three feature maps, forward and backward
ACTIVATIONS = 16 * (15**2 + 7**2 + 3**2)


def seconds_of(call, device: str) -> float:
    """Seconds of one call, with all that it queued."""
    start = time.perf_counter()
    call()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def seconds_per_call(call, device: str, seconds: float) -> float:
    """Median of timed calls, five at least, after two to warm up."""
    times: list[float] = []
    for i in range(10_000):
        taken = seconds_of(call, device)
        if i >= 2:
            times.append(taken)
        if len(times) >= 5 and sum(times) > seconds:
            break
    return sorted(times)[len(times) // 2]


def stacked_step(networks: int, batch: int, device: str):
    """One training step of a stack, as a call."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(8 * batch, 1, 32, 32, generator=generator), torch.arange(8 * batch) % 10
    train = (x.to(device), y.to(device))
    task = Examples(train, train, outputs=10, sampling=Sampling(batch_size=batch))
    run = {"optimizer": "adam", "learning_rate": 1e-3, "weight_decay": 0.0, "dropout": 0.0}
    run |= {"init": "torch", "init_scale": 1.0, "shared_init": False}
    runs = [run | {"seed": i} for i in range(networks)]
    return StackTraining(SmallCNN(SIGNATURE).to(device), task, runs).advance


def looped_step(networks: int, batch: int, device: str):
    """One training step of the same networks, one after the other, with PyTorch's own modules and optimizer."""
    modules = [SmallCNN(SIGNATURE).to(device) for _ in range(networks)]
    optimizers = [torch.optim.Adam(module.parameters(), 1e-3) for module in modules]
    x, y = torch.randn(batch, 1, 32, 32, device=device), torch.arange(batch, device=device) % 10

    def step() -> None:
        for module, optimizer in zip(modules, optimizers, strict=True):
            optimizer.zero_grad()
            F.cross_entropy(module(x), y).backward()
            optimizer.step()

    return step


def name_device(device: str) -> str:
    """Which accelerator it is, or `cpu`."""
    return torch.cuda.get_device_name() if device != "cpu" else "cpu"


def device_ceiling(device: str) -> dict[str, float]:
    """Measured: FLOP/s of a large bf16 matrix product, bytes a second of a copy (read and written)."""
    size = 8192 if device != "cpu" else 512
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16 if device != "cpu" else torch.float32)
    b = torch.empty(64 * size**2 // 16, device=device)
    c = torch.empty_like(b)
    product = seconds_per_call(lambda: a @ a, device, 0.5)
    copy = seconds_per_call(lambda: c.copy_(b), device, 0.5)
    return {"flops": 2 * size**3 / product, "bytes": 2 * b.nbytes / copy}


def measure_speed(networks: int, batch: int, device: str, seconds: float) -> dict[str, float | int | str]:
    """Network-images a second, and the share of the device's ceiling that they use."""
    rate = networks * batch / seconds_per_call(stacked_step(networks, batch, device), device, seconds)
    ceiling, width = device_ceiling(device), 2 if device != "cpu" else 4
    return {
        "networks": networks,
        "batch": batch,
        "device": name_device(device),
        "network_images_per_second": rate,
        "share_of_flops": rate * 3 * 2 * MULTIPLY_ADDS / ceiling["flops"],
        "share_of_bytes": rate * 4 * ACTIVATIONS * width / ceiling["bytes"],
        "ceiling_flops": ceiling["flops"],
        "ceiling_bytes": ceiling["bytes"],
    }


def compare_with_loop(networks: int, batch: int, device: str, seconds: float) -> dict[str, float | int]:
    """How many times faster the stack is, by the ratios of at least five pairs of steps taken in turn."""
    steps = looped_step(networks, batch, device), stacked_step(networks, batch, device)
    ratios: list[float] = []
    spent = 0.0
    for i in range(10_000):
        looped, stacked = (seconds_of(step, device) for step in steps)
        if i:  # the first pair warms up
            ratios.append(looped / stacked)
            spent += looped + stacked
        if len(ratios) >= 5 and spent > seconds:
            break
    ratios.sort()
    found = {"median": ratios[len(ratios) // 2], "least": ratios[0], "most": ratios[-1]}
    return {f"times_faster_than_loop_{name}": value for name, value in found.items()} | {"pairs": len(ratios)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--networks", type=int, default=64)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--loop", action="store_true", help="also train one by one, and print the ratio")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure_speed(args.networks, args.batch, args.device, args.seconds)
    if args.loop:
        found |= compare_with_loop(args.networks, args.batch, args.device, args.seconds)
    print(json.dumps(found) if args.json else "\n".join(f"{key:28} {value}" for key, value in found.items()))


if __name__ == "__main__":
    main()
