"""Grading what a student hands in: every exercise in a process of its own, by the package's own copy of the tests.

The one idea: a submission is a stranger's code. Its file is copied into a folder of its own, a fresh process
(`runner`) tests it there, and what counts is only what that process signs with a key that it got before the submission
was loaded. A loop, an exit, a crash or a flood of output costs the exercise that did it, and no other.

What holds a submission: on Linux the system itself (`confine`) lets it read only what Python needs, write only in its
folder, start nothing, connect to nothing and reach no other process, also when it has got round everything in Python;
`tinyadv doctor` says what of that a machine offers. Limits of the system bound time, memory and the size of a file;
whoever waits for the process looks ten times a second at what it has written. `tests/test_isolation.py` attacks it all.

What this does not protect against: Python cannot hide memory from code in the same process. A student who sets out to
attack the interpreter (by writing to memory through `ctypes.memmove`, by threads that race the checks, by rebuilding
what the audit refuses, by `__globals__` of a function that a test hands over) can fake points, and nothing more; one
who knows the package can call `tinyadv.attacks` instead of writing an attack. To guard against this, read the code of
whoever has full marks. Names of hidden files, and what `stat` tells of any file, can be seen. Between two looks the
disk can take more than the limit, and files that are deleted but in use count only when the disk is full. It stays the
user who grades: another one could not read a Python in that user's home; root's privileges are given up. Without
Landlock and seccomp (other systems, old kernels, some containers) Python's audit is all there is, and it does not see
every call: there give each submission a container or virtual machine without network, as Gradescope does. Memory limits
hold on Linux only, processor time limits wherever there is `resource`; on other systems there is the limit of elapsed
time.

Why do the tests run in the submission's process? Tried instead: the tests, as they are, in one process, and the
submission in another, with arrays and random numbers copied to and fro and functions called back. Of the first 103
cases 82 passed so. 41 of the 59 exercises exchange nothing but arrays and numbers. The other 18 are given networks
whose calls a test watches, functions of Tensors, random generators, or Tensors of the lesson's own engine; there each
operation of a Tensor would need a proxy, and what it did would again be the submission's word. The confinement is
needed either way, each test would start Python twice, and the same tests must still run in one process for students.
So it would be a second mechanism beside this one, and not in its place; what it shuts out, changed tests and results
that decide what they are equal to, `runner` refuses.
"""

from __future__ import annotations

import ast
import errno
import hashlib
import hmac
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from ..machine import cores, thread_caps
from ..storage import WINDOWS, remove_folder, temporary_folder
from . import PACKAGE
from .cells import parsed
from .exercises import exercises
from .export import INI, chosen_lessons, graded_lessons, tests_folder
from .feedback import one_line
from .scores import Check, Exercise
from .submissions import find, largest
from .uploads import FOLDERS, opened

SECONDS = 20.0  # of processor time for an exercise
PATIENCE = 3.0  # by the clock it may take that many times as long
GRACE = 60.0  # and this many seconds more until its tests begin
MEMORY = 2 << 30
SAID = 4 << 20  # bytes that a process may say
WRITTEN, ENTRIES = 64 << 20, 2000  # bytes that an exercise may write, and files and folders; looked at every PULSE s
PULSE = 0.1
# Ctrl-C is not for the processes that are graded, or their students would lose points. In Windows a group of its own
# keeps a process from it; elsewhere a session does.
APART = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
CRASHES = range(0xC0000000, 0xD0000000)  # exit codes with which Windows says how a process crashed


class GradingError(RuntimeError):
    """The tests themselves could not be run; nothing that a submission does leads here."""


def grade(
    folder: Path, only: Iterable[int] | None = None, seconds: float = SECONDS, memory: int = MEMORY
) -> list[Exercise]:
    """Grade all exercises of the course in a submission: a folder as `export` writes it, with `lessons` in it.

    Parameters
    ----------
    folder : Path
        Or a zip file of one, a folder with zip files and no lessons, or a lesson's file. Nothing is written there; its
        tests are not looked at.
    only : iterable of int, optional
        These lessons; by default all that have exercises.
    seconds : float
        Processor time for one exercise after imports; by the clock `PATIENCE` times that.
    memory : int
        Bytes of address space for one exercise.

    Returns
    -------
    list of Exercise
        In the order of the lessons, those that have tests; what is missing or cannot be run has earned nothing and
        says why.

    Raises
    ------
    ValueError
        If there is no such folder or lesson, a mark in the tests is wrong, or pytest is not installed.
    GradingError
        If the tests themselves cannot be run.
    OSError
        If the disk is full, or there is no place for temporary files: that costs nobody points.
    """
    if find_spec("pytest") is None:
        raise ValueError("grading needs pytest, which is not installed: pip install 'tinyadv[course]'")
    jobs = [
        (number, name, tests)
        for number, path in chosen_lessons(only).items()
        for name, tests in tests_of(number, exercises(path.read_text(encoding="utf-8"))).items()
        if tests
    ]
    with opened(folder) as place:
        return _grade_all(place, jobs, seconds, memory)


def _grade_all(
    folder: Path, jobs: list[tuple[int, str, dict[str, float]]], seconds: float, memory: int
) -> list[Exercise]:
    """Grade exercises, each a lesson's number, a name and its tests with their points, as many at a time as can be."""
    running: set[subprocess.Popen[bytes]] = set()

    def graded(job: tuple[int, str, dict[str, float]]) -> Exercise:
        number, name, tests = job
        return _grade(folder, number, name, tests, seconds, memory, running)

    with ThreadPoolExecutor(cores()) as pool:
        try:
            return list(pool.map(graded, jobs))
        finally:  # stopped by Ctrl-C, say: what has not begun is cancelled by now, and for the rest nobody waits
            for process in list(running):
                process.kill()


def tests_of(number: int, names: list[str]) -> dict[str, dict[str, float]]:
    """A lesson's tests and their points, by exercise: read from the marks in the file, not by running it.

    Raises
    ------
    ValueError
        If a mark is not `@pytest.mark.exercise("name", points=number)`, or there is no exercise of this name.
    """
    found: dict[str, dict[str, float]] = {name: {} for name in names}
    for node in parsed(test_file(number).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.exercise":
                    try:
                        points = {keyword.arg: keyword.value for keyword in mark.keywords}["points"]
                        found[ast.literal_eval(mark.args[0])][node.name] = ast.literal_eval(points)
                    except (LookupError, ValueError) as error:
                        raise ValueError(
                            f"{test_file(number).name}, line {mark.lineno}: wanted @pytest.mark.exercise(name, "
                            f"points=number) with the name of an exercise of the lesson ({', '.join(names)}), "
                            f"found {ast.unparse(mark)}"
                        ) from error
    return found


def test_file(number: int) -> Path:
    """The file with a lesson's tests."""
    return tests_folder() / f"test_lesson{number:02}.py"


def _grade(
    folder: Path, number: int, name: str, tests: dict[str, float], seconds: float, memory: int,
    running: set[subprocess.Popen[bytes]],
) -> Exercise:  # fmt: skip
    try:
        submission = _submitted(folder, number)
        content = submission.read_bytes()
    except (ValueError, OSError) as error:
        said = dict.fromkeys(tests, one_line(error))
    else:
        with temporary_folder(prefix=FOLDERS) as temporary:  # what fails in it is not the submission's fault
            copy = temporary / "work" / "lessons" / _usual_name(submission, number)
            copy.parent.mkdir(parents=True)
            copy.write_bytes(content)
            said = _tried(copy, number, name, tests, seconds, memory, running)
    return Exercise(number, name, tuple(Check(test, points, said[test]) for test, points in tests.items()))


def _submitted(folder: Path, number: int) -> Path:
    """The file of a submission's lesson. ValueError if it is missing, a link or far too large."""
    path = find(folder, number)
    if folder.resolve() not in path.resolve().parents or path.resolve().name != path.name:
        raise ValueError(f"{path.name} is a link: wanted the file itself")
    size, most = path.stat().st_size, largest(path.name)
    if size > most:
        how = "; clear its outputs" if path.suffix.lower() == ".ipynb" else ""
        raise ValueError(f"{path.name} has {size:,} bytes: wanted at most {most:,}{how}")
    return path


def _usual_name(submission: Path, number: int) -> str:
    """The name under which a lesson's file is tested: its own, if it begins as a lesson's does."""
    if re.fullmatch(rf"lesson{number:02}_.*\.(py|ipynb)", submission.name):
        return submission.name
    return f"{graded_lessons()[number].stem}{submission.suffix.lower()}"


def _check_disk(folder: Path) -> None:
    """OSError if nothing can be written any more: then nobody knows what the tests would have said."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(1 << 16))


def _filled_the_disk(work: Path) -> bool:
    """Whether the disk was full of what this submission wrote, which is gone then.

    Raises
    ------
    OSError
        If the disk stays full without it. Another exercise of the same submission may take a moment to be ended.
    """
    with suppress(OSError):
        _check_disk(work.parent)
        return False
    remove_folder(str(work))
    for left in reversed(range(20)):
        try:
            _check_disk(work.parent)
            break
        except OSError:
            if not left:
                raise
            sleep(PULSE)
    return True


def _tried(
    submission: Path, number: int, name: str, tests: dict[str, float], seconds: float, memory: int,
    running: set[subprocess.Popen[bytes]],
) -> dict[str, str]:  # fmt: skip
    """A line of feedback for each test of an exercise, "" where it passed."""
    key, work = secrets.token_bytes(32), submission.parents[1]
    (work.parent / "pytest.ini").write_text(INI, encoding="utf-8")
    for file, content in _lists_of_fonts().items():
        (work / file).write_bytes(content)
    job = _job(submission, number, name, tests) | {"key": key.hex(), "seconds": seconds, "memory": memory}
    job["clock"] = PATIENCE * seconds
    with _in_memory() as said, _in_memory() as errors:
        process = subprocess.Popen(
            # UTF-8 everywhere: elsewhere than on Linux an answer that prints a Greek letter could fail
            [sys.executable, "-I", "-B", "-X", "utf8", str(Path(__file__).with_name("runner.py"))],
            stdin=subprocess.PIPE, stdout=said, stderr=errors, cwd=work, env=_environment(work), bufsize=0,
            start_new_session=not WINDOWS, creationflags=APART,
        )  # fmt: skip
        running.add(process)
        ended = _end(process, json.dumps(job).encode(), seconds, work)
        running.discard(process)
        if _filled_the_disk(work):
            ended = "it filled the disk: does it write a file in a loop?"
        messages = _signed(_first_bytes(said), key)
        if said.seek(0, os.SEEK_END) > SAID:
            ended = "your code wrote where only the grader may write"
        cases = Counter(test for kind, test, _ in messages if kind == "case")
        if set(cases) != set(tests):
            raise GradingError(f"lesson {number}, {name}: the tests cannot be run: {one_line(_first_bytes(errors))}")
    given: dict[str, list[str]] = {test: [] for test in tests}
    for kind, test, line in messages:
        if kind == "test":
            given[test].append(line)
    return {test: _names_only(_feedback(lines, cases[test], ended), work.parent) for test, lines in given.items()}


def _names_only(said: str, temporary: Path) -> str:
    """A line of feedback without the folders of the machine that grades: of their files only the names are left."""
    ours = {PACKAGE.parent, tests_folder(), Path.home(), Path(tempfile.gettempdir()), temporary, Path(sys.prefix)}
    roots = {str(root) for path in ours for root in (path, path.resolve()) if len(path.parts) > 1}
    for root in sorted(roots, key=len, reverse=True):
        said = re.sub(rf"{_written(root)}[\\/]+(?:[^\\/\s'\"]+[\\/]+)*", "", said)
    return said


def _written(path: str) -> str:
    r"""A pattern for a path as it stands in messages: in quotation marks Python writes "\\" for each "\" of Windows."""
    return r"[\\/]+".join(map(re.escape, re.split(r"[\\/]+", path)))


def _in_memory() -> Any:
    """A file that a full disk cannot keep a process from writing its results to."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("grade"), "w+b")
    return tempfile.TemporaryFile()


def _feedback(lines: list[str], cases: int, ended: str) -> str:
    """What a test says by its cases: the first mistake, or why it ended before all of them had run, or ""."""
    said = next((line for line in lines if line), "")
    return said or ("" if len(lines) == cases else ended)


def _job(submission: Path, number: int, name: str, tests: dict[str, float]) -> dict[str, Any]:
    """What `runner` needs to know."""
    root, folder, ours = PACKAGE.parent, tests_folder(), sysconfig.get_paths()
    homes = {sys.prefix, sys.base_prefix, *(ours[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib"))}
    path = [entry for entry in map(os.path.abspath, filter(None, sys.path)) if _is_library(entry, homes)]
    checkout = not (PACKAGE / "_lessons").exists()
    return {
        "exercise": name,
        "names": list(tests),
        "file": str(test_file(number)),
        "tests": str(folder),
        "ini": str(submission.parents[2] / "pytest.ini"),
        "folder": str(submission.parents[1]),
        "submission": str(submission),
        "path": [*path, *([] if str(root) in path else [str(root)])],
        "remove": str(root) if checkout else "",
        "readable": [*homes, *(entry for entry in path if entry != str(root)), str(PACKAGE), *SYSTEM],
        "hidden": [str(PACKAGE / "_lessons"), str(root / "lessons"), str(folder)],
    }


SYSTEM = ("/usr/lib", "/usr/share", "/lib", "/lib64", "/System/Library", os.devnull, "/dev/urandom")


def _is_library(entry: str, homes: set[str]) -> bool:
    """Whether an entry of sys.path is Python's own, or has packages that grading needs."""
    inside = any(Path(entry).is_relative_to(home) for home in homes)
    return inside or any((Path(entry) / package).exists() for package in ("numpy", "pytest", "pluggy"))


def _environment(work: Path) -> dict[str, str]:
    """A fresh environment: nothing of the teacher's but what Python needs to start."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    homes = ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA")  # the latter three are Windows's
    places = dict.fromkeys((*homes, "TMPDIR", "TEMP", "TMP", "MPLCONFIGDIR"), str(work))
    # where there is a screen, plt.show() would open a window and wait for somebody to close it
    others = {"LC_ALL": "C.UTF-8", "MPLBACKEND": "agg", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return kept | places | thread_caps(1) | others


@cache
def _lists_of_fonts() -> dict[str, bytes]:
    """The files, by name, in which this user's Matplotlib keeps what fonts there are.

    Without one it looks through all fonts of the system, which may take ten seconds of an exercise that draws.
    """
    if find_spec("matplotlib") is None:
        return {}
    import matplotlib

    return {path.name: path.read_bytes() for path in Path(matplotlib.get_cachedir()).glob("fontlist-*.json")}


def _end(process: subprocess.Popen[bytes], job: bytes, seconds: float, work: Path) -> str:
    """Hand over the job, wait for the end, and say what it means for a test that has no result."""
    late, too_much, pipe = False, "", process.stdin
    until = monotonic() + PATIENCE * seconds + GRACE
    assert pipe is not None
    try:
        with suppress(OSError):  # it has ended already: a broken pipe, or to Windows an invalid argument
            pipe.write(job + b"\n")  # the pipe stays open: its end tells the process that this one is gone
        while not (late or too_much) and process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(PULSE)
            too_much = _too_much(str(work))
            late = monotonic() > until and process.poll() is None
    finally:
        if not WINDOWS:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        pipe.close()
    code = process.returncode
    ended_by = _signal_name(-code) if code < 0 else ""
    if too_much:
        return too_much
    if late or ended_by == "SIGALRM":
        limit = f"{PATIENCE * seconds:g} s"
        return f"it did not end within {limit}: is there an endless loop, or does it wait for something?"
    if ended_by == "SIGXCPU":
        return f"it took more than {seconds:g} s of processor time: is there an endless loop?"
    if code in CRASHES:
        ended_by = f"Windows with code {code:#x}"
    if ended_by:
        return f"the process was ended by {ended_by}: did it crash, or take too much memory?"
    return f"your code ended the process (exit code {code}) before the test was over"


def _signal_name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"  # a real-time signal has no name


def _too_much(folder: str) -> str:
    """What a submission has to hear that has written too much by now; "" if it has not."""
    size, number, waiting = 0, 0, [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in islice(entries, ENTRIES + 1):
                    number += 1
                    size += entry.stat(follow_symlinks=False).st_size
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError as error:  # what has vanished meanwhile takes no room
            if isinstance(error, PermissionError) or error.errno == errno.ENAMETOOLONG:
                return f"it made a folder that the grader cannot look into: {error.strerror}"
        if size > WRITTEN or number > ENTRIES:
            what = f"{WRITTEN >> 20} MiB" if size > WRITTEN else f"{ENTRIES:,} files"
            return f"it wrote more than {what}: does it write in a loop?"
    return ""


def _first_bytes(file: Any) -> bytes:
    file.seek(0)
    content: bytes = file.read(SAID)
    return content


def _signed(content: bytes, key: bytes) -> list[tuple[str, str, str]]:
    """The messages (kind, name, said) with the right signature; everything else that was written there is nothing."""
    messages = []
    for line in content.split(b"\n"):
        signature, _, text = line.partition(b" ")
        wanted = hashlib.blake2b(text, key=key, digest_size=32).hexdigest().encode()
        if hmac.compare_digest(signature, wanted):
            kind, name, said = bytes.fromhex(text.decode()).decode().split(":", 2)
            messages.append((kind, name, said))
    return messages
