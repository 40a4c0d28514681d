// All photos of a visit, in a row of small pictures; those that wait are colored one by one.

import { History } from "./history.js";
import { readByServer } from "./saving.js";

const byId = (id) => document.getElementById(id);

/** A photo from file to color. `state` is "waiting", "working", "ready", "failed" or
 * "stopped"; of the last two `message` says why. */
export class Photo {
  state = "waiting";
  message = "";
  remarks = [];
  colored = false; // it came in color
  size = null;
  previewSize = null;
  clicks = []; // places of spots that wait for the photo's colors

  /** @param folder The path of the folder that was dropped and of those in it; or "". */
  constructor(number, file, folder, edit, compute, about) {
    this.number = number;
    this.file = file;
    this.folder = folder;
    this.history = new History(edit);
    this.compute = compute;
    this.about = about;
  }

  get name() {
    return inFolder(this.folder, this.file.name);
  }

  /** Leave it as it is while it waits. */
  stop() {
    this.state = "stopped";
    this.message = "was not colored: you stopped. Drop it again to go on.";
  }

  /** Have it wait again, with its file and edit as they are now. */
  resume(file, edit) {
    Object.assign(this, { file, history: new History(edit), state: "waiting", message: "" });
  }

  /** Read the file and ask for its colors; `onGray` is called with the gray preview between. */
  async open(onGray) {
    this.state = "working";
    try {
      const { size, colored, faint, extreme, deep, several, preview } = await this.#read();
      this.previewSize = { width: preview.width, height: preview.height };
      this.size = size;
      this.colored = colored;
      if (colored) {
        this.remarks.push("It is in color already; here it is colored anew from its gray version.");
      }
      if (faint) {
        this.remarks.push("It has faint or few colors, taken for a toning or stains and not kept.");
      }
      if (several) this.remarks.push(`It has ${several}, of which the first is colored.`);
      if (extreme) this.remarks.push(`It is ${extreme}.`);
      if (deep && !this.about.served) {
        this.remarks.push("It has 16 bits; what the page saves has 8. The command keeps them.");
      }
      onGray(preview);
      await this.thumbnail(); // which asks the network
      this.state = "ready";
    } catch (error) {
      this.state = "failed";
      this.message = error.message;
    }
  }

  async #read() {
    const { number, file } = this;
    try {
      return await this.compute.call("open", { number, file });
    } catch (error) {
      if (!this.about.served || !error.unread) throw error;
      const { blob, facts } = await readByServer(file);
      return { ...(await this.compute.call("open", { number, file: blob })), ...facts };
    }
  }

  /** The preview in color. */
  render() {
    return this.compute.call("render", { number: this.number, edit: this.history.draft });
  }

  thumbnail() {
    return this.compute.call("thumbnail", { number: this.number, edit: this.history.draft });
  }
}

/** The path of a file in a folder, or its name where there is none. */
export function inFolder(folder, name) {
  return folder ? `${folder}/${name}` : name;
}

/** The row of small pictures. */
export class Row {
  #list = byId("photos");

  constructor(onChoose) {
    this.onChoose = onChoose;
  }

  add(photo) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.addEventListener("click", () => this.onChoose(photo));
    item.append(button);
    this.#list.append(item);
    this.#list.hidden = this.#list.children.length < 2;
    photo.button = button;
    this.label(photo);
  }

  /** Say how far a photo is. */
  label(photo) {
    const { button, name, state, message, remarks } = photo;
    const words = { waiting: "waits", working: "is being colored" }[state] ?? message;
    button.setAttribute("aria-label", `${name} ${words}`.trim());
    button.title = [name, ...remarks].join("\n");
    button.classList.toggle("failed", state === "failed");
    if (!this.thumbnailOf(photo)) {
      const shown = { waiting: "waits", working: "…", failed: "not read", stopped: "stopped" };
      button.textContent = shown[state] ?? "";
    }
  }

  /** The small picture, or null where there is none yet. */
  thumbnailOf({ button }) {
    return button.querySelector("img");
  }

  async showThumbnail(photo) {
    const blob = await photo.thumbnail();
    const image = document.createElement("img");
    image.alt = "";
    image.src = URL.createObjectURL(blob);
    const before = this.thumbnailOf(photo);
    if (before) URL.revokeObjectURL(before.src);
    photo.button.replaceChildren(image);
  }

  mark(photo, photos) {
    for (const other of photos) {
      if (other === photo) other.button.setAttribute("aria-current", "true");
      else other.button.removeAttribute("aria-current");
    }
    photo.button.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

/** The line that says how far many photos are, with a button to stop. One run at a time has it. */
export class Progress {
  stopped = false; // since the last run began
  #onStop = null;

  constructor() {
    byId("stop").addEventListener("click", () => {
      this.stopped = byId("stop").disabled = true;
      byId("progress-text").textContent = "Stopping…"; // once what is under way is done
      this.#onStop?.();
    });
  }

  /** Do something for each; false once it was stopped. `items` may grow meanwhile. */
  async forEach(label, items, work, onStop) {
    this.#onStop = onStop;
    this.stopped = byId("stop").disabled = false;
    for (let done = 0; done < items.length; done++) {
      if (items.length > 1) {
        byId("progress").hidden = false;
        byId("progress-text").textContent = `${label} ${done + 1} of ${items.length}`;
        byId("bar").value = done / items.length;
      }
      await work(items[done]);
      if (this.stopped) break;
    }
    byId("progress").hidden = true;
    return !this.stopped;
  }
}
