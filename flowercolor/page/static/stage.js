// The photo shown: gray and colored under one divider, with the spots where a person said a color.

import { nameOf } from "./color_names.js";

const byId = (id) => document.getElementById(id);
const STEP = 0.01; // of the photo's sides, for a spot moved by the keyboard
const STILL_PX = 4; // a pointer that moves less presses and does not drag

/** Shows pictures; calls back with what a person does to the spots. */
export class Stage {
  #frame = byId("frame");
  #split = byId("split");
  #spots = byId("spots");
  #colors = null;
  takesHints = false;
  showsColors = false; // of the photo chosen, not gray or another's
  /** What is called: add(place), select(index), move(index, placeOf), moved() and remove(index). A
   * place is {x, y}, shares of the photo's sides; `placeOf` gives one of another. */
  on = null;

  constructor() {
    this.#split.addEventListener("input", () => this.#showSplit());
    this.#takeDivider(byId("divider"));
    this.#frame.addEventListener("click", (event) => {
      if (this.on.takesHints && event.target !== this.#split) this.on.add(this.#placeOf(event));
    });
    this.#frame.addEventListener("contextmenu", (event) => {
      if (this.takesHints) event.preventDefault();
    });
  }

  /** A drag moves the divider. A press beside its knob is one on the photo: a spot may belong there. */
  #takeDivider(divider) {
    let pressed = null;
    let dragged = false;
    divider.addEventListener("pointerdown", (event) => {
      divider.setPointerCapture(event.pointerId);
      pressed = event;
      dragged = false;
    });
    divider.addEventListener("pointermove", (event) => {
      if (!divider.hasPointerCapture(event.pointerId)) return;
      const { clientX, clientY } = pressed;
      dragged ||= Math.hypot(event.clientX - clientX, event.clientY - clientY) >= STILL_PX;
      if (!dragged) return;
      this.#split.value = 100 * this.#placeOf(event).x;
      this.#showSplit();
    });
    divider.addEventListener("click", (event) => {
      if (dragged || pressed?.target !== divider) event.stopPropagation();
    });
  }

  /** Make room for a photo, of its preview's size. */
  open({ width, height }, shownWidth) {
    this.#frame.style.setProperty("--ratio", width / height);
    this.#frame.style.setProperty("--widest", `${Math.max(shownWidth, 320) * 2}px`);
  }

  /** Something of the photo at once, until its gray is there. */
  showThumbnail(image) {
    this.#frame.classList.add("opening");
    for (const id of ["before", "after"]) {
      const { width, height } = Object.assign(byId(id), {
        width: image.naturalWidth,
        height: image.naturalHeight,
      });
      byId(id).getContext("2d").drawImage(image, 0, 0, width, height);
    }
  }

  showGray(pixels) {
    this.showsColors = false;
    this.#frame.classList.remove("opening");
    for (const id of ["before", "after"]) paint(byId(id), pixels);
  }

  showColors(pixels) {
    this.showsColors = true;
    this.#colors = pixels;
    paint(byId("after"), pixels);
  }

  #showSplit() {
    this.#frame.style.setProperty("--split", `${this.#split.value}%`);
  }

  #placeOf({ clientX, clientY }) {
    const { left, top, width, height } = this.#frame.getBoundingClientRect();
    return placeAt((clientX - left) / width, (clientY - top) / height);
  }

  /** The color shown at a place, as "#rrggbb". */
  colorAt({ x, y }) {
    const { width, height, data } = this.#colors;
    const start = 4 * (Math.floor(y * height) * width + Math.floor(x * width));
    const levels = data.subarray(start, start + 3);
    return `#${[...levels].map((level) => level.toString(16).padStart(2, "0")).join("")}`;
  }

  /** Show the spots; one of them, or none (-1), is selected. Behind them stand places of which the
   * colors are not known yet. */
  showSpots(hints, selected, places) {
    this.#frame.classList.toggle("takes-hints", this.takesHints && this.showsColors);
    const hadFocus = this.#spots.contains(document.activeElement);
    const all = [...hints, ...places];
    while (this.#spots.children.length > all.length) this.#spots.lastChild.remove();
    if (hadFocus && !this.#spots.contains(document.activeElement)) byId("add-spot").focus();
    all.forEach((hint, index) => {
      const words = hint.color ? nameOf(hint.color) : "no color";
      const spot = this.#spots.children[index] ?? this.#spots.appendChild(this.#makeSpot());
      spot.style.left = `${100 * hint.x}%`;
      spot.style.top = `${100 * hint.y}%`;
      spot.style.setProperty("--color", hint.color ?? "#999");
      spot.classList.toggle("no-color", hint.color === null);
      spot.setAttribute("aria-pressed", index === selected);
      spot.disabled = index >= hints.length;
      spot.setAttribute(
        "aria-label",
        `Spot ${index + 1}, ${spot.disabled ? "which waits for the colors" : `${words}; arrow keys move it, Delete removes it`}`,
      );
    });
  }

  focusSpot(index) {
    this.#spots.children[index]?.focus();
  }

  #makeSpot() {
    const spot = document.createElement("button");
    spot.type = "button";
    spot.className = "spot";
    const index = () => [...this.#spots.children].indexOf(spot);
    let moved = false;
    spot.addEventListener("pointerdown", (event) => {
      if (event.button === 0) spot.setPointerCapture(event.pointerId);
      moved = false;
      this.on.select(index());
    });
    spot.addEventListener("pointermove", (event) => {
      if (!spot.hasPointerCapture(event.pointerId)) return;
      moved = true;
      this.on.move(index(), () => this.#placeOf(event));
    });
    spot.addEventListener("pointerup", () => moved && this.on.moved());
    spot.addEventListener("click", (event) => {
      event.stopPropagation();
      this.on.select(index());
    });
    spot.addEventListener("contextmenu", (event) => {
      event.preventDefault();
      this.on.remove(index());
    });
    spot.addEventListener("keydown", (event) => this.#key(event, index()));
    return spot;
  }

  #key(event, index) {
    const step = event.shiftKey ? 5 * STEP : STEP;
    const steps = {
      ArrowLeft: [-step, 0],
      ArrowRight: [step, 0],
      ArrowUp: [0, -step],
      ArrowDown: [0, step],
    }[event.key];
    if (steps) {
      event.preventDefault();
      this.on.move(index, ({ x, y }) => placeAt(x + steps[0], y + steps[1]));
      this.on.moved();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      this.on.remove(index);
    }
  }
}

/** A place within the photo, to a ten-thousandth: what is said of it is then the same anywhere. */
function placeAt(x, y) {
  const share = (value) => Math.round(1e4 * Math.min(Math.max(value, 0), 0.9999)) / 1e4;
  return { x: share(x), y: share(y) };
}

function paint(canvas, pixels) {
  canvas.width = pixels.width;
  canvas.height = pixels.height;
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}
