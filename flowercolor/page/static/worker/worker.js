// All that takes long, beside the page: decoding, the network, coloring, encoding. Each message
// {call, method, parameters} is answered by {call, result} or {call, error, unread}; one at a time.

import { PhotoError, decode } from "./decoding.js";
import { encode } from "./encoding.js";
import { chromaOf, pixelAt, spread } from "./hints.js";
import { Network } from "./network.js";
import { leastCertain, probabilities, propose } from "./proposals.js";
import { colorMaps, rowColorer, shrink, workingSize } from "./upsampling.js";

const PREVIEW_PIXELS = 1.5e6;
const THUMBNAIL_PX = 160;
const TILE_PX = 280;
const MAX_THREADS = 4;
const KEPT = 20; // photos with their features, of some 4 MB each

let network;
let maxPixels;
const photos = new Map(); // by number, what coloring again needs: little beside the photo itself
let recent = []; // those of which the colors and features are at hand, the last used last

const methods = {
  /** Load what computes. An asset is {url}, or {base64} of what stands in the page itself. */
  async start({ about, assets }) {
    const [skeleton, weights, wasm] = await Promise.all([
      content(assets.skeleton),
      content(assets.weights),
      content(assets.wasm).then(unpacked),
    ]);
    const ort = await import(await moduleUrl(assets.ort));
    ort.env.wasm.wasmBinary = wasm.buffer;
    ort.env.wasm.numThreads = self.crossOriginIsolated
      ? Math.min(MAX_THREADS, navigator.hardwareConcurrency)
      : 1;
    network = new Network(ort, about, skeleton, weights);
    maxPixels = about.max_megapixels * 1e6;
    return {};
  },

  /** Read a photo: its size, what to know of it, and its preview in gray. A file that the browser
   * cannot read is an error that says so. */
  async open({ number, file }) {
    const { size, luma, alpha, ...kind } = await decode(file, maxPixels);
    const smallSize = workingSize(size);
    const small = Float32Array.from(shrink(luma, size, smallSize), (level) => level / 255);
    const photo = { small, smallSize, preview: preview(luma, alpha, size), chroma: null, extreme: kind.extreme };
    photos.set(number, photo);
    return { size, ...kind, preview: grayPixels(photo.preview) };
  },

  /** The preview in color. */
  async render({ number, edit }) {
    const photo = await predicted(number, edit);
    return pixels(photo.preview, colorRows(photo, edit, photo.preview.size));
  },

  /** The preview in gray. */
  gray({ number }) {
    return grayPixels(photos.get(number).preview);
  },

  /** What a list of photos shows. */
  async thumbnail({ number, edit }) {
    const photo = await predicted(number, edit);
    const tile = reduced(photo.preview, THUMBNAIL_PX);
    const canvas = new OffscreenCanvas(tile.size.width, tile.size.height);
    canvas.getContext("2d").putImageData(pixels(tile, colorRows(photo, edit, tile.size)), 0, 0);
    return canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 });
  },

  /** Likely colors of a place, in view of the other hints. */
  async suggest({ number, edit, place, count }) {
    const seen = seenWith(await predicted(number, edit), edit);
    return propose(seen, count, pixelAt(place, seen.size));
  },

  /** The photo as it is and with other likely colors, as {hint, pixels}; the first has no hint. */
  async variants({ number, edit, count }) {
    const photo = await predicted(number, edit);
    if (photo.extreme) return []; // all would be alike
    const seen = seenWith(photo, edit);
    const likely = probabilities(seen);
    const settled = edit.hints.map((place) => pixelAt(place, seen.size));
    const at = leastCertain(seen, settled, likely);
    const { width, height } = seen.size;
    const place = {
      x: rounded(((at % width) + 0.5) / width),
      y: rounded((Math.floor(at / width) + 0.5) / height),
    };
    const colors = propose(seen, count - 1, at, likely);
    const hints = [null, ...colors.map((color) => ({ ...place, color }))];
    const tile = reduced(photo.preview, TILE_PX);
    return hints.map((hint) => {
      const led = { ...edit, hints: hint ? [...edit.hints, hint] : edit.hints };
      return { hint, pixels: pixels(tile, colorRows(photo, led, tile.size)) };
    });
  },

  /** The photo in color at its full size, as a file. It is read again: full lumas are not kept. */
  async save({ number, file, edit, format, software }) {
    const photo = await predicted(number, edit);
    const whole = await decode(file, maxPixels);
    return encode(whole, colorRows(photo, edit, whole.size), format, software);
  },
};

self.onmessage = async ({ data: { call, method, parameters } }) => {
  try {
    const result = await methods[method](parameters);
    const moved = result instanceof ImageData ? [result.data.buffer] : [];
    self.postMessage({ call, result }, moved);
  } catch (error) {
    const plain = error instanceof PhotoError;
    const message = plain ? error.message : `could not be colored (${error?.message ?? error}).`;
    self.postMessage({ call, error: message, unread: error?.unread });
  }
};

/** A photo with its colors at the edit's place of the vividness scale, from the network if need be. */
async function predicted(number, { vividness }) {
  const photo = photos.get(number);
  if (!photo.chroma || photo.vividness !== vividness) {
    const { chroma, features } = await network.predict(photo.small, photo.smallSize, vividness);
    Object.assign(photo, { chroma, features, vividness });
  }
  recent = [...recent.filter((other) => other !== photo), photo];
  for (const old of recent.splice(0, recent.length - KEPT)) old.chroma = old.features = null;
  return photo;
}

function colorRows(photo, edit, size) {
  const { luma, chroma } = seenWith(photo, edit);
  if (photo.extreme) chroma.fill(0); // reduced, it has grays, whose colors no result has
  return rowColorer(colorMaps(luma, chroma, photo.smallSize), photo.smallSize, size);
}

/** The photo as the network saw it, its chroma at its strength and led by the hints. */
function seenWith({ small, smallSize, chroma, features }, { strength, hints }) {
  const stronger = chroma.map((value) => value * strength);
  const seen = { size: smallSize, luma: small, chroma: stronger, features };
  if (!hints.length) return seen;
  const placed = hints.map((hint) => ({
    at: pixelAt(hint, smallSize),
    chroma: hint.color ? chromaOf(hint.color) : [0, 0],
  }));
  return { ...seen, chroma: spread(seen, placed) };
}

function rounded(share) {
  return Math.round(1000 * share) / 1000;
}

function preview(luma, alpha, size) {
  const sidePx = Math.sqrt(PREVIEW_PIXELS / (size.width * size.height)) * Math.max(size.width, size.height);
  return reduced({ luma, alpha, size }, sidePx);
}

/** A photo whose longer side is this long, or its own where it is shorter. */
function reduced({ luma, alpha, size }, sidePx) {
  const scale = sidePx / Math.max(size.width, size.height);
  if (scale >= 1) return { size, luma, alpha };
  const side = (length) => Math.max(1, Math.round(length * scale));
  const to = { width: side(size.width), height: side(size.height) };
  return { size: to, luma: shrink(luma, size, to), alpha: alpha && shrink(alpha, size, to) };
}

function pixels({ size, luma, alpha }, fill) {
  const rgba = new Uint8ClampedArray(4 * luma.length).fill(255);
  fill(luma, 0, size.height, rgba);
  alpha?.forEach((opacity, k) => (rgba[4 * k + 3] = opacity));
  return new ImageData(rgba, size.width, size.height);
}

function grayPixels(photo) {
  return pixels(photo, (luma, _top, _bottom, rgba) => {
    luma.forEach((level, k) => rgba.fill(level, 4 * k, 4 * k + 3));
  });
}

async function content(asset) {
  if (asset.base64 === undefined) {
    const response = await fetch(asset.url);
    if (!response.ok) throw new Error(`${asset.url}: ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  }
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(asset.base64);
  const text = atob(asset.base64);
  return Uint8Array.from(text, (_, k) => text.charCodeAt(k));
}

async function moduleUrl(asset) {
  if (asset.base64 === undefined) return asset.url;
  const blob = new Blob([await content(asset)], { type: "text/javascript" });
  return URL.createObjectURL(blob);
}

async function unpacked(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
