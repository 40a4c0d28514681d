// The page: what a person does, and what is shown then. Long work is the worker's.

import { Compute } from "./compute.js";
import { contentOf, photosIn } from "./dropped.js";
import { HintsPanel } from "./hints_panel.js";
import { Photo, Progress, Row, inFolder } from "./queue.js";
import { Saver, download, stemOf } from "./saving.js";
import { Stage } from "./stage.js";
import { Zip, alike } from "./zip.js";

const byId = (id) => document.getElementById(id);
byId("unserved")?.remove(); // modules load
const about = JSON.parse(byId("about").textContent);
const compute = new Compute(about);
const saver = new Saver(compute, about);
const progress = new Progress();
const SAID_MS = 8000;
const SAVED_ALONE = ", by the page alone, for flowercolor web does not run any more: 8 bits, no EXIF";
const photos = [];
let shown = null;
let chosen = false; // else the first that can be read is shown

const stage = new Stage();
const hintsPanel = new HintsPanel(stage, compute, {
  shown: () => shown,
  commit,
  preview(changes) {
    shown.history.preview(changes);
    refresh();
  },
}, about.hints);
stage.on = hintsPanel;
const row = new Row((photo) => {
  chosen = true;
  show(photo);
});

if (about.served) {
  byId("format").prepend(new Option("As it came", "", true, true));
  byId("reads").textContent = byId("reads").textContent.replace("PNG or WebP", "PNG, TIFF and more");
  if (!["127.0.0.1", "localhost"].includes(location.hostname)) {
    byId("privacy").textContent = `Your photos go to ${location.hostname}, which does not keep them.`;
    byId("reads").textContent = byId("reads").textContent.replace(/Nothing is sent.*/s, "");
  }
}

// Adding photos

const queue = [];
let running = false; // photos are colored, or saved together

function addFiles(files) {
  if (!files.length) return;
  const last = shown?.history.draft;
  // Who goes on after a stop may drop all of them again.
  const stopped = photos.some(({ state }) => state === "stopped");
  for (const { file, folder } of files) {
    const edit = {
      vividness: last ? last.vividness : about.vividness,
      strength: last ? last.strength : 1,
      hints: [],
    };
    const same = photos.filter((other) => folder === other.folder && isSame(file, other.file));
    let photo = same.find(({ state }) => state === "stopped");
    if (!photo && stopped && same.some(({ state }) => state !== "failed")) continue;
    if (photo) {
      photo.resume(file, edit);
      row.label(photo);
      showCaption(shown);
    } else {
      photo = new Photo(photos.length, file, folder, edit, compute, about);
      photos.push(photo);
      row.add(photo);
    }
    queue.push(photo);
  }
  byId("welcome").hidden = true;
  byId("workplace").hidden = byId("add").hidden = false;
  if (shown) updateControls();
  else show(photos[0]);
  runAlone(colorAll);
}

function isSame(file, other) {
  return ["name", "size", "lastModified"].every((key) => file[key] === other[key]);
}

/** Do it unless something is done for many photos already: Stop is to stop one thing. */
async function runAlone(run) {
  if (running) return;
  running = true;
  updateControls();
  try {
    await run();
  } finally {
    running = false;
    updateControls();
  }
}

async function colorAll() {
  try {
    await compute.started;
    while (queue.length) {
      const items = queue.splice(0);
      await progress.forEach("Coloring", items, async (photo) => {
        await openPhoto(photo);
        // Those dropped meanwhile join the run that is under way, but none that ends.
        if (!progress.stopped) items.push(...queue.splice(0));
      }, stopColoring);
      const stopped = items.some(({ state }) => state === "stopped");
      const remarks = [stopped && "Stopped. Drop the others again to go on.", notRead(items)];
      if (remarks.some(Boolean)) say(remarks.filter(Boolean).join(" "), true);
    }
  } catch (error) {
    say(`The page cannot compute here: ${error.message}`, true);
  }
}

/** Which of the photos could not be read, in words; "" where all could. */
function notRead(of) {
  return listed("Not read", of.filter(({ state }) => state === "failed"), "why");
}

function listed(title, of, what) {
  const names = of.map(({ name }) => name);
  const first = names.slice(0, 3).join(", ") + (names.length > 3 ? ", …" : "");
  return names.length ? `${title}: ${names.length} (${first}); choose one to see ${what}.` : "";
}

byId("stop").addEventListener("click", () => say("Stopping."));

function stopColoring() {
  queue.length = 0;
  for (const photo of photos.filter(({ state }) => state === "waiting")) {
    photo.stop();
    row.label(photo);
  }
  showCaption(shown);
}

async function openPhoto(photo) {
  photo.state = "working";
  row.label(photo);
  await photo.open((preview) => {
    if (photo === shown) showGray(photo, preview);
  });
  row.label(photo);
  const other = photo.state === "failed" && !chosen && photos.find(({ state }) => state !== "failed");
  if (photo === shown) await show(other || photo);
  if (photo.state === "failed") {
    say(`${photo.name} ${photo.message}`);
    return;
  }
  await row.showThumbnail(photo);
  row.label(photo);
  say(`${photo.name} is colored.`);
}

// Showing one

async function show(photo) {
  shown = photo;
  hintsPanel.leave();
  stage.showsColors = false;
  row.mark(photo, photos);
  byId("frame").hidden = photo.state !== "ready"; // until its gray is there
  showCaption(photo);
  updateControls();
  if (photo.state !== "ready") return;
  const thumbnail = row.thumbnailOf(photo);
  if (thumbnail) {
    stage.open(photo.previewSize, photo.size.width);
    stage.showThumbnail(thumbnail); // a click is not to mean the photo before
  }
  const gray = await compute.call("gray", { number: photo.number });
  if (photo !== shown) return;
  showGray(photo, gray);
  await refresh();
}

function showGray(photo, preview) {
  byId("frame").hidden = false;
  stage.open(photo.previewSize, photo.size.width);
  stage.showGray(preview);
  showCaption(photo);
}

function showCaption(photo) {
  byId("name").textContent = photo.name;
  byId("size").textContent = photo.size ? `${photo.size.width} × ${photo.size.height}` : "";
  byId("caption").classList.toggle("failed", photo.message !== "");
  byId("remarks").textContent = photo.message || photo.remarks.join(" ");
}

let refreshing = false;
let stale = false;

/** Show the draft of the photo shown; while one is under way, only the newest waits. */
async function refresh() {
  updateControls();
  stale = true;
  if (refreshing) return;
  refreshing = true;
  try {
    while (stale) {
      stale = false;
      const photo = shown;
      if (photo.state === "failed" || !photo.previewSize) continue;
      const pixels = await photo.render();
      if (photo !== shown) continue;
      stage.showColors(pixels);
      hintsPanel.addWaiting();
    }
    updateControls();
  } catch (error) {
    say(error.message, true);
  } finally {
    refreshing = false;
  }
}

function updateControls() {
  const ready = shown?.state === "ready";
  const draft = shown?.history.draft;
  for (const id of ["vividness", "strength", "save", "print", "for-all"]) byId(id).disabled = !ready;
  byId("undo").disabled = !ready || !shown.history.canUndo;
  byId("redo").disabled = !ready || !shown.history.canRedo;
  const readyCount = photos.filter(({ state }) => state === "ready").length;
  byId("for-all").hidden = byId("save-all").hidden = photos.length < 2;
  byId("save-all").disabled = !readyCount || running;
  if (!draft) return;
  byId("vividness-row").hidden = draft.vividness === null;
  byId("vividness").value = draft.vividness;
  byId("vividness-value").textContent = percent(draft.vividness);
  byId("strength").value = draft.strength;
  byId("strength-value").textContent = percent(draft.strength);
  hintsPanel.show();
}

function percent(share) {
  return `${Math.round(100 * share)} %`;
}

// Changing

function commit(changes) {
  const photo = shown;
  photo.history.commit(changes);
  refresh().then(() => row.showThumbnail(photo));
}

for (const name of ["vividness", "strength"]) {
  const slider = byId(name);
  slider.addEventListener("input", () => {
    shown.history.preview({ [name]: slider.valueAsNumber });
    refresh();
  });
  slider.addEventListener("change", () => commit({ [name]: slider.valueAsNumber }));
}

byId("for-all").addEventListener("click", async () => {
  const { vividness, strength } = shown.history.draft;
  const others = photos.filter((photo) => photo !== shown && photo.state !== "failed");
  for (const photo of others) photo.history.commit({ vividness, strength });
  say("All photos have these settings now.", true);
  // Those still to be colored get their first thumbnail when they are.
  const ready = others.filter(({ state }) => state === "ready");
  for (const photo of ready) await row.showThumbnail(photo);
});

function step(direction) {
  if (shown?.state !== "ready") return;
  const photo = shown;
  photo.history[direction]();
  refresh().then(() => row.showThumbnail(photo));
}
byId("undo").addEventListener("click", () => step("undo"));
byId("redo").addEventListener("click", () => step("redo"));
document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
  const key = event.key.toLowerCase();
  const direction = key === "y" || (key === "z" && event.shiftKey) ? "redo" : "undo";
  if (key !== "z" && key !== "y") return;
  event.preventDefault();
  step(direction);
});

// Saving

byId("save").addEventListener("click", async () => {
  const photo = shown;
  byId("save").disabled = true;
  say("Saving.");
  try {
    const format = byId("format").value;
    const { blob, edit, alone, ...names } = await saver.fileOf(photo, format);
    // Without a format each has its own ending.
    const others = photos.filter(({ state }) => state !== "failed");
    const isShared = format && others.some((other) => differsInEnding(other, photo));
    const name = isShared ? names.apart : names.name;
    download(name, blob);
    photo.history.markSaved(edit);
    say(`${name} is saved${alone ? SAVED_ALONE : ""}.`, true);
  } catch (error) {
    say(`${photo.name} ${error.message}`, true);
  } finally {
    updateControls();
  }
});

function differsInEnding(other, photo) {
  const [name, otherName] = [alike(photo.name), alike(other.name)];
  return otherName !== name && stemOf(otherName) === stemOf(name);
}

byId("save-all").addEventListener("click", () => {
  runAlone(saveAll).finally(() => runAlone(colorAll)); // what came meanwhile
});

async function saveAll() {
  const zip = new Zip();
  const packed = [];
  const failures = new Map(); // the names by what is told of them
  let byPage = "";
  const all = [...photos];
  const ready = all.filter(({ state }) => state === "ready");
  const finished = await progress.forEach("Saving", ready, async (photo) => {
    try {
      const { name, apart, blob, edit, alone } = await saver.fileOf(photo, byId("format").value);
      await zip.add(inFolder(photo.folder, name), inFolder(photo.folder, apart), blob);
      packed.push({ photo, edit });
      if (alone) byPage = SAVED_ALONE;
    } catch (error) {
      failures.set(error.message, [...(failures.get(error.message) ?? []), photo.name]);
    }
  });
  let saved = finished ? "Nothing is saved." : "Stopped; nothing is saved.";
  if (finished && packed.length) {
    download("flowercolor.zip", zip.blob());
    for (const { photo, edit } of packed) photo.history.markSaved(edit);
    saved = `Saved in flowercolor.zip: ${packed.length} of ${all.length} photos${byPage}.`;
    const recolored = packed.filter(({ photo }) => photo.colored).length;
    if (recolored) saved += ` In color already, and colored anew: ${recolored}.`;
    const stopped = all.filter(({ state }) => state === "stopped").length;
    if (stopped) saved += ` Stopped: ${stopped}.`;
    const others = packed
      .map(({ photo }) => photo)
      .filter(({ colored, remarks }) => remarks.length > Number(colored));
    saved = [saved, listed("With a remark", others, "it"), notRead(all)].filter(Boolean).join(" ");
  }
  const failed = [...failures].map(([message, names]) => `${names.join(", ")} ${message}`);
  say([saved, ...failed].join(" "), true);
}

byId("print").addEventListener("click", () => window.print());

window.addEventListener("beforeunload", (event) => {
  if (photos.some(({ state, history }) => state === "ready" && history.unsaved)) event.preventDefault();
});

// What is said: to readers of the screen always, to all where it matters.

let quiet = 0;

function say(message, toAll = false) {
  const status = byId("status");
  if (!toAll && status.classList.contains("visible")) return; // not in the place of what matters
  clearTimeout(quiet);
  status.textContent = message;
  status.classList.toggle("visible", toAll);
  quiet = setTimeout(() => status.classList.remove("visible"), SAID_MS);
}

// Choosing and dropping

for (const id of ["choose", "add"]) byId(id).addEventListener("click", () => byId("files").click());
byId("files").addEventListener("change", ({ target }) => {
  addFiles([...target.files].map((file) => ({ file, folder: "" })));
  target.value = "";
});
let depth = 0;
document.addEventListener("dragenter", () => document.body.classList.toggle("dropping", ++depth > 0));
document.addEventListener("dragleave", () => document.body.classList.toggle("dropping", --depth > 0));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  document.body.classList.remove("dropping");
  take(event.dataTransfer);
});
document.addEventListener("paste", (event) => take(event.clipboardData));

async function take(transfer) {
  const { files, folders } = contentOf(transfer);
  const remarks = [];
  if (folders.length) {
    const found = await photosIn(folders, files.length > 0);
    files.push(...found.photos);
    remarks.push(...found.remarks);
  }
  addFiles(files);
  if (remarks.length) say(remarks.join(" "), true);
}
