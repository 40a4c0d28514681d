// What a person has chosen for a photo, and the way back. An edit is {vividness, strength, hints}
// and is never changed, only followed by another. A hint is {x, y, color}: its place as shares of
// the upright photo's width and height, and "#rrggbb", or null for no color.

/** The edits of a photo. */
export class History {
  #edits;
  #at = 0;
  #saved; // the last edit that a file has; at first the one that the photo came with

  constructor(edit) {
    this.#edits = [edit];
    this.draft = edit;
    this.#saved = edit;
  }

  /** What is shown: the last edit, or what a slider passes over on its way. */
  preview(changes) {
    this.draft = { ...this.draft, ...changes };
  }

  /** Keep the draft, with these changes, as a step that undo takes back. */
  commit(changes = {}) {
    this.preview(changes);
    if (isSame(this.draft, this.#edits[this.#at])) return;
    this.#edits = [...this.#edits.slice(0, this.#at + 1), this.draft];
    this.#at++;
  }

  /** Whether the person would lose what is shown. */
  get unsaved() {
    return !isSame(this.draft, this.#saved);
  }

  /** A file has this edit. */
  markSaved(edit) {
    this.#saved = edit;
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

function isSame(edit, other) {
  return JSON.stringify(edit) === JSON.stringify(other);
}
