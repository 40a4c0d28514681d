// What a browser's decoders pass over in damaged files, found as in flowercolor/photos/integrity.py.

const BLOCK_PX = 8; // of JPEG
const ZEROS = 32;
const ZEROS_OF_FLAT = 512;
const LOST_BYTES = 64;
const UNSENT = 16; // bits of a coefficient of which no scan has come
const MOST_FILLING_BYTES = 24_000_000;
const JPEG_END = new Uint8Array([0xff, 0xd9]);

/** What is wrong with a file that was decoded, or "".
 * @param start The first characters of it. */
export async function damageOf(file, start, bitmap) {
  if (start.startsWith("\xff\xd8")) {
    const content = new Uint8Array(await file.arrayBuffer());
    if (lacksScans(content)) return "some of its scans are missing";
    if (hasLostPart(content)) return "a part of its pixels is zeros";
    return (await isFilled(content, bitmap)) ? "its pixels end too early" : "";
  }
  const unchecked = /^RIFF....WEBP|^....ftypavi[fs]/s.test(start);
  return unchecked && (await endsInZeros(file, start, bitmap)) ? "it ends in zeros" : "";
}

/** A JPEG of one scan with the end that it lacks, where no pixel depends on what else is lost: whatever
 * would follow, the pixels come out the same. Else null. */
export async function completeJpeg(file) {
  const content = new Uint8Array(await file.arrayBuffer());
  const segments = [...segmentsOf(content)];
  const frame = segments.find(([marker]) => marker === 0xc0 || marker === 0xc1)?.[1];
  const scan = segments.find(([marker]) => marker === 0xda)?.[1];
  const zeros = content.at(-1) === 0 && content.at(-2) !== 0xff;
  if (!frame || frame[5] !== scan?.[0] || zeros) return null;
  const kept = content.at(-1) === 0xff ? content.subarray(0, -1) : content;
  const ended = (filling) => new Blob([kept, filling, JPEG_END]);
  const whole = ended(new Uint8Array());
  let bitmap;
  try {
    bitmap = await createImageBitmap(whole);
    for (const byte of [0, 0x55, 0xa7]) {
      const other = await createImageBitmap(ended(new Uint8Array(64).fill(byte)));
      const same = isSame(bitmap, other);
      other.close();
      if (!same) return null;
    }
    return whole;
  } catch {
    return null;
  } finally {
    bitmap?.close();
  }
}

function isSame(bitmap, other) {
  for (let top = 0; top < bitmap.height; top += BLOCK_PX) {
    const pixels = pixelsOf(other, 0, top, bitmap.width);
    if (pixelsOf(bitmap, 0, top, bitmap.width).some((value, k) => value !== pixels[k])) return false;
  }
  return true;
}

/** Whether a progressive JPEG ends before all its scans. Of components after the first, luma, no AC
 * coefficient needs to come: one that is gray may have been spared them. */
function lacksScans(content) {
  const missing = new Map(); // by component, the bits to come of each of 64 coefficients
  for (const [marker, body] of segmentsOf(content)) {
    const [count] = body; // of a scan's components
    if (marker === 0xc2) {
      for (let k = 0; k < body[5]; k++) missing.set(body[6 + 3 * k], Array(64).fill(UNSENT));
    } else if (marker === 0xda) {
      const [first, last, precision] = body.subarray(1 + 2 * count);
      for (let k = 0; k < count; k++) {
        missing.get(body[1 + 2 * k])?.fill(precision & 15, first, last + 1);
      }
    }
  }
  return [...missing.values()].some(
    ([dc, ...ac], number) =>
      dc || (ac.some(Boolean) && !(number && ac.every((bits) => bits === UNSENT))),
  );
}

/** Whether a JPEG has zeros within its pixels where their code stands for no flat picture. */
function hasLostPart(content) {
  const symbols = new Map(); // by table, what zeros stand for
  for (const [marker, body, start] of segmentsOf(content)) {
    if (marker >= 0xc3 && marker <= 0xcf && marker % 4) return false; // none of Huffman's usual ones
    if (marker === 0xc4) {
      for (let at = 0; at + 17 < body.length; ) {
        symbols.set(body[at], body[at + 17]);
        at += 17 + body.subarray(at + 1, at + 17).reduce((sum, count) => sum + count, 0);
      }
    } else if (marker === 0xda) {
      const [count] = body;
      const [first, last, precision] = body.subarray(1 + 2 * count);
      const tables = [...Array(count).keys()].map((k) => body[2 + 2 * k]);
      const dc = first ? [] : tables.map((table) => symbols.get(table >> 4) ?? 0);
      const ac = last ? tables.map((table) => symbols.get(0x10 | (table & 15)) ?? 0) : [];
      const isFlat = !dc.some(Boolean) && !ac.some((symbol) => symbol & 15 || symbol === 0xf0);
      if (!isFlat && precision >> 4 === 0 && hasZerosWithin(content, start)) return true;
    }
  }
  return false;
}

/** Marker and content of each segment, and where what follows begins. */
export function* segmentsOf(content) {
  let at = nextMarker(content, 2);
  while (at + 4 <= content.length && content[at + 1] !== 0xd9) {
    const end = at + 2 + 256 * content[at + 2] + content[at + 3];
    yield [content[at + 1], content.subarray(at + 4, end), end];
    at = nextMarker(content, end);
  }
}

function nextMarker(content, from) {
  let at = content.indexOf(0xff, from);
  while (at >= 0) {
    const code = content[at + 1];
    if (code > 1 && code < 0xff && (code < 0xd0 || code > 0xd8)) return at;
    at = content.indexOf(0xff, at + 1);
  }
  return content.length;
}

function hasZerosWithin(content, from) {
  let end = nextMarker(content, from);
  while (end > from && content[end - 1] === 0) end--;
  for (let at = from, zeros = 0; at < end; at++) {
    zeros = content[at] ? 0 : zeros + 1;
    if (zeros === LOST_BYTES) return true;
  }
  return false;
}

/** Where the pixels of a JPEG end too early, decoders fill it up with middle gray. More of them, of
 * any content, then change its last block, wherever the photo's turn puts that. */
async function isFilled(content, bitmap) {
  const blocks = cornersOf(bitmap);
  if (!blocks.some(isMiddleGray)) return false;
  let end = content.length;
  while (end > 0 && !(content[end] === 0xff && content[end + 1] === 0xd9)) end--;
  const { width, height } = bitmap;
  const filling = new Uint8Array(Math.min(3 * (width * height + 64), MOST_FILLING_BYTES));
  let state = 1;
  for (let k = 0; k < filling.length; k++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    filling[k] = Math.min(state >>> 24, 0xfe); // 0xff would begin a marker
  }
  const whole = new Blob([content.subarray(0, end), filling, content.subarray(end)]);
  const other = await createImageBitmap(whole);
  const others = cornersOf(other);
  other.close();
  return blocks.some((block, k) => isMiddleGray(block) && !isMiddleGray(others[k]));
}

/** A lossy WebP has no checksums, nor has an AVIF: zeros at the end are what was lost, but those few
 * that stand for plain black or white. */
async function endsInZeros(file, start, bitmap) {
  const most = ZEROS_OF_FLAT + (bitmap.width * bitmap.height) / 64;
  const end = new Uint8Array(await file.slice(-Math.ceil(most + 1)).arrayBuffer());
  const zeros = end.length - 1 - end.findLastIndex(Boolean);
  if (zeros > most) return true;
  if (!start.startsWith("RIFF") || zeros < ZEROS) return false;
  const bottom = pixelsOf(bitmap, 0, bitmap.height - BLOCK_PX, bitmap.width);
  return [0, 1, 2].some((channel) => {
    const values = bottom.filter((_, k) => k % 4 === channel);
    return values.reduce((a, b) => Math.max(a, b)) - values.reduce((a, b) => Math.min(a, b)) > 2;
  });
}

function cornersOf(bitmap) {
  const [right, bottom] = [bitmap.width - BLOCK_PX, bitmap.height - BLOCK_PX];
  return [[0, 0], [right, 0], [0, bottom], [right, bottom]].map(([left, top]) =>
    pixelsOf(bitmap, left, top, BLOCK_PX),
  );
}

function pixelsOf(bitmap, left, top, width) {
  const context = new OffscreenCanvas(width, BLOCK_PX).getContext("2d");
  context.drawImage(bitmap, -Math.max(0, left), -Math.max(0, top));
  return context.getImageData(0, 0, width, BLOCK_PX).data;
}

function isMiddleGray(rgba) {
  return rgba.every((value, k) => k % 4 === 3 || Math.abs(value - 128) <= 2);
}
