// How a color that a person gives spreads: flowercolor/hints/attention.py and spreading.py in
// JavaScript. `seen` is a photo as the network saw it: {size, luma in 0 to 1, chroma [2, h, w],
// features [C, h, w]}. A placed hint is {at: index of its pixel, chroma: [Cb, Cr]}.

const RANGES = [3, 30, 300];
const HEAD_CHANNELS = 8;
const KEY_CHANNELS = HEAD_CHANNELS * RANGES.length;
const PIN = 8;
const SHARPNESS = 1.5;
const GAMMA = 0.2;
export const HINT_CHANNELS = KEY_CHANNELS + RANGES.length + 1;

/** The index of the pixel of the small copy at a place, {x, y} in shares of the sides. */
export function pixelAt({ x, y }, { width, height }) {
  const index = (share, side) => Math.min(Math.max(Math.floor(share * side), 0), side - 1);
  return index(y, height) * width + index(x, width);
}

/** Cb and Cr of "#rrggbb". */
export function chromaOf(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16) / 255);
  const luma = 0.299 * red + 0.587 * green + 0.114 * blue;
  return [(blue - luma) / 1.772, (red - luma) / 1.402];
}

/** "#rrggbb" of a chroma at a luma of 0 to 1, the chroma weakened until it fits. */
export function colorOf(luma, chroma) {
  const levels = rgbOf(luma, chroma).map((value) => Math.min(Math.max(Math.round(255 * value), 0), 255));
  return `#${levels.map((level) => level.toString(16).padStart(2, "0")).join("")}`;
}

/** Red, green and blue in 0 to 1 of a chroma at a luma, the chroma weakened until it fits. */
export function rgbOf(luma, [cb, cr]) {
  const [red, blue] = [1.402 * cr, 1.772 * cb];
  const differences = [red, -(0.299 * red + 0.114 * blue) / 0.587, blue];
  const rooms = differences.map(
    (difference) => (difference > 0 ? 1 - luma : luma) / Math.max(Math.abs(difference), 1e-6),
  );
  const factor = Math.min(1, ...rooms);
  return differences.map((difference) => luma + difference * factor);
}

const known = new WeakMap(); // by the features of a photo: weights by pixel
const MOST_KNOWN = 100;

/** How strongly a hint at a pixel draws each pixel, beside leaving it as it is. */
function weightsOf(seen, at) {
  if (!known.has(seen.features)) known.set(seen.features, new Map());
  const weights = known.get(seen.features);
  if (weights.size > MOST_KNOWN) weights.clear();
  if (!weights.has(at)) weights.set(at, computeWeights(seen, at));
  return weights.get(at);
}

function computeWeights({ size, features }, at) {
  const pixels = size.width * size.height;
  const [row, column] = [Math.floor(at / size.width), at % size.width];
  const weights = new Float32Array(pixels);
  const exponents = new Float32Array(pixels);
  RANGES.forEach((decay, head) => {
    exponents.fill(0);
    for (let channel = head * HEAD_CHANNELS; channel < (head + 1) * HEAD_CHANNELS; channel++) {
      const plane = features.subarray(channel * pixels, (channel + 1) * pixels);
      const key = plane[at];
      for (let k = 0; k < pixels; k++) exponents[k] += (plane[k] - key) ** 2;
    }
    const bias = (KEY_CHANNELS + head) * pixels;
    for (let k = 0, y = 0; y < size.height; y++) {
      for (let x = 0; x < size.width; x++, k++) {
        const distance2 = (y - row) ** 2 + (x - column) ** 2;
        const bounded = Math.min(Math.max(features[bias + k], -10), 10);
        weights[k] += Math.exp(bounded - exponents[k] - (decay / pixels) * distance2);
        if (head === 0 && distance2 < 200) weights[k] += Math.exp(PIN * Math.exp(-0.5 * distance2)) - 1;
      }
    }
  });
  return weights;
}

/** How far a hint at a pixel would move each pixel, 0 to 1. */
export function likeness(seen, at) {
  return weightsOf(seen, at).map((weight) => {
    const followed = SHARPNESS * weight ** SHARPNESS;
    return followed / (followed + 1);
  });
}

/** The chroma where hints lead it; it may leave the gamut. */
export function spread(seen, hints) {
  const { luma, chroma, features } = seen;
  if (!hints.length) return chroma;
  const pixels = luma.length;
  const shading = luma.map((level) => (level + 0.1) ** GAMMA);
  const drawn = new Float32Array(pixels); // by all hints together
  const agreed = new Float32Array(pixels); // of that, by hints of the hue that is there
  const hinted = new Float32Array(2 * pixels);
  const shifted = new Float32Array(2 * pixels);
  for (const { at, chroma: wanted } of hints) {
    const weights = weightsOf(seen, at);
    const own = [chroma[at], chroma[pixels + at]];
    const dot = (a, b) => a[0] * b[0] + a[1] * b[1];
    const larger = Math.max(Math.hypot(...wanted), Math.hypot(...own));
    const agreement = Math.min(
      Math.max(dot(wanted, own) / (Math.hypot(...own) * larger + 1e-8), 0),
      1,
    );
    for (let k = 0; k < pixels; k++) {
      drawn[k] += weights[k];
      agreed[k] += agreement * weights[k];
    }
    for (const plane of [0, 1]) {
      const start = plane * pixels;
      const to = wanted[plane] / shading[at];
      const from = (agreement * own[plane]) / shading[at];
      for (let k = 0; k < pixels; k++) {
        hinted[start + k] += to * weights[k];
        shifted[start + k] += from * weights[k];
      }
    }
  }
  return chroma.map((value, index) => {
    const k = index % pixels;
    const followed = SHARPNESS * drawn[k] ** SHARPNESS;
    const factor = followed / (drawn[k] * (followed + 1) + 1e-12);
    const blend = Math.min(Math.max(features[(HINT_CHANNELS - 1) * pixels + k], -10), 10);
    const share = 1 / (1 + Math.exp(-blend));
    const shade = shading[k] * factor;
    return value + hinted[index] * shade - share * shifted[index] * shade
      - (drawn[k] - share * agreed[k]) * factor * value;
  });
}
