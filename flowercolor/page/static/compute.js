// The worker as functions that give promises, and what stands in the page for it.

/** Something that the build put beside the page, or into it: {url} or {base64}. */
export function asset(name) {
  const inside = document.getElementById(`asset-${name}`);
  return inside
    ? { base64: inside.textContent }
    : { url: new URL(name, document.baseURI).href };
}

function startWorker() {
  const { url, base64 } = asset("worker/worker.js");
  if (url) return new Worker(url, { type: "module" });
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  // From disk browsers start no worker but one of a blob, and that no module.
  return new Worker(URL.createObjectURL(new Blob([bytes], { type: "text/javascript" })));
}

/** Calls methods of worker/worker.js; each is done before the next one begins. */
export class Compute {
  #worker = startWorker();
  #waiting = new Map();
  #calls = 0;
  #last = Promise.resolve();

  constructor(about) {
    this.#worker.onmessage = ({ data: { call, result, error, unread } }) => {
      const { resolve, reject } = this.#waiting.get(call);
      this.#waiting.delete(call);
      if (error === undefined) resolve(result);
      else reject(Object.assign(new Error(error), { unread }));
    };
    this.#worker.onerror = (event) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(event.message));
      this.#waiting.clear();
    };
    this.started = this.call("start", {
      about,
      assets: {
        ort: asset("vendor/onnxruntime.mjs"),
        wasm: asset("vendor/onnxruntime.wasm.gz"),
        skeleton: asset("skeleton.onnx"),
        weights: asset("weights.safetensors"),
      },
    });
  }

  call(method, parameters) {
    const send = () =>
      new Promise((resolve, reject) => {
        const call = this.#calls++;
        this.#waiting.set(call, { resolve, reject });
        this.#worker.postMessage({ call, method, parameters });
      });
    const answer = this.#last.then(send);
    this.#last = answer.catch(() => {});
    return answer;
  }
}
