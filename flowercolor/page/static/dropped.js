// What is dropped or pasted: files, and folders, of which the photos are taken.

const RECORD = /flowercolor \d+\.\d/; // of flowercolor/provenance.py
const LOOKED_AT_BYTES = 1 << 17;
const PICTURE = /\.(jpe?g|jpe|jfif|tiff?|webp|bmp|dib|avif|a?png|mpo|gif|hei[cf])$/i; // as in photos/formats.py
// Of NAS, waste bins, archives and photo programs, as there too.
const NO_PHOTOS =
  /^(@eadir|[@#]recycle|#snapshot|@recently-snapshot|\$recycle\.bin|recycler|system volume information|lost\+found|__macosx|.*\.(lrdata|cocatalogdb))$/i;

/** What a DataTransfer holds, as {files, folders}, while its event is handled: later it is empty. A
 * file is {file, folder}, the latter as a path, or "". */
export function contentOf({ items }) {
  const files = [];
  const folders = [];
  for (const item of items) {
    if (item.kind !== "file") continue;
    const entry = item.webkitGetAsEntry();
    if (!entry?.isDirectory) {
      files.push({ file: item.getAsFile(), folder: "" });
      continue;
    }
    // On a page from disk, Chromium reads the handle alone, which lists no names that some system
    // lacks, such as those with a question mark; other browsers have none.
    const handle =
      location.protocol === "file:" && item.getAsFileSystemHandle?.().catch(() => undefined);
    folders.push({ name: entry.name, entry, handle });
  }
  return { files, folders };
}

/** The photos in folders and those below them, in the order of their names, and what is to be said
 * of the rest: {photos, remarks}. Earlier results are taken only where there is nothing else.
 *
 * @param hasOthers Whether photos were dropped besides. */
export async function photosIn(folders, hasOthers) {
  const all = [];
  const remarks = [];
  for (const { name, entry, handle } of folders) {
    const found = { photos: [], others: 0, closed: [] };
    const opened = await handle;
    await collect(opened ? ofHandle(opened) : ofEntry(entry), name, found);
    all.push(...found.photos);
    remarks.push(...remarksOn(name, found));
  }
  const made = await Promise.all(all.map(({ file }) => isResult(file).catch(() => false)));
  const photos = all.filter((_, k) => !made[k]);
  const count = all.length - photos.length;
  if (!count) return { photos, remarks };
  if (photos.length || hasOthers) {
    remarks.push(`Earlier results among the photos, left out: ${count}.`);
    return { photos, remarks };
  }
  remarks.push(`There are only earlier results, which are taken for photos: ${count}.`);
  return { photos: all, remarks };
}

/** Formats have their record at one end or the other; a BMP has none. */
async function isResult(file) {
  const ends = new Blob([file.slice(0, LOOKED_AT_BYTES), file.slice(-LOOKED_AT_BYTES)]);
  return RECORD.test(new TextDecoder("latin1").decode(await ends.arrayBuffer()));
}

async function collect(folder, path, found) {
  let inside;
  try {
    inside = await folder.inside();
  } catch {
    found.closed.push(folder.name);
    return;
  }
  inside.sort((one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }));
  for (const item of inside) {
    if (item.name.startsWith(".")) continue; // hidden
    if (item.isFolder && NO_PHOTOS.test(item.name)) continue;
    if (item.isFolder) {
      await collect(item, `${path}/${item.name}`, found);
      continue;
    }
    const file = await item.file().catch(() => null); // gone meanwhile, or not to be read
    if (file && (file.type.startsWith("image/") || PICTURE.test(file.name))) {
      found.photos.push({ file, folder: path });
    } else {
      found.others++;
    }
  }
}

function remarksOn(name, { photos, others, closed }) {
  const remarks = closed.map(
    (folder) =>
      `${folder} is a folder, which the page cannot open here. Open it, and drop the photos in it.`,
  );
  const count = others === 1 ? "1 other file" : `${others} other files`;
  if (photos.length && others) remarks.push(`${name}: ${count} left out.`);
  else if (!photos.length && !closed.length) {
    remarks.push(`${name} holds no photos${others ? `, but ${count}` : ""}.`);
  }
  return remarks;
}

// Two interfaces of browsers as one: {name, isFolder, file(), inside()}.

function ofHandle(handle) {
  return {
    name: handle.name,
    isFolder: handle.kind === "directory",
    file: () => handle.getFile(),
    async inside() {
      const all = [];
      for await (const item of handle.values()) all.push(ofHandle(item));
      return all;
    },
  };
}

function ofEntry(entry) {
  return {
    name: entry.name,
    isFolder: entry.isDirectory,
    file: () => new Promise((resolve, reject) => entry.file(resolve, reject)),
    async inside() {
      const reader = entry.createReader();
      const all = [];
      for (;;) {
        const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        if (!some.length) return all.map(ofEntry);
        all.push(...some); // 100 at most
      }
    },
  };
}
