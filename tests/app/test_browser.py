"""The explorer as Chromium shows it: pointer, keys, live decoding, uploads; nothing asked outside of this machine."""

import pytest

from weightspace.app.live import Blend, LiveDecoder
from weightspace.checkpoint.load import load_checkpoint
from weightspace.zoo.store import find_population


@pytest.fixture(params=["dark", "light"])
def page(request, browser, client):
    """The explorer, and every address it asked for."""
    opened = browser.new_page(
        color_scheme=request.param, accept_downloads=True, viewport={"width": 1280, "height": 900}
    )
    opened.asked, opened.errors, opened.scheme = [], [], request.param
    opened.on("request", lambda sent: opened.asked.append(sent.url))
    opened.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.goto(f"http://127.0.0.1:{client.port}/")
    opened.wait_for_selector("html[data-ready]")
    yield opened
    assert opened.errors == []
    own = (f"http://127.0.0.1:{client.port}/", "data:", "blob:")
    assert [url for url in opened.asked if not url.startswith(own)] == []


def at(page, row):
    """Where a row lies on the page."""
    return page.frames[1].evaluate("(row) => latentMap.screen(row)", row)


def lone(page):
    """A row with no other within 20 pixels, so that the pointer means it."""
    return page.frames[1].evaluate(
        "() => { const all = latentMap.data.ids.map((_, i) => latentMap.screen(i));"
        "const free = (p) => all.filter((q) => Math.hypot(p[0] - q[0], p[1] - q[1]) < 20).length === 1;"
        "return all.map((p, i) => [p, i]).filter(([p]) => free(p)).map(([, i]) => i); }"
    )


def pick(page, row):
    page.mouse.move(*at(page, row))
    page.mouse.down()
    page.mouse.up()
    page.wait_for_selector(f"#network[data-shown='{row}']")


def until(page, said, arg=None):
    """Wait until JavaScript says so; the page's policy forbids Chromium's own way of waiting, which is `eval`."""
    for _ in range(600):
        if page.evaluate(said, arg):
            return
        page.wait_for_timeout(50)
    raise AssertionError(said)


def count(page):
    """How many networks were decoded so far."""
    return page.evaluate("Number(document.getElementById('decode').dataset.decoded ?? 0)")


def settled(page, seen=0):
    """Wait until more were decoded than were seen, and nothing is being decoded."""
    until(page, "(n) => !explorer.decode.running && document.getElementById('decode').dataset.decoded > n", seen)


def test_a_click_shows_a_network(page, explorer):
    row = lone(page)[0]
    pick(page, row)
    assert page.inner_text("#network h1") == explorer.name(str(row))
    told = explorer.weights(str(row))
    assert f"{100 * told['behaviour']['accuracy']:.1f} %" in page.inner_text("#network .figure")
    right = sum(told["behaviour"]["confusion"][k][k] for k in range(10))
    sums = "all => all.reduce((sum, cell) => sum + Number(cell.textContent), 0)"
    assert page.eval_on_selector_all("#network td.right", sums) == right
    inks = "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    assert page.eval_on_selector("#network canvas.filters", inks) > 8
    near = explorer.network(str(row))["neighbours"]
    assert page.inner_text("#network ol.near li:first-child .name") == near[0]["id"]
    page.click("#network ol.near li:first-child button.open")
    page.wait_for_selector(f"#network[data-shown='{near[0]['row']}']")
    assert page.frames[1].evaluate("latentMap.pinned") == near[0]["row"]


def test_a_drag_from_one_point_to_another_decodes_between_them(page, explorer, tmp_path):
    first, second = lone(page)[0], lone(page)[-1]
    pick(page, first)
    page.mouse.down()
    page.mouse.move(*at(page, second), steps=6)
    page.mouse.up()
    settled(page)
    live, blend = LiveDecoder(explorer), Blend(str(first), str(second), 0.5)
    accuracy = live.show(blend)["behaviour"]["accuracy"]
    assert f"{100 * accuracy:.1f} %" in page.inner_text("#outcome .meter.good")
    before = page.frames[1].evaluate("latentMap.view")
    page.mouse.move(*page.evaluate("explorer.map.screen(explorer.map.between())"))
    page.mouse.down()
    page.mouse.move(*at(page, second), steps=6)
    page.mouse.up()
    share = page.evaluate("explorer.decode.share")
    assert share == pytest.approx(1, abs=0.01)
    assert page.frames[1].evaluate("latentMap.view") == before, "the handle moves and the map does not"
    until(page, "explorer.decode.running === false")
    with page.expect_download() as started:
        page.click("#download")
    started.value.save_as(tmp_path / "decoded.safetensors")
    found = load_checkpoint(tmp_path / "decoded.safetensors")
    want = live.decode(Blend(str(first), str(second), float(share))).checkpoint
    assert all(tensor.allclose(want.tensors[name]) for name, tensor in found.tensors.items())
    assert explorer.name(str(second)) in found.metadata["generated"]


def test_sliders_obey_the_keys_and_let_go(page, explorer):
    sliders = LiveDecoder(explorer).steering.sliders
    pick(page, lone(page)[0])
    page.click("#tab-decode")
    settled(page)
    if not sliders:
        assert "No property of this table" in page.inner_text("#decode")
        return
    column = sliders[0].column
    input_, row = f"[id='slider-{column}']", page.locator(".slider").first
    before, seen = float(page.input_value(input_)), count(page)
    page.focus(input_)
    for _ in range(5):
        page.keyboard.press("ArrowRight" if before < sliders[0].high else "ArrowLeft")
    settled(page, seen)
    wanted = page.evaluate("explorer.decode.wanted")
    assert list(wanted) == [column] and wanted[column] != pytest.approx(before)
    assert page.evaluate("(c) => explorer.decode.shown.readings[c]", column) == pytest.approx(wanted[column])
    row.locator("button.free").click()
    until(page, "explorer.decode.running === false")
    assert page.evaluate("explorer.decode.wanted") == {} and row.locator("button.free").is_hidden()


def test_keys_alone_pick_mix_and_move(page, explorer):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    page.keyboard.press("n")
    page.wait_for_selector("#network[data-shown='0']")
    page.focus("#tab-network")
    page.keyboard.press("ArrowRight")
    settled(page)
    assert page.get_attribute("#tab-decode", "aria-selected") == "true"
    page.focus("#pick")
    page.keyboard.press("Enter")
    page.keyboard.press("n")
    until(page, "explorer.other === '1'")
    page.focus("#mix")
    page.keyboard.press("Home")
    until(page, "explorer.decode.running === false")
    assert page.evaluate("explorer.decode.share") == 0
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
        focus = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert focus != "none" or page.evaluate("document.activeElement.tagName") in ("BODY", "IFRAME", "SECTION")
    assert {"download", "pick"} <= reached


def test_everything_that_can_be_pressed_has_a_name(page):
    pick(page, lone(page)[0])
    for tab in ("decode", "uploads", "network"):
        page.click(f"#tab-{tab}")
        page.wait_for_timeout(100)
        nameless = page.eval_on_selector_all(
            "button, a, input, canvas[role], [role=tabpanel]",
            "all => all.filter((e) => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') ||"
            " e.textContent.trim() || (e.labels && e.labels.length))).map((e) => e.outerHTML)",
        )
        assert nameless == []


def test_uploads_land_on_the_map_and_refusals_are_read(page, explorer, tmp_path):
    find_population("mlp_digits").checkpoint("mlp_digits/000002/2").save(tmp_path / "mine.safetensors")
    (tmp_path / "not.txt").write_text("x")
    page.click("#tab-uploads")
    page.set_input_files("#file", [tmp_path / "not.txt"])
    page.wait_for_selector("#uploads .trouble")
    assert "not.txt: only .safetensors" in page.inner_text("#uploads .trouble")
    page.set_input_files("#file", [tmp_path / "mine.safetensors"])
    until(page, "document.querySelector('#network h1')?.textContent === 'mine.safetensors'")
    key = page.evaluate("explorer.base")
    page.wait_for_selector(f"#network[data-shown='{key}']")
    assert page.inner_text("#network ol.near li:first-child .name") == "mlp_digits/000002/2"
    marks = page.evaluate("explorer.map.uploads.filter((one) => one.chosen)")
    row = explorer.table["id"].tolist().index("mlp_digits/000002/2")
    assert len(marks) == 1 and marks[0]["place"] == pytest.approx(explorer.drawn.places[row].tolist(), abs=1e-3)


def test_the_theme_follows_the_reader_and_the_button_of_the_map(page):
    root = "getComputedStyle(document.documentElement.querySelector('body')).backgroundColor"
    before = page.evaluate(root)
    assert page.evaluate("document.documentElement.dataset.theme") == page.scheme
    page.frames[1].click("#theme")
    until(page, "(old) => document.documentElement.dataset.theme !== old", page.scheme)
    assert page.evaluate(root) != before and page.evaluate(root) == page.frames[1].evaluate(root)


def test_on_a_narrow_page_the_map_is_seen_and_nothing_is_cut_off(page):
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_timeout(100)
    row = lone(page)[0] if lone(page) else 0
    page.evaluate("(row) => explorer.openRow(row)", row)
    page.wait_for_selector(f"#network[data-shown='{row}']")
    for tab in ("decode", "uploads", "network"):
        page.click(f"#tab-{tab}")
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_server_that_has_gone_is_told(page):
    page.route("**/api/**", lambda route: route.abort())
    page.evaluate("explorer.openRow(4)")
    page.wait_for_selector("#network .trouble")
    assert "Is its command still running?" in page.inner_text("#network .trouble")
