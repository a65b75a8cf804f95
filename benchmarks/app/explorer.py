"""How soon is the explorer's page there, and how soon does a move of a slider show the network it decodes?

    python -m benchmarks.app.explorer --json
    python -m benchmarks.app.explorer digits.parquet --decoder decoders/mine --json

Runs `weightspace explore` on at most two cores, and Chromium (without a graphics card) on the same two.
Without a table it embeds the population `mlp_digits`; without a decoder, one of the usual size with drawn weights
decodes: it costs the same as one that has learned. Bars: 3 seconds to the first paint and to the drawn map, 300
milliseconds from the move of a slider to the painted accuracy, predictions and filters, and no request to any other
machine. Every move is waited for before the next is made.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright
from torch import Generator

from benchmarks.cores import keep_to
from weightspace.decode.decoder import Decoder
from weightspace.decode.network import DecoderConfig, DecoderNetwork
from weightspace.latents.table import LatentTable

CORES, OPENINGS = 2, 5
PAINT, LAG = 3000.0, 300.0
CHROMIUM = "/usr/bin/chromium"
COMMAND = str(Path(sys.executable).with_name("weightspace"))
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
NEXT = """() => {
  const watch = (done) => new MutationObserver((_, watching) => { watching.disconnect(); done(); });
  const decode = document.getElementById("decode");
  globalThis.next = new Promise((done) => watch(done).observe(decode, { attributeFilter: ["data-decoded"] }));
}"""


def parse() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, nargs="?")
    parser.add_argument("--decoder", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--population", type=Path)
    parser.add_argument("--moves", type=int, default=40, help="of each slider")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def prepare(args: argparse.Namespace, work: Path) -> tuple[Path, Path]:
    """Return a map and a decoder: those that were given, else made."""
    table, decoder = args.table, args.decoder
    if table is None:
        table = work / "mlp_digits.parquet"
        subprocess.run([COMMAND, "zoo", "embed", "mlp_digits", "-o", table], check=True, stdout=subprocess.DEVNULL)
    drawn = work / "map.parquet"
    subprocess.run([COMMAND, "map", table, "-o", drawn], check=True, stdout=subprocess.DEVNULL)
    if decoder is None:
        latents, decoder = LatentTable.read_parquet(table), work / "drawn"
        config = DecoderConfig(latent=latents.vectors.shape[1])
        network = DecoderNetwork(config, generator=Generator().manual_seed(0))
        Decoder("drawn", network, latents.encoder, ((1, 8, 8),), 10).save(decoder)
    return drawn, decoder


@contextmanager
def running(drawn: Path, decoder: Path, args: argparse.Namespace) -> Iterator[str]:
    """Give the address of an explorer."""
    told = [COMMAND, "explore", drawn, "--decoder", decoder, "--json"]
    told += ["--data-dir", args.data_dir] if args.data_dir else []
    told += ["--population", args.population] if args.population else []
    with subprocess.Popen(list(map(str, told)), stdout=subprocess.PIPE, text=True) as explorer:
        assert explorer.stdout is not None, "it is a pipe"
        yield json.loads(explorer.stdout.readline())["url"]
        explorer.terminate()


def open_page(browser: Browser, address: str, asked: list[str]) -> tuple[Page, dict[str, float]]:
    """Return a page with nothing cached, and milliseconds to its first paint and to the drawn map."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector("html[data-ready]", timeout=120_000)
    ready = float(page.evaluate("document.documentElement.dataset.ready"))
    return page, {"first_paint": float(page.evaluate(PAINTED)), "map_drawn": ready}


def move(page: Page, slider: str, key: str) -> dict[str, float]:
    """Press a key on a slider; return milliseconds until the decoded network is painted, and those of the server."""
    page.focus(f"[id='{slider}']")
    page.evaluate(NEXT)
    page.keyboard.press(key)
    page.evaluate("globalThis.next")
    lag = float(page.evaluate("document.getElementById('decode').dataset.lag"))
    return {"lag": lag, "server": float(page.evaluate("explorer.decode.shown.milliseconds"))}


def use(page: Page, moves: int) -> list[dict[str, float]]:
    """Pick two networks and move every slider to and fro."""
    page.evaluate("explorer.openRow(0)")
    page.wait_for_selector("#network[data-shown='0']", timeout=120_000)
    page.evaluate(NEXT)
    page.evaluate("explorer.pair('0', String(explorer.map.map.rows - 1))")
    page.evaluate("globalThis.next")
    sliders = page.eval_on_selector_all("#decode input[type=range]", "all => all.map((one) => one.id)")
    keys = ["ArrowRight", "ArrowRight", "ArrowLeft", "PageUp", "PageDown"]
    return [move(page, slider, keys[i % len(keys)]) for slider in sliders for i in range(moves)]


def spread(values: list[float]) -> dict[str, float]:
    """Return median, 95th percentile and largest, rounded."""
    found = {"median": np.median(values), "p95": np.quantile(values, 0.95), "most": max(values)}
    return {name: round(float(value), 1) for name, value in found.items()}


def main() -> int:
    """Measure; return 1 where a bar is missed."""
    args = parse()
    keep_to(CORES)
    asked: list[str] = []
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        drawn, decoder = prepare(args, Path(scratch))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with running(drawn, decoder, args) as address:
            opened = [open_page(browser, address, asked) for _ in range(OPENINGS)]
            lags = use(opened[-1][0], args.moves)
            own = (address, "data:", "blob:")
            outside = sorted({url for url in asked if not url.startswith(own)})
        browser.close()
        rows = len(LatentTable.read_parquet(drawn))
    told: dict[str, Any] = {"rows": rows, "openings": OPENINGS, "moves": len(lags), "outside_requests": outside}
    told |= {name: spread([times[name] for _, times in opened]) for name in ("first_paint", "map_drawn")}
    told |= {"slider_lag": spread([t["lag"] for t in lags]), "server": spread([t["server"] for t in lags])}
    told |= {"unit": "milliseconds", "cores": CORES, "machine": platform.processor() or platform.machine()}
    told["met"] = told["map_drawn"]["most"] < PAINT and told["slider_lag"]["p95"] < LAG and not outside
    if args.json:
        print(json.dumps(told, indent=1))
    else:
        for name, value in told.items():
            print(f"{name:18} {value}")
    return 0 if told["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
