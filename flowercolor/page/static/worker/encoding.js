// Colored photos to files: PNG put together here, strip by strip, JPEG by the browser.

const JPEG_QUALITY = 0.95;
const STRIP_PIXELS = 1 << 20;

/** The rows of a photo in strips of RGBA. */
function* strips({ size, luma, alpha }, colorRows) {
  const rows = Math.max(1, Math.floor(STRIP_PIXELS / size.width));
  for (let top = 0; top < size.height; top += rows) {
    const bottom = Math.min(top + rows, size.height);
    const rgba = new Uint8ClampedArray((bottom - top) * size.width * 4).fill(255);
    colorRows(luma, top, bottom, rgba);
    if (alpha) {
      for (let k = 3, at = top * size.width; k < rgba.length; k += 4, at++) rgba[k] = alpha[at];
    }
    yield { top, count: bottom - top, rgba };
  }
}

/** The file of a photo, "png" or "jpg", which says what colored it. */
export async function encode(photo, colorRows, format, software) {
  return format === "png"
    ? encodePng(photo, colorRows, software)
    : encodeJpeg(photo, colorRows, software);
}

async function encodeJpeg(photo, colorRows, software) {
  const canvas = new OffscreenCanvas(photo.size.width, photo.size.height);
  const context = canvas.getContext("2d", { alpha: false });
  for (const { top, count, rgba } of strips(photo, colorRows)) {
    if (photo.alpha) layOnWhite(rgba);
    context.putImageData(new ImageData(rgba, photo.size.width, count), 0, top);
  }
  const jpeg = await canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
  canvas.width = canvas.height = 0; // gives back its memory now
  return new Blob([jpeg.slice(0, 2), exifSegment(software), jpeg.slice(2)], { type: "image/jpeg" });
}

function layOnWhite(rgba) {
  for (let k = 0; k < rgba.length; k += 4) {
    const opacity = rgba[k + 3];
    for (let c = k; c < k + 3; c++) {
      rgba[c] = Math.floor((rgba[c] * opacity + 255 * (255 - opacity) + 127) / 255);
    }
    rgba[k + 3] = 255;
  }
}

/** An APP1 segment whose EXIF has one tag: Software, 0x0131. */
function exifSegment(software) {
  const text = new TextEncoder().encode(`${software}\0`);
  const segment = new DataView(new ArrayBuffer(36 + text.length));
  segment.setUint16(0, 0xffe1);
  segment.setUint16(2, 34 + text.length);
  [0x45786966, 0x00004d4d, 0x002a0000, 0x00080001, 0x01310002].forEach((word, k) => {
    segment.setUint32(4 + 4 * k, word); // "Exif", big-endian TIFF, one entry, of type ASCII
  });
  segment.setUint32(24, text.length);
  segment.setUint32(28, 26);
  new Uint8Array(segment.buffer).set(text, 36);
  return segment.buffer;
}

async function encodePng(photo, colorRows, software) {
  const { width, height } = photo.size;
  const channels = photo.alpha ? 4 : 3;
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8);
  header.setUint8(9, photo.alpha ? 6 : 2);
  const packer = new CompressionStream("deflate");
  const packed = new Response(packer.readable).arrayBuffer();
  const writer = packer.writable.getWriter();
  for (const { count, rgba } of strips(photo, colorRows)) {
    await writer.write(filtered(rgba, width, count, channels));
  }
  await writer.close();
  return new Blob(
    [
      Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
      ...chunk("IHDR", new Uint8Array(header.buffer)),
      ...chunk("sRGB", Uint8Array.of(0)),
      ...chunk("tEXt", new TextEncoder().encode(`Software\0${software}`)),
      ...chunk("IDAT", new Uint8Array(await packed)),
      ...chunk("IEND", new Uint8Array(0)),
    ],
    { type: "image/png" },
  );
}

/** Rows that say how each pixel differs from the one before: PNG's filter 1. */
function filtered(rgba, width, count, channels) {
  const rows = new Uint8Array(count * (1 + channels * width));
  let out = 0;
  for (let y = 0, at = 0; y < count; y++) {
    rows[out++] = 1;
    for (let x = 0; x < width; x++, at += 4) {
      for (let c = 0; c < channels; c++) {
        rows[out++] = rgba[at + c] - (x ? rgba[at + c - 4] : 0);
      }
    }
  }
  return rows;
}

function chunk(kind, data) {
  const name = new TextEncoder().encode(kind);
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, data.length);
  const checksum = new DataView(new ArrayBuffer(4));
  checksum.setUint32(0, crc32([name, data]));
  return [length.buffer, name, data, checksum.buffer];
}

let crcTable;

/** The checksum of PNG and ZIP over the parts. */
export function crc32(parts) {
  crcTable ??= Uint32Array.from({ length: 256 }, (_, value) => {
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    return value;
  });
  let crc = -1;
  for (const part of parts) {
    for (let k = 0; k < part.length; k++) crc = (crc >>> 8) ^ crcTable[(crc ^ part[k]) & 255];
  }
  return ~crc >>> 0;
}
