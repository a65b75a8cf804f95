"""Draw the pictures of the guides anew: a map and a report, as Chromium shows them.

    python -m benchmarks.pictures docs/pictures

The map is of the two populations that ship, embedded by the encoder that ships; the report is of one of their networks,
held against their table.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from weightspace.latents.table import LatentTable, concat_tables
from weightspace.zoo.store import find_population

CHROMIUM = "/usr/bin/chromium"
SCENES = (("map", "dark", 800), ("report", "light", 1130))
POPULATIONS = ("mlp_digits", "lineage")
NETWORK, MERGED = "lineage/000000/relabelled_root", "lineage/000000/merged"
COMMAND = str(Path(sys.executable).with_name("weightspace"))


def take(page: Page, picture: Path) -> None:
    """Save what the page shows, with few enough colours for a small file."""
    page.wait_for_timeout(300)
    page.screenshot(path=picture)
    with Image.open(picture) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(picture, optimize=True)


def show_map(page: Page) -> None:
    """Colour by activation, show lineage, and point at a merged network."""
    page.wait_for_selector("html[data-drawn]")
    page.select_option("#colour", "activation")
    page.click("#lines")
    page.mouse.move(*page.evaluate(f"latentMap.screen(latentMap.data.ids.indexOf('{MERGED}'))"))


def main() -> int:
    """Write `map.png` and `report.png`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        for name in POPULATIONS:
            run_quietly("zoo", "embed", name, "-o", work / f"{name}.parquet")
        tables = [LatentTable.read_parquet(work / f"{name}.parquet") for name in POPULATIONS]
        concat_tables(tables).to_parquet(work / "populations.parquet")
        find_population("lineage").checkpoint(NETWORK).save(work / "relabelled_root.safetensors")
        run_quietly("map", work / "populations.parquet", "-o", work / "map.html")
        against = ("--table", "populations.parquet")
        run_quietly("report", "relabelled_root.safetensors", *against, "-o", "report.html", folder=work)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            for name, scheme, height in SCENES:
                page = browser.new_page(viewport={"width": 1280, "height": height}, color_scheme=scheme)
                page.goto((work / f"{name}.html").as_uri())
                if name == "map":
                    show_map(page)
                take(page, folder / f"{name}.png")
            browser.close()
    return 0


def run_quietly(*arguments: object, folder: Path | None = None) -> None:
    """Run the command without its words on standard output."""
    subprocess.run([COMMAND, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, cwd=folder)


if __name__ == "__main__":
    sys.exit(main())
