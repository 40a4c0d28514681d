// Files to lumas, with the browser's own decoders, and what those cannot read in plain words.

import { completeJpeg, damageOf } from "./damage.js";
import { orientationOf, upright } from "./turning.js";
import { lumaOf } from "./upsampling.js";

const STRIP_PIXELS = 1 << 20;
const SAMPLE_PX = 256;
const COLORED_CHROMA = 16; // as in flowercolor/photos/reader.py, and the next
const FAINT_CHROMA = 8;
const NEARLY_BLACK = 16; // as in flowercolor/inference/upsampling.py

// As BEGINNINGS in flowercolor/photos/formats.py: what else browsers know, such as icons, the command
// does not.
const PHOTO = /^(\xff\xd8\xff|\x89PNG|GIF8|BM|RIFF....WEBP|....ftyp(avi[fs]|hei[cx]|hevc|mif1|msf1))/s;

const COMMAND = "the command flowercolor colorize reads it, and so does flowercolor web";
const UNREADABLE = [
  [/^(II\*\0|MM\0\*|II\+\0|MM\0\+)/, `is a TIFF or a raw photo, which browsers do not read. Save it as PNG first; of a TIFF, ${COMMAND}.`],
  [/^....ftyp(heic|heix|hevc|mif1|msf1)/s, `is a HEIC photo, which this browser does not read. Save it as JPEG first; ${COMMAND}.`],
  [/^%PDF/, "is a PDF. Take the pictures out of it first, as JPEG or PNG."],
  [/^(8BPS|\0\0\0\x0cJXL |\xff\x0a|\0\0\0\x0cjP  )/, "is of a kind that browsers do not read. Save it as PNG or JPEG first."],
];

/** What a person should know of a file that could not be opened; `unread` where another program
 * may know its kind. */
export class PhotoError extends Error {
  constructor(message, unread = false) {
    super(message);
    this.unread = unread;
  }
}

/** The luma, uint8, of a file of so many pixels at most, upright, with its size and opacity, whether
 * it is in color, why it has no room for any, or "", whether it has 16 bits, and of what it has more
 * than one, or "".
 * @throws PhotoError */
export async function decode(file, maxPixels) {
  let head;
  try {
    head = new Uint8Array(await file.slice(0, 1 << 18).arrayBuffer());
  } catch {
    throw new PhotoError("cannot be opened any more. Was it moved or changed?");
  }
  if (!head.length) throw new PhotoError("is empty.");
  const start = String.fromCharCode(...head.subarray(0, 32));
  const stated = statedSize(head);
  if (stated) checkSize(stated, maxPixels);
  const { orientation, plain } = await orientationOf(file, head, start);
  let bitmap;
  try {
    if (!PHOTO.test(start)) throw new TypeError();
    bitmap = await createImageBitmap(plain);
  } catch {
    const whole = start.startsWith("\xff\xd8") && (await completeJpeg(file));
    if (whole) return decode(whole, maxPixels);
    const known = UNREADABLE.find(([pattern]) => pattern.test(start));
    const words = known?.[1] ?? "is damaged, or is no picture that this browser reads. Expected JPEG, PNG or WebP.";
    throw new PhotoError(words, true);
  }
  try {
    checkSize(bitmap, maxPixels);
    const damage = await damageOf(file, start, bitmap);
    if (damage) throw new PhotoError(`is damaged: ${damage}. Copy it again, or take another copy.`);
    bitmap = upright(bitmap, orientation);
    const several = (await hasFrames(file, head)) ? "several frames" : "";
    return { ...readPixels(bitmap), deep: stated?.bits === 16, several };
  } finally {
    bitmap.close();
  }
}

function checkSize({ width, height }, maxPixels) {
  if (width * height <= maxPixels) return;
  const megapixels = Math.ceil((width * height) / 1e6);
  throw new PhotoError(`has ${megapixels} megapixels, more than the ${maxPixels / 1e6} that the page has room for. Reduce it first, or use the command flowercolor colorize.`);
}

/** Strip by strip: nothing but the luma is there at full size beside the browser's own bitmap. */
function readPixels(bitmap) {
  const { width, height } = bitmap;
  const luma = new Uint8Array(width * height);
  let alpha = null;
  const rows = Math.max(1, Math.floor(STRIP_PIXELS / width));
  const canvas = new OffscreenCanvas(width, Math.min(rows, height));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  for (let top = 0; top < height; top += rows) {
    const count = Math.min(rows, height - top);
    context.clearRect(0, 0, width, count);
    context.drawImage(bitmap, 0, -top);
    const rgba = context.getImageData(0, 0, width, count).data;
    lumaOf(rgba, luma, top * width);
    for (let k = 3, at = top * width; k < rgba.length; k += 4, at++) {
      if (rgba[k] === 255 && !alpha) continue;
      alpha ??= new Uint8Array(width * height).fill(255);
      alpha[at] = rgba[k];
    }
  }
  const colors = colorsIn(sample(bitmap));
  return { size: { width, height }, luma, alpha, ...colors, extreme: withoutGrays(luma) };
}

/** What to say where nearly all of it is black or white, but for what JPEG makes of 1 bit; or "". */
function withoutGrays(luma) {
  let between = 0;
  let white = 0;
  for (let at = 0; at < luma.length; at++) {
    if (luma[at] >= 255 - NEARLY_BLACK) white++;
    else if (luma[at] > NEARLY_BLACK) between++;
  }
  if (between >= 0.01 * luma.length) return "";
  return white + between
    ? "only black and white, which leaves no room for color; scan it as gray"
    : "nearly black all over, which leaves no room for color; brighten it first";
}

function sample(bitmap) {
  const scale = Math.min(1, SAMPLE_PX / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * scale));
  const height = Math.max(1, Math.round(bitmap.height * scale));
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

/** Whether the photo is `colored`, or has `faint` or few colors: how far the chroma strays, in 1 %
 * of the pixels, from the quadratic function of the luma that fits it best. Sepia is no color. */
function colorsIn(rgba) {
  const pixels = rgba.length / 4;
  const luma = new Float64Array(pixels);
  const planes = [new Float64Array(pixels), new Float64Array(pixels)];
  for (let k = 0; k < pixels; k++) {
    const [red, green, blue] = rgba.subarray(4 * k, 4 * k + 3);
    const level = 0.299 * red + 0.587 * green + 0.114 * blue;
    luma[k] = level / 255;
    planes[0][k] = (red - level) * 0.713;
    planes[1][k] = (blue - level) * 0.564;
  }
  const strays = new Float64Array(pixels);
  for (const plane of planes) {
    const toning = quadraticFit(luma, plane);
    plane.forEach((value, k) => {
      strays[k] += (value - toning[0] - luma[k] * (toning[1] + luma[k] * toning[2])) ** 2;
    });
  }
  const share = (chroma) => strays.filter((stray) => stray > chroma ** 2).length / pixels;
  const strong = share(COLORED_CHROMA);
  const colored = strong > 0.01;
  return { colored, faint: !colored && (share(FAINT_CHROMA) > 0.01 || strong > 0.001) };
}

function quadraticFit(xs, ys) {
  const rows = [0, 1, 2].map(() => [0, 0, 0, 0]);
  xs.forEach((x, k) => {
    const powers = [1, x, x * x];
    powers.forEach((power, i) => {
      powers.forEach((other, j) => (rows[i][j] += power * other));
      rows[i][3] += power * ys[k];
    });
  });
  rows.forEach((row, i) => (row[i] += 1e-9 * xs.length)); // one tone alone fits many functions
  for (let i = 0; i < 3; i++) {
    for (let j = 0; j < 3; j++) {
      if (i === j) continue;
      const share = rows[j][i] / rows[i][i];
      rows[j] = rows[j].map((value, k) => value - share * rows[i][k]);
    }
  }
  return rows.map((row, i) => row[3] / row[i]);
}

/** Whether a file has several frames: as in flowercolor/photos/reader.py. */
async function hasFrames(file, head) {
  const text = new TextDecoder("latin1").decode(head);
  if (text.startsWith("GIF8")) return framesOf(new Uint8Array(await file.arrayBuffer())) > 1;
  if (text.startsWith("PNG", 1)) return /acTL(?!\0\0\0[\0\x01])/.test(text.split("IDAT", 1)[0]);
  if (text.startsWith("WEBPVP8X", 8)) return (head[20] & 2) > 0;
  return text.startsWith("ftypavis", 4);
}

/** How many frames a GIF has: it states neither their number nor, always, a loop or delays. */
function framesOf(gif) {
  const colorBytes = (flags) => (flags & 0x80 ? 6 << (flags & 7) : 0);
  let frames = 0;
  for (let at = 13 + colorBytes(gif[10]); gif[at] === 0x21 || gif[at] === 0x2c; at++) {
    if (gif[at] === 0x21) at += 2; // an extension
    else {
      frames++;
      at += 11 + colorBytes(gif[at + 9]);
    }
    while (gif[at]) at += 1 + gif[at]; // their parts, behind the length of each
  }
  return frames;
}

/** Width, height and bits that the head of a JPEG, PNG or WebP states; null if it does not. */
function statedSize(head) {
  const view = new DataView(head.buffer);
  const text = (at, length) => String.fromCharCode(...head.subarray(at, at + length));
  try {
    if (text(1, 3) === "PNG") {
      return { width: view.getUint32(16), height: view.getUint32(20), bits: view.getUint8(24) };
    }
    if (text(8, 8) === "WEBPVP8X") {
      const side = (at) => 1 + (view.getUint32(at, true) & 0xffffff);
      return { width: side(24), height: side(27) };
    }
    for (let at = 2; view.getUint16(0) === 0xffd8; ) {
      const marker = view.getUint16(at);
      if (marker >= 0xffc0 && marker <= 0xffcf && ![0xffc4, 0xffc8, 0xffcc].includes(marker)) {
        return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
      }
      at += 2 + view.getUint16(at + 2);
    }
  } catch {
    // The head is longer than what was read; the decoded picture has its size.
  }
  return null;
}
