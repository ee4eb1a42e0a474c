// Python in the page, behind three functions: start, run, stop. Nothing else on the page knows which Python it is.
//
// It runs in a worker. What was fetched, and the compiled program, stay here, so that a worker that had to be ended is
// replaced in well under a second.

const HERE = new URL(".", import.meta.url);
let worker = null; // the one that runs, or is starting: a promise
let waiting = null; // who waits for what is running
const kept = new Map(); // what has been fetched: a promise for each name

// What the browser lacks, as a line for the reader; "" where nothing is missing.
export function lacking() {
  if (location.protocol === "file:") {
    return "A page opened from a file cannot run Python. Serve the site: tinyadv course serve DIR.";
  }
  const missing = [
    ["WebAssembly", typeof WebAssembly === "object" && WebAssembly.validate(EXCEPTIONS), "WebAssembly with exceptions"],
    ["Worker", typeof Worker === "function", "workers"],
    ["DecompressionStream", typeof DecompressionStream === "function", "DecompressionStream"],
  ].filter(([, there]) => !there);
  if (!missing.length) return "";
  const names = missing.map(([, , name]) => name).join(" and ");
  return `This browser lacks ${names}: Chrome or Edge 137, Firefox 131, Safari 18.4 and newer have what Python needs here.`;
}

// A function with `try_table`, which the interpreter is full of and browsers got late.
const EXCEPTIONS = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 8, 1, 6, 0, 0x1f, 0x40, 0, 0x0b, 0x0b,
]);

// Have Python running, with the files of these packs. `progress` is called with bytes done, bytes in all.
export async function start(packs, progress = () => {}) {
  if (lacking()) throw new Error(lacking());
  const { files } = await fetched("contents", () => json("contents.json"));
  const wanted = ["python", "library", ...packs];
  const share = Object.fromEntries(wanted.map((name) => [name, 0]));
  const all = wanted.reduce((sum, name) => sum + files[name].bytes, 0);
  const tell = (name) => (bytes) => {
    share[name] = bytes;
    progress(Object.values(share).reduce((a, b) => a + b), all);
  };
  const [program, ...contents] = await Promise.all(
    wanted.map((name) =>
      fetched(name, () => (name === "python" ? compiled : unpacked)(files[name], tell(name))).then((value) => {
        tell(name)(files[name].bytes);
        return value;
      }),
    ),
  );
  if (!worker) worker = begun(program);
  const here = await worker;
  for (const [i, name] of ["library", ...packs].entries()) {
    if (!here.mounted.has(name)) here.post({ mount: contents[i] });
    here.mounted.add(name);
  }
}

// Run code; `show` is called with each line of JSON that it writes. Rejected with the interpreter's last words if it
// crashes or is stopped: then `start` begins a new one.
export async function run(code, show) {
  const here = await worker;
  if (!here) throw new Error("Python is not running");
  return new Promise((done, failed) => {
    waiting = { done, failed, show };
    here.post({ code });
  });
}

// End Python, whatever it is doing.
export function stop(why = "stopped") {
  const failed = waiting?.failed;
  waiting = null;
  worker?.then((here) => here.end()).catch(() => {});
  worker = null;
  failed?.(new Error(why));
}

function begun(program) {
  return new Promise((ready, failed) => {
    const made = new Worker(new URL("worker.js", HERE), { type: "module" });
    const here = { mounted: new Set(), post: (message) => made.postMessage(message), end: () => made.terminate() };
    made.onerror = (event) => {
      failed(new Error(event.message ?? "the worker cannot be loaded"));
      stop(event.message);
    };
    made.onmessage = ({ data }) => {
      if (data.ready) ready(here);
      else if (data.crashed !== undefined) stop(`Python crashed: ${data.crashed}`);
      else if (data.ended) {
        const done = waiting?.done;
        waiting = null;
        done?.();
      } else waiting?.show(data.line);
    };
    here.post({ program });
  });
}

function fetched(name, make) {
  if (!kept.has(name)) {
    kept.set(
      name,
      make().catch((error) => {
        kept.delete(name); // so that the next attempt tries again
        throw error;
      }),
    );
  }
  return kept.get(name);
}

async function json(name) {
  const answer = await fetch(new URL(name, HERE));
  if (!answer.ok) throw new Error(`${name} cannot be fetched: ${answer.status}`);
  return answer.json();
}

async function compiled(file, tell) {
  return WebAssembly.compileStreaming(
    new Response(await stream(file, tell), { headers: { "Content-Type": "application/wasm" } }),
  );
}

async function unpacked(file, tell) {
  return new Response(await stream(file, tell)).arrayBuffer();
}

async function stream(file, tell) {
  const answer = await fetch(new URL(file.file, HERE));
  if (!answer.ok) throw new Error(`${file.file} cannot be fetched: ${answer.status}`);
  let bytes = 0;
  const counted = new TransformStream({
    transform(part, out) {
      tell((bytes += part.byteLength));
      out.enqueue(part);
    },
  });
  return answer.body.pipeThrough(counted).pipeThrough(new DecompressionStream("gzip"));
}
