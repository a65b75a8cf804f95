// Points are drawn into pixels by this program: the same on every machine, with or without a graphics card.
const STEPS = 4; // positions of a point within a pixel, each way
const RIM = 20000; // up to so many rows, points have a rim in the colour of the ground

// For each position within a pixel: offsets and opacities (0 to 256) of the pixels of a disc.
function discMasks(radius, opacity) {
  const reach = Math.ceil(radius + 1);
  const masks = [];
  for (let v = 0; v < STEPS; v++) {
    for (let u = 0; u < STEPS; u++) {
      const mask = [];
      for (let dy = -reach; dy <= reach; dy++) {
        for (let dx = -reach; dx <= reach; dx++) {
          const apart = Math.hypot(dx - (u + 0.5) / STEPS + 0.5, dy - (v + 0.5) / STEPS + 0.5);
          const cover = Math.min(1, Math.max(0, radius + 0.5 - apart));
          if (cover > 0.01) mask.push(dx, dy, Math.round(256 * cover * opacity));
        }
      }
      masks.push(Int16Array.from(mask));
    }
  }
  return masks;
}

class Raster {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
  }

  resize(width, height) {
    [this.canvas.width, this.canvas.height] = [width, height];
    this.image = this.context.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  // rows: in the order they are drawn; faint: 1 where a row is only hinted at.
  draw({ xs, ys, rows, colours, faint, view, radius, ground }) {
    const back = packColour(parseColour(ground));
    this.pixels.fill(0xff000000 | back);
    const many = rows.length;
    const bright = discMasks(radius, many > RIM ? 0.75 : 0.95);
    const rim = many > RIM ? null : discMasks(radius + Math.max(0.8, radius * 0.18), 0.85);
    const hint = discMasks(radius * 0.8, 0.16);
    for (const pass of [1, 0]) {
      for (const row of rows) {
        if (faint[row] !== pass) continue;
        const x = view.x + xs[row] * view.scale;
        const y = view.y - ys[row] * view.scale;
        if (pass) this.stamp(hint, x, y, colours[row]);
        else {
          if (rim) this.stamp(rim, x, y, back);
          this.stamp(bright, x, y, colours[row]);
        }
      }
    }
    this.context.putImageData(this.image, 0, 0);
  }

  stamp(masks, x, y, colour) {
    const [width, height, pixels] = [this.canvas.width, this.canvas.height, this.pixels];
    const left = Math.floor(x);
    const top = Math.floor(y);
    if (left < -20 || top < -20 || left > width + 20 || top > height + 20) return;
    const mask = masks[Math.floor((y - top) * STEPS) * STEPS + Math.floor((x - left) * STEPS)];
    const redBlue = colour & 0xff00ff;
    const green = colour & 0x00ff00;
    for (let k = 0; k < mask.length; k += 3) {
      const px = left + mask[k];
      const py = top + mask[k + 1];
      if (px < 0 || py < 0 || px >= width || py >= height) continue;
      const at = py * width + px;
      const a = mask[k + 2];
      const old = pixels[at];
      const rb = ((redBlue * a + (old & 0xff00ff) * (256 - a)) / 256) & 0xff00ff;
      const g = ((green * a + (old & 0x00ff00) * (256 - a)) >>> 8) & 0x00ff00;
      pixels[at] = 0xff000000 | rb | g;
    }
  }
}
