"""How much memory and time does it take to embed a checkpoint of a billion weights, and how close is that to a floor?

    python -m benchmarks.encoder.scale --json
    python -m benchmarks.encoder.scale llama --encoder NAME --repeats 3

Writes checkpoints of random weights with the names and shapes of known models into a temporary folder, embeds each in
a process of its own on two cores, and measures the peak of resident memory (mapped pages of the file included) and the
seconds from the path to the vector, imports aside. The floor, in another process: reading the bytes once and the same
matrix products back to back on a tile in the cache, counted from the plan. Bars: 1.5 GiB, 2.5 times the floor. Loops
in C count where they were compiled at the installation: loading them is part of the seconds, compiling is not.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.cores import keep_to
from weightspace.checkpoint.load import load_checkpoint
from weightspace.encode.batch import Architectures
from weightspace.encode.encoder import Encoder
from weightspace.nn.cosines import kernel_cosines
from weightspace.nn.tiles import TILE

CORES, BYTES, TIMES = 2, 1.5 * 2**30, 2.5
Shapes = dict[str, tuple[int, ...]]


def llama(words: int = 32000, width: int = 2048, inner: int = 5632, keys: int = 256, layers: int = 20) -> Shapes:
    """1.01 billion weights."""
    shapes: Shapes = {"model.embed_tokens.weight": (words, width)}
    for i in range(layers):
        p = f"model.layers.{i}."
        for name, rows in (("q", width), ("k", keys), ("v", keys), ("o", width)):
            shapes[f"{p}self_attn.{name}_proj.weight"] = (rows, width)
        shapes |= {f"{p}mlp.{name}_proj.weight": (inner, width) for name in ("gate", "up")}
        shapes[f"{p}mlp.down_proj.weight"] = (width, inner)
        shapes |= {f"{p}{name}_layernorm.weight": (width,) for name in ("input", "post_attention")}
    return shapes | {"model.norm.weight": (width,), "lm_head.weight": (words, width)}


def gpt2(words: int = 50257, width: int = 768, layers: int = 12) -> Shapes:
    """124 million weights, stored input first."""
    shapes: Shapes = {"wte.weight": (words, width), "wpe.weight": (1024, width)}
    for i in range(layers):
        p = f"h.{i}."
        for name, fan_in, fan_out in (
            ("attn.c_attn", 1, 3),
            ("attn.c_proj", 1, 1),
            ("mlp.c_fc", 1, 4),
            ("mlp.c_proj", 4, 1),
        ):
            shapes[f"{p}{name}.weight"] = (fan_in * width, fan_out * width)
            shapes[f"{p}{name}.bias"] = (fan_out * width,)
        shapes |= {f"{p}{ln}.{part}": (width,) for ln in ("ln_1", "ln_2") for part in ("weight", "bias")}
    return shapes | {"ln_f.weight": (width,), "ln_f.bias": (width,)}


def vit(width: int = 768, layers: int = 12) -> Shapes:
    """86 million weights."""
    shapes: Shapes = {"cls_token": (1, 1, width), "pos_embed": (1, 197, width)}
    shapes |= {"patch_embed.proj.weight": (width, 3, 16, 16), "patch_embed.proj.bias": (width,)}
    for i in range(layers):
        p = f"blocks.{i}."
        for name, fan_in, fan_out in (("attn.qkv", 1, 3), ("attn.proj", 1, 1), ("mlp.fc1", 1, 4), ("mlp.fc2", 4, 1)):
            shapes[f"{p}{name}.weight"] = (fan_out * width, fan_in * width)
            shapes[f"{p}{name}.bias"] = (fan_out * width,)
        shapes |= {f"{p}{ln}.{part}": (width,) for ln in ("norm1", "norm2") for part in ("weight", "bias")}
    shapes |= {"norm.weight": (width,), "norm.bias": (width,)}
    return shapes | {"head.weight": (1000, width), "head.bias": (1000,)}


def resnet() -> Shapes:
    """25.6 million weights."""
    shapes: Shapes = {"conv1.weight": (64, 3, 7, 7)} | _norm("bn1", 64)
    fan_in = 64
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 1):
        for i in range(blocks):
            p = f"layer{stage}.{i}."
            for j, shape in enumerate(((width, fan_in, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)), 1):
                shapes |= {f"{p}conv{j}.weight": shape} | _norm(f"{p}bn{j}", shape[0])
            if i == 0:
                shapes |= {f"{p}downsample.0.weight": (4 * width, fan_in, 1, 1)} | _norm(f"{p}downsample.1", 4 * width)
            fan_in = 4 * width
    return shapes | {"fc.weight": (1000, fan_in), "fc.bias": (1000,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}


MODELS = {
    "llama": (llama, torch.bfloat16, 4),
    "gpt2": (gpt2, torch.float32, 1),
    "vit-b": (vit, torch.float32, 1),
    "resnet-50": (resnet, torch.float32, 1),
}


def write(shapes: Shapes, dtype: torch.dtype, shards: int, folder: Path) -> Path:
    """Write normal weights, shard by shard, and return the file or the folder to embed."""
    generator, names = torch.Generator().manual_seed(0), list(shapes)
    sizes = torch.tensor([float(torch.tensor(shapes[n]).prod()) for n in names])
    shard = (sizes.cumsum(0) * shards / sizes.sum()).ceil().clamp(1, shards).long().tolist()
    files = {n: f"model-{s:05}-of-{shards:05}.safetensors" for n, s in zip(names, shard, strict=True)}
    for file in sorted(set(files.values())):
        part = {n: _drawn(shapes[n], dtype, generator) for n in names if files[n] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    if shards == 1:
        return folder / next(iter(files.values()))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return folder


def _drawn(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    if len(shape) == 1:
        return (1 + 0.1 * torch.randn(shape, generator=generator).abs()).to(dtype)
    return torch.randn(shape, generator=generator).mul_(0.02).to(dtype)


def embed(path: Path, encoder: Encoder) -> dict[str, float]:
    """Embed a checkpoint and say what it took; once more for its memory that no file stands behind.

    A thread watches that one, and two cores have none to spare.
    """
    before, start = _status("VmRSS"), (time.perf_counter(), time.process_time())
    latent = encoder.encode(path)
    wall, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    assert torch.isfinite(latent.vector).all() and latent.nonfinite == 0
    return {
        "seconds": wall,
        "processor_seconds": processor,
        "peak_resident_bytes": _status("VmHWM"),
        "peak_anonymous_bytes": _anonymous(path, encoder),
        "resident_bytes_before": before,
    }


def _anonymous(path: Path, encoder: Encoder) -> float:
    found, stop = [_status("RssAnon")], threading.Event()
    watch = threading.Thread(target=_watch, args=(found, stop), daemon=True)
    watch.start()
    encoder.encode(path)
    stop.set()
    watch.join()
    return max(found)


def floor(path: Path, encoder: Encoder) -> dict[str, float]:
    """Read the bytes once, then multiply a tile in the cache as often as the plan says."""
    sizes, dtype = encoder.network.config, encoder.network.scale.dtype
    products = list(_products(path))
    buffer = bytearray(1 << 22)
    start = time.perf_counter(), time.process_time()
    for file in sorted(path.glob("*.safetensors")) if path.is_dir() else [path]:
        with file.open("rb", buffering=0) as opened:
            while opened.readinto(buffer):
                pass
    read = time.perf_counter() - start[0]
    for outs, ins, channels in products:
        rows = max(1, min(outs, TILE // ins))
        shapes = (rows, ins), (ins, sizes.width), (rows, sizes.width), (ins, sizes.signals)
        tile, x, y, signals = (torch.ones(shape, dtype=dtype) for shape in shapes)
        for _ in range(round((channels + 1) * outs / rows)):
            tile @ x
            tile.T @ y
        for _ in range(round(channels * outs / rows) if sizes.signals else 0):
            tile @ signals
    wall, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    return {"seconds": wall, "processor_seconds": processor, "reading_seconds": read}


def _products(path: Path) -> Iterator[tuple[int, int, int]]:
    """Rows, columns and kernel channels of each block; a sweep multiplies these and one more, in each direction."""
    for edge in Architectures().of(load_checkpoint(path)).plan.edges:
        if edge.between:
            outs, ins, _ = edge.sizes
            yield min(outs, ins), max(outs, ins), len(kernel_cosines(edge.kernel)[0])


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def _watch(found: list[int], stop: threading.Event) -> None:
    while not stop.wait(0.005):
        found.append(_status("RssAnon"))


def measure(name: str, options: argparse.Namespace) -> dict[str, object]:
    """Floor and embedding in turn, each in its own process; the least of each counts."""
    shapes, stored, shards = MODELS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = write(shapes(), stored, shards, Path(folder))
        runs = [{part: _child(part, path, options) for part in ("floor", "embed")} for _ in range(options.repeats)]
        size = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
    best, least = (min((run[part] for run in runs), key=lambda r: r["seconds"]) for part in ("embed", "floor"))
    work = [min(run[part]["processor_seconds"] for run in runs) for part in ("embed", "floor")]
    peak = max(run["embed"]["peak_resident_bytes"] for run in runs)
    times = best["seconds"] / least["seconds"]
    return {
        "model": name,
        "file_bytes": size,
        "stored": str(stored).removeprefix("torch."),
        "encoder": options.encoder,
        "computed": options.dtype,
        "cores": options.cores,
        **best,
        "peak_resident_bytes": peak,
        "floor_seconds": least["seconds"],
        "floor_reading_seconds": least["reading_seconds"],
        "times_floor": times,
        "times_floor_processor": work[0] / work[1],
        "passed": peak <= BYTES and times <= TIMES,
    }


def _child(part: str, path: Path, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.encoder.scale", "--part", part, "--path", str(path)]
    command += ["--encoder", options.encoder, "--dtype", options.dtype, "--cores", str(options.cores)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> int:
    """Print the figures of each model; exit status 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", choices=[*MODELS, []], default=[])
    parser.add_argument("--encoder", default="random-sweep", help="a name or a folder; networks are not run")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="the encoder's precision")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--cores", type=int, default=CORES)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", choices=("floor", "embed"), help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_to(options.cores)
    torch.set_num_threads(options.cores)
    if options.part:
        part, encoder = {"floor": floor, "embed": embed}[options.part], Encoder.from_pretrained(options.encoder)
        encoder = Encoder(encoder.name, encoder.network.to(getattr(torch, options.dtype)), run=False)
        with torch.no_grad():
            print(json.dumps(part(options.path, encoder)))
        return 0
    found = [measure(name, options) for name in options.models or MODELS]
    print(
        json.dumps(
            {"bars": {"bytes": BYTES, "times_floor": TIMES}, "models": found}, indent=None if options.json else 2
        )
    )
    return 0 if all(report["passed"] for report in found) else 1


if __name__ == "__main__":
    sys.exit(main())
