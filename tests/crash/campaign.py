"""Kills programs at random moments, and looks at what is left and what the next run makes of it.

    python tests/crash/campaign.py [--kills N] [--seed S] [--jobs N] [--place PLACE] [--kind KIND] [--plant FAULT]

Programs (`victims`) are disturbed a few times in a row in the same folder, by signals, a full disk or a folder that
suddenly cannot be written; then one run may end. After every disturbance each visible file has to be whole and no
process left over; the last run has to give the bits of an undisturbed one, and to leave nothing behind. What is printed
is a table of all that; the exit code is 1 if anything was wrong.
"""

import argparse
import contextlib
import errno
import itertools
import json
import lzma
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import victims

from tinyadv.course.export import export
from tinyadv.machine import cores
from tinyadv.paper.results_file import load_results
from tinyadv.storage import load_arrays

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "Ctrl-C": signal.SIGINT}
STAGES = ("nothing", "checkpoint", "results")
KINDS = (*SIGNALS, "full disk", "read-only")
PLACES = tuple(victims.PLACES)
COMMANDS = ("workers", "grading", "data")  # whose users see one line, never a traceback
FAULTS = {  # that can be planted, and where it is looked for them
    "files are written in place": ("training", "SIGKILL"),
    "momentum is not kept": ("training", "SIGKILL"),
    "masks are not the epoch's": ("training", "SIGTERM"),
    "processes outlive their program": ("workers", "SIGKILL"),
    "nothing is cleaned up": ("training", "SIGKILL"),
    "a full disk goes unnoticed": ("training", "full disk"),
}
DISK = 4 << 20  # bytes of the small disk
PATIENCE = 30.0  # seconds in which a program that is told to stop has to have done it
ORPHANS = 5.0  # and in which the processes of one that was killed have to be gone

# ---------------------------------------------------------------------------------------------------------
# A program in its folder


class Program:
    """One run of a victim in `base`: its files in out, temporary ones in tmp."""

    def __init__(self, place, base, given, unprivileged=False, **environment):
        self.place, self.base = place, base
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115  (until `end`)
        for name in ("out", "tmp"):
            (base / name).mkdir(exist_ok=True)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("CRASH_", "WORLD_"))}
        own = {
            "CRASH_FOLDER": base,
            "TMPDIR": base / "tmp",
            "CRASH_GIVEN": given / place,
            "PYTHONPATH": victims.TESTS.parent,
        }
        caps = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), 1)
        # root writes where nobody may, unless it does without that privilege
        without = ("setpriv", "--bounding-set=-dac_override") if unprivileged and os.geteuid() == 0 else ()
        self.process = subprocess.Popen(
            [*without, sys.executable, "-B", victims.__file__, place, str(base)],
            env=clean | {name: str(value) for name, value in (own | caps | environment).items()},
            stdin=subprocess.DEVNULL, stdout=self.said, stderr=self.said, start_new_session=True,
        )  # fmt: skip

    def wait(self, seconds):
        """Whether it ends within so many seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
            return True
        return False

    def stands(self):
        """Whether it has stopped, or ended."""
        state = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state in "TZ"

    def send(self, number, whom):
        """Send a signal to the program, or to "all" of its processes."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if whom == "all" else os.kill)(self.process.pid, number)

    def words(self):
        """What it printed."""
        self.said.seek(0)
        return self.said.read()

    def processes(self):
        """All processes that have to do with its folder: those whose environment or command names it."""
        found, wanted = [], os.fsencode(self.base)
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found

    def end(self):
        """End what is left of it."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.said.close()


def until(condition, seconds):
    """Whether a condition comes to hold within so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


# ---------------------------------------------------------------------------------------------------------
# What is in a folder


def visible(out):
    """The files that anybody would read: hidden ones are nobody's."""
    return sorted(path for path in out.rglob("*") if path.is_file() and "/." not in str(path.relative_to(out.parent)))


def has_results(path):
    """Whether a file of JSON is one of measurements; grades have no fingerprint of their own."""
    return '"tinyadv results' in path.read_text()


def not_whole(out):
    """The files that are not what their writers meant them to be, in words."""
    checks = {
        ".safetensors": load_arrays,
        ".checkpoint": load_arrays,
        ".json": lambda path: load_results(path) if has_results(path) else json.loads(path.read_text()),
        ".xml": ElementTree.parse,
        ".html": lambda path: path.read_text().rstrip().endswith("</html>") or 1 / 0,
        ".xz": lambda path: lzma.decompress(path.read_bytes()) == victims.raw(path.stem) or 1 / 0,
    }
    found = []
    for path in visible(out):
        try:
            checks[path.suffix](path)
        except Exception as error:
            found.append(f"{path.name} is not whole: {type(error).__name__}: {error}")
    return found


TIMES = ("seconds", "core_seconds", "cost", "started", "command", "sha256", "when")  # and the fingerprint of these


def content(path):
    """The bytes of a file; of one with results or grades, all but times; of one that says what a run took, none."""

    def timeless(value):
        if isinstance(value, dict):
            return {key: timeless(entry) for key, entry in value.items() if key not in TIMES}
        return [timeless(entry) for entry in value] if isinstance(value, list) else value

    if path.suffix == ".json" and '"format"' in path.read_text():
        return timeless(json.loads(path.read_text()))
    return b"" if path.name.endswith((".html", ".cost.json")) else path.read_bytes()


def contents(out):
    """Everything that a run leaves, by name."""
    return {str(path.relative_to(out)): content(path) for path in visible(out)}


def differences(out, wanted):
    """In which files a folder differs from what an undisturbed run left, in words."""
    found = contents(out)
    names = sorted(name for name in found | wanted if found.get(name) != wanted.get(name))
    return [f"not as without disturbance: {', '.join(names)}"] if names else []


def leftovers(base):
    """Hidden files and temporary folders that a run which has ended left."""
    hidden = [path for path in (base / "out").rglob(".*") if path.name != ".lock"]
    return [f"left over: {path.name}" for path in hidden]


def stage(base):
    """How far a run had come when it was disturbed."""
    names = {path.suffix for path in visible(base / "out")}
    if names & {".safetensors", ".json", ".xz"}:
        return "results"
    return "checkpoint" if ".checkpoint" in names else "nothing"


# ---------------------------------------------------------------------------------------------------------
# Disturbances


@dataclass
class Disturbance:
    """One, and everything that was wrong with it or afterwards."""

    place: str
    kind: str
    how: str
    stage: str = ""
    problems: list[str] = field(default_factory=list)


class Unavailable(Exception):  # noqa: N818
    """Why a kind of disturbance cannot be made here."""


@contextlib.contextmanager
def small_disk(base):
    """`base` on a disk of its own."""
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", base], capture_output=True, text=True)
    if made.returncode:
        raise Unavailable(f"no small disk: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", base], check=True)


def fill(base, free):
    """Leave so many bytes free on the disk of `base`."""
    with open(base / "filler", "wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 14))
        file.truncate(max(0, file.tell() - free))


def set_mode(base, mode):
    """Let all folders in `base` be writable, or not."""
    for path in [base, *base.rglob("*")]:
        with contextlib.suppress(FileNotFoundError):  # a run may be removing it
            if path.is_dir():
                path.chmod(mode)


class Campaign:
    """Disturbs programs; `disturbances` is what became of it."""

    def __init__(self, folder, seed, plant=None, say=lambda line: None):
        self.folder, self.seed, self.say = folder, seed, say
        self.given = folder / "given"
        self.environment = {"CRASH_PLANT": plant} if plant else {}
        self.disturbances, self.unavailable = [], {}
        self.undisturbed = {}  # by place: what it leaves, how long it takes, how many steps

    def prepare(self, place):
        """Run a place undisturbed, once: what is compared with."""
        if place in self.undisturbed:
            return self.undisturbed[place]
        if place == "data":
            (self.given / place).mkdir(parents=True)
            for name in victims.SIZES:
                (self.given / place / name).write_bytes(victims.raw(name))
        if place == "grading":
            export(self.given / place, solutions=True)
            export(self.folder / "stubs")
            for path in (self.folder / "stubs" / "lessons").glob("lesson03*"):
                shutil.copy(path, self.given / place / "lessons")
        base, steps = self.folder / f"{place}-undisturbed", self.folder / f"{place}-steps"
        base.mkdir()
        began = time.monotonic()
        program = Program(place, base, self.given, CRASH_STEPS=steps, **self.environment)
        code, seconds = program.process.wait(), time.monotonic() - began
        problems = [*not_whole(base / "out"), *leftovers(base)]
        if code or problems or not contents(base / "out"):
            raise RuntimeError(f"{place}, undisturbed, ends with {code}: {problems} {program.words()}")
        program.end()
        self.undisturbed[place] = contents(base / "out"), seconds, steps.stat().st_size
        return self.undisturbed[place]

    def run(self, place, kind, times):
        """Disturb a place so many times: in chains of one to three, each ended by a run that is left alone."""
        done = 0
        try:
            self.prepare(place)
            for attempt in itertools.count():
                if done == times:
                    break
                if attempt > 10 * times:
                    raise RuntimeError(f"{place}, {kind}: of {attempt} runs only {done} could be disturbed")
                done += self.chain(place, kind, attempt, times - done)
        except Unavailable as why:
            self.unavailable[place, kind] = str(why)

    def chain(self, place, kind, number, most):
        """How many disturbances there were, one after the other, before the run that was left alone."""
        rng = random.Random(f"{self.seed} {place} {kind} {number}")
        base = Path(tempfile.mkdtemp(dir=self.folder))
        links = []
        with small_disk(base) if kind == "full disk" else contextlib.nullcontext():
            for _ in range(min(most, rng.choice((1, 2, 3)))):
                link = self.disturbed(place, kind, rng, base)
                if link is None:  # it had ended before
                    break
                links.append(link)
            problems = self.left_alone(place, base)
        for link in links:
            link.problems += problems
            self.say(f"{link.place}, {link.kind} {link.how}: {link.stage}; {'; '.join(link.problems) or 'good'}")
        self.disturbances += links
        shutil.rmtree(base)
        return len(links)

    def disturbed(self, place, kind, rng, base):
        """Start a program, disturb it at a random moment, look at what is left; None if it ended before."""
        _, seconds, steps = self.undisturbed[place]
        if kind == "read-only" and os.geteuid() == 0 and not shutil.which("setpriv"):
            raise Unavailable("root writes everywhere, and there is no setpriv")
        whom = "all" if kind not in ("SIGKILL", "SIGTERM") or rng.random() < 0.5 else "one"
        environment, step = dict(self.environment), rng.randint(1, steps)
        by_step = rng.random() < 0.5  # in the midst of writing, where seconds seldom hit
        if by_step:  # it sends the signal itself; or stops, until its folder is as it should be
            (base / "steps").unlink(missing_ok=True)
            number = SIGNALS.get(kind, signal.SIGSTOP)
            environment |= {"CRASH_STEPS": base / "steps", "CRASH_STEP": step}
            environment |= {"CRASH_SIGNAL": int(number), "CRASH_WHOM": whom}
        at = rng.uniform(0.02, 1) * seconds
        how = f"at step {step} of {steps}" if by_step else f"after {at:.2f} s of {seconds:.2f} s"
        program = Program(place, base, self.given, kind == "read-only", **environment)
        try:
            if not by_step and program.wait(at):
                return None
            if kind not in SIGNALS:
                if by_step and not until(program.stands, PATIENCE):
                    return None
                fill(base, rng.choice((0, rng.randrange(1 << 16)))) if kind == "full disk" else set_mode(base, 0o555)
                program.send(signal.SIGCONT, "all")
            elif not by_step:
                program.send(SIGNALS[kind], whom)
            return self.aftermath(program, Disturbance(place, kind, f"({whom}) {how}"))
        finally:
            program.end()
            (base / "filler").unlink(missing_ok=True)
            set_mode(base, 0o755)

    def aftermath(self, program, link):
        """What there is once a program has ended; None if it was not disturbed at all."""
        out = program.base / "out"
        if not program.wait(PATIENCE):
            link.problems.append(f"it has not stopped within {PATIENCE:.0f} s")
            return link
        code, words = program.process.returncode, program.words()
        if code == 0:
            if link.kind not in SIGNALS:
                link.problems += differences(out, self.undisturbed[link.place][0])
                link.stage = "it needed no more"
                if not link.problems:
                    return None
            return None
        if not until(lambda: not program.processes(), ORPHANS):
            link.problems.append(f"{len(program.processes())} processes left over")
        link.stage = stage(program.base)
        link.problems += not_whole(out)
        link.problems += self.manners(link, code, words)
        return link

    def manners(self, link, code, words):
        """What a command said to its user that it should not have; and what it did not say."""
        # while Python starts and reads the program and what it imports, Ctrl-C is Python's
        begun = re.search(r"(cli|mnist)\.py\", line \d+, in main\n|, in _bootstrap\n", words)  # or of a process's own
        wrong = [f"it found files that are not whole: {words}"] if "damaged" in words or "readable" in words else []
        if link.place not in COMMANDS:
            return wrong
        if "Traceback" in words and begun:
            wrong.append(f"a traceback: {words[-2000:]}")
        refused = {"full disk": errno.ENOSPC, "read-only": errno.EACCES}
        why = os.strerror(refused[link.kind]) if link.kind in refused else ""
        if why and (code != 2 or not any(said in words for said in (why, "cannot be"))):  # "cannot be written": before
            wrong.append(f"code {code} and not the reason: {words[-500:]}")
        return wrong

    def left_alone(self, place, base):
        """A run that nobody disturbs: what is wrong with it."""
        program, began = Program(place, base, self.given, **self.environment), time.monotonic()
        try:
            if not program.wait(10 * PATIENCE):
                return [f"the next run has not ended within {10 * PATIENCE:.0f} s"]
            wanted, seconds, steps = self.undisturbed[place]  # the machine may be busier than it was
            self.undisturbed[place] = wanted, max(seconds, time.monotonic() - began), steps
            words, code = program.words(), program.process.returncode
        finally:
            program.end()
        problems = [f"the next run ends with code {code}: {words[-2000:]}"] if code else []
        problems += [f"the next run found: {words}"] if "damaged" in words or "readable" in words else []
        return problems + differences(base / "out", self.undisturbed[place][0]) + leftovers(base)

    def table(self):
        """Kind, place, disturbances, how far the runs had come, and what was wrong."""
        lines = [f"{'kind':10} {'place':9} {'kills':>5}   stage when it was stopped                outcome"]
        for kind in KINDS:
            for place in PLACES:
                some = [d for d in self.disturbances if (d.kind, d.place) == (kind, place)]
                stages = Counter(d.stage for d in some)
                had = ", ".join(
                    f"{name} {stages[name]}" for name in ("nothing", "checkpoint", "results") if stages[name]
                )
                bad = sum(bool(d.problems) for d in some)
                outcome = f"{bad} WRONG" if bad else "all go on to the same bits"
                if (place, kind) in self.unavailable:
                    outcome = f"skipped: {self.unavailable[place, kind]}"
                if some or (place, kind) in self.unavailable:
                    lines.append(f"{kind:10} {place:9} {len(some):5}   {had:40} {outcome}")
        bad = sum(bool(d.problems) for d in self.disturbances)
        return "\n".join([*lines, f"{len(self.disturbances)} kills, {bad} with something wrong, seed {self.seed}"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=250, help="in all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=cores(), help="so many at once (default: %(default)s)")
    parser.add_argument("--place", choices=PLACES, action="append")
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--plant", choices=tuple(FAULTS))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # small disks are given back
    cells = [(place, kind) for kind in options.kind or KINDS for place in options.place or PLACES]
    with tempfile.TemporaryDirectory(prefix="tinyadv-crash-") as folder:
        campaign = Campaign(Path(folder), options.seed, options.plant, lambda line: print(line, flush=True))
        for place in options.place or PLACES:
            campaign.prepare(place)
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda cell: campaign.run(*cell, -(-options.kills // len(cells))), cells))
    print(campaign.table())
    return any(d.problems for d in campaign.disturbances)


if __name__ == "__main__":
    sys.exit(main())
