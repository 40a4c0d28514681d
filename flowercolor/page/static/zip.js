// Several files as one ZIP, stored and not packed: pictures are packed already. Less than 4 GB and
// 65,536 files, as the format of 1989 has room for (PKWARE APPNOTE 4.3).

import { crc32 } from "./worker/encoding.js";

const MAX_BYTES = 2 ** 32 - 1;
const UTF8_NAME = 0x0800;

/** Collects files by name; two of one name become "a.png" and "a-2.png". */
export class Zip {
  #parts = [];
  #directory = [];
  #names = new Set();
  #size = 0;

  /** @throws RangeError There is no room for it. */
  async add(name, blob) {
    const bytes = new Uint8Array(await blob.arrayBuffer());
    if (this.#size + bytes.length > MAX_BYTES - 2 ** 24) throw new RangeError("the ZIP is full");
    const encoded = new TextEncoder().encode(this.#unique(name));
    const about = new DataView(new ArrayBuffer(26)); // what both headers have in common
    about.setUint16(0, 20, true);
    about.setUint16(2, UTF8_NAME, true);
    about.setUint32(6, dosTime(new Date()), true);
    about.setUint32(10, crc32([bytes]), true);
    about.setUint32(14, bytes.length, true);
    about.setUint32(18, bytes.length, true);
    about.setUint16(22, encoded.length, true);
    const local = [Uint8Array.of(0x50, 0x4b, 3, 4), about.buffer, encoded, blob];
    const offset = new DataView(new ArrayBuffer(14));
    offset.setUint32(10, this.#size, true);
    this.#directory.push(
      Uint8Array.of(0x50, 0x4b, 1, 2, 20, 0), about.buffer, offset.buffer, encoded,
    );
    this.#parts.push(...local);
    this.#size += 30 + encoded.length + bytes.length;
  }

  /** The whole file. */
  blob() {
    const directory = new Blob(this.#directory);
    const end = new DataView(new ArrayBuffer(22));
    end.setUint32(0, 0x504b0506);
    end.setUint16(8, this.#names.size, true);
    end.setUint16(10, this.#names.size, true);
    end.setUint32(12, directory.size, true);
    end.setUint32(16, this.#size, true);
    return new Blob([...this.#parts, directory, end.buffer], { type: "application/zip" });
  }

  #unique(name) {
    const [, stem, ending] = name.match(/^(.*?)(\.[^.]*)?$/);
    let unique = name;
    for (let count = 2; this.#names.has(unique.toLowerCase()); count++) {
      unique = `${stem}-${count}${ending ?? ""}`;
    }
    this.#names.add(unique.toLowerCase());
    return unique;
  }
}

function dosTime(date) {
  const time = (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1);
  const day = ((date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();
  return ((day << 16) | time) >>> 0;
}
