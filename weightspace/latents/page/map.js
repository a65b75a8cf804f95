// The map itself: state, drawing, and what pointer and keys do.
const EDGES = 60000; // lines that are drawn at once

class LatentMapView {
  constructor(data) {
    this.data = data;
    this.rows = data.ids.length;
    this.grid = new Grid(data.x, data.y);
    this.raster = new Raster(byId("points"));
    this.over = byId("over");
    this.pen = this.over.getContext("2d");
    this.order = shuffled(this.rows);
    this.faint = new Uint8Array(this.rows);
    this.view = { x: 0, y: 0, scale: 1 };
    Object.assign(this, { hovered: -1, pinned: -1, isolated: null, found: [], chosen: [], line: null, lasso: false, lines: false });
    this.column = data.columns.find((c) => c.name === data.colour) ?? null;
    this.overlays = []; // what an embedding page draws over the points: functions of the pen
  }

  get theme() { return this.data.themes[document.documentElement.dataset.theme]; }
  get ratio() { return Math.min(2, devicePixelRatio || 1); }
  get radius() {
    const size = Math.max(1.15, 6.6 - 1.15 * Math.log10(Math.max(1, this.rows)));
    return this.ratio * Math.min(9, size * Math.max(1, this.view.scale / this.whole.scale) ** 0.4);
  }

  // ---- view
  fit() {
    const { grid, over } = this;
    const side = innerWidth > 800 ? 300 * this.ratio : 0;
    const [width, height] = [over.width - side, over.height];
    const spread = [grid.right - grid.left || 1e-9, grid.top - grid.bottom || 1e-9];
    let scale = 0.9 * Math.min(width / spread[0], height / spread[1]);
    if (Math.max(...spread) <= 1e-9) scale = 1;
    this.view = {
      scale,
      x: side + width / 2 - ((grid.left + grid.right) / 2) * scale,
      y: height / 2 + ((grid.bottom + grid.top) / 2) * scale,
    };
    this.whole = { ...this.view };
    this.redraw();
  }

  resize() {
    const [width, height] = [innerWidth * this.ratio, innerHeight * this.ratio].map(Math.round);
    [this.over.width, this.over.height] = [width, height];
    this.raster.resize(width, height);
    this.fit();
  }

  zoom(factor, x = this.over.width / 2, y = this.over.height / 2) {
    const scale = Math.min(this.whole.scale * 5000, Math.max(this.whole.scale / 4, this.view.scale * factor));
    const by = scale / this.view.scale;
    this.view = { scale, x: x + (this.view.x - x) * by, y: y + (this.view.y - y) * by };
    this.redraw();
  }

  move(dx, dy) {
    this.view = { ...this.view, x: this.view.x + dx, y: this.view.y + dy };
    this.redraw();
  }

  screen(row) { return [this.view.x + this.data.x[row] * this.view.scale, this.view.y - this.data.y[row] * this.view.scale]; }
  unscreen(x, y) { return [(x - this.view.x) / this.view.scale, (this.view.y - y) / this.view.scale]; }

  // ---- drawing
  redraw() { this.request("points", () => this.drawPoints()); }
  retouch() { this.request("over", () => this.drawOver()); }
  request(what, draw) {
    this.waiting ??= {};
    if (this.waiting[what]) return;
    this.waiting[what] = requestAnimationFrame(() => { this.waiting[what] = 0; draw(); });
  }

  recolour() {
    this.colours = colourRows(this.column, this.rows, this.theme, this.data.logarithmic);
    showLegend(this.column, this.theme, this.isolated, (rank) => this.isolate(rank));
    this.dim();
  }

  dim() {
    const marked = this.found.length ? this.found : this.chosen.length ? this.chosen : null;
    this.faint.fill(marked ? 1 : 0);
    for (const row of marked ?? []) this.faint[row] = 0;
    if (this.isolated !== null) {
      const shown = this.theme.names.length;
      for (let i = 0; i < this.rows; i++) if (Math.min(this.column.values[i], shown) !== this.isolated) this.faint[i] = 1;
    }
    this.redraw();
  }

  drawPoints() {
    const { data, order, colours, faint, view, radius } = this;
    this.raster.draw({ xs: data.x, ys: data.y, rows: order, colours, faint, view, radius, ground: this.theme.ground });
    this.drawOver();
  }

  drawOver() {
    const { pen, over } = this;
    pen.clearRect(0, 0, over.width, over.height);
    if (this.lines) this.drawEdges(this.data.edges, this.theme.faint, 0.55, 1);
    for (const row of new Set([this.pinned, this.hovered])) if (row >= 0) this.drawFocus(row);
    if (this.line?.length > 1) {
      pen.beginPath();
      this.line.forEach(([x, y]) => pen.lineTo(this.view.x + x * this.view.scale, this.view.y - y * this.view.scale));
      pen.closePath();
      [pen.strokeStyle, pen.fillStyle, pen.lineWidth] = [this.theme.names[0], this.theme.names[0] + "26", 1.5 * this.ratio];
      pen.fill();
      pen.stroke();
    }
    for (const draw of this.overlays) draw(pen);
  }

  // Child and parent by turns, as curves that bend to one side so that direction shows.
  drawEdges(edges, colour, opacity, width) {
    const { pen } = this;
    [pen.strokeStyle, pen.globalAlpha, pen.lineWidth] = [colour, opacity, width * this.ratio];
    pen.beginPath();
    for (let k = 0; k < Math.min(edges.length, 2 * EDGES); k += 2) {
      const [[x, y], [u, v]] = [this.screen(edges[k + 1]), this.screen(edges[k])];
      pen.moveTo(x, y);
      pen.quadraticCurveTo((x + u) / 2 + (v - y) * 0.15, (y + v) / 2 - (u - x) * 0.15, u, v);
    }
    pen.stroke();
    pen.globalAlpha = 1;
  }

  drawFocus(row) {
    const { pen, theme } = this;
    const [up, down] = [this.kin(row, 1), this.kin(row, 0)];
    this.drawEdges(up, theme.names[1], 0.95, 2);
    this.drawEdges(down, theme.names[2], 0.95, 2);
    const [x, y] = this.screen(row);
    pen.beginPath();
    pen.arc(x, y, this.radius + 4 * this.ratio, 0, 7);
    [pen.strokeStyle, pen.lineWidth] = [theme.text, 2 * this.ratio];
    pen.stroke();
  }

  // Edges to all ancestors (way 1) or descendants (way 0) of a row.
  kin(row, way) {
    const { edges } = this.data;
    if (!this.links) {
      this.links = [new Map(), new Map()];
      for (let k = 0; k < edges.length; k += 2) {
        for (const side of [0, 1]) {
          const [from, to] = [edges[k + 1 - side], edges[k + side]];
          if (!this.links[side].has(from)) this.links[side].set(from, []);
          this.links[side].get(from).push(to);
        }
      }
    }
    const [found, seen, todo] = [[], new Set([row]), [row]];
    while (todo.length && found.length < 4000) {
      const at = todo.pop();
      for (const other of this.links[way].get(at) ?? []) {
        found.push(...(way ? [at, other] : [other, at]));
        if (!seen.has(other)) { seen.add(other); todo.push(other); }
      }
    }
    return found;
  }

  // ---- choosing
  isolate(rank) {
    this.isolated = this.isolated === rank ? null : rank;
    this.recolour();
  }

  hover(row, x, y) {
    showTip(this.data, row, this.column, x, y);
    if (row !== this.hovered) { this.hovered = row; this.retouch(); }
  }

  pin(row) {
    this.pinned = row;
    byId("detail").hidden = row < 0;
    if (row >= 0) fillDetail(byId("detail"), this.data, row, this.column);
    this.retouch();
    document.dispatchEvent(new CustomEvent("checkpoint", { detail: row < 0 ? null : { row, id: this.data.ids[row] } }));
  }

  choose(rows) {
    this.chosen = rows.filter((row) => this.isolated === null || !this.faint[row]);
    showChosen(this.data, this.chosen);
    this.line = null;
    this.dim();
  }

  chooseView() {
    const [left, top] = this.unscreen(0, 0);
    const [right, bottom] = this.unscreen(this.over.width, this.over.height);
    this.choose(inside([[left, top], [right, top], [right, bottom], [left, bottom]], this.data.x, this.data.y));
  }

  look(query) {
    this.found = search(this.data, query);
    const said = this.found.length ? `${this.found.length.toLocaleString("en")} found; Enter goes through them` : "none found";
    byId("found").textContent = query.trim() ? said : "";
    this.dim();
  }

  // Pin the next of what was found, or chosen, or of all; bring it into view.
  step(by) {
    const rows = this.found.length ? this.found : this.chosen.length ? this.chosen : null;
    const count = rows ? rows.length : this.rows;
    const at = rows ? rows.indexOf(this.pinned) : this.pinned;
    const next = at < 0 ? (by > 0 ? 0 : count - 1) : (at + by + count) % count;
    const row = rows ? rows[next] : next;
    const [x, y] = this.screen(row);
    const [width, height] = [this.over.width, this.over.height];
    if (x < width * 0.25 || x > width * 0.8 || y < height * 0.1 || y > height * 0.9) this.move(width * 0.55 - x, height / 2 - y);
    this.pin(row);
  }

  letGo() {
    byId("search").value = "";
    byId("found").textContent = "";
    [this.found, this.isolated, this.line] = [[], null, null];
    this.pin(-1);
    this.choose([]);
    this.recolour();
  }
}

function shuffled(count) {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  let state = 1;
  for (let i = count - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
