"""The programs that the campaign kills: a training, two ways to reproduce, grading, a data script; `PLACES` names them.

`python victims.py PLACE FOLDER` works in FOLDER/out. Every time that it touches a file is a step; environment variables
let it be killed at one of them, and plant faults: see `step` and `plant`. Its worker processes run this file too.
"""

import contextlib
import importlib.util
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from functools import partial
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path

TESTS = Path(__file__).parents[1]
RUN = Path(sys.argv[0]).name == Path(__file__).name  # or it is imported by the campaign, and changes nothing there
if RUN:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background processes ignore
    sys.path.insert(0, str(TESTS / "paper"))

# ---------------------------------------------------------------------------------------------------------
# Steps: whenever a file is made, written through, renamed or removed, just before and just after


os_open = os.open


def step():
    """One more step of this run, in whichever of its processes; in step CRASH_STEP CRASH_SIGNAL is sent.

    It goes to the program, or to all of its processes where CRASH_WHOM is "all". CRASH_STEPS=PATH counts.
    """
    if "CRASH_STEPS" not in os.environ:
        return
    counter = os_open(os.environ["CRASH_STEPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(counter, b".")
    number = os.fstat(counter).st_size
    os.close(counter)
    if number == int(os.environ.get("CRASH_STEP", "0")):
        program = os.getpgrp()  # the campaign starts it as the leader of a group
        (os.killpg if os.environ["CRASH_WHOM"] == "all" else os.kill)(program, int(os.environ["CRASH_SIGNAL"]))


def counted(function):
    def call(*args, **kwargs):
        step()
        result = function(*args, **kwargs)
        step()
        return result

    return call


TOUCHING = {os: ("open", "fsync", "chmod", "replace", "unlink", "rmdir"), tempfile: ("mkdtemp",)}
for module, names in TOUCHING.items() if RUN else ():
    for name in names:
        setattr(module, name, counted(getattr(module, name)))

# ---------------------------------------------------------------------------------------------------------
# What is run


def world():
    """The small world of the tests of reproduce: two claims, six networks, MNIST of 300 images."""
    import world

    return world


def training(out):
    """A training with everything that a checkpoint has to carry: momentum, dropout, max-norm, early stopping."""
    from tinyadv import losses, metrics, models, optim
    from tinyadv.backend import generator
    from tinyadv.layers import parameters
    from tinyadv.storage import write_atomically
    from tinyadv.training import Stopping, train

    data = world().MINI
    model = models.maxout_network(6, 2, keep=(0.8, 0.5), scale=0.1, rng=generator(3, "weights"))
    done = train(
        model,
        partial(losses.adversarial_objective, eps=0.25),
        *data.train,
        epochs=16,
        seed=3,
        optimiser=optim.SGD(parameters(model), optim.Schedule(learning_rate=0.05), max_norm=1.5),
        batch=20,
        validate=lambda model: {"error": metrics.evaluate(model, *data.validation).error},
        stopping=Stopping("error", patience=12),
        checkpoint=out / "training.checkpoint",
    )
    models.save(model, out / "network.safetensors")
    write_atomically(out / "log.json", json.dumps([done.log, done.best_epoch], sort_keys=True))


def inline(out):
    """Reproduce, one task after the other in this process."""
    world()
    from inline import Inline

    from tinyadv.paper.lab import Lab
    from tinyadv.paper.run import plan, reproduce
    from tinyadv.progress import say

    job = plan(["rubbish-softmax", "rubbish-maxout-softmax"], "quick", 2, "cpu", out)
    _, failed = reproduce(job, say, Inline(Lab(out / "networks", say=say)))
    sys.exit(bool(failed))


def workers(out):
    """`tinyadv reproduce`, with two processes."""
    options = ("--seeds", "2", "--workers", "2", "--out", str(out))
    command_line("reproduce", *world().ONLY, *options)


def grading(out):
    """`tinyadv course grade`: two lessons, one of them solved."""
    files = ("--json", str(out / "scores.json"), "--junit", str(out / "scores.xml"))
    command_line("course", "grade", os.environ["CRASH_GIVEN"], "--lesson", "1", "--lesson", "3", *files)


def command_line(*arguments):
    from tinyadv.cli import main

    main(arguments)


SIZES = {"images": 60_000, "labels": 20_000, "more-images": 50_000, "more-labels": 20_000}


def raw(name):
    """The content of a data file, in the format of MNIST's."""
    from tinyadv.datasets import IdxFile

    size = SIZES[name]
    return IdxFile((size,), "").header + random.Random(name).randbytes(size)


def data(out):
    """data_scripts/mnist.py, of four small files."""
    path = TESTS.parent / "data_scripts" / "mnist.py"
    sys.path.insert(0, str(path.parent))  # the scripts share a module
    spec = importlib.util.spec_from_file_location("mnist", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    files = {name: script.IdxFile((SIZES[name],), sha256(raw(name)).hexdigest()) for name in SIZES}
    script.rebuild.__defaults__ = (files,)
    script.XZ["filters"][0] |= {"preset": 0, "dict_size": 1 << 16}  # takes no time
    sys.exit(script.main(["--from", os.environ["CRASH_GIVEN"], "--out", str(out)]))


PLACES = {"training": training, "inline": inline, "workers": workers, "grading": grading, "data": data}

# ---------------------------------------------------------------------------------------------------------
# Faults that the campaign has to find


def plant(fault):
    """Make the package worse, in the way that CRASH_PLANT names."""
    from tinyadv import storage, training
    from tinyadv.paper import workers as tasks

    if fault == "files are written in place":
        os.replace = written_in_place
    if fault == "momentum is not kept":
        real = training._resume

        def without_momentum(path, model, optimiser, *others):
            before = [v.copy() for v in optimiser.velocities]
            found = real(path, model, optimiser, *others)
            optimiser.velocities[:] = before
            return found

        training._resume = without_momentum
    if fault == "masks are not the epoch's":
        real_generator, numbers = training.generator, itertools.count()
        training.generator = lambda seed, name: real_generator(seed, str(next(numbers)))
    if fault == "processes outlive their program":
        tasks._listen = lambda pipe, queue: [pipe.recv(), *(queue.put(pipe.recv()) for _ in iter(int, 1))]
        real_send = Connection.send

        def send(pipe, message):
            with contextlib.suppress(OSError):
                real_send(pipe, message)

        Connection.send = send
    if fault == "nothing is cleaned up":
        storage.remove_leftovers = tasks.remove_leftovers = lambda *_: None
    if fault == "a full disk goes unnoticed":
        real_save = training.save_arrays

        def save(path, *others):
            try:
                real_save(path, *others)
            except OSError:
                Path(path).touch()

        training.save_arrays = save


def written_in_place(source, target, real=os.replace):
    content = Path(source).read_bytes()
    with open(target, "wb") as file:
        file.write(content[: len(content) // 2])
        file.flush()
        for _ in range(10):
            step()
            time.sleep(0.001)
        file.write(content[len(content) // 2 :])
    os.unlink(source)


if RUN and sys.argv[1] in ("inline", "workers"):
    world()  # in every process
if RUN and "CRASH_PLANT" in os.environ:
    plant(os.environ["CRASH_PLANT"])

if __name__ == "__main__":
    PLACES[sys.argv[1]](Path(sys.argv[2]) / "out")
