// Several files as one ZIP, stored and not packed: pictures are packed already. Less than 4 GB and
// 65,536 files, as the format of 1989 has room for (PKWARE APPNOTE 4.3).

import { crc32 } from "./worker/encoding.js";

const MAX_BYTES = 2 ** 32 - 1;
const UTF8_NAME = 0x0800;

/** Collects files. Where some would have one name, they have other ones: as in
 * inference/planning.py. */
export class Zip {
  #files = [];
  #size = 0;

  /** @param apart The name where `name` is that of another, too.
   * @throws RangeError There is no room for it. */
  async add(name, apart, blob) {
    const bytes = new Uint8Array(await blob.arrayBuffer());
    if (this.#size + bytes.length > MAX_BYTES - 2 ** 24) throw new RangeError("the ZIP is full");
    this.#size += bytes.length;
    this.#files.push({ name, apart, blob, checksum: crc32([bytes]) });
  }

  /** The whole file. */
  blob() {
    const parts = [];
    const directory = [];
    let size = 0;
    uniqueNames(this.#files).forEach((name, k) => {
      const { blob, checksum } = this.#files[k];
      const encoded = new TextEncoder().encode(name);
      const about = new DataView(new ArrayBuffer(26)); // what both headers have in common
      about.setUint16(0, 20, true);
      about.setUint16(2, UTF8_NAME, true);
      about.setUint32(6, dosTime(new Date()), true);
      about.setUint32(10, checksum, true);
      about.setUint32(14, blob.size, true);
      about.setUint32(18, blob.size, true);
      about.setUint16(22, encoded.length, true);
      const offset = new DataView(new ArrayBuffer(14));
      offset.setUint32(10, size, true);
      directory.push(Uint8Array.of(0x50, 0x4b, 1, 2, 20, 0), about.buffer, offset.buffer, encoded);
      parts.push(Uint8Array.of(0x50, 0x4b, 3, 4), about.buffer, encoded, blob);
      size += 30 + encoded.length + blob.size;
    });
    const listed = new Blob(directory);
    const end = new DataView(new ArrayBuffer(22));
    end.setUint32(0, 0x504b0506);
    end.setUint16(8, this.#files.length, true);
    end.setUint16(10, this.#files.length, true);
    end.setUint32(12, listed.size, true);
    end.setUint32(16, size, true);
    return new Blob([...parts, listed, end.buffer], { type: "application/zip" });
  }
}

/** What two names share that are one file on some system. */
export function alike(name) {
  return name.normalize("NFC").toLowerCase();
}

function uniqueNames(files) {
  const wishes = new Map(); // the other names of those that share one
  for (const { name, apart } of files) {
    wishes.set(alike(name), (wishes.get(alike(name)) ?? new Set()).add(alike(apart)));
  }
  const taken = new Set();
  return files.map(({ name, apart }) => {
    const wanted = wishes.get(alike(name)).size > 1 ? apart : name;
    const [, stem, ending] = wanted.match(/^(.*?)(\.[^.]*)?$/s); // a name may have lines
    let unique = wanted;
    for (let count = 2; taken.has(alike(unique)); count++) unique = `${stem}-${count}${ending ?? ""}`;
    taken.add(alike(unique));
    return unique;
  });
}

function dosTime(date) {
  const time = (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1);
  const day = ((date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();
  return ((day << 16) | time) >>> 0;
}
