// Networks of tinyadv in typed arrays: reading their files, logits, input gradients, attacks. Used by the page and by
// its worker; nothing here knows about the page. An image is 784 numbers from 0 to 1.
"use strict";

const CLASSES = 10;
const PIXELS = 784;

// ------------------------------------------------------------------------------------------------------------------
// Reading a .safetensors file as `tinyadv.models.save` writes it, in float32 or float16

function readNetwork(buffer, name) {
  const wrong = (why) => new Error(`${name}: ${why}`);
  const view = new DataView(buffer);
  const length = buffer.byteLength >= 8 ? Number(view.getBigUint64(0, true)) : NaN;
  if (!(length > 1 && length <= buffer.byteLength - 8)) throw wrong("not a .safetensors file");
  let header;
  try {
    header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  } catch {
    throw wrong("not a .safetensors file");
  }
  let about;
  try {
    about = JSON.parse(header.__metadata__.about);
  } catch {
    throw wrong("a .safetensors file, but not a network of tinyadv");
  }
  const arrays = {};
  for (const [key, entry] of Object.entries(header)) {
    if (key === "__metadata__") continue;
    const [start, end] = entry.data_offsets;
    const bytes = buffer.slice(8 + length + start, 8 + length + end);
    if (bytes.byteLength !== end - start) throw wrong("the file is cut short");
    if (entry.dtype === "F32") arrays[key] = { data: new Float32Array(bytes), shape: entry.shape };
    else if (entry.dtype === "F16") arrays[key] = { data: fromHalf(new Uint16Array(bytes)), shape: entry.shape };
    else if (entry.dtype === "F64") arrays[key] = { data: Float32Array.from(new Float64Array(bytes)), shape: entry.shape };
    else throw wrong(`numbers of the kind ${entry.dtype}, wanted F16, F32 or F64`);
    if (!arrays[key].data.every(Number.isFinite)) throw wrong(`${key} is NaN or infinite`);
  }
  return asNetwork(about, arrays, name, wrong);
}

function fromHalf(words) {
  const values = new Float32Array(words.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    const sign = word & 0x8000 ? -1 : 1;
    const exponent = (word >> 10) & 31;
    const fraction = word & 1023;
    if (exponent === 0) values[i] = sign * fraction * 2 ** -24;
    else if (exponent === 31) values[i] = fraction ? NaN : sign * Infinity;
    else values[i] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return values;
}

// The layers of a network by the shapes of its arrays, in the order of their numbers.
function asNetwork(about, arrays, name, wrong) {
  const kinds = { softmax_regression: "softmax", maxout_network: null, saturating_network: null, rbf_network: null };
  if (!(about.network in kinds)) {
    throw wrong(`a ${about.network}; this page knows ${Object.keys(kinds).join(", ")}`);
  }
  const settings = about.arguments || {};
  const top = settings.top || (about.network === "rbf_network" ? "rbf" : "softmax");
  if (about.network === "saturating_network" && settings.unit !== "sigmoid") throw wrong("units other than sigmoids");
  const numbers = [...new Set(Object.keys(arrays).map((key) => Number(key.split(".")[1])))].sort((a, b) => a - b);
  const layers = numbers.map((n, i) => {
    const W = arrays[`layers.${n}.W`];
    const b = arrays[`layers.${n}.b`];
    if (W && W.shape.length === 3) {
      const [pieces, units, inputs] = W.shape;
      return { kind: "maxout", W: W.data, b: b.data, pieces, units, inputs };
    }
    if (W && W.shape.length === 2) {
      const [units, inputs] = W.shape;
      const hidden = about.network === "saturating_network" && i < numbers.length - 1;
      return { kind: hidden ? "sigmoid" : "linear", W: W.data, b: b.data, pieces: 1, units, inputs };
    }
    const mu = arrays[`layers.${n}.mu`];
    const root = arrays[`layers.${n}.root`];
    if (mu && root && root.shape.length === 2) {
      const [units, inputs] = mu.shape;
      return { kind: "rbf", mu: mu.data, beta: root.data.map(Math.exp), units, inputs };
    }
    throw wrong("layers that this page does not know");
  });
  if (!layers.length || layers[0].inputs !== PIXELS || layers.at(-1).units !== CLASSES) {
    throw wrong("wanted 784 inputs and 10 classes");
  }
  return { name, kind: about.network, top, layers };
}

// ------------------------------------------------------------------------------------------------------------------
// Forward

// a = x W^T + b for a layer with rows of weights, all pieces of all units.
function rows(layer, x, bias = true) {
  const { W, b, inputs } = layer;
  const n = layer.pieces * layer.units;
  const a = new Float64Array(n);
  for (let r = 0; r < n; r++) {
    let sum = bias ? b[r] : 0;
    const start = r * inputs;
    for (let i = 0; i < inputs; i++) sum += W[start + i] * x[i];
    a[r] = sum;
  }
  return a;
}

// What a layer makes of its pieces `a`; and which piece won, where there is more than one.
function activate(layer, a) {
  const { kind, pieces, units } = layer;
  if (kind === "linear") return { h: a };
  if (kind === "sigmoid") {
    return { h: a.map((v) => 1 / (1 + Math.exp(-v))), slope: a.map((v) => 1 / ((1 + Math.exp(-v)) * (1 + Math.exp(v)))) };
  }
  const h = new Float64Array(units);
  const winners = new Uint8Array(units);
  for (let u = 0; u < units; u++) {
    let best = a[u];
    for (let p = 1; p < pieces; p++) {
      if (a[p * units + u] > best) {
        best = a[p * units + u];
        winners[u] = p;
      }
    }
    h[u] = best;
  }
  return { h, winners };
}

function rbf(layer, x) {
  const { mu, beta, units, inputs } = layer;
  const z = new Float64Array(units);
  for (let u = 0; u < units; u++) {
    let sum = 0;
    for (let i = 0, j = u * inputs; i < inputs; i++, j++) {
      const d = x[i] - mu[j];
      sum += beta[j] * d * d;
    }
    z[u] = -sum;
  }
  return z;
}

// The layers above the first, from the first one's pieces.
function upwards(network, first) {
  const states = [activate(network.layers[0], first)];
  for (const layer of network.layers.slice(1)) states.push(activate(layer, rows(layer, states.at(-1).h)));
  return states;
}

function forward(network, x) {
  if (network.layers[0].kind === "rbf") return [{ h: rbf(network.layers[0], x) }];
  return upwards(network, rows(network.layers[0], x));
}

// Logits; for RBF units log p.
function logits(network, x) {
  return forward(network, x).at(-1).h;
}

// Logits at x + e d for every e: the first layer, which costs most, is linear, so it is multiplied out only twice.
function along(network, x, d, es) {
  if (network.layers[0].kind === "rbf") {
    return es.map((e) => logits(network, x.map((v, i) => v + e * d[i])));
  }
  const a = rows(network.layers[0], x);
  const slope = rows(network.layers[0], d, false);
  return es.map((e) => upwards(network, a.map((v, r) => v + e * slope[r])).at(-1).h);
}

function probabilities(network, z) {
  if (network.top === "sigmoid") return Array.from(z, (v) => 1 / (1 + Math.exp(-v)));
  if (network.top !== "softmax") return Array.from(z, Math.exp);
  const most = Math.max(...z);
  const e = Array.from(z, (v) => Math.exp(v - most));
  const sum = e.reduce((a, b) => a + b);
  return e.map((v) => v / sum);
}

function argmax(z) {
  let best = 0;
  for (let k = 1; k < z.length; k++) if (z[k] > z[best]) best = k;
  return best;
}

// ------------------------------------------------------------------------------------------------------------------
// Backward

// dJ/dz for the label y. `rounded` computes p - t in float32, as the paper's software did: where p is 1 the label's own
// part is lost. Exact, the label's part is minus the sum of the others.
function costSlope(network, z, y, rounded) {
  const g = new Float64Array(CLASSES);
  if (network.top === "softmax") {
    if (rounded) {
      const f = Math.fround;
      const most = f(Math.max(...z));
      const e = Array.from(z, (v) => f(Math.exp(f(f(v) - most))));
      let sum = 0;
      for (const v of e) sum = f(sum + v);
      e.forEach((v, k) => (g[k] = f(f(v / sum) - (k === y ? 1 : 0))));
      return g;
    }
    const p = probabilities(network, z);
    let others = 0;
    p.forEach((v, k) => {
      if (k !== y) {
        g[k] = v;
        others += v;
      }
    });
    g[y] = -others;
    if (others === 0) {
      // even the others are 0 in float64: the direction is what counts, so leave their common factor out
      const rest = Array.from(z, (v, k) => (k === y ? -Infinity : v));
      const most = Math.max(...rest);
      const e = rest.map((v) => Math.exp(v - most));
      const sum = e.reduce((a, b) => a + b);
      e.forEach((v, k) => (g[k] = k === y ? -1 : v / sum));
    }
    return g;
  }
  const p = probabilities(network, z);
  p.forEach((v, k) => {
    const t = k === y ? 1 : 0;
    if (network.top === "sigmoid") g[k] = t ? -1 / (1 + Math.exp(z[k])) : v; // v - 1 without its cancellation
    else if (network.top === "rbf-squared") g[k] = 2 * (v - t) * v;
    else if (network.top === "rbf-true-class") g[k] = -t;
    else g[k] = t ? -1 : -v / Math.expm1(z[k]);
  });
  return g;
}

// The gradient of J for the pixels of x.
function inputGradient(network, x, y, rounded = false) {
  const states = forward(network, x);
  let g = costSlope(network, states.at(-1).h, y, rounded);
  for (let l = network.layers.length - 1; l >= 0; l--) {
    const layer = network.layers[l];
    const below = new Float64Array(layer.inputs);
    if (layer.kind === "rbf") {
      for (let u = 0; u < layer.units; u++) {
        for (let i = 0, j = u * layer.inputs; i < layer.inputs; i++, j++) {
          below[i] -= 2 * g[u] * layer.beta[j] * (x[i] - layer.mu[j]);
        }
      }
    } else {
      const { winners } = states[l];
      for (let u = 0; u < layer.units; u++) {
        let slope = g[u];
        if (layer.kind === "sigmoid") slope *= states[l].slope[u];
        if (slope === 0) continue;
        const start = ((winners ? winners[u] : 0) * layer.units + u) * layer.inputs;
        for (let i = 0; i < layer.inputs; i++) below[i] += slope * layer.W[start + i];
      }
    }
    g = below;
  }
  return g;
}

// ------------------------------------------------------------------------------------------------------------------
// Attacks

// The same numbers every time, for images and noise that have to be there again after a reload.
function randomNumbers(seed) {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 4294967296;
  };
}

function gaussianImage(seed) {
  const next = randomNumbers(seed);
  return Float64Array.from({ length: PIXELS }, () => {
    return Math.sqrt(-2 * Math.log(next() + 1e-12)) * Math.cos(2 * Math.PI * next());
  });
}

// In which direction each pixel goes: away from the label, or with `target` towards that class.
function signDirection(network, x, label, { target = null, rounded = false } = {}) {
  const g = inputGradient(network, x, target === null ? label : target, rounded);
  return g.map((v) => (target === null ? 1 : -1) * Math.sign(v));
}

function randomSigns(seed) {
  const next = randomNumbers(seed);
  return Float64Array.from({ length: PIXELS }, () => (next() < 0.5 ? -1 : 1));
}

// x turned in the plane of x and the gradient, by the angle whose chord is as long as a step of eps in every pixel.
function rotated(network, x, label, eps, { target = null, rounded = false } = {}) {
  const g = inputGradient(network, x, target === null ? label : target, rounded);
  const way = Math.sign(eps) * (target === null ? 1 : -1);
  const most = g.reduce((a, v) => Math.max(a, Math.abs(v)), 0);
  const length = Math.sqrt(x.reduce((a, v) => a + v * v, 0));
  if (most === 0 || length === 0 || eps === 0) return Float64Array.from(x);
  const u = g.map((v) => v / most);
  const part = u.reduce((a, v, i) => a + v * x[i], 0) / length ** 2;
  u.forEach((v, i) => (u[i] = v - part * x[i]));
  const size = Math.sqrt(u.reduce((a, v) => a + v * v, 0));
  if (size === 0) return Float64Array.from(x);
  const chord = Math.abs(eps) * Math.sqrt(PIXELS);
  const angle = 2 * Math.asin(Math.min(1, chord / (2 * length)));
  return Float64Array.from(x, (v, i) => Math.cos(angle) * v + (way * Math.sin(angle) * length * u[i]) / size);
}

// Projected gradient descent, 20 steps, from a random point of the box, and with `clip` of the pixels in it.
function pgd(network, x, label, eps, { target = null, rounded = false, clip = false, steps = 20, seed = 1 } = {}) {
  const size = Math.abs(eps);
  const next = randomNumbers(seed);
  const inside = (v) => (clip ? Math.min(1, Math.max(0, v)) : v);
  const low = x.map((v) => inside(v - size));
  const high = x.map((v) => inside(v + size));
  let now = Float64Array.from(x, (v, i) => Math.min(high[i], Math.max(low[i], v + size * (2 * next() - 1))));
  for (let s = 0; s < steps; s++) {
    const d = signDirection(network, now, label, { target, rounded });
    now = now.map((v, i) => Math.min(high[i], Math.max(low[i], v + (2.5 * size * d[i]) / steps)));
  }
  return now;
}

const clipped = (x) => x.map((v) => Math.min(1, Math.max(0, v)));

// The smallest eps in steps of 1/200 at which an attack along a direction changes the answer from the label; or null.
function smallestAlong(network, x, d, label, clip = false) {
  const es = Array.from({ length: 201 }, (_, i) => i / 200);
  const zs = clip ? es.map((e) => logits(network, clipped(x.map((v, i) => v + e * d[i])))) : along(network, x, d, es);
  const found = zs.findIndex((z) => argmax(z) !== label);
  return found < 0 ? null : es[found];
}

// The same for PGD, by halving: nine attacks.
function smallestPgd(network, x, label, options = {}) {
  const fools = (eps) => {
    const moved = pgd(network, x, label, eps, options);
    return argmax(logits(network, options.clip ? clipped(moved) : moved)) !== label;
  };
  if (argmax(logits(network, x)) !== label) return 0;
  if (!fools(1)) return null;
  let low = 0;
  let high = 1;
  for (let i = 0; i < 8; i++) {
    const middle = (low + high) / 2;
    if (fools(middle)) high = middle;
    else low = middle;
  }
  return high;
}

// In Node and in the tests this file is a module; in the page and its worker it stands in the same script.
if (typeof module !== "undefined") {
  module.exports = {
    readNetwork, forward, logits, along, probabilities, argmax, inputGradient, signDirection, randomSigns, rotated, pgd,
    smallestAlong, smallestPgd, gaussianImage, clipped,
  };
}
