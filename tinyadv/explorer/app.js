// The page: its state, what is drawn from it, and what changes it. The arithmetic is in network.js, the words in text.js.
"use strict";

const $ = (id) => document.getElementById(id);
const DATA = JSON.parse($("data").textContent);
const IMAGES = DATA.labels.length;
const COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#b8a800", "#0072b2", "#d55e00", "#cc79a7", "#777777", "#8c564b", "#7a5fd0"];

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const pixels = bytes(DATA.images);
const imageAt = (n) => Float64Array.from(pixels.subarray(n * PIXELS, (n + 1) * PIXELS), (v) => v / 255);
const networks = DATA.networks.map((n) => readNetwork(bytes(n.file).buffer, n.name));

// ------------------------------------------------------------------------------------------------------------------
// State: everything that decides what is seen; kept in the address, so that a link shows the same

const ATTACKS = ["fgsm", "random", "rotation", "pgd"];
const DEFAULTS = {
  image: "0", eps: 0.25, attack: "fgsm", target: "", source: "own", rounded: false, clip: false,
  line: String(Math.min(2, networks.length - 1)), direction: "fgsm", reach: 10, lang: "en", presenter: false, asked: 0,
};
const state = { ...DEFAULTS };
let drawing = { x: new Float64Array(PIXELS), label: null, version: 0 };

function readAddress() {
  Object.assign(state, DEFAULTS); // an address names only what is not by default
  const isNetwork = (text) => /^\d+$/.test(text) && Number(text) < networks.length;
  for (const [key, value] of new URLSearchParams(location.hash.slice(1))) {
    if (!Object.hasOwn(DEFAULTS, key)) continue;
    const kind = typeof DEFAULTS[key];
    state[key] = kind === "boolean" ? value === "1" : kind === "number" ? Number(value) : value;
  }
  // an address may have been written by hand: what does not fit is as if it were not there
  const allowed = {
    eps: Math.abs(state.eps) <= 1, attack: ATTACKS.includes(state.attack),
    target: /^\d?$/.test(state.target), source: state.source === "own" || isNetwork(state.source),
    line: isNetwork(state.line), direction: ["fgsm", "random"].includes(state.direction), reach: [1, 10].includes(state.reach),
    lang: Object.hasOwn(WORDS, state.lang), asked: Number.isInteger(state.asked) && state.asked >= 0 && state.asked < QUESTIONS.length,
    image: /^(\d+|drawing|noise-\d+)$/.test(state.image) && !(Number(state.image) >= IMAGES),
  };
  for (const [key, fits] of Object.entries(allowed)) if (!fits) state[key] = DEFAULTS[key];
}

let addressTimer = 0;
function writeAddress() {
  clearTimeout(addressTimer);
  addressTimer = setTimeout(() => {
    const changed = Object.entries(state).filter(([key, value]) => value !== DEFAULTS[key]);
    const text = new URLSearchParams(changed.map(([key, value]) => [key, value === true ? "1" : value === false ? "0" : value]));
    history.replaceState(null, "", `#${text}`);
  }, 150);
}

function word(key, values = {}) {
  return WORDS[state.lang][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
const nameOf = (network) => (state.lang === "zh" && NAMES[network.name]) || network.name;
function percent(share) {
  if (share > 0 && share < 0.0005) return "<0.1\u00a0%";
  return `${(100 * share).toFixed(share > 0.9995 || share === 0 ? 0 : 1)}\u00a0%`;
}

// The image of now, and its label; noise has none, so what the first network says stands in for it.
function current() {
  if (state.image === "drawing") return { x: drawing.x, label: drawing.label };
  if (state.image.startsWith("noise-")) {
    return { x: gaussianImage(Number(state.image.slice(6)) + 1000), label: null };
  }
  const at = Number(state.image);
  return { x: imageAt(at), label: DATA.labels[at] };
}

const memory = new Map(); // directions and answers of the worker, by what they depend on
function remembered(key, make) {
  if (!memory.has(key)) {
    if (memory.size > 400) memory.clear();
    memory.set(key, make());
  }
  return memory.get(key);
}

const imageKey = () => `${state.image}|${drawing.version}`;
const options = () => ({ target: state.target === "" ? null : Number(state.target), rounded: state.rounded, clip: state.clip });
const labelFor = (network, x, label) => (label === null ? argmax(logits(network, x)) : label);

// The direction in which FGSM, or random signs, moves the image when made on network i.
function directionOf(i, kind = state.attack) {
  const { x, label } = current();
  if (kind === "random") return remembered(`random ${imageKey()}`, () => randomSigns(7 + (Number(state.image) || 0)));
  return remembered(`fgsm ${imageKey()} ${i} ${state.target} ${state.rounded}`, () =>
    signDirection(networks[i], x, labelFor(networks[i], x, label), options()));
}

// Logits of network j on the image after the attack made on network i. Along a direction the first layer, which costs
// most, is linear in eps, so it is multiplied out once for each direction and not for each move of the slider.
function answerOf(j, i, image) {
  const network = networks[j];
  const straight = state.attack === "fgsm" || state.attack === "random";
  if (!straight || state.clip || network.layers[0].kind === "rbf") return logits(network, image);
  return sliding(j, i, state.attack);
}

function sliding(j, i, kind) {
  const network = networks[j];
  const { a, slope } = remembered(`rows ${imageKey()} ${j} ${i} ${kind} ${state.target} ${state.rounded}`, () => ({
    a: rows(network.layers[0], current().x),
    slope: rows(network.layers[0], directionOf(i, kind), false),
  }));
  return upwards(network, a.map((v, r) => v + state.eps * slope[r])).at(-1).h;
}

// The image after the attack made on network i; null while the worker is at it.
function attacked(i) {
  const { x, label } = current();
  let moved;
  if (state.attack === "pgd") {
    if (state.eps === 0) moved = x;
    else moved = fromWorker("pgd", i, { x, label: labelFor(networks[i], x, label), eps: state.eps, options: options() }, state.eps);
    moved = moved && (moved.image || moved);
    if (!moved) return null;
  } else if (state.attack === "rotation") {
    moved = rotated(networks[i], x, labelFor(networks[i], x, label), state.eps, options());
  } else {
    const d = directionOf(i);
    moved = x.map((v, j) => v + state.eps * d[j]);
  }
  return state.clip ? clipped(moved) : moved;
}

// ------------------------------------------------------------------------------------------------------------------
// The worker: answers come later, are kept, and the page is drawn again

let worker = (() => {
  try {
    const made = new Worker(URL.createObjectURL(new Blob([$("worker").textContent], { type: "text/javascript" })));
    made.postMessage({ kind: "networks", networks });
    return made;
  } catch {
    return null; // a browser without workers from a blob: everything is done here, and takes its time
  }
})();
const waiting = new Map();
let numbers = 0;
let lastMilliseconds = 0;

function fromWorker(kind, i, work, ...more) {
  const key = `${kind} ${imageKey()} ${i} ${state.target} ${state.rounded} ${state.clip} ${more.join(" ")}`;
  if (memory.has(key)) return memory.get(key);
  if (worker === null) {
    const answer = kind === "pgd"
      ? { image: pgd(networks[i], work.x, work.label, work.eps, work.options) }
      : { smallest: smallestPgd(networks[i], work.x, work.label, work.options) };
    return remembered(key, () => answer);
  }
  if (waiting.size === 0) { // one at a time: when its answer is drawn, what is wanted by then is asked for
    waiting.set(++numbers, key);
    worker.postMessage({ kind, id: numbers, network: i, ...work });
  }
  return null;
}

if (worker) {
  worker.addEventListener("message", ({ data }) => {
    memory.set(waiting.get(data.id), data);
    waiting.delete(data.id);
    if (data.image) lastMilliseconds = data.milliseconds; // of PGD
    draw();
  });
  worker.addEventListener("error", () => { // some browsers refuse it only after it was made
    worker = null;
    waiting.clear();
    draw();
  });
}

// ------------------------------------------------------------------------------------------------------------------
// Drawing

function paint(canvas, image, low, high, diverging = false) {
  const context = canvas.getContext("2d");
  const picture = context.createImageData(28, 28);
  for (let i = 0; i < PIXELS; i++) {
    const t = Math.min(1, Math.max(0, (image[i] - low) / (high - low)));
    const far = Math.min(1, 3 * Math.abs(2 * t - 1)); // grey: no change; orange: up; blue: down
    const grey = 240 * (1 - far);
    const end = t > 0.5 ? [230, 120, 0] : [0, 100, 190];
    const [r, g, b] = diverging ? end.map((v) => grey + far * v) : [255 * t, 255 * t, 255 * t];
    picture.data.set([r, g, b, 255], 4 * i);
  }
  context.putImageData(picture, 0, 0);
}

function drawSheet() {
  const canvas = $("sheet");
  const context = canvas.getContext("2d");
  const picture = context.createImageData(560, 280);
  for (let n = 0; n < IMAGES; n++) {
    for (let i = 0; i < PIXELS; i++) {
      const at = 4 * ((Math.floor(n / 20) * 28 + Math.floor(i / 28)) * 560 + (n % 20) * 28 + (i % 28));
      const v = pixels[n * PIXELS + i];
      picture.data.set([v, v, v, 255], at);
    }
  }
  context.putImageData(picture, 0, 0);
  const chosen = Number(state.image);
  if (!Number.isNaN(chosen)) {
    context.strokeStyle = "#e69f00";
    context.lineWidth = 3;
    context.strokeRect((chosen % 20) * 28 + 1.5, Math.floor(chosen / 20) * 28 + 1.5, 25, 25);
  }
}

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

// The smallest eps that fools network i: by the line for directions, by the worker for PGD; undefined: not known yet.
function smallestOf(i) {
  const { x, label } = current();
  if (label === null || state.attack === "rotation") return NaN;
  const network = networks[i];
  if (argmax(logits(network, x)) !== label) return 0;
  if (state.attack === "pgd") {
    if (state.source !== "own" && Number(state.source) !== i) return NaN; // it is found for a network's own examples
    const answer = fromWorker("smallest", i, { x, label, eps: 1, options: options() });
    return answer ? answer.smallest : undefined;
  }
  const made = state.source === "own" ? i : Number(state.source);
  return remembered(`smallest ${imageKey()} ${i} ${made} ${state.attack} ${state.target} ${state.rounded} ${state.clip}`, () =>
    smallestAlong(network, x, directionOf(made), label, state.clip));
}

function smallestInWords(smallest) {
  if (smallest === undefined) return word("waiting");
  if (smallest === null) return word("none");
  return smallest === 0 ? word("already") : smallest.toFixed(3);
}

function drawCards(images, label) {
  const cards = $("cards");
  cards.replaceChildren();
  const brief = []; // where the slider is, too: on a phone the cards are out of sight
  const answers = [];
  networks.forEach((network, i) => {
    const card = element("article", "", "card");
    card.append(element("h3", nameOf(network)));
    const image = images[i];
    if (!image) {
      card.append(element("p", word("waiting")));
      cards.append(card);
      return;
    }
    const z = answerOf(i, state.source === "own" ? i : Number(state.source), image);
    const p = probabilities(network, z);
    const says = argmax(z);
    const wrong = label !== null && says !== label;
    card.classList.toggle("is-wrong", wrong);
    brief.push(element("li", `${nameOf(network)}: ${says} ${label === null ? "" : wrong ? "✗" : "✓"}`));
    const verdict = label === null ? "" : word("verdict", { verdict: word(wrong ? "wrong" : "right") });
    card.append(element("p", word("says", { class: says, percent: percent(p[says]) }) + verdict));
    const heads = element("div", "", "bar");
    heads.append(element("b"), element("span"), element("span", "p"), element("span", word("logits")));
    card.append(heads);
    const [lowest, highest] = [Math.min(...z), Math.max(...z)];
    p.forEach((share, k) => {
      const bar = element("div", "", k === label ? "bar label" : "bar");
      const fill = document.createElement("i");
      fill.style.width = `${100 * Math.min(1, share)}%`;
      const logit = element("span", z[k].toFixed(1).replace("-", "−"), "logit");
      logit.style.backgroundSize = `${(100 * (z[k] - lowest)) / (highest - lowest || 1)}% 100%`;
      bar.append(element("b", k), fill, element("span", percent(share)), logit);
      card.append(bar);
    });
    const smallest = smallestOf(i);
    if (!Number.isNaN(smallest)) {
      card.append(element("p", word("smallest", { eps: smallestInWords(smallest) })));
    }
    if (state.attack === "fgsm") {
      const zeros = directionOf(i).filter((v) => v === 0).length / PIXELS;
      if (zeros > 0) card.append(element("p", word("zero", { percent: percent(zeros) }), "help"));
    }
    answers.push(word("answer", { network: nameOf(network), class: says, percent: percent(p[says]) }));
    cards.append(card);
  });
  $("brief").replaceChildren(...brief);
  $("summary").textContent = word("summary", { attack: word(state.attack), eps: state.eps, answers: answers.join("; ") });
}

// Heights from above to below, moved as little as needed to be a gap apart, between top and bottom.
function apart(heights, gap, top, bottom) {
  const down = [...heights];
  const up = [...heights];
  for (let i = 1; i < down.length; i++) down[i] = Math.max(down[i], down[i - 1] + gap);
  for (let i = up.length - 2; i >= 0; i--) up[i] = Math.min(up[i], up[i + 1] - gap);
  const last = heights.length - 1;
  return down.map((height, i) => Math.max(top + i * gap, Math.min((height + up[i]) / 2, bottom - (last - i) * gap)));
}

function drawLine() {
  const { x, label } = current();
  const i = Number(state.line);
  const network = networks[i];
  const reach = state.reach;
  const es = Array.from({ length: 201 }, (_, n) => (reach * (n - 100)) / 100);
  const d = directionOf(i, state.direction);
  const zs = remembered(`line ${imageKey()} ${i} ${state.direction} ${reach} ${state.target} ${state.rounded}`, () => along(network, x, d, es));
  const canvas = $("curves");
  const strip = $("strip");
  const shownWidth = Math.max(300, canvas.clientWidth);
  const shownHeight = state.presenter ? 180 : 260;
  if (canvas.width !== shownWidth) canvas.width = strip.width = shownWidth; // so that its text has its size
  if (canvas.height !== shownHeight) canvas.height = shownHeight;
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  const text = getComputedStyle(document.body).color;
  const low = Math.min(...zs.map((z) => Math.min(...z)));
  const high = Math.max(...zs.map((z) => Math.max(...z)));
  const across = (e) => 40 + ((e + reach) / (2 * reach)) * (width - 80);
  const up = (z) => height - 24 - ((z - low) / (high - low || 1)) * (height - 40);
  context.clearRect(0, 0, width, height);
  context.font = "13px sans-serif";
  context.fillStyle = text;
  context.strokeStyle = text;
  for (const e of [-reach, -reach / 2, 0, reach / 2, reach]) {
    context.fillText(`${width < 500 ? "" : "ε = "}${e}`.replace("-", "−"), across(e) - 18, height - 6);
  }
  for (const z of [low, high]) context.fillText(z.toFixed(0).replace("-", "−"), 2, up(z) + 4);
  for (let k = 0; k < CLASSES; k++) {
    context.strokeStyle = COLOURS[k];
    context.lineWidth = k === label ? 4 : 1.5;
    context.beginPath();
    zs.forEach((z, n) => context.lineTo(across(es[n]), up(z[k])));
    context.stroke();
  }
  const byPlace = Array.from({ length: CLASSES }, (_, k) => k).sort((a, b) => zs[200][b] - zs[200][a]);
  const places = apart(byPlace.map((k) => up(zs[200][k]) + 4), 12, 12, height - 24);
  byPlace.forEach((k, n) => {
    context.fillStyle = COLOURS[k];
    context.fillText(k, width - 34, places[n]);
  });
  context.strokeStyle = text;
  context.lineWidth = 1;
  context.setLineDash([4, 3]);
  context.beginPath();
  const slider = across(Math.max(-reach, Math.min(reach, state.eps)));
  context.moveTo(slider, 4);
  context.lineTo(slider, height - 20);
  context.stroke();
  context.setLineDash([]);

  const tiles = strip.getContext("2d");
  tiles.clearRect(0, 0, strip.width, strip.height);
  const tile = document.createElement("canvas");
  tile.width = tile.height = 28;
  const shown = width < 500 ? [0, 50, 100, 150, 200] : Array.from({ length: 11 }, (_, n) => n * 20);
  const size = Math.min(56, (width - 80) / (shown.length - 1) - 6);
  tiles.imageSmoothingEnabled = false;
  for (const n of shown) {
    paint(tile, x.map((v, j) => v + es[n] * d[j]), -1, 2);
    const at = Math.max(2, Math.min(width - size - 2, across(es[n]) - size / 2));
    tiles.drawImage(tile, at, 6, size, size);
    const wrong = label !== null && argmax(zs[n]) !== label;
    tiles.strokeStyle = wrong ? "#d55e00" : "#009e73";
    tiles.lineWidth = wrong ? 4 : 1.5;
    tiles.setLineDash(wrong ? [6, 3] : []);
    tiles.strokeRect(at, 6, size, size);
  }
  const said = shown.map((n) => `${es[n]}: ${argmax(zs[n])}`).join(", ");
  canvas.setAttribute("aria-label", `${word("line")}, ${nameOf(network)}. ${said}`);
  strip.setAttribute("aria-label", said);
  $("line-text").textContent = word("lineText", { reach });
}

let measured = null; // errors over the 200 images, and for which settings
const transferKey = () => `${state.eps} ${state.clip} ${state.rounded} ${state.target}`;

function drawTransfer() {
  const { x, label } = current();
  const table = document.createElement("table");
  const head = table.insertRow();
  head.append(document.createElement("td"));
  const heading = (text, scope, title) => Object.assign(element("th", text), { scope, title });
  networks.forEach((network, j) => head.append(heading(j + 1, "col", nameOf(network))));
  const key = transferKey();
  const whole = measured && measured.key === key;
  networks.forEach((network, i) => {
    const row = table.insertRow();
    row.append(heading(`${i + 1} ${nameOf(network)}`, "row", nameOf(network)));
    const d = directionOf(i, "fgsm");
    let image = x.map((v, j) => v + state.eps * d[j]);
    if (state.clip) image = clipped(image);
    networks.forEach((target, j) => {
      const quick = !state.clip && target.layers[0].kind !== "rbf";
      const says = argmax(quick ? sliding(j, i, "fgsm") : logits(target, image));
      const cell = element("td", whole ? percent(measured.errors[i][j]) : says);
      cell.classList.toggle("is-wrong", whole ? measured.errors[i][j] > 0.5 : label !== null && says !== label);
      row.append(cell);
    });
  });
  $("matrix").replaceChildren(table);
  $("transfer-text").textContent = whole ? word("transferText", { eps: state.eps }) : word("transferOne");
}

async function measure() {
  const button = $("measure");
  button.disabled = true;
  const key = transferKey();
  const { eps, clip, rounded } = state;
  const { target } = options();
  const chosen = [...networks]; // another may be opened meanwhile
  const errors = chosen.map(() => chosen.map(() => 0));
  for (let n = 0; n < IMAGES; n++) {
    const x = imageAt(n);
    chosen.forEach((source, i) => {
      const d = signDirection(source, x, DATA.labels[n], { target, rounded });
      let image = x.map((v, j) => v + eps * d[j]);
      if (clip) image = clipped(image);
      chosen.forEach((shown, j) => (errors[i][j] += (argmax(logits(shown, image)) !== DATA.labels[n]) / IMAGES));
    });
    if (n % 5 === 0) {
      button.textContent = percent(n / IMAGES);
      await new Promise((done) => setTimeout(done)); // the page stays alive
    }
  }
  measured = chosen.length === networks.length ? { key, errors } : null;
  button.disabled = false;
  button.textContent = word("transferRun");
  drawTransfer();
}

function drawQuestion() {
  const [question, answers, why] = QUESTIONS[state.asked][state.lang];
  const place = $("question");
  place.replaceChildren(element("p", word("question", { n: state.asked + 1, of: QUESTIONS.length }), "help"), element("p", question));
  for (const answer of answers) {
    const button = element("button", answer);
    button.addEventListener("click", () => {
      for (const other of place.querySelectorAll("button")) other.disabled = true;
      button.setAttribute("aria-pressed", "true");
      const { attack, target, source, rounded, clip, line, direction, reach } = DEFAULTS;
      Object.assign(state, { attack, target, source, rounded, clip, line, direction, reach }); // what was tried in between
      Object.assign(state, { image: EXAMPLE }, QUESTIONS[state.asked].state);
      const next = element("button", word("next"));
      next.id = "next";
      next.addEventListener("click", () => {
        state.asked = (state.asked + 1) % QUESTIONS.length;
        drawQuestion();
        update();
      });
      place.append(element("p", `${word("chosen", { answer })} ${why}`), next);
      update();
      next.focus();
    });
    place.append(button);
  }
}

function draw() {
  const { x, label } = current();
  const source = state.source === "own" ? null : Number(state.source);
  const made = networks.map((_, i) => (source === null || source === i ? attacked(i) : null));
  const images = networks.map((_, i) => (source === null ? made[i] : made[source]));
  const shown = (source === null ? made[Number(state.line)] : made[source]) || x;
  paint($("x"), x, state.image.startsWith("noise") ? -3 : 0, state.image.startsWith("noise") ? 3 : 1);
  paint($("eta"), shown.map((v, i) => v - x[i]), -1, 1, true);
  paint($("moved"), shown, state.image.startsWith("noise") ? -3 : -0.25, state.image.startsWith("noise") ? 3 : 1.25);
  $("x").setAttribute("aria-label", `${word("image")}, ${word("label")} ${label ?? "–"}`);
  $("eta").setAttribute("aria-label", word("eta"));
  $("moved").setAttribute("aria-label", word("sum"));
  $("eps-value").textContent = state.eps.toFixed(3).replace("-", "−");
  drawCards(images, label);
  clearTimeout(later);
  later = setTimeout(() => {
    drawLine();
    drawTransfer();
  }, 30);
}
let later = 0; // figure 4 and the matrix follow when the slider rests

// ------------------------------------------------------------------------------------------------------------------
// Words, controls

function choices(select, entries, value) {
  select.replaceChildren(...entries.map(([key, text]) => Object.assign(element("option", text), { value: key })));
  select.value = value;
}

function drawControls() {
  document.documentElement.lang = state.lang === "zh" ? "zh-Hans" : "en";
  for (const part of document.querySelectorAll("[data-text]")) part.textContent = word(part.dataset.text);
  document.body.classList.toggle("presenter", state.presenter);
  $("presenter").setAttribute("aria-pressed", state.presenter);
  $("sheet").setAttribute("aria-label", word("sheet"));
  $("drawing").setAttribute("aria-label", word("drawHere"));
  const digits = Array.from({ length: CLASSES }, (_, k) => [String(k), String(k)]);
  const named = networks.map((network, i) => [String(i), nameOf(network)]);
  choices($("attack"), ATTACKS.map((key) => [key, word(key)]), state.attack);
  choices($("target"), [["", word("noTarget")], ...digits.map(([k]) => [k, `${word("target")} ${k}`])], state.target);
  choices($("source"), [["own", word("own")], ...named], state.source);
  choices($("rounded"), [["0", word("exact")], ["1", word("rounded")]], state.rounded ? "1" : "0");
  choices($("line-network"), named, state.line);
  $("line-direction").setAttribute("aria-label", word("direction"));
  choices($("line-direction"), [["fgsm", word("directionFgsm")], ["random", word("directionRandom")]], state.direction);
  choices($("drawn-label"), [["", "?"], ...digits], String(drawing.label ?? ""));
  choices($("step-class"), digits, $("step-class").value || "0");
  $("eps").value = state.eps;
  $("clip").checked = state.clip;
  $("reach").value = String(state.reach);
}

function update() {
  drawControls();
  drawSheet();
  draw();
  writeAddress();
}

function set(changes) {
  Object.assign(state, changes);
  update();
}

let frame = 0;
$("eps").addEventListener("input", () => {
  state.eps = Number($("eps").value);
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(() => {
    const started = performance.now();
    draw();
    document.body.dataset.frame = (performance.now() - started).toFixed(2); // read by the tests
    writeAddress();
  });
});
const onChange = (id, change) => $(id).addEventListener("change", () => set(change($(id))));
onChange("attack", (e) => ({ attack: e.value }));
onChange("target", (e) => ({ target: e.value }));
onChange("source", (e) => ({ source: e.value }));
onChange("rounded", (e) => ({ rounded: e.value === "1" }));
onChange("clip", (e) => ({ clip: e.checked }));
onChange("line-network", (e) => ({ line: e.value }));
onChange("line-direction", (e) => ({ direction: e.value }));
onChange("reach", (e) => ({ reach: Number(e.value) }));
$("language").addEventListener("click", () => {
  set({ lang: state.lang === "en" ? "zh" : "en" });
  drawQuestion();
});
$("presenter").addEventListener("click", () => set({ presenter: !state.presenter }));
$("measure").addEventListener("click", measure);
$("noise").addEventListener("click", () => set({ image: `noise-${1 + Math.floor(Math.random() * 99999)}` }));
$("step").addEventListener("click", () => {
  const image = state.image.startsWith("noise") ? state.image : "noise-1";
  set({ image, attack: "fgsm", target: $("step-class").value, source: state.line, eps: 0.25 });
});

$("sheet").addEventListener("click", (event) => {
  const box = $("sheet").getBoundingClientRect();
  const column = Math.min(19, Math.floor((20 * (event.clientX - box.left)) / box.width));
  const row = Math.min(9, Math.floor((10 * (event.clientY - box.top)) / box.height));
  set({ image: String(20 * row + column) });
});

function moveImage(by) {
  const at = Number(state.image);
  set({ image: String(Number.isNaN(at) ? 0 : (at + by + IMAGES) % IMAGES) });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input, select, textarea");
  const onSheet = event.target === $("sheet");
  if (onSheet && event.key.startsWith("Arrow")) {
    moveImage({ ArrowLeft: -1, ArrowRight: 1, ArrowUp: -20, ArrowDown: 20 }[event.key]);
  } else if (typing) {
    return;
  } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    const eps = state.eps + (event.key === "ArrowLeft" ? -0.01 : 0.01);
    set({ eps: Math.round(1000 * Math.min(1, Math.max(-1, eps))) / 1000 });
  } else if (event.key === "ArrowUp" || event.key === "ArrowDown") moveImage(event.key === "ArrowUp" ? -1 : 1);
  else if (event.key === "r") set({ rounded: !state.rounded });
  else if (event.key === "c") set({ clip: !state.clip });
  else if (event.key === "p") set({ presenter: !state.presenter });
  else if (event.key === "a") {
    set({ attack: ATTACKS[(ATTACKS.indexOf(state.attack) + 1) % ATTACKS.length] });
  } else return;
  event.preventDefault();
});

// Files of one's own
$("open").addEventListener("change", async () => {
  const message = $("message");
  message.hidden = true;
  const opened = []; // shown when the worker has them too
  for (const file of $("open").files) {
    try {
      opened.push(readNetwork(await file.arrayBuffer(), file.name.replace(/\.safetensors$/, "")));
    } catch (error) {
      message.textContent = word("failed", { why: error.message });
      message.hidden = false;
    }
  }
  $("open").value = "";
  networks.push(...opened);
  if (worker) worker.postMessage({ kind: "networks", networks });
  measured = null;
  update();
});

// A digit of one's own, brought to size and place as those of MNIST were: 20 pixels large, its centre of mass in the middle
const board = $("drawing").getContext("2d", { willReadFrequently: true });
let last = null;
function clearBoard() {
  board.fillStyle = "black";
  board.fillRect(0, 0, 196, 196);
}
function stroke(event) {
  const box = $("drawing").getBoundingClientRect();
  const point = [(196 * (event.clientX - box.left)) / box.width, (196 * (event.clientY - box.top)) / box.height];
  board.strokeStyle = "white";
  board.lineWidth = 15;
  board.lineCap = board.lineJoin = "round";
  board.beginPath();
  board.moveTo(...(last || point));
  board.lineTo(...point);
  board.stroke();
  last = point;
}
$("drawing").addEventListener("pointerdown", (event) => {
  $("drawing").setPointerCapture(event.pointerId);
  last = null;
  stroke(event);
});
$("drawing").addEventListener("pointermove", (event) => {
  if (event.buttons) stroke(event);
});
$("drawing").addEventListener("pointerup", () => {
  last = null;
  taken();
});
$("clear").addEventListener("click", clearBoard);

function centred(data, size) {
  let [left, top, right, bottom] = [size, size, -1, -1];
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      if (data[4 * (y * size + x)] > 40) {
        [left, right] = [Math.min(left, x), Math.max(right, x)];
        [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
      }
    }
  }
  if (right < 0) return null;
  const scale = 20 / Math.max(right - left + 1, bottom - top + 1);
  const small = document.createElement("canvas");
  small.width = small.height = 28;
  const context = small.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "black";
  context.fillRect(0, 0, 28, 28);
  context.imageSmoothingQuality = "high";
  const [w, h] = [(right - left + 1) * scale, (bottom - top + 1) * scale];
  const place = (dx, dy) => context.drawImage($("drawing"), left, top, right - left + 1, bottom - top + 1, 14 - w / 2 + dx, 14 - h / 2 + dy, w, h);
  place(0, 0);
  const grey = () => {
    const read = context.getImageData(0, 0, 28, 28).data;
    return Float64Array.from({ length: PIXELS }, (_, i) => read[4 * i] / 255);
  };
  const first = grey();
  const mass = first.reduce((a, v) => a + v, 0);
  const meanX = first.reduce((a, v, i) => a + v * (i % 28), 0) / mass;
  const meanY = first.reduce((a, v, i) => a + v * Math.floor(i / 28), 0) / mass;
  context.fillRect(0, 0, 28, 28);
  place(Math.round(13.5 - meanX), Math.round(13.5 - meanY));
  return grey();
}
// The drawing is the image from its first stroke on.
function taken() {
  const x = centred(board.getImageData(0, 0, 196, 196).data, 196);
  if (!x) return;
  const label = $("drawn-label").value;
  drawing = { x, label: label === "" ? null : Number(label), version: drawing.version + 1 };
  set({ image: "drawing" });
}
$("drawn-label").addEventListener("change", taken);

// The three images and what the networks say, as a picture
$("save").addEventListener("click", () => {
  const canvas = document.createElement("canvas");
  canvas.width = 900;
  canvas.height = 330 + 24 * networks.length;
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  context.fillStyle = "black";
  context.font = "18px sans-serif";
  ["x", "eta", "moved"].forEach((id, i) => context.drawImage($(id), 20 + 300 * i, 30, 260, 260));
  [word("image"), word("eta"), word("sum")].forEach((text, i) => context.fillText(text, 20 + 300 * i, 22));
  const lines = $("summary").textContent.split("; ");
  lines.forEach((text, i) => context.fillText(text, 20, 320 + 24 * i));
  const link = document.createElement("a");
  link.download = `adversarial-${state.attack}-${state.eps}.png`;
  link.href = canvas.toDataURL("image/png");
  link.click();
});

addEventListener("resize", () => draw());
addEventListener("hashchange", () => {
  readAddress();
  update();
  drawQuestion();
});
// the questions are about the networks that the page opens on
$("predict").hidden = DATA.networks.map((n) => n.name).join() !== Object.keys(NAMES).join();
readAddress();
clearBoard();
drawQuestion();
update();
