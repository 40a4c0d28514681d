// Likely colors of a place: flowercolor/hints/proposals.py, and of palette.py what it needs, in
// JavaScript. `seen` and hints are as in hints.js; a region is a share of 0 to 1 for each pixel.

import { HINT_CHANNELS, chromaOf, colorOf, likeness, rgbOf, spread } from "./hints.js";

const HUES = 12;
const WEAKEST = 0.035;
const STRONG = 0.13;
const STRENGTHS = [(WEAKEST + STRONG) / 2, 0.24];
const BINS = 1 + 2 * HUES;
const INSIDE = 0.5;
const STEP = 4; // in pixels of every second one, between the places that are tried
const LEAST_SHARE = 1 / 100;
const LEAST_LIKELY = 0.001;
const FOLIAGE = 1 / 3;
const LEAST_LIKELY_OF_FOLIAGE = 0.05;
const LEAST_APART_LEVELS = 15;
const NOTHING = 1e-3; // a share of a region that does not count
const isGreen = (bin) => bin > 0 && (bin - 1) % HUES >= 7 && (bin - 1) % HUES <= 10;
const MIDDLES = Array.from({ length: BINS }, (_, bin) => {
  if (bin === 0) return [0, 0];
  const hue = (bin - 1) % HUES;
  // From greenish to pure yellow.
  const angle = hue * ((2 * Math.PI) / HUES) - (hue === HUES / 2 ? Math.PI / 18 : 0);
  const strength = STRENGTHS[Math.floor((bin - 1) / HUES)];
  return [strength * Math.cos(angle), strength * Math.sin(angle)];
});

const sum = (values) => values.reduce((total, value) => total + value, 0);

/** Colors that a pixel's region may have had, likeliest first, as "#rrggbb"; they differ from each
 * other and from what is there. */
export function propose(seen, count, at, likely = probabilities(seen)) {
  const region = likeness(seen, at);
  const shares = likely.map((plane) => weighted(plane, region));
  const chromas = binChromas(seen, region);
  const shown = [shownIn(seen, region, seen.chroma)];
  const colors = [];
  const order = shares.map((_, bin) => bin).sort((a, b) => shares[b] - shares[a]);
  const isFoliage = sum(shares.filter((_, bin) => isGreen(bin))) > FOLIAGE;
  for (const bin of order) {
    if (colors.length === count) break;
    if (shares[bin] < (isFoliage ? LEAST_LIKELY_OF_FOLIAGE : LEAST_LIKELY)) break;
    if (isGreen(bin) && !isFoliage) continue;
    const color = colorOf(seen.luma[at], chromas[bin]);
    const moved = shownIn(seen, region, spread(seen, [{ at, chroma: chromaOf(color) }]));
    if (shown.every((other) => levelsApart(moved, other) >= LEAST_APART_LEVELS)) {
      shown.push(moved);
      colors.push(color);
    }
  }
  return colors;
}

/** The pixel by which a hint would settle the most; what is like the settled pixels is certain. */
export function leastCertain(seen, settled, likely = probabilities(seen)) {
  const { luma, size } = seen;
  const uncertain = new Float32Array(luma.length);
  for (let k = 0; k < uncertain.length; k++) {
    let [square, cb, cr, green] = [0, 0, 0, 0];
    likely.forEach((plane, bin) => {
      const [x, y] = MIDDLES[bin];
      square += plane[k] * (x * x + y * y);
      cb += plane[k] * x;
      cr += plane[k] * y;
      if (isGreen(bin)) green += plane[k];
    });
    const place = (index, side) => (side > 1 ? (2 * index) / (side - 1) - 1 : -1);
    const down = place(Math.floor(k / size.width), size.height);
    const right = place(k % size.width, size.width);
    const deviation = Math.sqrt(Math.max(square - cb * cb - cr * cr, 0));
    uncertain[k] = deviation * Math.exp(-(down ** 2 + right ** 2)) * (1 - green) ** 2;
  }
  for (const at of settled) {
    likeness(seen, at).forEach((alike, k) => (uncertain[k] *= 1 - alike));
  }
  // Every second pixel each way tells as much, in a quarter of the time.
  const half = { width: Math.ceil(size.width / 2), height: Math.ceil(size.height / 2) };
  const coarse = { size: half, features: everySecond(seen.features, size) };
  // Black and white have no room for a color.
  const room = everySecond(luma, size).map((level) => level * (1 - level));
  const weight = everySecond(uncertain, size).map((value, k) => value * room[k]);
  let found = Math.floor(size.height / 2) * size.width + Math.floor(size.width / 2);
  let most = 0;
  for (let y = Math.min(2, Math.floor(size.height / 4)); y < half.height; y += STEP) {
    for (let x = Math.min(2, Math.floor(size.width / 4)); x < half.width; x += STEP) {
      const at = y * half.width + x;
      const alike = likeness(coarse, at);
      const settles = sum(alike.map((share, k) => share * weight[k])) * room[at];
      if (settles > most && sum(alike) / alike.length >= LEAST_SHARE) {
        [found, most] = [2 * y * size.width + 2 * x, settles];
      }
    }
  }
  return found;
}

/** Each plane of a picture without every second row and column. */
function everySecond(planes, { width, height }) {
  const [columns, rows] = [Math.ceil(width / 2), Math.ceil(height / 2)];
  const kept = new Float32Array((planes.length / (width * height)) * rows * columns);
  for (let k = 0; k < kept.length; k++) {
    const row = Math.floor(k / columns); // through all planes
    const [plane, y] = [Math.floor(row / rows), row % rows];
    kept[k] = planes[(plane * height + 2 * y) * width + 2 * (k % columns)];
  }
  return kept;
}

/** How likely each bin of chroma is at each pixel, a plane for each bin. */
export function probabilities({ features, luma }) {
  const pixels = luma.length;
  const planes = Array.from({ length: BINS }, (_, bin) => {
    const start = (HINT_CHANNELS + bin) * pixels;
    return features.slice(start, start + pixels);
  });
  for (let k = 0; k < pixels; k++) {
    let most = -Infinity;
    for (const plane of planes) most = Math.max(most, plane[k]);
    let total = 0;
    for (const plane of planes) total += plane[k] = Math.exp(plane[k] - most);
    for (const plane of planes) plane[k] /= total;
  }
  return planes;
}

/** What stands for each bin: the photo's own chroma of it in the region, or its middle. */
function binChromas({ chroma, luma }, region) {
  const pixels = luma.length;
  const sums = Array.from({ length: BINS }, () => [0, 0, 0]);
  for (let k = 0; k < pixels; k++) {
    if (region[k] <= INSIDE) continue;
    const [cb, cr] = [chroma[k], chroma[pixels + k]];
    const own = sums[binOf(cb, cr)];
    own[0] += cb;
    own[1] += cr;
    own[2]++;
  }
  return sums.map(([cb, cr, count], bin) => {
    if (bin > 0 && count / pixels > LEAST_SHARE / 4) return [cb / count, cr / count];
    return MIDDLES[bin];
  });
}

function binOf(cb, cr) {
  const strength = Math.hypot(cb, cr);
  if (strength < WEAKEST) return 0;
  const hue = Math.round(Math.atan2(cr, cb) * (HUES / (2 * Math.PI)));
  return 1 + ((hue + HUES) % HUES) + (strength >= STRONG ? HUES : 0);
}

/** The colors of a region as they are shown, each with its share of the region. */
function shownIn({ luma }, region, chroma) {
  const colors = [];
  for (let k = 0; k < luma.length; k++) {
    if (region[k] > NOTHING) {
      colors.push({ share: region[k], rgb: rgbOf(luma[k], [chroma[k], chroma[luma.length + k]]) });
    }
  }
  return colors;
}

/** The mean difference of the channels of two of those, in levels of 255. */
function levelsApart(colors, others) {
  let [difference, total] = [0, 0];
  colors.forEach(({ share, rgb }, k) => {
    const other = others[k].rgb;
    for (let channel = 0; channel < 3; channel++) {
      difference += (share * Math.abs(rgb[channel] - other[channel])) / 3;
    }
    total += share;
  });
  return (255 * difference) / total;
}

function weighted(values, weights) {
  let total = 0;
  for (let k = 0; k < values.length; k++) total += values[k] * weights[k];
  return total / sum(weights);
}
