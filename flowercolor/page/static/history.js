// What a person has chosen for a photo, and the way back. An edit is {vividness, strength, hints}
// and is never changed, only followed by another. A hint is {x, y, color}: its place as shares of
// the upright photo's width and height, and "#rrggbb", or null for no color.

/** The edits of a photo. */
export class History {
  #edits;
  #at = 0;

  constructor(edit) {
    this.#edits = [edit];
    this.draft = edit;
  }

  /** What is shown: the last edit, or what a slider passes over on its way. */
  preview(changes) {
    this.draft = { ...this.draft, ...changes };
  }

  /** Keep the draft, with these changes, as a step that undo takes back. */
  commit(changes = {}) {
    this.preview(changes);
    if (JSON.stringify(this.draft) === JSON.stringify(this.#edits[this.#at])) return;
    this.#edits = [...this.#edits.slice(0, this.#at + 1), this.draft];
    this.#at++;
  }

  get canUndo() {
    return this.#at > 0;
  }

  get canRedo() {
    return this.#at < this.#edits.length - 1;
  }

  undo() {
    if (this.canUndo) this.draft = this.#edits[--this.#at];
  }

  redo() {
    if (this.canRedo) this.draft = this.#edits[++this.#at];
  }
}
