// Photos upright, as the command has them: browsers turn not every WebP and PNG, and none by XMP.

import { segmentsOf } from "./damage.js";

const END_BYTES = 1 << 18; // of a PNG, where some programs write what is beside the pixels
const MOST_CHUNKS = 10_000;
const ORIENTATION = 0x0112;
const IN_XMP = /tiff:Orientation(?:="|>)([1-8])/;
const TRANSFORMS = [
  (width) => [-1, 0, 0, 1, width, 0],
  (width, height) => [-1, 0, 0, -1, width, height],
  (_, height) => [1, 0, 0, -1, 0, height],
  () => [0, 1, 1, 0, 0, 0],
  (_, height) => [0, 1, -1, 0, height, 0],
  (width, height) => [0, -1, -1, 0, height, width],
  (width) => [0, -1, 1, 0, 0, width],
]; // of the orientations from 2 (EXIF 2.32, tag 0x0112)

/** How a photo lies, as EXIF's orientation, once a browser has decoded `plain`: the file, but without
 * the EXIF that some browsers heed and others do not. A JPEG's, all do.
 * @param head The first bytes of the file. */
export async function orientationOf(file, head, start) {
  let plain = file;
  let stated = 0;
  let xmp = "";
  if (start.startsWith("\xff\xd8")) {
    for (const [marker, body] of segmentsOf(head)) {
      const text = marker === 0xe1 ? textOf(body) : "";
      if (text.startsWith("Exif\0\0") && orientationIn(body)) return { orientation: 1, plain };
      if (text.startsWith("http://ns.adobe.com/xap/1.0/\0")) xmp = text;
    }
  } else if (start.startsWith("\x89PNG")) {
    const end = file.slice(Math.max(head.length, file.size - END_BYTES));
    const content = await bytesOf(new Blob([head, end]));
    const text = textOf(content);
    xmp = /iTXtXML:com\.adobe\.xmp\0.*|$/s.exec(text)[0];
    const at = text.search(/eXIf(II\*\0|MM\0\*)/);
    if (at >= 0) {
      stated = orientationIn(content.subarray(at + 4));
      const from = at - 4 + (at < head.length ? 0 : file.size - content.length);
      const to = from + 12 + new DataView(content.buffer).getUint32(at - 4);
      plain = new Blob([file.slice(0, from), file.slice(to)]);
    }
  } else if (/^RIFF....WEBP/s.test(start)) {
    for await (const [kind, from, to] of chunksOf(file)) {
      if (kind === "XMP ") xmp ||= textOf(await bytesOf(file.slice(from + 8, to)));
      if (kind !== "EXIF") continue;
      stated ||= orientationIn(await bytesOf(file.slice(from + 8, to)));
      plain = new Blob([plain.slice(0, from), "none", plain.slice(from + 4)]);
    }
  }
  return { orientation: stated || Number(IN_XMP.exec(xmp)?.[1] ?? 1), plain };
}

/** The bitmap turned by an orientation; it takes the place of the other. */
export function upright(bitmap, orientation) {
  const transform = TRANSFORMS[orientation - 2];
  if (!transform) return bitmap;
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(...(orientation > 4 ? [height, width] : [width, height]));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  context.setTransform(...transform(width, height));
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas.transferToImageBitmap();
}

/** Kind, begin and end of each chunk of a WebP. */
async function* chunksOf(file) {
  for (let at = 12, count = 0; at + 8 <= file.size && count < MOST_CHUNKS; count++) {
    const head = await bytesOf(file.slice(at, at + 8));
    const length = new DataView(head.buffer).getUint32(4, true);
    yield [textOf(head.subarray(0, 4)), at, at + 8 + length];
    at += 8 + length + (length % 2);
  }
}

/** What EXIF states as the orientation; 0 where it states none. */
function orientationIn(exif) {
  const [name] = /^(Exif\0\0)*/.exec(textOf(exif.subarray(0, 12)));
  const view = new DataView(exif.buffer, exif.byteOffset + name.length, exif.length - name.length);
  try {
    const isLittle = view.getUint8(0) === 0x49;
    const first = view.getUint32(4, isLittle);
    for (let k = view.getUint16(first, isLittle) - 1; k >= 0; k--) {
      const at = first + 2 + 12 * k;
      if (view.getUint16(at, isLittle) === ORIENTATION) return view.getUint16(at + 8, isLittle) || 1;
    }
  } catch {
    // It is damaged.
  }
  return 0;
}

async function bytesOf(blob) {
  return new Uint8Array(await blob.arrayBuffer());
}

function textOf(bytes) {
  return new TextDecoder("latin1").decode(bytes);
}
