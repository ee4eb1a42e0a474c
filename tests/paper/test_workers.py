"""Tasks: in order, in processes that may die, on a cluster that may lose workers; the same bits every time."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from threadpoolctl import threadpool_info

from tinyadv.datasets import DataError
from tinyadv.machine import blas_threads
from tinyadv.models import build
from tinyadv.paper import fingerprint
from tinyadv.paper import workers as tasks
from tinyadv.paper.lab import Lab, Recipe
from tinyadv.paper.measure import Measure
from tinyadv.paper.profiles import PROFILES
from tinyadv.paper.results_file import load_results
from tinyadv.paper.run import plan
from tinyadv.paper.workers import TRIES, MeasureTask, Outcome, TrainTask, attempt, run_tasks, with_trainings
from tinyadv.storage import load_arrays
from tinyadv.training import DivergedError

WORLD = Path(__file__).with_name("world.py")
CLAIMS = ("rubbish-softmax", "rubbish-maxout-softmax")
CAPS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")

# ---------------------------------------------------------------------------------------------------------
# The order of things, with an executor that only says what became of tasks


class Scripted:
    """Has room for so many tasks; `fates` tells, by the names of tasks, what becomes of their tries."""

    def __init__(self, room=1, **fates):
        self.room, self.fates, self.running, self.begun = room, fates, [], []

    def free(self):
        return self.room - len(self.running)

    def submit(self, task):
        self.running.append(task)
        self.begun.append(task.name)

    def next(self):
        task = self.running.pop(0)
        fates = self.fates.get(task.name, [])
        return Outcome(task, **fates.pop(0)) if fates else Outcome(task, value=f"of {task.name}")

    def close(self): ...


SMALL, LARGE, LONG = (
    Recipe("softmax_regression", {"inputs": n}, epochs=epochs) for n, epochs in ((10, 1), (500, 1), (10, 100))
)


@pytest.fixture
def measurings(monkeypatch):
    """Claims a (which needs nothing), b (a small network) and c (a small one and two that take longer)."""
    needs = {"a": [], "b": [SMALL], "c": [LARGE, SMALL, LONG]}
    monkeypatch.setattr(
        tasks,
        "MEASURES",
        {name: Measure(name, None, lambda p, s, r=r: {"some": r}) for name, r in needs.items()},
    )
    return [MeasureTask(name, PROFILES["quick"], 0) for name in needs]


def test_a_task_is_worked_on_with_one_thread_wherever_that_is():
    """Also in a process that the caps of the environment came too late for, as that of a cluster's worker."""

    class Task:
        def work(self, lab):
            return {found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"}

    with blas_threads(2):
        assert tasks.attempt(Task(), SimpleNamespace(forget=lambda: None)).value == {1}


def test_every_network_is_trained_once_and_the_longest_first(measurings):
    trainings = [task.recipe for task in with_trainings(measurings) if isinstance(task, TrainTask)]
    assert trainings == [LONG, LARGE, SMALL]


def test_a_plan_builds_each_architecture_once_and_takes_less_than_a_second(monkeypatch, tmp_path):
    built = []
    monkeypatch.setattr(tasks, "build", lambda *given: built.append(given[:2]) or build(*given))
    tasks._size.cache_clear()
    begun = time.process_time()
    job = plan([], "paper", None, "cpu", tmp_path)
    listed = with_trainings([MeasureTask(name, job.profile, seed) for name in job.ids for seed in job.seeds])
    assert time.process_time() - begun < 1
    assert sum(isinstance(task, TrainTask) for task in listed) > 400
    assert len(built) < 40
    assert len({str(one) for one in built}) == len(built)


class Parsed:
    """A task that tells the fingerprint of its process, and how many files were parsed to find it."""

    name, title, recipes = "parsed", "parsed", ()

    def work(self, lab):
        return f"{fingerprint.training()} {fingerprint._tree.cache_info().currsize}"


def test_a_process_is_told_the_fingerprint_instead_of_parsing_the_sources_again(tmp_path):
    with contextlib.closing(tasks.Processes(1, tmp_path, "cpu")) as executor:
        executor.submit(Parsed())
        assert executor.next().value == f"{fingerprint.training()} 0"


class Interrupted(Parsed):
    def work(self, lab):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        return "went on"


def test_ctrl_c_does_not_get_to_a_process_of_windows_either(tmp_path, monkeypatch):
    """Its terminal sends it to all, and signals cannot be blocked there."""
    monkeypatch.setattr(tasks, "_without_interrupts", contextlib.nullcontext)
    with contextlib.closing(tasks.Processes(1, tmp_path, "cpu")) as executor:
        executor.submit(Interrupted())
        assert executor.next().value == "went on"


def run(measurings, executor):
    values, said = {}, []
    failed = run_tasks(
        with_trainings(measurings), executor, lambda t, value: values.update({t.name: value}), said.append
    )
    return values, failed, said


@pytest.mark.parametrize("room", [1, 2, 10])
def test_a_claim_is_measured_as_soon_as_its_networks_are_there(measurings, room):
    executor = Scripted(room)
    values, failed, said = run(measurings, executor)
    first = ["a, seed 0", LONG.hash, LARGE.hash, SMALL.hash]
    assert executor.begun == [*first, "b, seed 0", "c, seed 0"]
    assert values == {name: f"of {name}" for name in executor.begun}
    assert not failed
    assert not said


def test_what_cannot_be_trained_fails_what_needs_it_and_nothing_else(measurings):
    executor = Scripted(2, **{LONG.hash: [{"error": "J became nan"}]})
    values, failed, said = run(measurings, executor)
    assert failed == {LONG.hash: "J became nan", "c, seed 0": "J became nan"}
    assert values.keys() == {"a, seed 0", "b, seed 0", SMALL.hash, LARGE.hash}
    assert said == [f"{LONG.title}: J became nan; everything else goes on"]


@pytest.mark.parametrize("deaths", [1, TRIES - 1, TRIES, TRIES + 1])
def test_a_task_whose_process_dies_is_tried_again_so_many_times(measurings, deaths):
    executor = Scripted(2, **{SMALL.hash: [{"error": "its process ended", "died": True}] * deaths})
    values, failed, said = run(measurings, executor)
    assert executor.begun.count(SMALL.hash) == min(deaths + 1, TRIES)
    assert set(failed) == (set() if deaths < TRIES else {SMALL.hash, "b, seed 0", "c, seed 0"})
    assert len(values) + len(failed) == 6
    assert all(line.startswith(f"{SMALL.title}: its process ended; ") for line in said)
    assert len(said) == min(deaths, TRIES)


@pytest.mark.parametrize(
    ("code", "how"),
    [
        (-9, "was killed by SIGKILL, for want of memory perhaps"),
        (-40, "was killed by signal 40"),  # a real-time signal, which has no name
        (3, "ended with code 3"),
    ],
)
def test_how_a_process_ended_is_told(code, how):
    worker = object.__new__(tasks._Worker)
    worker.process = SimpleNamespace(exitcode=code, join=lambda seconds: None)
    assert worker._ending() == f"its process {how}"


def test_what_would_fail_everywhere_stops_the_run(measurings):
    executor = Scripted(1, **{LONG.hash: [{"error": "No space left on device", "fatal": True}]})
    with pytest.raises(OSError, match=r"^No space left on device$"):
        run(measurings, executor)
    assert executor.begun == ["a, seed 0", LONG.hash]


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (DivergedError("J became nan"), {"error": "J became nan", "fatal": False, "trace": False}),
        (OSError(28, "disk full", "x"), {"error": "[Errno 28] disk full: 'x'", "fatal": True, "trace": False}),
        (ZeroDivisionError("a bug"), {"error": "ZeroDivisionError: a bug", "fatal": False, "trace": True}),
    ],
)  # fmt: skip
def test_what_a_task_raises_becomes_its_outcome(tmp_path, monkeypatch, error, wanted):
    def fail(*_):
        raise error

    monkeypatch.setattr(Lab, "network", fail)
    outcome = attempt(TrainTask(SMALL), Lab(tmp_path))
    assert {"error": outcome.error, "fatal": outcome.fatal, "trace": "Traceback" in outcome.trace} == wanted
    assert not outcome.died


# ---------------------------------------------------------------------------------------------------------
# Processes: the program in its small world


def start(out, *options, **environment):
    """`tinyadv reproduce` in the small world, in a process group of its own."""
    command = [
        sys.executable,
        str(WORLD),
        "reproduce",
        "--only",
        ",".join(CLAIMS),
        "--out",
        str(out),
        *map(str, options),
    ]
    variables = {**os.environ, "PYTHONPATH": str(WORLD.parents[2]), **{k: str(v) for k, v in environment.items()}}
    return subprocess.Popen(
        command,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # what a shell runs in the background ignores Ctrl-C
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def finish(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def program(out, *options, **environment):
    return finish(start(out, *options, **environment))


def networks(out):
    """The bits of all networks, and what is known about them."""
    found = {path.name: load_arrays(path) for path in (out / "networks").glob("*.safetensors")}
    return {name: ({k: a.tobytes() for k, a in arrays.items()}, about) for name, (arrays, about) in found.items()}


def numbers(out):
    results, _ = load_results(out / "results.json")
    return {name: (r.seeds, [m.values for m in r.measurements]) for name, r in results.items()}


def same(out, other):
    return networks(out) == networks(other) and numbers(out) == numbers(other)


def no_leftovers(out):
    return not [path for path in out.rglob("*") if path.suffix in (".part", ".checkpoint")]


def alive(log):
    """The processes of a run that are still there, by its log."""
    pids = [json.loads(line)["pid"] for line in log.read_text().splitlines()] if log.exists() else []

    def there(pid):
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        return False

    return [pid for pid in pids if there(pid)]


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of a run with one process, two seeds, and all its log lines."""
    folder = tmp_path_factory.mktemp("undisturbed")
    code, _, err = program(folder / "out", "--seeds", 2, "--workers", 1, WORLD_LOG=folder / "log")
    assert code == 0, err
    return folder / "out", [json.loads(line) for line in (folder / "log").read_text().splitlines()]


def test_the_networks_do_not_depend_on_the_number_of_processes(undisturbed, tmp_path):
    alone, log = undisturbed
    code, _, err = program(tmp_path / "out", "--seeds", 2, "--workers", 3, WORLD_LOG=tmp_path / "log")
    assert code == 0, err
    assert len(networks(alone)) == 6
    assert same(tmp_path / "out", alone)
    assert err.splitlines()[0].endswith(", on cpu, 3 processes")
    assert re.search(r"rubbish-softmax: measured in [\d.]+ s \([12] of 2\)", err)
    several = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    for entries, number in ((log, 1), (several, 3)):
        workers = [entry for entry in entries if entry["name"] != "__main__"]
        assert len(workers) == number
        for worker in workers:
            assert {name: worker["caps"][name] for name in CAPS} == dict.fromkeys(CAPS, "1")
            assert worker["early"], "the caps are there before NumPy is imported"
            assert worker["deaf"], "Ctrl-C does not get to it, a terminal sends it to all"
    assert no_leftovers(tmp_path)


@pytest.mark.parametrize("when", ["epoch 3", pytest.param("measure", marks=pytest.mark.slow)])
def test_a_process_that_is_killed_is_noticed_and_its_task_done_in_another(undisturbed, tmp_path, when):
    code, _, err = program(
        tmp_path / "out", "--seeds", 2, "--workers", 2, WORLD_KILL=tmp_path / "killed", WORLD_WHEN=when
    )
    assert code == 0, err
    assert (tmp_path / "killed").exists()
    assert err.count("its process was killed by SIGKILL") == 1
    assert "begun again" in err
    assert same(tmp_path / "out", undisturbed[0])
    assert no_leftovers(tmp_path)


def test_a_run_that_is_stopped_leaves_nothing_running_and_goes_on(undisturbed, tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    for number, code, word in ((signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")):
        process = start(out, "--seeds", 2, "--workers", 2, WORLD_LOG=log, WORLD_PAUSE=0.3)
        before = set(out.glob("networks/*"))
        until(lambda before=before: set(out.glob("networks/*.checkpoint")) - before)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        found, printed, err = finish(process)
        assert (found, printed) == (code, ""), err
        assert err.splitlines()[-1] == f"tinyadv: {word}; the same command goes on from here"
        assert "Traceback" not in err
        assert "killed" not in err
        assert alive(log) == []
        assert not list(tmp_path.rglob("*.part"))
        assert list(out.glob("networks/*.checkpoint"))
    assert program(out, "--seeds", 2)[0] == 0
    assert same(out, undisturbed[0])


def test_processes_whose_run_is_killed_end_at_once_by_themselves(tmp_path):
    log = tmp_path / "log"
    process = start(tmp_path / "out", "--workers", 2, WORLD_LOG=log, WORLD_PAUSE=100)
    until(lambda: len(alive(log)) == 3)
    process.kill()
    process.communicate(timeout=60)  # no process holds its ends of the pipes any more
    until(lambda: not alive(log), 5)


def test_a_network_that_diverges_fails_its_claims_and_no_others(undisturbed, tmp_path):
    code, out, err = program(tmp_path, "--workers", 2, WORLD_DIVERGE=1)
    assert code == 1
    last = err.splitlines()[-1]
    assert last.startswith("tinyadv: 1 of 2 claims not measured: rubbish-maxout-softmax (maxout network 6, seed 0: ")
    assert re.search(r"(J|a parameter) became \S+ .*in epoch \d, step \d+ of 10, seed 0; ", last)
    assert re.search(r"there is no checkpoint from before\)$|the last good checkpoint is .*, of epoch \d\)$", last)
    assert "Traceback" not in err
    assert list(numbers(tmp_path)) == ["rubbish-softmax"]
    assert "rubbish-softmax" in out


def test_a_full_disk_stops_the_run_and_what_is_damaged_is_named_by_the_process_that_finds_it(undisturbed, tmp_path):
    code, _, err = program(tmp_path, "--seeds", 2, "--workers", 2, WORLD_DISK=9)  # in each process's second training
    assert code == 2, err
    assert "No space left on device" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not list(tmp_path.rglob("*.part"))
    damaged = [next(tmp_path.glob(f"networks/*.{kind}")) for kind in ("checkpoint", "safetensors")]
    for path in damaged:
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content)
    code, _, err = program(tmp_path, "--seeds", 2, "--workers", 2)
    assert code == 0, err
    for path, remedy in zip(damaged, ("the training starts from the beginning", "it is trained again"), strict=True):
        assert f"{path} is damaged: its contents do not match their SHA-256; {remedy}" in err
    assert same(tmp_path, undisturbed[0])
    assert no_leftovers(tmp_path)


def test_two_runs_into_the_same_folder_at_once(undisturbed, tmp_path):
    runs = [start(tmp_path, "--seeds", seeds, "--workers", 1) for seeds in (2, 2)]
    for code, _, err in map(finish, runs):
        assert code == 0, err
        assert "damaged" not in err
    assert same(tmp_path, undisturbed[0])
    assert no_leftovers(tmp_path)
    assert (tmp_path / "report.html").read_text().rstrip().endswith("</html>")


# ---------------------------------------------------------------------------------------------------------
# A cluster


@pytest.fixture
def cluster(tmp_path):
    """A scheduler's address, and its two workers: processes of the small world, in folders of their own."""
    pytest.importorskip("distributed", reason="dask.distributed is not installed: pip install 'tinyadv[cluster]'")
    file, processes = tmp_path / "scheduler.json", []
    environment = {**os.environ, "PYTHONPATH": str(WORLD.parents[2]), "WORLD_PAUSE": "0.3", **dict.fromkeys(CAPS, "1")}

    def begin(*command):
        options = ("--scheduler-file", str(file), "--no-dashboard", *command[1:])
        with open(tmp_path / f"process{len(processes)}.log", "w") as log:
            processes.append(
                subprocess.Popen([sys.executable, *command[0], *options], env=environment, stdout=log, stderr=log)
            )

    begin(("-m", "distributed.cli.dask_scheduler"), "--host", "127.0.0.1", "--port", "0")
    for name in ("first", "second"):
        folder = str(tmp_path / name)
        begin((str(WORLD), "cluster-worker"), "--no-nanny", "--nthreads", "1", "--local-directory", folder)
    until(file.exists)
    try:
        yield json.loads(file.read_text())["address"], processes[1:]
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.cluster
def test_a_cluster_that_loses_a_worker_comes_to_the_same_results(undisturbed, cluster, tmp_path):
    address, (first, _) = cluster
    out, err, killed = tmp_path / "out", [], False
    process = start(out, "--seeds", 2, "--scheduler", address)
    for line in process.stderr:
        err.append(line)
        if ": epoch 4/4" in line and not killed:  # a network is trained, the next trainings are under way
            time.sleep(0.7)
            first.kill()
            killed = True
    assert finish(process)[0] == 0, "".join(err)
    assert killed
    assert "is lost; it is begun again" in "".join(err)
    assert same(out, undisturbed[0])
    assert no_leftovers(tmp_path)
    before = networks(out)
    for path in out.glob("measurements/*"):  # the trained networks are sent, not trained
        path.unlink()
    code, _, again = program(out, "--seeds", 2, "--scheduler", address)
    assert code == 0, again
    assert ": epoch" not in again
    assert networks(out) == before
    assert same(out, undisturbed[0])


@pytest.mark.cluster
def test_a_cluster_stops_working_for_a_run_that_was_stopped(cluster, tmp_path):
    from distributed import Client

    address, _ = cluster
    process = start(tmp_path / "out", "--seeds", 2, "--scheduler", address, WORLD_EPOCHS=1000)
    with Client(address, set_as_default=False) as client:

        def at_work():
            return sum(client.run(lambda dask_worker: dask_worker.state.executing_count).values())

        until(lambda: len(client.scheduler_info()["workers"]) == 2 and at_work() == 2)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        code, _, err = finish(process)
        assert code == 130, err
        assert err.splitlines()[-1] == "tinyadv: interrupted; the same command goes on from here"
        assert "Traceback" not in err
        until(lambda: at_work() == 0, 5)
    code, _, err = program(tmp_path / "out", "--scheduler", address, WORLD_DIVERGE=1)
    assert code == 1
    assert "1 of 2 claims not measured: rubbish-maxout-softmax" in err.splitlines()[-1]


@pytest.mark.cluster
def test_a_scheduler_that_does_not_answer_is_one_line(tmp_path):
    pytest.importorskip("distributed")
    for address, said in (
        ("tcp://127.0.0.1:1", "no scheduler answers at 'tcp://127.0.0.1:1' within 3 seconds"),
        ("nonsense://x:1", "the address of a --scheduler is tcp://HOST:PORT (or tls), got 'nonsense://x:1'"),
        ("host", "the address of a --scheduler is tcp://HOST:PORT (or tls), got 'host'"),
    ):
        code, out, err = program(tmp_path / "out", "--scheduler", address)
        assert (code, out) == (2, ""), err
        assert err.startswith(f"tinyadv: {said}")
        assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------------
# Epochs that another seed's training chooses


@pytest.fixture
def chosen_by_the_first(monkeypatch):
    """Two seeds of a claim whose networks train for as many epochs as the first seed's training chooses."""
    large = Recipe(
        "softmax_regression", {"inputs": 10}, epochs=5, stop_on="error", retrain=True, chosen_with=0
    )  # fmt: skip
    needs = Measure("a", None, lambda p, s: {"large": replace(large, seed=s)})
    monkeypatch.setattr(tasks, "MEASURES", {"a": needs})
    measurings = [MeasureTask("a", PROFILES["quick"], seed) for seed in (0, 1)]
    return large.first, [replace(large, seed=seed) for seed in (0, 1)], measurings


def test_what_chooses_the_epochs_is_trained_once_and_before_the_others(chosen_by_the_first):
    first, others, measurings = chosen_by_the_first
    executor, finished = Scripted(room=2), []
    failed = run_tasks(with_trainings(measurings), executor, lambda task, value: finished.append(task.name), print)
    assert failed == {}
    assert executor.begun == [first.hash, *(o.hash for o in others), *(m.name for m in measurings)]
    assert sorted(finished) == sorted(executor.begun)


def test_where_it_fails_all_that_waits_for_it_fails_too(chosen_by_the_first):
    first, others, measurings = chosen_by_the_first
    executor = Scripted(room=2, **{first.hash: [{"error": "diverged"}]})
    failed = run_tasks(with_trainings(measurings), executor, lambda task, value: None, lambda line: None)
    assert failed == dict.fromkeys([first.hash, *(o.hash for o in others), *(m.name for m in measurings)], "diverged")
    assert executor.begun == [first.hash]


@pytest.mark.parametrize(("kind", "fatal"), [("measure", False), ("train", True)])
def test_missing_data_of_one_claim_end_that_claim_alone(kind, fatal):
    class Task(MeasureTask if kind == "measure" else TrainTask):
        def work(self, lab):
            raise DataError("no panda")

    task = Task("a", PROFILES["quick"], 0) if kind == "measure" else Task(SMALL)
    outcome = attempt(task, SimpleNamespace(forget=lambda: None))
    assert (outcome.error, outcome.fatal) == ("no panda", fatal)
