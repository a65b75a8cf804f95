// Filters and test inputs as pixels; colours come from the theme.
const GAP = 2;
const FLAT = 14; // pixels that a flat picture is high at least

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

function themeColour(name) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));
}

// From one colour over the middle to the other; value -127 to 127.
function diverging(low, middle, high) {
  return (value) => {
    const [end, share] = value < 0 ? [low, -value / 127] : [high, value / 127];
    return middle.map((m, k) => m + (end[k] - m) * Math.sqrt(share));
  };
}

// A canvas of equal pictures in rows, none higher than `most`. pixel(picture, place) gives red, green and blue.
function sheet({ count, width, height, columns, room, most = Infinity, pixel }) {
  const across = Math.max(1, Math.floor(Math.min((room - (columns - 1) * GAP) / (columns * width), most / height)));
  const down = height * across < FLAT && width > 4 * height ? Math.ceil(FLAT / height) : across; // flat ones are stretched
  const rows = Math.ceil(count / columns);
  const canvas = document.createElement("canvas");
  canvas.width = columns * width * across + (columns - 1) * GAP;
  canvas.height = rows * height * down + (rows - 1) * GAP;
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false;
  const small = document.createElement("canvas");
  [small.width, small.height] = [width, height];
  const ink = small.getContext("2d");
  const image = ink.createImageData(width, height);
  for (let i = 0; i < count; i++) {
    for (let place = 0; place < width * height; place++) {
      const [r, g, b] = pixel(i, place);
      image.data.set([r, g, b, 255], 4 * place);
    }
    ink.putImageData(image, 0, 0);
    const [x, y] = [(i % columns) * (width * across + GAP), Math.floor(i / columns) * (height * down + GAP)];
    pen.drawImage(small, x, y, width * across, height * down);
  }
  return canvas;
}

export function filterSheet(filters, room) {
  const { shown, width, height, kind } = filters;
  const values = new Int8Array(bytes(filters.pixels).buffer);
  const mixed = diverging(themeColour("--low"), themeColour("--middle"), themeColour("--high"));
  const size = width * height;
  const pixel = kind === "colour"
    ? (i, place) => [0, 1, 2].map((k) => 128 + values[3 * (i * size + place) + k])
    : (i, place) => mixed(values[i * size + place]);
  const columns = kind === "matrix" ? 1 : Math.min(shown, width <= 4 ? 12 : width > 4 * height ? 2 : 8);
  const canvas = sheet({ count: shown, width, height, columns, room, most: 280, pixel });
  canvas.className = "filters";
  canvas.setAttribute("role", "img");
  const what = kind === "matrix" ? "Weights of the first layer as one matrix" : `First-layer weights of ${shown} units, a picture each`;
  canvas.setAttribute("aria-label", what);
  return canvas;
}

// One test input as a canvas of its own.
export function examplePicture(examples, i) {
  const { width, height, channels } = examples;
  examples.bytes ??= bytes(examples.pixels);
  const size = width * height * channels;
  const at = (place, k) => examples.bytes[i * size + place * channels + (channels === 3 ? k : 0)];
  const canvas = sheet({ count: 1, width, height, columns: 1, room: width, pixel: (_, place) => [at(place, 0), at(place, 1), at(place, 2)] });
  canvas.setAttribute("aria-hidden", "true");
  return canvas;
}
