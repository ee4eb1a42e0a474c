"""Turn a network that was trained at length into one that travels with the package, mostly as float16.

    python data_scripts/networks.py maxout-naive results/networks/0123456789ab.safetensors

writes tinyadv/data/networks/maxout-naive.safetensors. The file carries what the trained network's file says of it (the
recipe, the log of its training, the program), what `--note` adds, and its figures on MNIST's test images before the
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
from tinyadv.datasets import mnist
from tinyadv.models import EMBEDDED, Network
from tinyadv.paper.rounding import Rounded
from tinyadv.storage import load_arrays, save_arrays

EPS = 0.25


def figures(model: Network) -> dict[str, float]:
    """Error and confidence on mistakes on MNIST's test images, clean and under FGSM at 0.25 with either gradient."""
    x, y = mnist().test
    seen: dict[str, Any] = {"clean": None, "fgsm": model}
    if model.top == "softmax":
        seen["fgsm_rounded"] = Rounded(model)
    found: dict[str, float] = {}
    for name, attacked in seen.items():
        x_adv = x if attacked is None else metrics.in_batches(partial(fgsm, attacked, eps=EPS), x, y)
        e = metrics.evaluate(model, x_adv, y)
        found |= {f"{name}_error": e.error, f"{name}_confidence_on_mistakes": e.confidence_on_mistakes}
    return found


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
