"""Turn a network that was trained at length into one that travels with the package, mostly as float16.

    python data_scripts/networks.py maxout-naive results/networks/0123456789ab.safetensors

writes tinyadv/data/networks/maxout-naive.safetensors. The file carries what the trained network's file says of it (the
recipe, the log of its training, the program), what `--note` adds, and its figures on the test images before the
rounding to float16, against which the tests hold the rounded network. Nothing is trained here.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tinyadv import load, metrics
from tinyadv.attacks import fgsm
from tinyadv.datasets import cifar10, mnist
from tinyadv.models import EMBEDDED, Network
from tinyadv.paper.lab import EPS, EPS_WHITENED
from tinyadv.paper.rounding import Rounded
from tinyadv.storage import load_arrays, save_arrays

ATTACKED = 2000  # images of CIFAR-10 that are attacked, the first of the test images: a convolution takes its time


def figures(model: Network) -> dict[str, float]:
    """Error and confidence on mistakes on the test images, clean and under FGSM with either gradient.

    MNIST's, with eps = 0.25; or, for rows of 3072 numbers, CIFAR-10's, whitened, with eps = 0.1, of which only the
    first 2,000 are attacked.
    """
    if model.inputs == 3072:
        (x, y), eps, attacked = cifar10(whitened=True).test, EPS_WHITENED, ATTACKED
    else:
        (x, y), eps, attacked = mnist().test, EPS, 10_000
    found = _figures("clean", model, x, y)
    ways: dict[str, Any] = {"fgsm": model}
    if model.top == "softmax":
        ways["fgsm_rounded"] = Rounded(model)
    x, y = x[:attacked], y[:attacked]
    for name, followed in ways.items():
        x_adv = metrics.in_batches(partial(fgsm, followed, eps=eps), x, y, size=250)
        found |= _figures(name, model, x_adv, y)
    return found


def _figures(name: str, model: Network, x: Any, y: Any) -> dict[str, float]:
    e = metrics.evaluate(model, x, y)
    return {f"{name}_error": e.error, f"{name}_confidence_on_mistakes": e.confidence_on_mistakes}


def main() -> None:
    """Read, measure, round, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("name", help="what the network is called, as in models.embedded(name)")
    parser.add_argument("path", type=Path, help="the trained network's file, of a folder that `tinyadv reproduce` made")
    parser.add_argument(
        "--dtype", default="float16", choices=("float16", "float32"), help="float32 where float16 moves a figure"
    )
    parser.add_argument("--note", default="", help="what else is to be said of its training")
    chosen = parser.parse_args()
    arrays, about = load_arrays(chosen.path)
    about = {**about, "note": chosen.note, "figures": figures(load(chosen.path))}
    EMBEDDED.mkdir(exist_ok=True)
    path = EMBEDDED / f"{chosen.name}.safetensors"
    save_arrays(path, {name: a.astype(np.dtype(chosen.dtype)) for name, a in arrays.items()}, about)
    print(f"{path}: {path.stat().st_size:,} bytes\n{json.dumps(about['figures'], indent=2)}")


if __name__ == "__main__":
    main()
