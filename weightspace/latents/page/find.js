// Which rows are near a point, inside of a line, or hold a word.
class Grid {
  constructor(xs, ys) {
    [this.xs, this.ys] = [xs, ys];
    const box = (values) => values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    [this.left, this.right] = box(xs);
    [this.bottom, this.top] = box(ys);
    this.side = Math.max(1, Math.min(512, Math.ceil(Math.sqrt(xs.length / 2))));
    this.cell = Math.max(this.right - this.left, this.top - this.bottom) / this.side || 1;
    const counts = new Uint32Array(this.side * this.side + 1);
    const cells = new Uint32Array(xs.length);
    for (let i = 0; i < xs.length; i++) {
      cells[i] = this.column(xs[i]) + this.side * this.line(ys[i]);
      counts[cells[i] + 1]++;
    }
    for (let c = 0; c < this.side * this.side; c++) counts[c + 1] += counts[c];
    this.starts = counts.slice();
    this.rows = new Uint32Array(xs.length);
    for (let i = 0; i < xs.length; i++) this.rows[counts[cells[i]]++] = i;
  }

  clamp(cell) { return Math.max(0, Math.min(this.side - 1, Math.floor(cell))); }
  column(x) { return this.clamp((x - this.left) / this.cell); }
  line(y) { return this.clamp((y - this.bottom) / this.cell); }

  // The nearest row within `reach`, or -1.
  nearest(x, y, reach, visible) {
    let [best, least] = [-1, reach * reach];
    for (let line = this.line(y - reach); line <= this.line(y + reach); line++) {
      for (let column = this.column(x - reach); column <= this.column(x + reach); column++) {
        const cell = column + this.side * line;
        for (let k = this.starts[cell]; k < this.starts[cell + 1]; k++) {
          const row = this.rows[k];
          const apart = (this.xs[row] - x) ** 2 + (this.ys[row] - y) ** 2;
          if (apart < least && visible(row)) [best, least] = [row, apart];
        }
      }
    }
    return best;
  }
}

// Rows inside of a closed line of [x, y] in the map's own coordinates, by the even-odd rule.
function inside(line, xs, ys) {
  const found = [];
  for (let i = 0; i < xs.length; i++) {
    let odd = false;
    for (let a = 0, b = line.length - 1; a < line.length; b = a++) {
      const [[ax, ay], [bx, by]] = [line[a], line[b]];
      if (ay > ys[i] !== by > ys[i] && xs[i] < ((bx - ax) * (ys[i] - ay)) / (by - ay) + ax) odd = !odd;
    }
    if (odd) found.push(i);
  }
  return found;
}

// Rows that hold every word, in the id or in a name or text.
function search(data, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const named = data.columns.filter((c) => c.kind === "names");
  const texts = data.columns.filter((c) => c.kind === "text");
  const hits = words.map((word) => named.map((c) => c.names.map((name) => name.toLowerCase().includes(word))));
  const found = [];
  for (let i = 0; i < data.ids.length && words.length; i++) {
    const holds = words.every((word, w) =>
      data.ids[i].toLowerCase().includes(word) ||
      named.some((c, k) => hits[w][k][c.values[i]]) ||
      texts.some((c) => c.values[i].toLowerCase().includes(word)));
    if (holds) found.push(i);
  }
  return found;
}
