"""Draw the picture of the explorer anew, as Chromium shows it.

    python -m benchmarks.app.picture docs/pictures --encoder ENCODER --decoder DECODER

The map is of the population `mlp_digits` that ships, embedded by the encoder; between its best network and one of the
worst third the decoder decodes live. Also writes `explorer_light.png` and `explorer_narrow.png` where `--all` is given.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.app.explorer import CHROMIUM, NEXT, running
from benchmarks.pictures import run_quietly, take
from weightspace.latents.table import LatentTable

SCENES = (
    ("explorer", "dark", 1280, 1040),
    ("explorer_light", "light", 1280, 1040),
    ("explorer_narrow", "dark", 420, 860),
)


def show(page: Page, first: int, second: int) -> None:
    """Pick a network, mix it with another, and look at a little more than half way."""
    page.wait_for_selector("html[data-ready]")
    page.evaluate("(row) => explorer.openRow(row)", first)
    page.wait_for_selector(f"#network[data-shown='{first}']")
    page.evaluate(NEXT)
    page.evaluate("(ends) => explorer.pair(...ends.map(String))", [first, second])
    page.evaluate("globalThis.next")
    page.evaluate(NEXT)
    page.evaluate("explorer.decode.setShare(0.55)")
    page.evaluate("globalThis.next")


def draw(browser: Browser, address: str, folder: Path, scene: tuple[str, str, int, int], ends: tuple[int, int]) -> None:
    """Write one picture."""
    name, scheme, width, height = scene
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(address)
    show(page, *ends)
    take(page, folder / f"{name}.png")
    with Image.open(folder / f"{name}.png") as image:
        print(f"{folder / name}.png {image.size} {(folder / f'{name}.png').stat().st_size:,} bytes")
    page.close()


def main() -> int:
    """Write `explorer.png`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--decoder", required=True, type=Path)
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()
    args.data_dir = args.population = None
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        work = Path(scratch)
        run_quietly("zoo", "embed", "mlp_digits", "--encoder", args.encoder, "-o", work / "table.parquet")
        run_quietly("map", work / "table.parquet", "-o", work / "mlp_digits.parquet")
        accuracy = LatentTable.read_parquet(work / "mlp_digits.parquet")["test_accuracy"]
        order = accuracy.argsort()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with running(work / "mlp_digits.parquet", args.decoder, args) as address:
            for scene in SCENES if args.all else SCENES[:1]:
                draw(browser, address, args.folder, scene, (int(order[-1]), int(order[len(order) // 3])))
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
