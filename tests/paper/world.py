"""`tinyadv` in a small world, as a program; the processes that it starts run this file too, and so see the same world.

Two claims are measured on quickly trained networks. Environment variables bring misfortune: see `misfortune`.
"""
# ruff: noqa: E402

import os
import signal
import sys

CAPS = {name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")}
DEAF = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()) if hasattr(signal, "pthread_sigmask") else True
EARLY = "numpy" not in sys.modules  # the caps were there before NumPy was

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from tinyadv import training
from tinyadv.bench import summary
from tinyadv.datasets import MNIST, Split
from tinyadv.metrics import evaluate
from tinyadv.paper import lab
from tinyadv.paper.draw import drawings
from tinyadv.paper.lab import Recipe
from tinyadv.paper.measure import MEASURES, Measure
from tinyadv.paper.results import Measurement

EPOCHS = int(os.environ.get("WORLD_EPOCHS", "4"))
RECIPE = Recipe(
    "maxout_network", {"units": 6, "pieces": 2, "scale": 0.1}, epochs=EPOCHS, schedule={"learning_rate": 0.05}, batch=20
)
training.CHECKPOINT_SECONDS = -1.0  # after every epoch
rng = np.random.default_rng(7)
y = np.arange(300) % 10
x = (0.5 * rng.random((10, 784))[y] + 0.5 * rng.random((300, 784))).astype("float32")
MINI = MNIST(*(Split(x[part], y[part]) for part in (slice(200), slice(200, 250), slice(250, 300))))
lab.mnist = lambda: MINI
drawings().clear()  # which take time to draw
summary.RESULTS = Path("nowhere")  # so does that of the benchmark


def first(lab, seed, network):
    misfortune("measure")
    e = evaluate(network.network, *lab.data.test)
    return Measurement({"error": e.error, "confidence_on_mistakes": e.confidence}, {"error": e.intervals["error"]})


def second(lab, seed, trained, clean):
    attacked, plain = (evaluate(of.network, *lab.data.test) for of in (trained, clean))
    return Measurement({"error": attacked.error, "confidence_on_mistakes": plain.confidence})


def two(profile, seed):
    rate = 1e9 if "WORLD_DIVERGE" in os.environ else 0.04
    return {
        "trained": replace(RECIPE, seed=seed, objective="adversarial"),
        "clean": replace(RECIPE, seed=seed, schedule={"learning_rate": rate}),
    }


MEASURES["rubbish-softmax"] = Measure("rubbish-softmax", first, lambda p, s: {"network": replace(RECIPE, seed=s)})
MEASURES["rubbish-maxout-softmax"] = Measure("rubbish-maxout-softmax", second, two)


ONLY = ("--only", "rubbish-softmax,rubbish-maxout-softmax")


def misfortune(when):
    """WORLD_KILL=PATH: this process is killed once, in epoch 3, or as WORLD_WHEN says, and PATH is there from then on.

    WORLD_PAUSE=S: an epoch takes S seconds longer. WORLD_DISK=N: the disk is full after so many files.
    """
    if when == os.environ.get("WORLD_WHEN", "epoch 3") and "WORLD_KILL" in os.environ:
        try:
            Path(os.environ["WORLD_KILL"]).touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


real_epoch, real_replace, replaced = training._epoch, os.replace, []


def epoch(model, objective, x, y, number, *others):
    time.sleep(float(os.environ.get("WORLD_PAUSE", "0")))
    misfortune(f"epoch {number}")
    return real_epoch(model, objective, x, y, number, *others)


def on_a_small_disk(source, target):
    replaced.append(target)
    if len(replaced) > int(os.environ["WORLD_DISK"]):
        raise OSError(28, "No space left on device", str(target))
    real_replace(source, target)


training._epoch = epoch
if "WORLD_DISK" in os.environ:
    os.replace = on_a_small_disk
if "WORLD_LOG" in os.environ:  # that this process was there, and how it was started
    with open(os.environ["WORLD_LOG"], "a") as file:
        file.write(
            json.dumps({"pid": os.getpid(), "name": __name__, "caps": CAPS, "early": EARLY, "deaf": DEAF}) + "\n"
        )


if __name__ == "__main__":
    if sys.argv[1] == "cluster-worker":
        from distributed.cli.dask_worker import main

        main(sys.argv[2:])
    else:
        from tinyadv.cli import main

        main()
