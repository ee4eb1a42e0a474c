// A lesson's page whose exercises are edited, checked and run where they stand.
//
// The page works without this script: it only adds to what is there. Answers lie in the browser's storage, by lesson
// and exercise; what is checked is the very file that can be downloaded and handed in.
import { editor } from "./vendor/editor.js";
import * as python from "./interpreter.js";
import { answered, kept, keep, keyOf, solved, submission, zipped } from "./answers.js";

const CHECK_SECONDS = 20; // for the tests of one exercise
const RUN_SECONDS = 60; // for one cell
const SLOWER = 5; // as many times may one that takes minutes take on a slow machine
const START_SECONDS = 120; // before that, for what Python has to import
const HERE = new URL(".", import.meta.url);
const ROOT = new URL(document.documentElement.dataset.content_root ?? "./", location.href);

let contents, lesson; // what contents.json and the lesson's own file say
let busy = null; // what runs now: its buttons wait
let ran = []; // the code of the cells that have run in this interpreter: the first ones of the lesson
const exercises = new Map(); // by name: what stands on the page

main(); // a module runs when the page has been read

async function main() {
  const number = Number(location.pathname.match(/lesson(\d\d)_[^/]*$/)?.[1] ?? 0);
  if (!number && !/lessons\/(index\.html)?$/.test(location.pathname)) return;
  remember();
  contents = await (await fetch(new URL("contents.json", HERE))).json();
  if (number) {
    lesson = await readLesson(number);
    for (const piece of lesson.pieces) if (piece.name) open(piece);
    offerCells();
  }
  bar();
  addEventListener("storage", ({ key }) => changedElsewhere(key));
}

async function readLesson(number) {
  const file = `lesson${String(number).padStart(2, "0")}.json`;
  return (await fetch(new URL(file, HERE))).json();
}

// ------------------------------------------------------------------------------------------------- exercises

function open(piece) {
  const box = document.getElementById(`exercise-${piece.name.replaceAll("_", "-")}`); // as docutils writes it
  if (!box) return;
  const given = box.querySelector("div.highlight, div[class*=highlight-]");
  const field = make("div", { className: "answer" });
  given.hidden = true;
  given.before(field);
  const keys = "Tab indents; Escape, then Tab, leaves the editor.";
  const label = `Your answer to ${piece.name}. ${keys}`;
  const stored = kept(lesson.number, piece.name);
  const stub = piece.stub.replace(/\n+$/, "");
  const view = editor(field, stored?.text ?? stub, label, (text) => {
    if (text !== (kept(lesson.number, piece.name)?.text ?? stub)) keep(lesson.number, piece.name, { text });
    shown(piece.name);
    bar();
  });
  const tools = make("div", { className: "tools", role: "group", ariaLabel: `Exercise ${piece.name}` });
  const said = make("div", { className: "said" });
  said.setAttribute("role", "status");
  const check = button("Check", () => checked(piece.name));
  check.classList.add("first");
  tools.append(check);
  const hints = hintsOf(box);
  if (hints.length) tools.append(button("Hint", () => reveal(hints.find((hint) => !hint.open) ?? hints.at(-1))));
  const solution = solutionOf(box);
  if (solution) tools.append(button("Solution", () => reveal(solution)));
  const again = button("Start over", () => {
    if (write(view, stub)) keep(lesson.number, piece.name, null);
    shown(piece.name);
    bar();
  });
  tools.append(again, make("span", { className: "keys", textContent: keys, ariaHidden: "true" }));
  field.after(tools, said);
  exercises.set(piece.name, { box, view, said, stub, check });
  shown(piece.name);
}

// The hints under an exercise's heading, which stand before its code.
function hintsOf(box) {
  const above = [...document.querySelectorAll("article details")].filter(
    (part) => part.compareDocumentPosition(box) & Node.DOCUMENT_POSITION_FOLLOWING,
  );
  const heading = [...document.querySelectorAll("article h2, article h3")]
    .filter((part) => part.compareDocumentPosition(box) & Node.DOCUMENT_POSITION_FOLLOWING)
    .at(-1);
  return above.filter(
    (part) =>
      part.querySelector("summary")?.textContent.trim().startsWith("Hint") &&
      (!heading || heading.compareDocumentPosition(part) & Node.DOCUMENT_POSITION_FOLLOWING),
  );
}

function solutionOf(box) {
  return [...document.querySelectorAll(".tag_solution details")].find(
    (part) => box.compareDocumentPosition(part) & Node.DOCUMENT_POSITION_FOLLOWING,
  );
}

function reveal(details) {
  details.open = true;
  details.scrollIntoView({ block: "nearest" });
  details.querySelector("summary")?.focus();
}

// Put another text into an editor; whether it was another one.
function write(view, text) {
  if (view.state.doc.toString() === text) return false;
  view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
  return true;
}

// Say what is known of an exercise: solved, or what the last check said.
function shown(name) {
  const { box, said } = exercises.get(name);
  const stored = kept(lesson.number, name);
  box.classList.toggle("solved", solved(stored));
  if (busy === said) return; // it says what runs
  if (!stored || stored.checked === undefined) return say(said, "");
  if (stored.checked !== stored.text) return say(said, "Changed since the last check.");
  const points = `${stored.earned} of ${stored.points} points`;
  if (solved(stored)) say(said, `✓ Right: ${points}.`, "right");
  else say(said, `✗ ${stored.said} (${points})`, "wrong");
}

async function checked(name) {
  const { said: place, view, stub } = exercises.get(name);
  const text = view.state.doc.toString();
  const answers = { ...answered(lesson), [name]: text };
  const request = { do: "check", number: lesson.number, name, file: lesson.file, source: submission(lesson, answers) };
  const done = await ask(place, [], request, () => CHECK_SECONDS, `the tests of ${name}`);
  if (!done) return;
  const said = inEditor(done.said, name, answers);
  const now = view.state.doc.toString(); // one may have gone on typing, or started over
  if (now !== stub || text === stub) {
    keep(lesson.number, name, { text: now, checked: text, said, earned: done.earned, points: done.points });
  }
  shown(name);
  bar();
}

// Feedback counts the lines of the whole file; a reader sees those of the editor.
function inEditor(said, name, answers) {
  const place = lesson.pieces.findIndex((piece) => piece.name === name);
  const lines = (count) => submission({ pieces: lesson.pieces.slice(0, count) }, answers).split("\n").length - 1;
  const [above, end] = [lines(place), lines(place + 1)];
  return said.replace(/\bline (\d+)/g, (whole, line) => (line > above && line <= end ? `line ${line - above}` : whole));
}

// ----------------------------------------------------------------------------------------------------- cells

function offerCells() {
  const cells = [...document.querySelectorAll("article div.cell")];
  if (cells.length !== lesson.cells.length) return; // another page than the lesson's: nothing is offered
  cells.forEach((cell, i) => {
    if (lesson.cells[i].exercise) return;
    const tools = make("div", { className: "tools" });
    const output = make("div", { className: "run-output" });
    const { minutes } = lesson.cells[i];
    if (!lesson.home) tools.append(button("Run", () => runCell(i, output)));
    if (minutes) tools.append(make("span", { textContent: `Takes ${about(minutes)} here. ${atHome()}` }));
    if (lesson.home && !i) tools.append(make("p", { textContent: `${lesson.home}: tinyadv lesson ${lesson.number}` }));
    cell.append(tools, output); // below the output that came with the page
  });
}

const about = (minutes) => (minutes === 1 ? "about a minute" : `about ${minutes} minutes`);
const atHome = () => `It takes less at home: tinyadv lesson ${lesson.number}`;

// Run a cell, after those above it that have not run. Where a cell below has run, or an answer above is another one now,
// the lesson is run from its start: so a cell finds what it finds when a lesson is read from the top.
async function runCell(index, output) {
  const own = answered(lesson);
  const missing = new Set();
  const codes = lesson.cells.slice(0, index + 1).map((cell) => {
    if (!cell.exercise) return cell.code;
    if (own[cell.exercise] === undefined) missing.add(cell.exercise);
    return own[cell.exercise] ?? cell.code;
  });
  const afresh = !ran.length || ran.length > index + 1 || codes.slice(0, ran.length).some((code, i) => code !== ran[i]);
  if (afresh) ran = [];
  const due = codes.map((code, i) => i).filter((i) => i === index || i >= ran.length);
  output.replaceChildren();
  output.classList.add("cell_output"); // looks like the page's own
  const said = make("div", { className: "said" });
  said.setAttribute("role", "status");
  output.append(said);
  const request = { do: "run", number: lesson.number, cells: due.map((i) => codes[i]), afresh };
  let text = null;
  const show = (message) => {
    if (message.cell !== undefined) {
      const { minutes } = lesson.cells[due[message.cell]];
      const where = due.length > 1 ? `Running cell ${message.cell + 1} of ${due.length}` : "Running";
      say(said, `${where}${minutes ? `, for ${about(minutes)}` : ""} …`);
      return;
    }
    if (message.text !== undefined) {
      if (!text) output.append((text = make("pre", {})));
      text.append(message.text);
      return;
    }
    text = null;
    if (message.html !== undefined) {
      const part = make("div", { className: "output text_html" });
      part.innerHTML = message.html;
      output.append(part);
    }
    if (message.picture) {
      for (const [className, data] of [["only-light", message.picture], ["only-dark", message.dark]]) {
        output.append(make("img", { src: `data:image/png;base64,${data}`, alt: message.alt, className }));
      }
    }
  };
  const began = performance.now();
  const seconds = (cell) => 60 * (lesson.cells[due[cell]].minutes ?? 0) * SLOWER || RUN_SECONDS;
  const done = await ask(said, lesson.packs, request, seconds, "this cell", show);
  if (!done) return;
  due.slice(0, done.ran).forEach((i) => (ran[i] = codes[i])); // the one that failed will run again
  if (done.error) {
    const where = done.ran < due.length - 1 ? " in a cell above this one" : "";
    say(said, `✗ Stopped${where}.`, "wrong");
    output.append(make("pre", { textContent: done.error }));
    return;
  }
  const stood = missing.size ? ` Not answered yet, so the lesson’s own solution ran: ${[...missing].join(", ")}.` : "";
  say(said, `Ran here in ${((performance.now() - began) / 1000).toFixed(1)} s.${stood}`);
}

// ------------------------------------------------------------------------------------------------- asking Python

// Have Python do something; what came of it, or null where it did not end: then `said` says why. It may take as long as
// `seconds` says, of each cell by its place among those that run.
async function ask(said, packs, request, seconds, what, show = () => {}) {
  if (busy) return null;
  busy = said;
  waiting(true);
  let done = null;
  let last = "";
  let clock;
  let allowed = START_SECONDS;
  const stop = button("Stop", () => python.stop("stopped"));
  const watch = (limit) => {
    allowed = limit;
    clearTimeout(clock);
    clock = setTimeout(() => python.stop(TOO_LONG), limit * 1000);
  };
  try {
    say(said, "Loading Python …");
    const meter = make("progress", { max: 1, value: 0 });
    meter.setAttribute("aria-label", "Loading Python");
    said.append(" ", meter);
    await python.start(packs, (bytes, all) => {
      meter.value = bytes / all;
      said.firstChild.textContent = `Loading Python, once: ${megabytes(bytes)} of ${megabytes(all)} MB`;
    });
    say(said, "Running … ");
    said.append(stop);
    watch(START_SECONDS);
    const text = btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(request))));
    await python.run(`from tinyadv.course.web.answers import serve; serve("${text}")`, (line) => {
      let message;
      try {
        message = JSON.parse(line);
      } catch {
        last = line; // what Python itself says when it fails
        return;
      }
      if (message.began !== undefined || message.cell !== undefined) watch(seconds(message.cell));
      if (message.done) done = message.done;
      else show(message);
      if (!done && !said.contains(stop)) said.append(" ", stop);
    });
    if (!done) throw new Error(last || "Python said nothing");
  } catch (error) {
    done = null;
    if (!said.isConnected) return null;
    say(said, `✗ ${because(error.message, allowed, what)}`, "wrong");
  } finally {
    clearTimeout(clock);
    if (!done) {
      ran = []; // the next request has a new interpreter, or one of which nobody knows what it holds
      python.stop();
    }
    busy = null;
    waiting(false);
  }
  return done;
}

const TOO_LONG = "too long";

function because(why, seconds, what) {
  if (why === TOO_LONG && what === "this cell") {
    return `Stopped after ${seconds} s. ${atHome()}`;
  }
  if (why === TOO_LONG) return `Stopped: ${what} did not end within ${seconds} s. Is there an endless loop?`;
  if (why === "stopped") return "Stopped.";
  if (why.includes("stack")) {
    return "Python ended: too many calls inside of each other. Does a function call itself without end?";
  }
  if (why.startsWith("Python crashed")) return `${why}. Your answer is kept; the next check starts Python again.`;
  return why;
}

const megabytes = (bytes) => (bytes / 1e6).toFixed(0);

function waiting(is) {
  document.querySelectorAll(".tools button").forEach((part) => {
    if (["Check", "Run"].includes(part.textContent)) part.disabled = is;
  });
}

// ------------------------------------------------------------------------------------------------------- the bar

function bar() {
  let place = document.querySelector(".solved-bar");
  if (!place) {
    place = make("section", { className: "solved-bar" });
    place.setAttribute("aria-label", "What is solved");
    const after = document.querySelector("article .lead") ?? document.querySelector("article h1");
    after.after(place);
  }
  const here = lesson ? count({ [lesson.number]: lesson.points }) : null;
  const all = count(contents.exercises);
  const parts = [];
  const shownOf = here ?? all;
  const meter = make("progress", { max: shownOf.points, value: shownOf.earned });
  meter.setAttribute("aria-label", here ? "Points of this lesson" : "Points of the course");
  const line = make("p", {});
  if (here) line.append(`Solved here: ${here.solved} of ${here.names} exercises, ${here.earned} of ${here.points} points. `);
  line.append(`In the course: ${all.solved} of ${all.names} exercises, ${all.earned} of ${all.points} points.`);
  parts.push(meter, line);
  const lacks = python.lacking();
  if (lacks) parts.push(make("p", { className: "lacks", textContent: lacks }));
  const load = button("Download my answers", download);
  load.title = "A zip file that `tinyadv course grade` takes";
  parts.push(load);
  place.replaceChildren(...parts);
}

function count(lessons) {
  const sum = { solved: 0, names: 0, earned: 0, points: 0 };
  for (const [number, points] of Object.entries(lessons)) {
    for (const [name, worth] of Object.entries(points)) {
      const stored = kept(number, name);
      sum.names += 1;
      sum.points += worth;
      if (stored && stored.checked === stored.text) sum.earned += stored.earned ?? 0;
      if (solved(stored)) sum.solved += 1;
    }
  }
  return sum;
}

async function download() {
  const files = {};
  for (const number of Object.keys(contents.exercises)) {
    const other = await readLesson(number);
    const answers = answered(other);
    if (Object.keys(answers).length) files[`lessons/${other.file}`] = submission(other, answers);
  }
  if (!Object.keys(files).length) {
    document.querySelector(".solved-bar").append(make("p", { textContent: "There is no answer yet to download." }));
    return;
  }
  const link = make("a", { href: URL.createObjectURL(zipped(files)), download: "tinyadv-answers.zip" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// Another tab has changed an answer: this one shows it too.
function changedElsewhere(key) {
  for (const [name, { view, stub }] of exercises) {
    if (key !== null && key !== keyOf(lesson.number, name)) continue;
    write(view, kept(lesson.number, name)?.text ?? stub);
    shown(name);
  }
  bar();
}

// --------------------------------------------------------------------------------------------------- small things

// From now on the pages that were read, and Python once it was loaded, are there without a network.
async function remember() {
  if (!("serviceWorker" in navigator)) return; // not on a secure origin: the browser's own cache has to do
  try {
    await navigator.serviceWorker.register(new URL("service-worker.js", ROOT));
    const worker = (await navigator.serviceWorker.ready).active;
    const loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
    const parts = ["contents.json", "worker.js", "interpreter.js", "answers.js", "vendor/wasi.js", "vendor/editor.js"];
    worker.postMessage([location.href, ...loaded, ...parts.map((part) => new URL(part, HERE).href)]);
  } catch (error) {
    console.warn("not available offline:", error.message);
  }
}

function make(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

function button(text, act) {
  const made = make("button", { type: "button", textContent: text });
  made.addEventListener("click", act);
  return made;
}

function say(place, text, kind = "") {
  place.className = `said ${kind}`.trim();
  place.replaceChildren(text);
}
