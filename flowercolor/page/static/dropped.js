// What is dropped or pasted: files, and folders, of which the photos are taken.

const PICTURE = /\.(jpe?g|jpe|jfif|png|tiff?|webp|bmp|avif|gif|hei[cf])$/i; // as in photos/formats.py

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
    // On a page from disk, Chromium reads the handle alone; other browsers have none.
    const handle = item.getAsFileSystemHandle?.().catch(() => undefined);
    folders.push({ name: entry.name, entry, handle });
  }
  return { files, folders };
}

/** The photos in a folder and those below it, in the order of their names, and what is to be said
 * of the rest, or "". */
export async function photosIn({ name, entry, handle }) {
  const found = { photos: [], others: 0, closed: [] };
  const opened = await handle;
  await collect(opened ? ofHandle(opened) : ofEntry(entry), name, found);
  return { photos: found.photos, remark: remarkOn(name, found) };
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

function remarkOn(name, { photos, others, closed }) {
  const remarks = closed.map(
    (folder) =>
      `${folder} is a folder, which the page cannot open here. Open it, and drop the photos in it.`,
  );
  const count = others === 1 ? "1 other file" : `${others} other files`;
  if (photos.length && others) remarks.push(`${name}: ${count} left out.`);
  else if (!photos.length && !closed.length) {
    remarks.push(`${name} holds no photos${others ? `, but ${count}` : ""}.`);
  }
  return remarks.join(" ");
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
