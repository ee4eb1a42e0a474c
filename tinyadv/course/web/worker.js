// The worker that Python runs in: CPython as a WebAssembly program for WASI, its files in memory.
//
// The program is a "reactor": it keeps its state between calls of `turn`, which runs code.
import { Directory, Fd, File, PreopenDirectory, WASI, wasi } from "./vendor/wasi.js";

// /dev/null is a device: pytest refuses a file of that name as its configuration, but not a device.
class Null extends File {
  stat() {
    return new wasi.Filestat(this.ino, wasi.FILETYPE_CHARACTER_DEVICE, 0n);
  }
}

const folder = (entries = []) => new Directory(new Map(entries));
// /box: what code may write
const root = new PreopenDirectory("/", new Map([["box", folder()], ["dev", folder([["null", new Null([])]])]]));
let python = null;

onmessage = async ({ data }) => {
  try {
    if (data.program) {
      await begin(data.program);
      postMessage({ ready: true });
    } else if (data.mount) {
      mount(data.mount);
      if (entered) turn("import importlib; importlib.invalidate_caches()");
    } else {
      turn(data.code);
      postMessage({ ended: true });
    }
  } catch (error) {
    postMessage({ crashed: String(error) });
  }
};

async function begin(program) {
  const system = new WASI(
    ["python"],
    ["HOME=/box", "TMPDIR=/box", "MPLCONFIGDIR=/box", "PYTHONDONTWRITEBYTECODE=1", "PYTHONTZPATH="],
    [new Empty(), new Lines(), new Lines(), root],
    { debug: false },
  );
  python = await WebAssembly.instantiate(program, {
    wasi_snapshot_preview1: system.wasiImport,
    host: { call: () => -1 },
  });
  system.inst = python; // what `initialize` would set, which starts the program as well: its files are not there yet
}

// It does not look at PYTHONPATH; and its files have no modes, which Python takes for none that may be written.
const PREPARED = `
import os, sys
sys.path.append('/site')
os.chdir('/box')
os.access = lambda path, mode, **_: os.path.exists(path)
os.chmod = lambda path, mode, **_: None
`;

let entered = false;

function turn(code) {
  if (!entered) {
    python.exports._initialize();
    entered = true;
    turn(PREPARED);
  }
  const bytes = new TextEncoder().encode(code);
  const place = python.exports.host_alloc(bytes.length) >>> 0;
  new Uint8Array(python.exports.memory.buffer).set(bytes, place);
  python.exports.turn(place, bytes.length);
}

// Add a pack's files: 4 bytes with the length of a table from path to length, the table, the files.
function mount(pack) {
  const length = new DataView(pack).getUint32(0, true);
  const table = JSON.parse(new TextDecoder().decode(new Uint8Array(pack, 4, length)));
  let offset = 4 + length;
  for (const [path, size] of Object.entries(table)) {
    const folders = path.split("/");
    const name = folders.pop();
    let place = root.dir;
    for (const part of folders) {
      if (!place.contents.has(part)) {
        const made = folder();
        made.parent = place;
        place.contents.set(part, made);
      }
      place = place.contents.get(part);
    }
    place.contents.set(name, new File(new Uint8Array(pack, offset, size), { readonly: true }));
    offset += size;
  }
}

// Standard input: nothing.
class Empty extends Fd {
  fd_fdstat_get() {
    return { ret: 0, fdstat: new wasi.Fdstat(wasi.FILETYPE_REGULAR_FILE, 0) };
  }
  fd_read() {
    return { ret: 0, data: new Uint8Array() };
  }
}

// Standard output and error: each line is posted. No terminal, so nothing colours what it prints.
class Lines extends Fd {
  decoder = new TextDecoder();
  begun = "";
  fd_fdstat_get() {
    return { ret: 0, fdstat: new wasi.Fdstat(wasi.FILETYPE_REGULAR_FILE, 0) };
  }
  fd_filestat_get() {
    return { ret: 0, filestat: new wasi.Filestat(0n, wasi.FILETYPE_REGULAR_FILE, 0n) };
  }
  fd_write(data) {
    const lines = (this.begun + this.decoder.decode(data, { stream: true })).split("\n");
    this.begun = lines.pop();
    for (const line of lines) postMessage({ line });
    return { ret: 0, nwritten: data.byteLength };
  }
}
