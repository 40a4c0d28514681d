// Putting a small chroma on a full-size luma: flowercolor/inference/upsampling.py in JavaScript.
// Planes are typed arrays, row by row; a size is {width, height} in pixels.

const RADIUS_PX = 1;
const EPSILON = 1e-2;
const WEIGHTS = [0.299, 0.587, 0.114]; // of red, green and blue in the luma, ITU-R BT.601
const CB_SCALE = 2 * (1 - WEIGHTS[2]);
const CR_SCALE = 2 * (1 - WEIGHTS[0]);
const STRIDE = 16; // the network halves its picture four times

/** Half to even, as Python and OpenCV round. */
export function roundHalfEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 ? floor + 1 : floor;
}

/** The size at which the network sees a photo of this size. */
export function workingSize({ width, height }, renderSizePx = 128) {
  const scale = renderSizePx / Math.sqrt(width * height);
  const longest = Math.floor((4 * renderSizePx ** 2) / STRIDE);
  const side = (length) => Math.min(Math.max(1, roundHalfEven(length * scale)), longest);
  return { width: side(width), height: side(height) };
}

/** The luma at another size, again of 8 bits: OpenCV rounds there too, and without that the colors
 * are up to six levels off. */
export function shrink(luma, from, to) {
  const smaller = to.width * to.height < from.width * from.height;
  return (smaller ? shrinkByArea : resizeCubic)(luma, from, to);
}

/** For each cell of the smaller side: the first pixel of the larger one, and the pixels' shares. */
function areaShares(length, cells) {
  const scale = length / cells;
  return Array.from({ length: cells }, (_, cell) => {
    const begin = cell * scale;
    const end = begin + scale;
    const width = Math.min(scale, length - begin);
    const last = Math.min(Math.floor(end), length - 1);
    const first = Math.min(Math.ceil(begin), last);
    const shares = [];
    let start = first;
    if (first - begin > 1e-3) {
      start = first - 1;
      shares.push((first - begin) / width);
    }
    for (let pixel = first; pixel < last; pixel++) shares.push(1 / width);
    if (end - last > 1e-3) shares.push(Math.min(end - last, 1, width) / width);
    return { start, shares };
  });
}

function shrinkByArea(luma, from, to) {
  const columns = areaShares(from.width, to.width);
  const rows = areaShares(from.height, to.height);
  const result = new Uint8Array(to.width * to.height);
  const sums = new Float64Array(to.width);
  rows.forEach(({ start, shares }, row) => {
    sums.fill(0);
    shares.forEach((rowShare, down) => {
      const at = (start + down) * from.width;
      for (let x = 0; x < to.width; x++) {
        const column = columns[x];
        let sum = 0;
        for (let k = 0; k < column.shares.length; k++) {
          sum += luma[at + column.start + k] * column.shares[k];
        }
        sums[x] += sum * rowShare;
      }
    });
    for (let x = 0; x < to.width; x++) result[row * to.width + x] = roundHalfEven(sums[x]);
  });
  return result;
}

/** For each pixel of the wanted side: four pixels of the other one, and their weights. */
function cubicWeights(length, wanted) {
  const a = -0.75;
  const near = (t) => ((a + 2) * t - (a + 3)) * t * t + 1;
  const far = (t) => ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
  return Array.from({ length: wanted }, (_, pixel) => {
    const center = (pixel + 0.5) * (length / wanted) - 0.5;
    const floor = Math.floor(center);
    const t = center - floor;
    const weights = [far(1 + t), near(t), near(1 - t)];
    weights.push(1 - weights[0] - weights[1] - weights[2]);
    return {
      pixels: [-1, 0, 1, 2].map((step) => Math.min(Math.max(floor + step, 0), length - 1)),
      weights,
    };
  });
}

function resizeCubic(luma, from, to) {
  const columns = cubicWeights(from.width, to.width);
  const rows = cubicWeights(from.height, to.height);
  const wide = new Float64Array(to.width * from.height);
  for (let y = 0; y < from.height; y++) {
    columns.forEach(({ pixels, weights }, x) => {
      let sum = 0;
      for (let k = 0; k < 4; k++) sum += luma[y * from.width + pixels[k]] * weights[k];
      wide[y * to.width + x] = sum;
    });
  }
  const result = new Uint8ClampedArray(to.width * to.height);
  rows.forEach(({ pixels, weights }, y) => {
    for (let x = 0; x < to.width; x++) {
      let sum = 0;
      for (let k = 0; k < 4; k++) sum += wide[pixels[k] * to.width + x] * weights[k];
      result[y * to.width + x] = roundHalfEven(sum);
    }
  });
  return new Uint8Array(result.buffer);
}

/** Mirrored at the lower and right edge, up to sizes that the network can halve. */
export function pad(small, { width, height }) {
  const size = { width: paddedSide(width), height: paddedSide(height) };
  const padded = new Float32Array(size.width * size.height);
  for (let y = 0; y < size.height; y++) {
    const row = mirrored(y, height) * width;
    for (let x = 0; x < size.width; x++) {
      padded[y * size.width + x] = small[row + mirrored(x, width)];
    }
  }
  return { padded, size };
}

/** The upper left part of planes, as many as there are. */
export function crop(planes, from, to) {
  const count = planes.length / (from.width * from.height);
  const cropped = new Float32Array(count * to.width * to.height);
  for (let line = 0; line < count * to.height; line++) {
    const plane = Math.floor(line / to.height);
    const start = (plane * from.height + (line % to.height)) * from.width;
    cropped.set(planes.subarray(start, start + to.width), line * to.width);
  }
  return cropped;
}

function paddedSide(side) {
  return Math.ceil(side / STRIDE) * STRIDE;
}

function mirrored(index, length) {
  if (length === 1) return 0;
  const period = 2 * (length - 1);
  const rest = index % period;
  return rest < length ? rest : period - rest;
}

/** The maps a and b of red and of blue with difference = a * luma + b, as {ra, rb, ba, bb}. */
export function colorMaps(small, chroma, size) {
  const pixels = size.width * size.height;
  const [ra, rb] = fit(small, chroma.subarray(pixels), CR_SCALE, size);
  const [ba, bb] = fit(small, chroma.subarray(0, pixels), CB_SCALE, size);
  return { ra, rb, ba, bb };
}

function fit(small, chroma, scale, size) {
  const difference = Float32Array.from(small, (_, k) => chroma[k] * scale);
  const product = (other) => Float32Array.from(small, (value, k) => value * other[k]);
  const meanLuma = mean(small, size);
  const meanDifference = mean(difference, size);
  const meanProduct = mean(product(difference), size);
  const meanSquare = mean(product(small), size);
  const slope = Float32Array.from(small, (_, k) => {
    const covariance = meanProduct[k] - meanLuma[k] * meanDifference[k];
    return covariance / (meanSquare[k] - meanLuma[k] ** 2 + EPSILON);
  });
  const a = mean(slope, size);
  return [a, difference.map((value, k) => value - a[k] * small[k])];
}

/** The mean of the squares around each pixel; beyond the edge lies what is within it. */
function mean(values, { width, height }) {
  const inside = (index, length) => {
    const folded = index < 0 ? -1 - index : index >= length ? 2 * length - 1 - index : index;
    return Math.min(Math.max(folded, 0), length - 1);
  };
  const means = new Float32Array(values.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let dy = -RADIUS_PX; dy <= RADIUS_PX; dy++) {
        const row = inside(y + dy, height) * width;
        for (let dx = -RADIUS_PX; dx <= RADIUS_PX; dx++) sum += values[row + inside(x + dx, width)];
      }
      means[y * width + x] = sum / (2 * RADIUS_PX + 1) ** 2;
    }
  }
  return means;
}

/** What colors rows of a photo: a function of (luma, top, bottom, rgba), which fills RGBA of the
 * rows top to bottom from the whole luma and leaves the opacity as it is. */
export function rowColorer(maps, small, photo) {
  const { width, height } = photo;
  const names = ["ra", "rb", "ba", "bb"];
  const wide = names.map((name) => enlargeColumns(maps[name], small, width, name[1] === "b"));
  const row = names.map(() => new Float32Array(width));
  const [ra, rb, ba, bb] = row;
  const [wr, wg, wb] = WEIGHTS;
  return (luma, top, bottom, rgba) => {
    let out = 0;
    for (let y = top; y < bottom; y++) {
      const center = (y + 0.5) * (small.height / height) - 0.5;
      const clipped = Math.min(Math.max(center, 0), small.height - 1);
      const above = Math.floor(clipped);
      const below = Math.min(above + 1, small.height - 1);
      const share = clipped - above;
      wide.forEach((plane, k) => {
        const from = above * width;
        const to = below * width;
        for (let x = 0; x < width; x++) {
          row[k][x] = plane[from + x] + (plane[to + x] - plane[from + x]) * share;
        }
      });
      const at = y * width;
      for (let x = 0; x < width; x++, out += 4) {
        const level = luma[at + x];
        const red = ra[x] * level + rb[x];
        const blue = ba[x] * level + bb[x];
        const green = -(wr * red + wb * blue) / wg;
        const largest = Math.max(red, green, blue) + 255e-6;
        const smallest = 255e-6 - Math.min(red, green, blue);
        const factor = Math.min((255 - level) / largest, level / smallest, 1);
        const rounded = level + 0.5;
        rgba[out] = Math.floor(red * factor + rounded);
        rgba[out + 1] = Math.floor(green * factor + rounded);
        rgba[out + 2] = Math.floor(blue * factor + rounded);
      }
    }
  };
}

function enlargeColumns(values, small, width, inLevels) {
  const scale = inLevels ? 255 : 1;
  const wide = new Float32Array(width * small.height);
  for (let x = 0; x < width; x++) {
    const center = (x + 0.5) * (small.width / width) - 0.5;
    const clipped = Math.min(Math.max(center, 0), small.width - 1);
    const left = Math.floor(clipped);
    const right = Math.min(left + 1, small.width - 1);
    const share = clipped - left;
    for (let y = 0; y < small.height; y++) {
      const from = values[y * small.width + left];
      const to = values[y * small.width + right];
      wide[y * width + x] = (from + (to - from) * share) * scale;
    }
  }
  return wide;
}

/** The gray version, of RGBA of 8 bits, as OpenCV's COLOR_RGB2GRAY rounds it. */
export function lumaOf(rgba, luma, start) {
  for (let k = 0, at = start; k < rgba.length; k += 4, at++) {
    luma[at] = (rgba[k] * 9798 + rgba[k + 1] * 19235 + rgba[k + 2] * 3735 + 16384) >> 15;
  }
}

/** Chroma of RGB in 0 to 1, three planes to two: for networks that predict RGB. */
export function chromaOfRgb(rgb) {
  const pixels = rgb.length / 3;
  const chroma = new Float32Array(2 * pixels);
  for (let k = 0; k < pixels; k++) {
    const [red, green, blue] = [rgb[k], rgb[pixels + k], rgb[2 * pixels + k]];
    const luma = WEIGHTS[0] * red + WEIGHTS[1] * green + WEIGHTS[2] * blue;
    chroma[k] = (blue - luma) / CB_SCALE;
    chroma[pixels + k] = (red - luma) / CR_SCALE;
  }
  return chroma;
}
