// A reader's answers: where the browser keeps them, and the file that is handed in.

// The name that an exercise has in the browser's storage.
export const keyOf = (number, name) => `tinyadv:${number}:${name}`;

// What is kept of an exercise: its `text`, and of the last check the `checked` text, what was `said`, `earned`, `points`.
export function kept(number, name) {
  const key = keyOf(number, name);
  if (unkept.has(key)) return unkept.get(key);
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null; // no storage, or not ours
  }
}

const unkept = new Map(); // what the browser would not keep: it is there until the page is closed

// Keep more of an exercise, or with null nothing.
export function keep(number, name, more) {
  const key = keyOf(number, name);
  const value = more === null ? null : { ...kept(number, name), ...more };
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, JSON.stringify(value));
    unkept.delete(key);
  } catch {
    unkept.set(key, value);
  }
}

export function solved(stored) {
  return Boolean(stored) && stored.checked === stored.text && stored.points > 0 && stored.earned === stored.points;
}

// A lesson's answers that are kept, by exercise.
export function answered(lesson) {
  const found = {};
  for (const { name } of lesson.pieces) {
    const text = name && kept(lesson.number, name)?.text;
    if (typeof text === "string") found[name] = text;
  }
  return found;
}

// The lesson's file with these answers, as it is handed in.
export function submission(lesson, answers) {
  const parts = lesson.pieces.map((piece) => {
    if (typeof piece === "string") return piece;
    const text = answers[piece.name];
    return text === undefined ? piece.stub : `${text.replace(/\n+$/, "")}\n`;
  });
  return parts.join("");
}

// Files, by path, as a zip file; they are stored as they are.
export function zipped(files) {
  const encoder = new TextEncoder();
  const parts = [];
  const list = [];
  let offset = 0;
  for (const [path, text] of Object.entries(files)) {
    const name = encoder.encode(path);
    const content = encoder.encode(text);
    // version 2.0, UTF-8 names, stored, 1 January 1980
    const about = [[20, 2], [0x800, 2], [0, 2], [0, 2], [0x21, 2], [crc32(content), 4], [content.length, 4],
      [content.length, 4], [name.length, 2], [0, 2]]; // prettier-ignore
    const head = little([[0x04034b50, 4], ...about]);
    parts.push(head, name, content);
    list.push(little([[0x02014b50, 4], [20, 2], ...about, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]]), name);
    offset += head.length + name.length + content.length;
  }
  const count = Object.keys(files).length;
  const size = list.reduce((sum, part) => sum + part.length, 0);
  const end = little([[0x06054b50, 4], [0, 2], [0, 2], [count, 2], [count, 2], [size, 4], [offset, 4], [0, 2]]);
  return new Blob([...parts, ...list, end], { type: "application/zip" });
}

function little(fields) {
  const bytes = fields.flatMap(([value, size]) => Array.from({ length: size }, (_, i) => (value >>> (8 * i)) & 255));
  return new Uint8Array(bytes);
}

function crc32(bytes) {
  let sum = ~0;
  for (const byte of bytes) {
    sum ^= byte;
    for (let i = 0; i < 8; i++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return ~sum >>> 0;
}
