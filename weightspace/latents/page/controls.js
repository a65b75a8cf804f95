// Pointer, keys and buttons, and the start of it all.
function listenPointer(map) {
  const { over } = map;
  const at = (event) => [event.clientX * map.ratio, event.clientY * map.ratio];
  let held = null;
  over.addEventListener("pointerdown", (event) => {
    over.setPointerCapture(event.pointerId);
    held = { last: at(event), moved: 0, lasso: map.lasso || event.shiftKey };
    if (held.lasso) map.line = [map.unscreen(...held.last)];
  });
  over.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    if (!held) {
      const reach = (map.radius + 8 * map.ratio) / map.view.scale;
      return map.hover(map.grid.nearest(...map.unscreen(x, y), reach, (row) => !map.faint[row]), event.clientX, event.clientY);
    }
    held.moved += Math.hypot(x - held.last[0], y - held.last[1]);
    if (held.lasso) {
      map.line.push(map.unscreen(x, y));
      map.retouch();
    } else {
      over.classList.add("drag");
      map.move(x - held.last[0], y - held.last[1]);
    }
    held.last = [x, y];
  });
  over.addEventListener("pointerup", () => {
    over.classList.remove("drag");
    if (held?.lasso) {
      map.choose(inside(map.line, map.data.x, map.data.y));
      setLasso(map, false);
    } else if (held && held.moved < 4) map.pin(map.hovered);
    held = null;
  });
  over.addEventListener("pointerleave", () => map.hover(-1, 0, 0));
  over.addEventListener("wheel", (event) => {
    event.preventDefault();
    map.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...at(event));
  }, { passive: false });
}

function setLasso(map, on) {
  map.lasso = on;
  map.over.classList.toggle("lasso", on);
  byId("lasso").setAttribute("aria-pressed", String(on));
}

function setLines(map, on) {
  map.lines = on;
  byId("lines").setAttribute("aria-pressed", String(on));
  map.retouch();
}

function setTheme(map, name) {
  document.documentElement.dataset.theme = name;
  byId("theme").textContent = name === "dark" ? "Light" : "Dark";
  map.recolour();
}

// On a narrow page the controls are folded up, and the map is seen.
function setFold(folded) {
  byId("side").classList.toggle("folded", folded);
  byId("fold").setAttribute("aria-expanded", String(!folded));
}

function listenKeys(map) {
  const step = 60 * map.ratio;
  const keys = {
    ArrowLeft: () => map.move(step, 0), ArrowRight: () => map.move(-step, 0),
    ArrowUp: () => map.move(0, step), ArrowDown: () => map.move(0, -step),
    "+": () => map.zoom(1.3), "=": () => map.zoom(1.3), "-": () => map.zoom(1 / 1.3), 0: () => map.fit(),
    n: () => map.step(1), p: () => map.step(-1), "/": () => { setFold(false); byId("search").focus(); },
    l: () => setLasso(map, !map.lasso), v: () => map.chooseView(), e: () => setLines(map, !map.lines),
    t: () => byId("theme").click(),
  };
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") { setLasso(map, false); return map.letGo(); }
    const arrows = event.key.startsWith("Arrow") && event.target !== map.over && event.target !== document.body;
    if (event.target.matches("input, select") || arrows || event.ctrlKey || event.metaKey || event.altKey) return;
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });
}

function listenPanel(map) {
  const { data } = map;
  byId("colour").addEventListener("change", (event) => {
    [map.column, map.isolated] = [data.columns.find((c) => c.name === event.target.value) ?? null, null];
    map.recolour();
    if (map.pinned >= 0) map.pin(map.pinned);
  });
  byId("fold").addEventListener("click", () => setFold(!byId("side").classList.contains("folded")));
  byId("search").addEventListener("input", (event) => map.look(event.target.value));
  byId("search").addEventListener("keydown", (event) => { if (event.key === "Enter" && map.found.length) map.step(event.shiftKey ? -1 : 1); });
  byId("lasso").addEventListener("click", () => setLasso(map, !map.lasso));
  byId("inview").addEventListener("click", () => map.chooseView());
  byId("lines").addEventListener("click", () => setLines(map, !map.lines));
  byId("lines").hidden = !data.edges.length;
  byId("reset").addEventListener("click", () => map.fit());
  byId("theme").addEventListener("click", () => setTheme(map, document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  byId("copy").addEventListener("click", () => copyIds(chosenText(data, map.chosen)));
  byId("download").addEventListener("click", () => downloadIds(chosenText(data, map.chosen)));
  byId("clear").addEventListener("click", () => map.choose([]));
}

const data = await decode(byId("data").textContent);
byId("data").remove();
describe(data);
fillColours(data, byId("colour"));
const map = new LatentMapView(data);
map.resize();
setTheme(map, matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
addEventListener("resize", () => map.resize());
listenPointer(map);
listenKeys(map);
listenPanel(map);
setFold(innerWidth <= 800);
globalThis.latentMap = map; // for whoever embeds the page: `latentMap.pin(row)`, `latentMap.overlays`, and the event "checkpoint"
requestAnimationFrame(() => requestAnimationFrame(() => (document.documentElement.dataset.drawn = String(Math.round(performance.now())))));
