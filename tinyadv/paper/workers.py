"""What a run consists of, and how its tasks are worked on: in processes of this machine, or anywhere (`cluster`).

The one idea: a run is a list of tasks, one for each network to train and one for each claim and seed to measure, and
`run_tasks` gives each to an executor when what it needs is there. A task comes out the same wherever it is worked on:
its random numbers come from its own seed, and every process multiplies matrices with one thread.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from ..backend import generator
from ..by_name import imported
from ..datasets import DataError
from ..layers import parameters
from ..machine import blas_threads, silence_false_alarms, thread_caps
from ..models import build
from ..progress import Bars, Console, say
from ..storage import StorageError, remove_leftovers
from ..training import DivergedError
from . import fingerprint
from .claims import add
from .cost import Ledger, Stopwatch, path_of, setup
from .draw import drawings
from .lab import Lab, Recipe
from .measure import MEASURES
from .profiles import Profile
from .results import Result, check
from .results_file import from_json, to_json
from .sections import collected

TRIES = 3  # attempts before giving up on a task whose process dies


@dataclass(frozen=True)
class Extension:
    """One's own claims: a text in the form of claims.toml, and the module that measures them.

    Its functions are marked with `measure.measures`, those that draw with `draw.draws`. `file` is what an error calls
    the text.
    """

    claims: str
    module: str
    file: str = "claims.toml"

    def load(self) -> list[str]:
        """Make the claims known in this process; their ids.

        Raises
        ------
        ValueError
            If there are no claims, or they are not what they should be, or the module cannot be imported or measures
            none of them.
        """
        ids = list(add(self.claims, self.file))
        if not ids:
            raise ValueError(f"{self.file} has no claims")
        module = imported("--module", self.module)
        found = collected("measures", module)
        if missing := sorted(set(ids) - found.keys()):
            raise ValueError(f"--module {self.module} has no function that measures {', '.join(missing)}")
        drawn = collected("draws", module)
        if unknown := sorted(drawn.keys() - found.keys()):
            raise ValueError(f"--module {self.module} draws {', '.join(unknown)}, which it does not measure")
        MEASURES.update({name: found[name] for name in ids})
        drawings().update({name: drawing for name, drawing in drawn.items() if name in ids})
        return ids


@dataclass(frozen=True)
class TrainTask:
    """Train the network of a recipe, which is then in the lab's folder; its value is the account of what it cost."""

    recipe: Recipe

    @property
    def name(self) -> str:
        return self.recipe.hash

    @property
    def title(self) -> str:
        return self.recipe.title

    @property
    def recipes(self) -> list[Recipe]:
        """The training that chooses this one's epochs, if that is another seed's: it has to be over before."""
        return _choosing(self.recipe)

    def work(self, lab: Lab) -> str:
        path, progress = path_of(lab.folder, self.recipe), lab.progress
        lab.progress = Ledger(path, progress, lab.say)
        try:
            lab.network(self.recipe)
        finally:
            lab.progress = progress
        return path.read_text("utf-8") if path.exists() else ""


@dataclass(frozen=True)
class MeasureTask:
    """Measure a claim for one seed; its value is the result for this seed, as JSON."""

    claim: str
    profile: Profile
    seed: int
    extension: Extension | None = None

    @property
    def name(self) -> str:
        return f"{self.claim}, seed {self.seed}"

    title = name

    @property
    def recipes(self) -> list[Recipe]:
        """Those of the networks that have to be trained before."""
        return MEASURES[self.claim].recipes(self.profile, self.seed)

    def work(self, lab: Lab) -> str:
        if self.extension:
            self.extension.load()
        watch = Stopwatch()
        measurement = MEASURES[self.claim](lab, self.profile, self.seed)
        result = Result(self.claim, self.profile.name, lab.device, [self.seed], [measurement], versions=setup())
        check(result)
        result.seconds, result.core_seconds = watch.read()
        text = json.dumps(to_json(result))
        from_json(json.loads(text))  # a type that no file can hold is this claim's mistake, not the run's
        return text


Task = TrainTask | MeasureTask


def with_trainings(measurings: Sequence[MeasureTask]) -> list[Task]:
    """All tasks, the most urgent first: what can be measured, then the trainings, the longest first.

    A long training that is begun last would be waited for by everybody at the end.
    """
    recipes = {recipe.hash: recipe for task in measurings for recipe in task.recipes}
    recipes |= {first.hash: first for recipe in recipes.values() for first in _choosing(recipe)}
    return [*measurings, *(TrainTask(recipe) for recipe in sorted(recipes.values(), key=_cost, reverse=True))]


def _choosing(recipe: Recipe) -> list[Recipe]:
    return [recipe.first] if recipe.first and recipe.chosen_with is not None else []


def _cost(recipe: Recipe) -> float:
    """How long a training takes, roughly and in no unit: parameters times epochs, three passes where it attacks."""
    size = _size(recipe.network, json.dumps(recipe.arguments, sort_keys=True))
    return float(size * recipe.epochs * (1 if recipe.objective == "clean" else 3) * (2 if recipe.retrain else 1))


@cache
def _size(network: str, arguments: str) -> int:
    """How many parameters a network has; its arguments as JSON. Built once for the hundreds of recipes of a plan."""
    return sum(p.size for p in parameters(build(network, json.loads(arguments), generator(0))))


@dataclass(frozen=True)
class Outcome:
    """What became of a task: its value, or one line about what went wrong.

    Attributes
    ----------
    died : bool
        It was the process that ended, not the work that failed: the task is worth another try.
    fatal : bool
        The other tasks would fail too: a full disk, or no data to train on.
    trace : str
        Where a program's error was raised; "" for what can happen to a sound one.
    """

    task: Task
    value: str = ""
    error: str = ""
    died: bool = False
    fatal: bool = False
    trace: str = ""


def attempt(task: Task, lab: Lab) -> Outcome:
    """Work on a task; what is raised becomes an outcome too."""
    try:
        with blas_threads(1):
            return Outcome(task, task.work(lab))
    except DivergedError as error:
        return Outcome(task, error=str(error))
    except DataError as error:  # of a claim's own data: the others can be measured
        return Outcome(task, error=str(error), fatal=isinstance(task, TrainTask))
    except (OSError, StorageError) as error:
        return Outcome(task, error=str(error), fatal=True)
    except Exception as error:
        return Outcome(task, error=f"{type(error).__name__}: {error}", trace=traceback.format_exc(limit=-8))
    finally:
        lab.forget()


class Executor(Protocol):
    """What works on tasks."""

    def free(self) -> int:
        """How many more tasks can be begun now."""

    def submit(self, task: Task) -> None:
        """Begin a task; the networks that it needs are in the folder of the run."""

    def next(self) -> Outcome:
        """Wait until a task is over."""

    def close(self) -> None:
        """Stop all work; nothing is left running."""


def run_tasks(
    tasks: Sequence[Task], executor: Executor, finished: Callable[[Task, str], None], say: Callable[[str], None]
) -> dict[str, str]:
    """Run tasks, each as soon as the networks that it needs are trained, the first in the list first.

    Parameters
    ----------
    finished : callable
        Is given each task that succeeded, with its value, at once.
    say : callable
        Is told, in a line, what goes wrong.

    Returns
    -------
    dict
        Why, by the names of the tasks that failed, or whose networks could not be trained. The others went on.

    Raises
    ------
    OSError
        If something fails that would fail everywhere.
    """
    waiting, running, missing = list(tasks), 0, {task.name for task in tasks if isinstance(task, TrainTask)}
    failed, deaths = dict[str, str](), Counter[str]()
    while waiting or running:
        ready = (task for task in waiting if not missing & {recipe.hash for recipe in task.recipes})
        for task in [task for task, _ in zip(ready, range(executor.free()), strict=False)]:
            executor.submit(task)
            waiting.remove(task)
            running += 1
        outcome = executor.next()
        task = outcome.task
        running -= 1
        if outcome.fatal:
            raise OSError(outcome.error)
        if outcome.died and deaths[task.name] < TRIES - 1:
            deaths[task.name] += 1
            say(f"{task.title}: {outcome.error}; it is begun again, from its last checkpoint if there is one")
            waiting.insert(0, task)
        elif outcome.error:
            say(f"{outcome.trace}{task.title}: {outcome.error}; everything else goes on")
            lost = [task]
            while lost:  # with what waits for a training that will not begin
                one = lost.pop(0)
                failed[one.name] = outcome.error
                others = [t for t in waiting if one.name in {recipe.hash for recipe in t.recipes}]
                waiting = [t for t in waiting if t not in others]
                lost += others
        else:
            missing.discard(task.name)
            finished(task, outcome.value)
    return failed


# ---------------------------------------------------------------------------------------------------------
# In processes of this machine


class Processes:
    """Works on as many tasks at once as it has processes; they are started when there is something to do.

    Each has a pipe to this one: tasks go one way; outcomes, progress and messages come back. Nothing else is shared,
    so that a process may be killed at any moment. The end of its pipe tells that it is gone; and tells it, if this
    process is, so that none is ever left over.
    """

    def __init__(self, number: int, folder: Path, device: str) -> None:
        self.number, self.folder, self.device = number, folder, device
        self.bars, self.workers = Bars(), list[_Worker]()

    def free(self) -> int:
        return self.number - sum(worker.task is not None for worker in self.workers)

    def submit(self, task: Task) -> None:
        idle = [worker for worker in self.workers if worker.task is None]
        if not idle:
            idle = [_Worker(self.folder, self.device, Console(self.bars))]
            self.workers += idle
        idle[0].give(task)

    def next(self) -> Outcome:
        while True:
            ends = wait([worker.pipe for worker in self.workers])
            for worker in [worker for worker in self.workers if worker.pipe in ends]:
                outcome = worker.hear()
                if not worker.alive:
                    self.workers.remove(worker)
                if outcome:
                    return outcome

    def close(self) -> None:
        for worker in self.workers:
            worker.stop()
        self.workers.clear()
        remove_leftovers(self.folder)  # what was being written is written again


class _Worker:
    """A process, seen from this one."""

    def __init__(self, folder: Path, device: str, console: Console) -> None:
        self.console, self.alive = console, True
        self.task: Task | None = None
        self.pipe, other = multiprocessing.Pipe()
        spawn = multiprocessing.get_context("spawn")  # a fresh interpreter: it reads the caps when it imports NumPy
        self.process = spawn.Process(target=_serve, args=(other, folder, device), daemon=True)
        with _environment(thread_caps(1)), _without_interrupts():
            self.process.start()
        other.close()  # so that the pipe ends when the process does
        with suppress(OSError):  # it is gone: `hear` will notice
            self.pipe.send(fingerprint.known())  # while it imports

    def give(self, task: Task) -> None:
        self.task = task
        self.console.work(task.title)
        with suppress(OSError):  # it is gone: `hear` will notice
            self.pipe.send(task)

    def hear(self) -> Outcome | None:
        """Take one message; an outcome, if that is what it is, or if the process has ended over its task."""
        try:
            what, arguments = self.pipe.recv()
        except (EOFError, OSError):
            task, how = self.task, self._ending()
            self.stop()
            return Outcome(task, error=how, died=True) if task else None
        if what == "say":
            say(*arguments)
        elif what == "outcome":
            self.task = None
            self.console.close()
            return arguments[0]
        else:
            getattr(self.console, what)(*arguments)
        return None

    def _ending(self) -> str:
        self.process.join(5)
        code = self.process.exitcode or 0
        names = {known.value: known.name for known in signal.Signals}  # most real-time signals have none
        how = f"was killed by {names.get(-code, f'signal {-code}')}" if code < 0 else f"ended with code {code}"
        return f"its process {how}" + (", for want of memory perhaps" if code == -9 else "")

    def stop(self) -> None:
        self.alive, self.task = False, None
        self.console.close()
        self.process.kill()
        self.process.join()
        self.pipe.close()


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """With these environment variables, which a process that is started inside keeps."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """A process that is started inside never sees Ctrl-C, which a terminal sends to all: this one stops it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows, where `_serve` ignores it
        yield
        return
    resource_tracker.ensure_running()  # which the first start would do, and then unblock SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, folder: Path, device: str) -> None:
    """What a process does until it is stopped: a task, an outcome, the next task."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # see `_without_interrupts`
    silence_false_alarms()
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, tasks), daemon=True).start()

    def send(what: str, *arguments: Any) -> None:
        try:
            pipe.send((what, arguments))
        except OSError:  # nobody is there any more, which `_listen` has not noticed yet
            os._exit(1)

    lab = Lab(folder, device, Remote(send), lambda line: send("say", line))
    while True:
        send("outcome", attempt(tasks.get(), lab))


def _listen(pipe: Connection, tasks: queue.SimpleQueue[Task]) -> None:
    """Take tasks; end this process at once, whatever it is doing, when nobody is at the pipe's other end any more."""
    with suppress(EOFError, OSError):
        fingerprint.assume(*pipe.recv())
        while True:
            tasks.put(pipe.recv())
    os._exit(1)


class Remote:
    """A training's progress, sent to where it is shown; not more than five times a second."""

    def __init__(self, send: Callable[..., None]) -> None:
        self.send, self.sent = send, 0.0

    def begin(self, title: str, epochs: int, done: int) -> None:
        self.send("begin", title, epochs, done)

    def advance(self, epoch: float, loss: float) -> None:
        if time.monotonic() - self.sent > 0.2:
            self.sent = time.monotonic()
            self.send("advance", epoch, loss)

    def end(self, entry: dict[str, Any], last: bool) -> None:
        self.send("end", entry, last)

    def close(self) -> None:
        self.send("close")
