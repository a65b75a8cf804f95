// Colours of all rows as 0xBBGGRR numbers, the same rules as colours.py.
const parseColour = (text) => [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));
const packColour = ([r, g, b]) => (b << 16) | (g << 8) | r;

function mix(stops, share) {
  const at = Math.min(share * (stops.length - 1), stops.length - 1 - 1e-9);
  const [a, b, t] = [stops[Math.floor(at)], stops[Math.floor(at) + 1], at % 1];
  return a.map((value, i) => Math.round(value + (b[i] - value) * t));
}

// Where the ramp of a column begins and ends: the 1st and the 99th percentile of what it shows.
function scaleNumbers(values, factor) {
  const sorted = values.filter(Number.isFinite).sort();
  const [least, most] = [sorted[0], sorted[sorted.length - 1]];
  const log = least > 0 && most > factor * least;
  const at = (q) => sorted[Math.round(q * (sorted.length - 1))];
  const scale = log ? Math.log10 : (x) => x;
  return { low: scale(at(0.01)), high: scale(at(0.99)), least, most, log, scale };
}

function colourRows(column, rows, theme, factor) {
  const faint = packColour(parseColour(theme.faint));
  const colours = new Uint32Array(rows).fill(faint);
  if (!column) return colours.fill(packColour(parseColour(theme.names[0])));
  if (column.kind === "names") {
    const palette = theme.names.map((c) => packColour(parseColour(c)));
    for (let i = 0; i < rows; i++) colours[i] = palette[column.values[i]] ?? faint;
    return colours;
  }
  const { low, high, scale } = (column.scale ??= scaleNumbers(column.values, factor));
  const stops = theme.ramp.map(parseColour);
  const table = Array.from({ length: 256 }, (_, i) => packColour(mix(stops, i / 255)));
  for (let i = 0; i < rows; i++) {
    const value = column.values[i];
    if (!Number.isFinite(value)) continue;
    const share = high > low ? (scale(value) - low) / (high - low) : 0;
    colours[i] = table[Math.round(255 * Math.min(1, Math.max(0, share)))];
  }
  return colours;
}
