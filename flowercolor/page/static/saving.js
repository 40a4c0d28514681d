// Colored photos as files: by the worker, or where a server stands behind the page, by the library.

/** Saves photos. */
export class Saver {
  constructor(compute, about) {
    this.compute = compute;
    this.about = about;
  }

  /** The photo as {name, blob}. */
  async fileOf(photo, format) {
    const edit = photo.history.draft;
    await photo.predictAt(edit.vividness);
    const parameters = { number: photo.number, file: photo.file, edit, format };
    const software = this.#software(edit);
    const blob = await this.compute.call("save", { ...parameters, software });
    return { name: `${stem(photo.file.name)}_color.${format}`, blob };
  }

  /** What the file says that made it, as of the command. */
  #software({ vividness, strength, hints }) {
    const settings = [`colorized by the model ${this.about.name}`];
    if (vividness !== null) settings.push(`vividness ${vividness}`);
    if (strength !== 1) settings.push(`strength ${strength}`);
    if (hints.length) settings.push(`${hints.length} color hints`);
    return `flowercolor ${this.about.version}, ${settings.join(", ")}`;
  }
}

function stem(name) {
  return name.replace(/\.[^.]*$/, "") || name;
}

/** Hand a file to the browser, which saves it where it saves all. */
export function download(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
