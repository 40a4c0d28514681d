// Likely colors of a place: flowercolor/hints/proposals.py, and of palette.py what it needs, in
// JavaScript. `seen` and hints are as in hints.js; a region is a share of 0 to 1 for each pixel.

import { HINT_CHANNELS, chromaOf, colorOf, likeness, rgbOf, spread } from "./hints.js";

const HUES = 12;
const WEAKEST = 0.035;
const STRONG = 0.13;
const STRENGTHS = [(WEAKEST + STRONG) / 2, 0.24];
const BINS = 1 + 2 * HUES;
const REGIONS = 16;
const COVERED = 0.5;
const INSIDE = 0.5;
const SMALLEST = 1 / 400;
const LEAST_SHARE = 1 / 100;
const LEAST_LIKELY = 0.001;
const FOLIAGE = 1 / 3;
const LEAST_LIKELY_OF_FOLIAGE = 0.05;
const LEAST_APART_LEVELS = 15;
const NEAR_LUMA = 0.1;
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

/** The pixel of the part of a photo whose color is least certain; what is like the settled pixels
 * is certain. */
export function leastCertain(seen, settled, likely = probabilities(seen)) {
  const { luma, size } = seen;
  const weight = new Float32Array(luma.length);
  for (let k = 0; k < weight.length; k++) {
    let [square, cb, cr] = [0, 0, 0];
    likely.forEach((plane, bin) => {
      const [x, y] = MIDDLES[bin];
      square += plane[k] * (x * x + y * y);
      cb += plane[k] * x;
      cr += plane[k] * y;
    });
    weight[k] = square - cb * cb - cr * cr;
  }
  for (const at of settled) {
    likeness(seen, at).forEach((alike, k) => (weight[k] *= 1 - alike));
  }
  const center = new Float32Array(luma.length);
  for (let k = 0; k < weight.length; k++) {
    const place = (index, side) => (side > 1 ? (2 * index) / (side - 1) - 1 : -1);
    const down = place(Math.floor(k / size.width), size.height);
    const right = place(k % size.width, size.width);
    center[k] = Math.exp(-(down ** 2 + right ** 2));
    const green = likely.reduce((total, plane, bin) => total + (isGreen(bin) ? plane[k] : 0), 0);
    weight[k] *= center[k] * (1 - green);
  }
  const found = regions(seen).filter((member) => sum(member) / member.length >= LEAST_SHARE);
  if (!found.length) {
    return Math.floor(size.height / 2) * size.width + Math.floor(size.width / 2);
  }
  const uncertainty = (member) => weighted(weight, member) * sum(member);
  const scores = found.map(uncertainty);
  const member = found[scores.indexOf(Math.max(...scores))];
  // Deep inside, and neither in shadow nor in glare: there every color has room.
  const depth = depths(member.map((share) => share > INSIDE), size);
  const half = depth.reduce((most, value) => Math.max(most, value), 0) / 2;
  const level = weighted(luma, member);
  return largest(
    depth.map((value, k) =>
      Math.min(value, half) * Math.exp(-Math.abs(luma[k] - level) / NEAR_LUMA) * member[k] * center[k],
    ),
  );
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

/** The parts of a photo that a hint would color as one. */
function regions(seen) {
  const { size } = seen;
  const left = new Float32Array(seen.luma.length).fill(1);
  const found = [];
  for (let count = 0; count < REGIONS; count++) {
    const depth = depths(left.map((share) => share > COVERED), size);
    const at = largest(depth);
    if (depth[at] < 2) break;
    const alike = likeness(seen, at);
    const member = alike.map((share, k) => Math.min(share, left[k]));
    alike.forEach((share, k) => (left[k] = Math.min(left[k], 1 - share)));
    left[at] = 0;
    if (sum(member) / member.length >= SMALLEST) found.push(member);
    const [row, column] = [Math.floor(at / size.width), at % size.width];
    for (let y = Math.max(0, row - 1); y < Math.min(row + 2, size.height); y++) {
      left.fill(0, y * size.width + Math.max(0, column - 1), y * size.width + Math.min(column + 2, size.width));
    }
  }
  return found;
}

/** The distance of each inner pixel to the nearest outer one, by steps of 0.955 and 1.3693, as
 * OpenCV's distanceTransform with a mask of 3 takes them. */
function depths(inside, { width, height }) {
  const depth = Float32Array.from(inside, (is) => (is ? 1e6 : 0));
  const pass = (rows, columns, step) => {
    for (const y of rows) {
      for (const x of columns) {
        const k = y * width + x;
        const take = (dx, dy, cost) => {
          if (x + dx < 0 || x + dx >= width || y + dy < 0 || y + dy >= height) return;
          depth[k] = Math.min(depth[k], depth[k + dy * width + dx] + cost);
        };
        take(-step, 0, 0.955);
        take(0, -step, 0.955);
        take(-1, -step, 1.3693);
        take(1, -step, 1.3693);
      }
    }
  };
  const [rows, columns] = [[...Array(height).keys()], [...Array(width).keys()]];
  pass(rows, columns, 1);
  pass(rows.reverse(), columns.reverse(), -1);
  return depth;
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

function largest(values) {
  return values.reduce((best, value, k) => (value > values[best] ? k : best), 0);
}
