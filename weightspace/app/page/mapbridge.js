// The map is a page of its own in a frame; this draws over it and listens to it.
const reach = 14; // pixels within which a mark is taken

export class MapBridge {
  constructor(frame) {
    this.frame = frame;
    this.path = null; // { base, other, share, place }: rows or places, in the map's coordinates
    this.uploads = [];
    this.pull = null; // where a line from the picked network is being dragged to
  }

  // Resolve when the map is drawn.
  async ready() {
    const view = this.frame.contentWindow;
    if (this.frame.contentDocument.readyState !== "complete") await new Promise((done) => this.frame.addEventListener("load", done, { once: true }));
    while (!view.latentMap) await new Promise((done) => setTimeout(done, 20));
    this.document = this.frame.contentDocument;
    this.map = view.latentMap;
    this.document.documentElement.dataset.framed = "";
    this.map.overlays.push((pen) => this.draw(pen));
    this.listen();
    this.document.addEventListener("checkpoint", (event) => this.onPick?.(event.detail === null ? null : event.detail.row));
    const root = this.document.documentElement;
    const follow = () => this.onTheme?.(root.dataset.theme);
    new MutationObserver(follow).observe(root, { attributeFilter: ["data-theme"] });
    follow();
  }

  pin(row) { this.map.pin(row); }
  redraw() { this.map?.retouch(); }
  place(row) { return [this.map.data.x[row], this.map.data.y[row]]; }
  screen([x, y]) { return [this.map.view.x + x * this.map.view.scale, this.map.view.y - y * this.map.view.scale]; }

  // ---- pointer
  listen() {
    const { over } = this.map;
    const catching = { capture: true };
    const at = (event) => [event.clientX * this.map.ratio, event.clientY * this.map.ratio];
    const hold = (event) => { event.stopImmediatePropagation(); event.preventDefault(); };
    let held = null;
    over.addEventListener("pointerdown", (event) => {
      held = event.shiftKey || this.map.lasso ? null : this.hit(at(event));
      if (!held) return;
      hold(event);
      this.map.hover(-1, 0, 0);
      over.setPointerCapture(event.pointerId);
      over.focus();
      held.from = at(event);
    }, catching);
    over.addEventListener("pointermove", (event) => {
      if (!held) {
        over.style.cursor = !event.buttons && this.hit(at(event)) ? "pointer" : "";
        return;
      }
      hold(event);
      if (held.kind === "handle") this.onShare?.(this.shareAt(at(event)));
      if (held.kind === "base") this.pullTo(at(event), held.from);
    }, catching);
    const drop = (event) => {
      if (!held) return;
      hold(event);
      if (held.kind === "upload") this.onUpload?.(held.key);
      if (held.kind === "base" && this.pull && this.pull.row >= 0) this.onPair?.(this.pull.row);
      [held, this.pull] = [null, null];
      this.redraw();
    };
    over.addEventListener("pointerup", drop, catching);
    over.addEventListener("pointercancel", drop, catching);
  }

  near(point, place, within = reach) {
    const [x, y] = this.screen(place);
    return Math.hypot(x - point[0], y - point[1]) < within * this.map.ratio;
  }

  // What lies under the pointer: the handle of a path, an upload, the picked network.
  hit(point) {
    if (this.path?.other && this.near(point, this.between())) return { kind: "handle" };
    const upload = this.uploads.find((one) => this.near(point, one.place));
    if (upload) return { kind: "upload", key: upload.key };
    if (this.path && this.near(point, this.path.base, 9)) return { kind: "base" };
    return null;
  }

  between() {
    const { base, other, share } = this.path;
    return [0, 1].map((k) => base[k] + share * (other[k] - base[k]));
  }

  shareAt(point) {
    const [a, b] = [this.screen(this.path.base), this.screen(this.path.other)];
    const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
    const along = ((point[0] - a[0]) * dx + (point[1] - a[1]) * dy) / (dx * dx + dy * dy || 1);
    return Math.min(1, Math.max(0, along));
  }

  pullTo(point, from) {
    if (Math.hypot(point[0] - from[0], point[1] - from[1]) < 6 * this.map.ratio) return;
    const within = (this.map.radius + 10 * this.map.ratio) / this.map.view.scale;
    const row = this.map.grid.nearest(...this.map.unscreen(...point), within, () => true);
    this.pull = { point: row >= 0 ? this.screen(this.place(row)) : point, row };
    this.redraw();
  }

  // ---- drawing
  draw(pen) {
    const { ratio, theme } = this.map;
    pen.save();
    pen.font = `600 ${12 * ratio}px system-ui, sans-serif`;
    for (const one of this.uploads) this.mark(pen, this.screen(one.place), theme.names[3], one.id, one.chosen);
    if (this.path) this.drawPath(pen, ratio, theme);
    if (this.pull) this.line(pen, this.screen(this.path.base), this.pull.point, theme.names[1], [6, 5]);
    pen.restore();
  }

  drawPath(pen, ratio, theme) {
    const { base, other, place } = this.path;
    if (other) {
      this.line(pen, this.screen(base), this.screen(other), theme.names[1], []);
      this.ring(pen, this.screen(other), theme.names[1], "B");
      this.dot(pen, this.screen(this.between()), theme.names[1], theme.ground);
    }
    this.ring(pen, this.screen(base), theme.names[1], other ? "A" : "");
    if (place) this.mark(pen, this.screen(place), theme.names[5], "decoded", true);
  }

  line(pen, a, b, colour, dash) {
    pen.beginPath();
    pen.setLineDash(dash.map((d) => d * this.map.ratio));
    [pen.strokeStyle, pen.lineWidth] = [colour, 2.5 * this.map.ratio];
    pen.moveTo(...a);
    pen.lineTo(...b);
    pen.stroke();
    pen.setLineDash([]);
  }

  ring(pen, [x, y], colour, letter) {
    const { ratio } = this.map;
    pen.beginPath();
    pen.arc(x, y, 8 * ratio, 0, 7);
    [pen.strokeStyle, pen.lineWidth] = [colour, 2.5 * ratio];
    pen.stroke();
    this.write(pen, letter, x + 12 * ratio, y - 10 * ratio);
  }

  write(pen, text, x, y) {
    const { ratio, theme } = this.map;
    [pen.strokeStyle, pen.fillStyle, pen.lineWidth] = [theme.ground, theme.text, 4 * ratio];
    [pen.lineJoin, pen.textBaseline] = ["round", "middle"];
    pen.strokeText(text, x, y);
    pen.fillText(text, x, y);
  }

  dot(pen, [x, y], colour, ground) {
    pen.beginPath();
    pen.arc(x, y, 8 * this.map.ratio, 0, 7);
    [pen.fillStyle, pen.strokeStyle, pen.lineWidth] = [colour, ground, 2.5 * this.map.ratio];
    pen.fill();
    pen.stroke();
  }

  // A diamond with its name.
  mark(pen, [x, y], colour, text, strong) {
    const { ratio, theme } = this.map;
    const size = (strong ? 9 : 7) * ratio;
    pen.beginPath();
    [[0, -size], [size, 0], [0, size], [-size, 0]].forEach(([dx, dy]) => pen.lineTo(x + dx, y + dy));
    pen.closePath();
    [pen.fillStyle, pen.strokeStyle, pen.lineWidth] = [colour, theme.ground, 2.5 * ratio];
    pen.fill();
    pen.stroke();
    if (!strong) return;
    const [gap, width] = [size + 4 * ratio, pen.measureText(text).width];
    this.write(pen, text, x + gap + width > this.map.over.width ? x - gap - width : x + gap, y);
  }
}
