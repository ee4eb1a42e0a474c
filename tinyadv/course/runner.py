"""The process in which one exercise of one submission is graded; `grade` starts it, as a file of its own.

The one idea: whoever grades believes only lines that carry a signature, and the key to it is gone from memory before
the submission is loaded. From then on the process may open only what Python needs and its own folder, may start nothing
and connect to nothing, and is ended when it takes too much: refused by the system, where it can (`confine`), and by
Python, which says it in words. After each test it is checked whether the submission has changed what the tests rely on.
`grade` says what all this is not good for.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import operator
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import FrameType, FunctionType, MethodType, ModuleType
from typing import Any

# Events of Python's audit (PEP 578) that no exercise needs: other processes, the network, the interpreter's own memory.
REFUSED = {
    "os.exec", "os.fork", "os.forkpty", "os.kill", "os.killpg", "os.posix_spawn", "os.spawn", "os.startfile",
    "os.system", "pty.spawn", "subprocess.Popen", "socket.__new__", "os.link", "os.symlink",
    "gc.get_objects", "gc.get_referrers", "gc.get_referents", "sys._current_frames", "sys.settrace",
    "sys.setprofile", "resource.prlimit", "resource.setrlimit", "sys.remote_exec", "sys.monitoring.register_callback",
    "sqlite3.connect", "os.setxattr", "os.removexattr", "os.chflags", "signal.pthread_kill", "syslog.openlog",
    "_winapi.CreateProcess", "_winapi.OpenProcess", "_winapi.TerminateProcess", "_winapi.CreateJunction",
    "winreg.CreateKey", "winreg.DeleteKey", "winreg.DeleteValue", "winreg.SetValue",
}  # fmt: skip
# Others need these; nor may the submission get at them through those that would hand it a frame, or change a function.
REFUSED_TO_ITS_CODE = {
    "sys._getframe", "object.__getattr__", "object.__setattr__", "code.__new__", "marshal.loads", "compile",
}  # fmt: skip
HAND_OUT = {"inspect", "traceback", "logging", "unittest", "_pytest", "pdb", "bdb", "copy", "doctest", "trace"}
CHANGES = {"os.mkdir", "os.remove", "os.rmdir", "os.rename", "os.truncate", "os.chmod", "os.chown", "os.utime"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
RELIED_ON = {"builtins", "math", "operator", "json", "numpy", "_pytest", "pytest", "pluggy", "tinyadv", "__main__"}
AT_EACH_CALL = {"builtins", "numpy", "numpy.testing", "numpy.testing._private.utils", "numpy._core.numeric", "pytest"}
JUDGES = ("__main__", "tinyadv.", "numpy.testing.", "_pytest.python.", "_pytest.reports.", "_pytest.runner.")
ADDED_BY_PYTHON = {
    "__annotations__",
    "__annotations_cache__",
    "__doc__",
    "__parameters__",
    "__slotnames__",
}  # to classes
CONVERTS = {
    "__array__", "__array_function__", "__array_interface__", "__array_struct__", "__array_ufunc__", "__bool__",
    "__buffer__", "__complex__", "__float__", "__getattr__", "__getattribute__", "__getitem__", "__index__", "__int__",
    "__iter__", "__len__",
}  # fmt: skip
# pytest's own plugins of which some keep, in a module or where imports are made, what leads to `send` below
UNNEEDED = [
    "assertion", "cacheprovider", "capture", "debugging", "doctest", "faulthandler", "junitxml", "logging", "pastebin",
    "setuponly", "setupplan", "stepwise", "threadexception", "unittest", "unraisableexception",
]  # fmt: skip
# Files below which `inspect` and `traceback` look at functions of the same library, and nothing is handed on: a layer
# asks for its arguments, a plot for functions of its back end, a formula in a label for the line that made its parser
LAYERS = tuple(f"{Path(__file__).resolve().parents[1] / name}.py" for name in ("layers", "models"))
OF_MATPLOTLIB = ("backend_bases", "mathtext", "pyplot", "scale")
LARGEST, OPEN = 8 << 20, 64  # bytes of a file, and how many files at a time


class TamperedError(AssertionError):
    """The submission changed what the tests rely on."""


def main() -> None:
    """Read the job from standard input, run its tests, and end."""
    job = json.loads(sys.stdin.buffer.readline())
    job["alive"] = os.dup(0)
    send = channel(bytes.fromhex(job.pop("key")))
    sys.path[:] = job["path"]
    import logging

    import pytest

    logging._srcfile = None  # so that it does not look for its caller, which is refused

    for name in ("numpy.testing", "tinyadv.models", "tinyadv.course.judging", "tinyadv.course.confine"):
        importlib.import_module(name)
    sys.path[:] = [folder for folder in sys.path if folder != job["remove"]]  # a checkout: the lessons are in it
    options = ["-c", job["ini"], f"--rootdir={job['tests']}", f"--confcutdir={job['tests']}", "--tb=no"]
    options += [word for name in UNNEEDED for word in ("-p", f"no:{name}")] + [f"--basetemp={job['folder']}/tmp"]
    file = os.path.basename(job["file"])
    os.chdir(job["tests"])  # pytest takes a [ anywhere in a path for the name of a test's case
    pytest.main([*options, *(f"{file}::{name}" for name in job["names"])], plugins=[plugin(job, send)])
    os._exit(0)  # without waiting for what the submission may have left running


def end_with(pipe: int) -> None:
    """End this process, whatever it is doing, when nobody is at the pipe's other end: whoever started it was killed."""
    os.read(pipe, 1)
    os._exit(1)


def channel(key: bytes) -> Callable[[str, str, str], None]:
    """A function that sends a signed line to whoever started this process; the key stays in a hash's inner state."""
    keyed, place, write = hashlib.blake2b(key=key, digest_size=32), os.dup(1), os.write
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(nowhere, standard)

    def send(kind: str, name: str, said: str) -> None:
        # nothing here looks up a name that a submission could have given another meaning
        line, signature = f"{kind}:{name}:{said}".encode("utf-8", "replace").hex(), keyed.copy()
        signature.update(line.encode())
        write(place, f"\n{signature.hexdigest()} {line}\n".encode())

    return send


def plugin(job: dict[str, Any], send: Callable[[str, str, str], None]) -> Any:
    """A plugin of pytest: the tests get the submission's folder, the process is armed, verdicts are sent."""
    import pytest

    from tinyadv.course.judging import verdict

    checks: list[Callable[[], None]] = []
    known: set[type] = set()
    said: dict[Any, str] = {}

    def pytest_generate_tests(metafunc: Any) -> None:
        metafunc.parametrize("folder", [Path(job["folder"])])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(session: Any) -> None:
        os.chdir(job["folder"])
        for item in session.items:
            send("case", item.originalname, "")
        # out of reach: their reference functions and tables are the answers
        tests = {
            name: sys.modules.pop(name) for name in {item.module.__name__ for item in session.items} | {"conftest"}
        }
        sys.path[:] = [folder for folder in sys.path if folder != job["tests"]]
        checks.append(unchanged(RELIED_ON, tests, inside=(*JUDGES, *tests)))
        held = {name: module for name, module in sys.modules.items() if _is_of_the_package(name)}
        checks.extend([unchanged(AT_EACH_CALL, alone=True), unchanged({"tinyadv"}, tests), constants(held | tests)])
        known.update(every_class())
        arm(job)

    @pytest.hookimpl(wrapper=True)
    def pytest_pyfunc_call(pyfuncitem: Any) -> Any:
        checks[0]()  # the submission has been loaded now
        checks[-1]()
        lesson = pyfuncitem.funcargs["lesson"]
        function = getattr(lesson, job["exercise"], None)
        if callable(function) and not isinstance(function, type):
            shown = ModuleType(lesson.__name__)  # the tests': the submission has its own, and no way to this one
            vars(shown)["__getattr__"] = functools.partial(getattr, lesson)
            setattr(shown, job["exercise"], watched(function, checks[1:], known))
            pyfuncitem.funcargs["lesson"] = shown
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(item: Any, call: Any) -> Any:
        report = yield
        line = verdict(item, call, report)
        if line is not None and not said.get(item):
            said[item] = line
        if report.when == "teardown":
            try:
                checks[0]()
                checks[-1]()
            except TamperedError as error:
                said[item] = error.args[0]
            send("test", item.originalname, said.get(item, "the test did not run"))
        return report

    # no class: those can be found, and what their functions hold
    hooks = ModuleType("grading")
    vars(hooks).update({name: value for name, value in locals().items() if name.startswith("pytest_")})
    return hooks


# ---------------------------------------------------------------------------------------------------------
# Has the submission changed what the tests rely on?


def _is_of_the_package(name: str) -> bool:
    """Whether a module is the package's own, and not one of those that grade."""
    return name.startswith("tinyadv.") and ".course" not in name


def unchanged(
    names: set[str], hidden: Mapping[str, ModuleType] | None = None, alone: bool = False, inside: tuple[str, ...] = ()
) -> Callable[[], None]:
    """A function that raises TamperedError once a function or class of these modules is another, or has more in it.

    With what is in them, where they are packages, unless the modules alone are asked for, and with the modules in
    `hidden`, which cannot be imported; functions whose names begin as one of `inside` may not get other code either
    (to ask for that costs an event of the audit each).
    """
    hidden = dict(hidden or {})

    def among(name: str) -> bool:
        return name in names or (not alone and name.partition(".")[0] in names)

    kept: list[tuple[Mapping[str, Any], str, Any, str]]
    ours = (names | {*hidden}) - {"numpy", "pytest", "_pytest", "pluggy", "builtins", "json", "math", "operator"}
    modules = {name: module for name, module in sys.modules.items() if among(name)}
    kept = [(sys.modules, name, module, name) for name, module in modules.items()]
    classes: list[tuple[Mapping[str, Any], int, set[str], str]] = []
    for name, module in (modules | hidden).items():
        for key, value in list(vars(module).items()):
            if callable(value):
                kept.append((vars(module), key, value, f"{name}.{key}"))
            if type(value).__module__.partition(".")[0] in ours and hasattr(
                value, "__dict__"
            ):  # an operation's formulas
                kept += [(vars(value), k, v, f"{name}.{key}.{k}") for k, v in vars(value).items()]
            if isinstance(value, type) and value.__module__ == name:
                parts = [p for p in vars(value).items() if callable(p[1]) or isinstance(p[1], (classmethod, property))]
                kept += [(vars(value), k, v, f"{name}.{key}.{k}") for k, v in parts]
                there = vars(value)
                classes.append((there, len(there), {*there, *ADDED_BY_PYTHON}, f"{name}.{key}"))
    functions = [
        (value, value.__code__, label)
        for _, _, value, label in kept
        if isinstance(value, FunctionType) and label.startswith(inside)
    ]

    def check() -> None:
        said = "the submission changed {}, which the tests rely on"
        for f, code, label in functions:
            if f.__code__ is not code:
                raise TamperedError(said.format(label))
        for space, key, value, label in kept:
            if space.get(key) is not value:
                raise TamperedError(said.format(label))
        for there, size, known, label in classes:
            if len(there) != size and not there.keys() <= known:
                raise TamperedError(said.format(label))

    return check


def constants(modules: Mapping[str, ModuleType]) -> Callable[[], None]:
    """A function that raises TamperedError once a global of these modules is another, or holds other things."""
    from numpy import ndarray  # the job says where it is

    kept = [
        (vars(module), key, value, _held(value), f"{name}.{key}")
        for name, module in modules.items()
        for key, value in vars(module).items()
    ]

    def check() -> None:
        for space, key, value, held, label in kept:
            now = _held(value)
            same = len(now) == len(held) and all(map(operator.is_, now, held))
            if space.get(key) is not value or not (same or (isinstance(value, ndarray) and now == held)):
                raise TamperedError(f"the submission changed {label}, which the tests rely on")

    return check


def _held(value: Any) -> list[Any]:
    """What a list, a dictionary or an array holds."""
    from numpy import ndarray  # the job says where it is

    if type(value) is dict:
        return [*value.keys(), *value.values()]
    if type(value) in (list, set):
        return [*value]
    return [value.tobytes()] if type(value) is ndarray else []


def every_class() -> set[type]:
    """All classes that there are now."""
    found: set[type] = {object}
    waiting: list[type] = [object]
    while waiting:
        new: set[type] = set(type.__subclasses__(waiting.pop())) - found
        found |= new
        waiting += new
    return found


def plain(value: Any, known: set[type]) -> Any:
    """A result for the tests, in which no code of the submission runs when it is compared.

    Named tuples become tuples, and what is of the submission's own kind of number or array becomes one of Python's or
    NumPy's.

    Raises
    ------
    TamperedError
        If an object's class is not known and decides what it is equal to, or an array holds objects.
    """
    from numpy import generic, ndarray  # the job says where it is

    kind = type(value)
    if issubclass(kind, tuple) and (kind is tuple or kind not in known):
        return tuple(plain(one, known) for one in tuple.__iter__(value))
    if kind is list or (issubclass(kind, list) and kind not in known):
        return [plain(one, known) for one in list.__iter__(value)]
    if kind is dict or (issubclass(kind, dict) and kind not in known):
        return {key: plain(one, known) for key, one in dict.items(value)}
    if any(_decides(part) for part in set(kind.__mro__) - known):
        raise TamperedError(
            f"the result is a {kind.__name__}, which decides itself what it is equal to: an array is wanted, a number, "
            "or a list or tuple of them"
        )
    if issubclass(kind, ndarray):
        if kind is not ndarray:  # NumPy's own kinds too: what is masked in a masked array is equal to anything
            value = ndarray.view(value, ndarray)
    elif kind not in known:  # a number or text, without what its class makes of it
        for basic, as_basic in ((float, float.__pos__), (int, int.__pos__), (str, str.__str__)):
            if issubclass(kind, basic) and not issubclass(kind, generic):
                value = as_basic(value)
                kind = type(value)
    if type(value) is ndarray and value.dtype.hasobject:
        raise TamperedError("the result is an array of objects: an array of numbers is wanted")
    return value


def _decides(kind: type) -> bool:
    """Whether a class says what its objects are equal to, or what array or number they are; dataclasses may."""
    compares = "__eq__" in vars(kind) and "__dataclass_fields__" not in vars(kind)
    return compares or any(vars(kind).get(name) is not None for name in CONVERTS)  # None: NumPy keeps off


def watched(function: Callable[..., Any], checks: list[Callable[[], None]], known: set[type]) -> Callable[..., Any]:
    """The submission's function; its calls may change nothing that tests rely on, nor give what passes for anything."""
    looking = _looks(function, checks, known)
    next(looking)
    return MethodType(_call, looking)


def _looks(
    function: Callable[..., Any], checks: list[Callable[[], None]], known: set[type]
) -> Generator[Any, Any, None]:
    """Answers None with the function, and (result,) with the result as tests see it, after the checks.

    A generator, since what it holds is in its frame, which is refused to the submission; a closure's cells are not.
    """
    answer: Any = None
    while True:
        sent = yield answer
        if sent is None:
            answer = function
            continue
        for check in checks:
            check()
        answer = plain(sent[0], known)


def _call(looking: Any, /, *args: Any, **kwargs: Any) -> Any:
    function = looking.send(None)
    try:
        result = function(*args, **kwargs)
    except BaseException:
        looking.send((None,))
        raise
    return looking.send((result,))


# ---------------------------------------------------------------------------------------------------------
# What the process may do from here on


def arm(job: dict[str, Any]) -> None:
    """Limit time, memory and files, and refuse what no exercise needs. There is no way back."""
    from tinyadv.course.confine import confine

    os.dup2(1, 2)
    _limit(job["seconds"], job["clock"], job["memory"])
    confine(job["readable"], job["hidden"], job["folder"])
    # not earlier: a thread that was there before would not be confined
    threading.Thread(target=end_with, args=(job["alive"],), daemon=True).start()
    realpath, folder = os.path.realpath, os.path.realpath(job["folder"])
    nowhere = realpath(os.devnull)  # of Windows: "nul", and in full another
    readable = (*map(realpath, job["readable"]), folder)
    hidden = tuple(map(realpath, job["hidden"]))
    state = threading.local()
    matplotlib = find_spec("matplotlib")
    drawing = [] if matplotlib is None else matplotlib.submodule_search_locations or []
    harmless = LAYERS + tuple(os.path.join(place, f"{name}.py") for place in drawing for name in OF_MATPLOTLIB)

    def below(path: str, roots: tuple[str, ...]) -> bool:
        return any(path == root or path.startswith(root + os.sep) for root in roots)

    def look(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and not isinstance(args[0], int):
            path = realpath(os.fsdecode(args[0]))
            writes = bool(set(args[1] or "") & set("wax+")) or bool((args[2] or 0) & WRITING)
            if writes and path != nowhere and not below(path, (folder,)):
                raise PermissionError(f"an exercise may not write {path}")
            if below(path, hidden) or not below(path, readable) or os.path.isdir(path):
                raise PermissionError(f"an exercise may not open {path}")
        elif event in REFUSED or event.startswith("ctypes."):
            raise PermissionError(f"an exercise may not do this: {event}")
        elif event in CHANGES:
            for path in args[: 1 + (event == "os.rename")]:
                if not below(realpath(os.fsdecode(path)), (folder,)):
                    raise PermissionError(f"an exercise may not change {path!r}")
        elif event in REFUSED_TO_ITS_CODE and not (event == "compile" and _nameless(args[1])):  # noqa: SIM102
            if _asks(sys._getframe(2), job["folder"] + os.sep, harmless):
                raise PermissionError(f"an exercise may not do this: {event}")

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if getattr(state, "looking", False):
            return
        state.looking = True
        try:
            look(event, args)
        finally:
            state.looking = False

    sys.addaudithook(hook)


def _nameless(file: Any) -> bool:
    """Whether code says of itself that it is from no file, as what `exec` makes does."""
    return isinstance(file, str) and file.startswith("<") and not file.startswith("<frozen")


def _asks(frame: FrameType | None, folder: str, harmless: tuple[str, ...]) -> bool:
    """Whether code from the submission's folder asks, itself or through a module that would hand it what it gets.

    Not where one of the files in `harmless` stands between them.
    """
    assert frame is not None
    handed = str(frame.f_globals.get("__name__")).partition(".")[0] in HAND_OUT
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(folder) or _nameless(name):
            return True
        if not handed or name.startswith("<frozen importlib"):  # what a module does while it is imported
            return False
        if name in harmless:
            return False
        frame = frame.f_back
    return False


def _limit(seconds: float, clock: float, memory: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: there is the time limit of whoever started this process
        return
    signal.setitimer(signal.ITIMER_REAL, clock)  # SIGALRM ends the process
    used = resource.getrusage(resource.RUSAGE_SELF)
    processor = int(used.ru_utime + used.ru_stime + seconds) + 1
    limits = {"CPU": (processor, processor + 1), "AS": (memory,) * 2, "CORE": (0, 0)}
    limits |= {"FSIZE": (LARGEST,) * 2, "NOFILE": (OPEN,) * 2}
    for name, wanted in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        soft, most = (w if hard == resource.RLIM_INFINITY else min(w, hard) for w in wanted)
        try:
            resource.setrlimit(kind, (soft, most))
        except ValueError:  # macOS maps more than that before a process begins, and refuses a limit of its memory
            if name != "AS" or sys.platform == "linux":
                raise


if __name__ == "__main__":
    main()
