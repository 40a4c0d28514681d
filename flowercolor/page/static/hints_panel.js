// What a person says of a photo's colors: spots on the photo, the color of the one selected, and
// tiles with other likely colors of the part that is least certain.

import { namesOf } from "./color_names.js";

const byId = (id) => document.getElementById(id);
const TILES = 4;
const SUGGESTED = 6;
const PAUSE_MS = 400; // before the tiles follow

/** The panel and the spots of the stage. `editor` has shown() and commit(changes) and
 * preview(changes) of the photo shown; `takesHints` says whether the network has a branch for them. */
export class HintsPanel {
  #selected = -1;
  #base = null; // the hints that the tiles add to, with what else they show
  #tiles = [];
  #timer = 0;
  #keepsRoom = false;

  constructor(stage, compute, editor, takesHints) {
    Object.assign(this, { stage, compute, editor, takesHints });
    byId("field").addEventListener("input", ({ target }) => this.#color(target.value, false));
    byId("field").addEventListener("change", ({ target }) => this.#color(target.value, true));
    byId("no-color").addEventListener("click", () => this.#color(null, true));
    byId("remove").addEventListener("click", () => this.remove(this.#selected));
    // After a click on the photo, or on a color, no spot has the focus.
    document.addEventListener("keydown", (event) => {
      const isTaken = event.defaultPrevented || event.target.matches("input, select");
      if (event.key === "Delete" && !isTaken && this.#selected >= 0) this.remove(this.#selected);
    });
    byId("add-spot").addEventListener("click", () => {
      this.add({ x: 0.5, y: 0.5 });
      stage.focusSpot(this.#selected);
    });
  }

  get #hints() {
    return this.editor.shown().history.draft.hints;
  }

  /** Add a spot. It begins with the color shown there, and where none is yet, waits for it. */
  add(place) {
    if (!this.stage.showsColors) {
      this.editor.shown().clicks.push(place);
      this.show();
      return;
    }
    let index = this.#hints.findIndex(({ x, y }) => x === place.x && y === place.y);
    if (index < 0) {
      index = this.#hints.length;
      const color = this.stage.colorAt(place);
      this.editor.commit({ hints: [...this.#hints, { ...place, color }] });
    }
    this.select(index); // one place has one color
  }

  /** The colors are there that spots have waited for. */
  addWaiting() {
    for (const place of this.editor.shown().clicks.splice(0)) this.add(place);
  }

  select(index) {
    this.#selected = index;
    this.show();
    this.#suggest();
  }

  move(index, placeOf) {
    const hints = this.#hints.map((hint, k) => (k === index ? { ...hint, ...placeOf(hint) } : hint));
    this.editor.preview({ hints });
  }

  moved() {
    this.editor.commit({});
    this.#suggest();
  }

  remove(index) {
    this.#selected = -1;
    this.editor.commit({ hints: this.#hints.filter((_, k) => k !== index) });
    byId("add-spot").focus();
  }

  /** Show the spots of the photo shown, and the color of the one selected. */
  show() {
    const photo = this.editor.shown();
    this.stage.takesHints = this.takesHints && photo.state === "ready";
    const hints = this.stage.takesHints ? this.#hints : [];
    if (this.#selected >= hints.length) this.#selected = -1;
    byId("hints").hidden = !this.stage.takesHints;
    if (this.stage.takesHints) this.#keepRoom(photo.size);
    byId("color").hidden = this.#selected < 0;
    byId("hints-how").hidden = hints.length > 0;
    this.stage.showSpots(hints, this.#selected, photo.clicks);
    const color = hints[this.#selected]?.color;
    if (color) byId("field").value = color;
    byId("no-color").setAttribute("aria-pressed", color === null);
    for (const button of byId("likely").children) {
      button.setAttribute("aria-pressed", button.dataset.color === color);
    }
    this.#followWithTiles();
  }

  /** Another photo is shown. */
  leave() {
    this.#selected = -1;
    this.#base = null;
    byId("likely").replaceChildren();
    byId("variants").hidden = true;
    this.#keepsRoom = false;
  }

  /** Room for the tiles before they are there: nothing is to move from under the pointer. */
  #keepRoom({ width, height }) {
    if (this.#keepsRoom) return;
    this.#keepsRoom = true;
    byId("variants").hidden = false;
    byId("tiles").style.setProperty("--ratio", width / height);
    byId("tiles").replaceChildren(
      ...Array.from({ length: TILES }, () => document.createElement("span")),
    );
  }

  #color(color, keep) {
    const hints = this.#hints.map((hint, k) => (k === this.#selected ? { ...hint, color } : hint));
    if (keep) this.editor.commit({ hints });
    else this.editor.preview({ hints });
  }

  async #suggest() {
    const photo = this.editor.shown();
    const index = this.#selected;
    byId("likely").replaceChildren();
    if (index < 0) return;
    const { history, number } = photo;
    const edit = { ...history.draft, hints: this.#hints.filter((_, k) => k !== index) };
    const place = this.#hints[index];
    const colors = await this.compute.call("suggest", { number, edit, place, count: SUGGESTED });
    const still = photo === this.editor.shown() && index === this.#selected;
    if (!still || this.#hints[index]?.x !== place.x || this.#hints[index]?.y !== place.y) return;
    const names = namesOf(colors);
    byId("likely").replaceChildren(
      ...colors.map((color, k) => {
        const button = document.createElement("button");
        button.type = "button";
        button.dataset.color = color;
        button.title = names[k];
        button.setAttribute("aria-label", names[k]);
        button.setAttribute("aria-pressed", color === this.#hints[index].color);
        button.style.setProperty("--color", color);
        button.addEventListener("click", () => this.#color(color, true));
        return button;
      }),
    );
  }

  #followWithTiles() {
    clearTimeout(this.#timer);
    if (!this.stage.takesHints) return;
    const photo = this.editor.shown();
    const picked = this.#pickedTile();
    if (picked >= 0) {
      this.#markTile(picked);
      return;
    }
    this.#timer = setTimeout(() => this.#makeTiles(photo), PAUSE_MS);
  }

  /** Which tile is what the photo shows now; -1 where none is. */
  #pickedTile() {
    if (!this.#base) return -1;
    const { vividness, strength, hints } = this.editor.shown().history.draft;
    const now = JSON.stringify([vividness, strength, hints]);
    const { edit } = this.#base;
    return this.#tiles.findIndex(({ hint }) => {
      const led = hint ? [...edit.hints, hint] : edit.hints;
      return now === JSON.stringify([edit.vividness, edit.strength, led]);
    });
  }

  async #makeTiles(photo) {
    const edit = photo.history.draft;
    const { number } = photo;
    const tiles = await this.compute.call("variants", { number, edit, count: TILES });
    if (photo !== this.editor.shown() || edit !== photo.history.draft) return;
    this.#base = { edit };
    this.#tiles = tiles;
    byId("variants").hidden = tiles.length < 2;
    const names = ["as it is", ...namesOf(tiles.slice(1).map(({ hint }) => hint.color))];
    byId("tiles").replaceChildren(
      ...tiles.map(({ pixels }, k) => {
        const button = document.createElement("button");
        button.type = "button";
        button.title = names[k];
        button.setAttribute("aria-label", names[k]);
        const canvas = document.createElement("canvas");
        canvas.width = pixels.width;
        canvas.height = pixels.height;
        canvas.getContext("2d").putImageData(pixels, 0, 0);
        button.append(canvas);
        button.addEventListener("click", () => this.#pick(k));
        return button;
      }),
    );
    this.#markTile(0);
  }

  #pick(k) {
    const { hints } = this.#base.edit;
    const { hint } = this.#tiles[k];
    this.#selected = -1;
    this.editor.commit({ hints: hint ? [...hints, hint] : hints });
  }

  #markTile(picked) {
    [...byId("tiles").children].forEach((button, k) => {
      button.setAttribute("aria-pressed", k === picked);
    });
  }
}
