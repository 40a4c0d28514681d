// The generator on onnxruntime-web: flowercolor/inference/onnx_backend.py and the reading of
// flowercolor/checkpoint.py in JavaScript.

import { chromaOfRgb, crop, pad } from "./upsampling.js";

const ENCODER_EPS = 1e-3; // of batch norm: EfficientNet's
const EPS = 1e-5; // torch's default
const UNFOLDED = /^(lifts|head|hints)\./; // where no batch norm follows

/** The tensors of a safetensors file: a map from names to {shape, values}, floats in float32. */
export function readSafetensors(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerBytes = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + headerBytes)));
  const tensors = new Map();
  for (const [name, { dtype, shape, data_offsets: [begin, end] }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const content = bytes.slice(8 + headerBytes + begin, 8 + headerBytes + end).buffer;
    if (dtype === "F16") tensors.set(name, { shape, values: halfToFloat(new Uint16Array(content)) });
    if (dtype === "F32") tensors.set(name, { shape, values: new Float32Array(content) });
  }
  return tensors;
}

function halfToFloat(halves) {
  const table = halfTable();
  const floats = new Float32Array(halves.length);
  for (let k = 0; k < halves.length; k++) floats[k] = table[halves[k]];
  return floats;
}

let floatsOfHalves;
function halfTable() {
  floatsOfHalves ??= Float32Array.from({ length: 65536 }, (_, half) => {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
  return floatsOfHalves;
}

/** The generator's state between the safe end, 0, and the vivid one, 1, by torch's names. */
function interpolated(tensors, vividness) {
  const state = new Map();
  for (const [name, { shape, values }] of tensors) {
    if (!name.startsWith("generator.")) continue;
    const plain = name.slice("generator.".length);
    const vivid = tensors.get(`vivid.${plain}`)?.values;
    state.set(plain, { shape, values: vivid ? lerp(values, vivid, vividness) : values });
  }
  return state;
}

/** Exact at both ends. */
function lerp(start, end, weight) {
  const values = new Float32Array(start.length);
  for (let k = 0; k < values.length; k++) {
    const difference = end[k] - start[k];
    values[k] = weight < 0.5 ? start[k] + weight * difference : end[k] - difference * (1 - weight);
  }
  return values;
}

/** The state with each batch norm folded into the convolution before it. */
function foldBatchNorm(state, encoder) {
  const folded = new Map();
  for (const [name, tensor] of state) {
    if (UNFOLDED.test(name)) folded.set(name, tensor);
    if (!name.endsWith(".running_var")) continue;
    const norm = name.slice(0, -".running_var".length);
    const [, block, position] = norm.match(/^(.*)\.(\d+)$/);
    const convolution = `${block}.${position - 1}`;
    const eps = encoder !== "plain" && name.startsWith("downs.") ? ENCODER_EPS : EPS;
    const [weight, bias, mean] = ["weight", "bias", "running_mean"].map(
      (kind) => state.get(`${norm}.${kind}`).values,
    );
    const scale = weight.map((value, k) => value / Math.sqrt(tensor.values[k] + eps));
    const kernel = state.get(`${convolution}.weight`);
    const perChannel = kernel.values.length / scale.length;
    const scaled = new Float32Array(kernel.values.length);
    for (let channel = 0, k = 0; channel < scale.length; channel++) {
      for (const end = k + perChannel; k < end; k++) scaled[k] = kernel.values[k] * scale[channel];
    }
    folded.set(`${convolution}.weight`, { shape: kernel.shape, values: scaled });
    folded.set(`${convolution}.bias`, {
      shape: [scale.length],
      values: bias.map((value, k) => value - mean[k] * scale[k]),
    });
  }
  return folded;
}

/** The ONNX model: the skeleton's bytes, and behind them the weights as a second part of its graph.
 * Protocol buffers that follow each other are merged. */
function onnxModel(skeleton, weights) {
  const parts = [];
  for (const [name, { shape, values }] of weights) {
    const data = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const about = [
      ...shape.flatMap((side) => field(1, side)),
      ...field(2, 1),
      ...field(8, new TextEncoder().encode(name)),
      ...head(9, data.length),
    ];
    parts.push(Uint8Array.from([...head(5, about.length + data.length), ...about]), data);
  }
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const all = [skeleton, Uint8Array.from(head(7, length)), ...parts];
  const model = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of all) {
    model.set(part, at);
    at += part.length;
  }
  return model;
}

function field(number, value) {
  if (typeof value === "number") return [...varint(number << 3), ...varint(value)];
  return [...head(number, value.length), ...value];
}

function head(number, sizeBytes) {
  return [...varint((number << 3) | 2), ...varint(sizeBytes)];
}

function varint(value) {
  const septets = [];
  for (; value > 127; value = Math.floor(value / 128)) septets.push((value % 128) | 128);
  return [...septets, value];
}

/** A generator that colors small lumas, at any place of its vividness scale. */
export class Network {
  /** @param ort The module onnxruntime-web. @param about What the build says of the weights. */
  constructor(ort, about, skeleton, weights) {
    this.ort = ort;
    this.about = about;
    this.skeleton = skeleton;
    this.tensors = readSafetensors(weights);
    this.session = null;
    this.vividness = undefined;
  }

  /** The chroma [2, h, w] of a small luma in 0 to 1, and the features that hints go by, if the
   * graph gives some. */
  async predict(small, size, vividness) {
    await this.#load(vividness);
    const { padded, size: paddedSize } = pad(small, size);
    const shape = [1, 1, paddedSize.height, paddedSize.width];
    const outputs = await this.session.run({ gray: new this.ort.Tensor("float32", padded, shape) });
    let chroma = crop(outputs.predicted.data, paddedSize, size);
    if (this.about.output === "rgb") chroma = chromaOfRgb(chroma);
    if (!chroma.every(Number.isFinite)) throw new Error("the network gave no finite numbers");
    const features = outputs.hint_features;
    return { chroma, features: features ? crop(features.data, paddedSize, size) : null };
  }

  async #load(vividness) {
    if (this.session && this.vividness === vividness) return;
    await this.session?.release();
    this.session = null;
    const weights = foldBatchNorm(interpolated(this.tensors, vividness ?? 0), this.about.encoder);
    this.session = await this.ort.InferenceSession.create(onnxModel(this.skeleton, weights), {
      executionProviders: ["wasm"],
    });
    this.vividness = vividness;
  }
}
