// What map_page.pack_data wrote: base64 of gzip of a length, JSON, and arrays.
async function decode(text) {
  const packed = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const size = new DataView(buffer).getUint32(0, true);
  const about = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  const kinds = { "<f8": Float64Array, "<f4": Float32Array, "<u4": Uint32Array, "<u2": Uint16Array };
  const arrays = {};
  for (const [name, { type, start, length }] of Object.entries(about.arrays)) {
    arrays[name] = new kinds[type](buffer, 4 + size + start, length);
  }
  for (const column of about.columns) {
    column.values = column.kind === "text" ? column.texts : arrays[column.array];
  }
  return { ...about, ...arrays };
}

// One value as text; numbers with four significant digits.
function valueText(column, row) {
  const value = column.values[row];
  if (column.kind === "text") return value;
  if (column.kind === "names") return column.names[value];
  if (Number.isNaN(value)) return "(none)";
  return numberText(value);
}

function numberText(value) {
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size >= 1e6 || (size < 1e-3 && size > 0) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}
