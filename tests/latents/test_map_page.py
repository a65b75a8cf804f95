"""Columns, colours and pictures, and the page as Chromium shows it."""

import base64
import gzip
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from tests.latents.tables import browser, clusters  # noqa: F401
from weightspace.errors import TableError
from weightspace.latents.colours import THEMES, colour_names, colour_numbers, parse_colour
from weightspace.latents.columns import colour_column, read_columns
from weightspace.latents.map import fit_map
from weightspace.latents.map_page import fill_template, write_page
from weightspace.latents.picture import write_picture


def luminance(colour):
    """Relative luminance of `#rrggbb` (WCAG 2)."""
    parts = [c / 255 for c in parse_colour(colour)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize("theme", THEMES)
def test_every_colour_stands_out_from_its_ground(theme):
    look = THEMES[theme]
    for colour in (look.text, look.faint, *look.names):
        bright, dark = sorted([luminance(colour), luminance(look.ground)], reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= (3 if colour != look.faint else 2), colour
    assert len({*look.names}) == len(look.names) == 12


def test_columns_are_names_numbers_or_text():
    table = clusters(60, flag=[i % 2 == 0 for i in range(60)], note=[f"note {i}" for i in range(60)])
    kinds = {c.name: c.kind for c in read_columns(table.assign({"gap": [None] * 59 + [2.0]}))}
    assert [kinds[k] for k in ("dataset", "accuracy", "flag", "note", "gap")] == [
        *("names", "numbers", "names", "text", "numbers")
    ]
    assert "vector" not in kinds and "id" not in kinds


def test_identifiers_too_long_for_a_number_are_text_to_the_last_digit():
    seeds = [2**62 + i for i in range(60)]
    found = next(c for c in read_columns(clusters(60, seed_of_run=seeds)) if c.name == "seed_of_run")
    assert found.kind == "text" and found.values.tolist() == [str(seed) for seed in seeds]
    assert write_page(fit_map(clusters(60, seed_of_run=seeds), method="pca"))


def test_a_column_that_tells_nothing_cannot_colour():
    for name in ("same", "sha256", "absent"):
        with pytest.raises(TableError, match=f"cannot colour by '{name}'"):
            colour_column(clusters(), name)


def test_names_are_ranked_by_how_common_they_are():
    found = next(c for c in read_columns(clusters(4)) if c.name == "dataset")
    assert found.names == ("digits", "<b>shapes</b>", "letters") and found.values.tolist() == [0, 2, 1, 0]


def test_numbers_run_along_the_ramp_and_missing_ones_are_faint():
    look = THEMES["dark"]
    found = colour_numbers(np.array([0.0, 5.0, 10.0, np.nan]), "dark").tolist()
    assert found[0] == list(parse_colour(look.ramp[0])) and found[2] == list(parse_colour(look.ramp[-1]))
    assert found[1] == list(parse_colour(look.ramp[2])) and found[3] == list(parse_colour(look.faint))
    magnitudes = colour_numbers(np.array([1e-4, 1e-2, 1.0]), "dark").tolist()
    assert magnitudes[1] == list(parse_colour(look.ramp[2])), "wide positive numbers are on a logarithmic scale"
    assert colour_names(np.array([0, 40]), "dark").tolist()[1] == list(parse_colour(look.faint))


def test_the_page_holds_every_row():
    page = write_page(fit_map(clusters(), method="pca"))
    packed = re.search(r'<script id="data" type="text/plain">([^<]*)</script>', page)
    data = gzip.decompress(base64.b64decode(packed[1]))
    size = int.from_bytes(data[:4], "little")
    head = json.loads(data[4 : 4 + size])
    x = head["arrays"]["x"]
    found = np.frombuffer(data, "<f4", x["length"], 4 + size + x["start"])
    np.testing.assert_array_equal(found, fit_map(clusters(), method="pca").places[:, 0])
    assert head["ids"] == clusters()["id"].tolist()


def test_names_in_a_table_cannot_become_code():
    page = write_page(fit_map(clusters(), method="pca"), title="</title><script>alert(1)</script>")
    assert "<script>alert" not in page and "<b>shapes" not in page
    assert fill_template("a<!--X-->b<!--Y-->c", {"X": "<!--Y-->", "Y": "2"}) == "a<!--Y-->b2c"


@pytest.mark.parametrize("theme", THEMES)
def test_pictures_hold_every_row(tmp_path, theme):
    drawn = fit_map(clusters(), method="pca")
    write_picture(drawn, tmp_path / "map.svg", colour="dataset", theme=theme)
    root = ET.parse(tmp_path / "map.svg").getroot()
    assert len(root.findall(".//{*}circle")) == 60 + 3 and len(root.findall(".//{*}path")) == 15
    assert "<b>shapes</b>" in [text.text for text in root.findall(".//{*}text")]
    image = pytest.importorskip("PIL.Image")
    write_picture(drawn, tmp_path / "map.png", colour="accuracy", theme=theme)
    with image.open(tmp_path / "map.png") as found:
        assert found.getpixel((0, 0)) == parse_colour(THEMES[theme].ground)
        assert len(set(found.get_flattened_data())) > 100
    with pytest.raises(TableError, match="there already"):
        write_picture(drawn, tmp_path / "map.svg")
    with pytest.raises(TableError, match=r"\.svg or \.png"):
        write_picture(drawn, tmp_path / "map.gif")


@pytest.fixture(params=["dark", "light"])
def opened(request, browser, tmp_path):  # noqa: F811
    """The page of a map of 60 checkpoints, and every address it asked for."""
    path = tmp_path / "map.html"
    path.write_text(write_page(fit_map(clusters(), method="pca"), colour="dataset"))
    page = browser.new_page(color_scheme=request.param, accept_downloads=True)
    page.asked, page.errors, page.scheme = [], [], request.param
    page.on("request", lambda sent: page.asked.append(sent.url))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn]")
    yield page
    assert page.errors == []
    assert [url for url in page.asked if not url.startswith(("file:", "data:", "blob:"))] == []


def pixel(page, row):
    """Colour of the page where a row lies, `[r, g, b]`."""
    page.evaluate("latentMap.drawPoints()")
    return page.evaluate(
        "(row) => [...latentMap.raster.context.getImageData(...latentMap.screen(row).map(Math.floor), 1, 1).data]"
        ".slice(0, 3)",
        row,
    )


def test_the_pointer_is_answered(opened):
    opened.mouse.move(*opened.evaluate("latentMap.screen(7)"))
    opened.wait_for_selector("#tip:not([hidden])")
    assert opened.inner_text("#tip .id") == "net7" and "letters" in opened.inner_text("#tip")
    opened.mouse.move(*opened.evaluate("latentMap.screen(8)"))
    opened.wait_for_function("document.querySelector('#tip .id').textContent === 'net8'")
    assert "<b>shapes</b>" in opened.inner_text("#tip"), "what looks like code is shown as text"


def test_colours_follow_the_column(opened):
    look = THEMES[opened.scheme]
    for row, name in ((0, "digits"), (1, "letters")):
        want = parse_colour(look.names[("<b>shapes</b>", "digits", "letters").index(name)])
        np.testing.assert_allclose(pixel(opened, row), want, atol=16)
    assert "letters" in opened.inner_text("#legend")
    opened.select_option("#colour", "accuracy")
    np.testing.assert_allclose(pixel(opened, 59), parse_colour(look.ramp[-1]), atol=16)
    assert opened.locator("#ramp").count() == 1 and opened.locator("option[value=same][disabled]").count() == 1


def test_the_theme_follows_the_reader_and_its_button(opened):
    ground = parse_colour(THEMES[opened.scheme].ground)
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == f"rgb{ground}"
    opened.click("#theme")
    assert opened.evaluate("document.documentElement.dataset.theme") != opened.scheme


def test_search_marks_what_it_finds(opened):
    opened.fill("#search", "letters net1")
    table = clusters()
    names = zip(table["id"], table["parent"], table["dataset"], strict=True)
    want = [name for name, parent, dataset in names if dataset == "letters" and "net1" in f"{name} {parent}"]
    assert opened.inner_text("#found").startswith(f"{len(want)} found")
    opened.press("#search", "Enter")
    assert opened.inner_text("#detail .id") == "net1"
    opened.fill("#search", "nothing like it")
    assert opened.inner_text("#found") == "none found"


def test_a_lasso_takes_what_is_inside_and_gives_its_ids(opened, tmp_path):
    places = [opened.evaluate("(row) => latentMap.screen(row)", row) for row in range(60)]
    (left, top), (right, bottom) = np.min(places[::3], 0) - 9, np.max(places[::3], 0) + 9
    opened.click("#lasso")
    opened.mouse.move(left, top)
    opened.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom)):
        opened.mouse.move(x, y)
    opened.mouse.up()
    want = [f"net{i}" for i, (x, y) in enumerate(places) if left < x < right and top < y < bottom]
    assert opened.inner_text("#count") == f"{len(want)} chosen" and set(want) >= {f"net{i}" for i in range(0, 60, 3)}
    with opened.expect_download() as started:
        opened.click("#download")
    started.value.save_as(tmp_path / "ids.txt")
    assert (tmp_path / "ids.txt").read_text().split() == want
    opened.keyboard.press("Escape")
    assert opened.locator("#chosen").is_hidden()


def test_keys_alone_reach_everything(opened):
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.id") == "over"
    before = opened.evaluate("latentMap.view")
    opened.keyboard.press("ArrowLeft")
    opened.keyboard.press("+")
    after = opened.evaluate("latentMap.view")
    assert after["scale"] > before["scale"] and after["x"] != before["x"]
    opened.keyboard.press("n")
    assert opened.inner_text("#detail .id") == "net0"
    opened.keyboard.press("0")
    opened.keyboard.press("v")
    assert opened.inner_text("#count") == "60 chosen"
    opened.keyboard.press("/")
    assert opened.evaluate("document.activeElement.id") == "search"
    reached = set()
    for _ in range(20):
        opened.keyboard.press("Tab")
        reached.add(opened.evaluate("document.activeElement.id"))
    assert {"lasso", "inview", "lines", "reset", "theme", "copy", "download", "clear"} <= reached


def test_lineage_is_drawn_on_demand(opened):
    def inked():
        opened.evaluate("latentMap.drawOver()")
        script = "latentMap.pen.getImageData(0, 0, latentMap.over.width, latentMap.over.height).data.some((v) => v)"
        return opened.evaluate(script)

    assert not inked()
    opened.click("#lines")
    assert inked() and opened.get_attribute("#lines", "aria-pressed") == "true"
