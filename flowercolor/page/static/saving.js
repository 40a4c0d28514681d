// Colored photos as files: by the worker, or where a server stands behind the page, by the library.

/** Saves photos. */
export class Saver {
  constructor(compute, about) {
    this.compute = compute;
    this.about = about;
  }

  /** The photo as {name, apart, blob, edit}; `apart` is its name where another has the same. The
   * format "" keeps its own, which only the library can. `alone` where the page had to do what its
   * server does not any more. */
  async fileOf(photo, format) {
    const edit = photo.history.draft;
    if (!this.about.served) return this.#fileOfPage(photo, edit, format);
    try {
      return await this.#fileOfServer(photo, edit, format);
    } catch (error) {
      if (!(error instanceof NoServer)) throw error;
      if (format) return { ...(await this.#fileOfPage(photo, edit, format)), alone: true };
      throw new Error(`could not be saved: ${ENDED} Choose PNG or JPEG, which the page saves alone.`);
    }
  }

  async #fileOfPage(photo, edit, format) {
    const parameters = { number: photo.number, file: photo.file, edit, format };
    const software = this.#software(edit);
    const blob = await this.compute.call("save", { ...parameters, software });
    return { ...names(photo.file, `.${format}`), blob, edit };
  }

  async #fileOfServer(photo, edit, format) {
    const { vividness, strength, hints } = edit;
    const query = new URLSearchParams({ strength, format: format && `.${format}` });
    const percent = (share) => `${(100 * share).toFixed(2)}%`;
    for (const { x, y, color } of hints) {
      query.append("hint", `${percent(x)},${percent(y)}=${color ?? "gray"}`);
    }
    if (vividness !== this.about.default_vividness) query.set("vividness", vividness);
    const response = await ask(`colorize?${query}`, photo.file);
    const ending = response.headers.get("Photo-Ending");
    return { ...names(photo.file, ending), blob: await response.blob(), edit };
  }

  /** What the file says that made it, as of the command. */
  #software({ vividness, strength, hints }) {
    const settings = [`colorized by the model ${this.about.name}`];
    if (vividness !== this.about.default_vividness) settings.push(`vividness ${vividness}`);
    if (strength !== 1) settings.push(`strength ${strength}`);
    if (hints.length) settings.push(`hints ${hints.length}`); // in place of their digest
    return `flowercolor ${this.about.version}, ${settings.join(", ")}`;
  }
}

/** What a browser cannot read as a PNG that it can, and what that does not show, as `decode` has it:
 * {blob, facts}. */
export async function readByServer(file) {
  const response = await ask("gray", file).catch((error) => {
    if (!(error instanceof NoServer)) throw error;
    throw new Error(`could not be read: ${ENDED} Start it again, and open its page.`);
  });
  return { blob: await response.blob(), facts: JSON.parse(response.headers.get("Photo-Facts")) };
}

const ENDED = "flowercolor web does not run any more.";

class NoServer extends Error {}

async function ask(address, file) {
  let response;
  try {
    await file.slice(0, 1).arrayBuffer(); // else `fetch` fails as where no server is
  } catch {
    throw new Error("cannot be opened any more. Was it moved or changed?");
  }
  try {
    response = await fetch(new URL(address, document.baseURI), { method: "POST", body: file });
  } catch {
    throw new NoServer();
  }
  if (!response.ok) throw new Error(await response.text());
  return response;
}

/** A name or path without its ending. */
export function stemOf(name) {
  return name.replace(/\.[^./]*$/, "") || name;
}

/** As inference/planning.py has them. */
function names({ name }, ending) {
  const stem = stemOf(name);
  return {
    name: `${stem}_color${ending}`,
    apart: `${stem}_color${name.slice(stem.length)}${ending}`,
  };
}

/** Hand a file to the browser, which saves it where it saves all. */
export function download(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
