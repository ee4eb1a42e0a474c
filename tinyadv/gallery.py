"""One-off attacks: adversarial examples of images against a trained network, as a picture and an .npz.

It is what the command `tinyadv attack` does; the attacks themselves are in `attacks`.
"""

from __future__ import annotations

import io
import math
import os
from functools import partial
from pathlib import Path
from typing import Any

from numpy import savez_compressed

from . import metrics
from .attacks import check_eps, fgsm, pgd
from .backend import generator
from .by_name import check_images, check_units, in_precision_of, outputs_of, read_networks
from .datasets import Split, mnist, npz, pair
from .machine import import_matplotlib
from .storage import write_atomically

METHODS = ("fgsm", "pgd")
LARGEST_EPS = 255.0  # far beyond sense, and far from where float32 ends


def attack_test_images(
    name: str | os.PathLike[str],
    eps: float,
    method: str,
    images: int | None,
    clip: bool,
    out: Path,
    data: Path | None = None,
) -> list[str]:
    """Attack `images` images (10, by default) on a network; write `attack.npz` and `attack.png` into `out`.

    `name` is its file's, that of a network of the package, or MODULE:FUNCTION (see `by_name.read_networks`).

    The images are the first of MNIST's test images, or of the file `data` (see `datasets.npz`). The labels to move away
    from are the true ones, as in the paper. The file written holds `x`, `x_adv` `(images, D)`, the true labels `y`,
    what the network says, `said_clean` and `said_attacked`, and `eps`. Of MNIST, logistic regression is shown sevens
    (1) and threes (-1) alone, and so is any model with a single output. Returns lines that say what happened; images
    that are not square are not drawn.

    Raises
    ------
    ValueError
        For an unknown method, a bad eps, fewer than one image or more than there are, a network of other inputs or
        classes, pixels for a network of whitened images, or a model of one's own that is not named as MODULE:FUNCTION
        or cannot be made.
    StorageError, DataError
        If there is no readable network of this name, or no such data in `data`.
    OSError
        If `out` cannot be written.
    """
    name = str(name)
    largest = LARGEST_EPS if data is not None else 1.0
    if check_eps(eps) > largest:
        raise ValueError(f"eps is in units of pixels, which run from 0 to 1: at most {largest:g}, got {eps:g}")
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}: there are {', '.join(METHODS)}")
    (network,) = read_networks([name]).values()
    (x, y), names = _images(network, name, images, data)
    check_images([name], x)
    check_units(eps, x)
    x_adv = metrics.in_batches(_attack(method, network, eps, clip), x, y)
    said: dict[str, Any] = {"said_clean": metrics.predict(network, x), "said_attacked": metrics.predict(network, x_adv)}
    sure = ""
    if hasattr(network, "probabilities"):  # a model of one's own need not have them
        attacked = metrics.evaluate(network, x_adv, y)
        sure = f", confidence on mistakes {attacked.confidence_on_mistakes:.1%}" if attacked.wrong else ""
    file = io.BytesIO()
    savez_compressed(file, x=x, x_adv=x_adv, y=y, eps=eps, **said)
    files = {out / "attack.npz": file.getvalue()}
    if math.isqrt(x.shape[1]) ** 2 == x.shape[1]:
        files[out / "attack.png"] = _picture(x, x_adv, y, said["said_clean"], said["said_attacked"], names)
    for target, content in files.items():
        write_atomically(target, content)
    kind = getattr(network, "builder", type(network).__name__)
    shown = f"{len(x)} test images of MNIST" if data is None else f"{len(x)} images of {data}"
    if x.min() < 0 or x.max() > 1:
        shown += f", whose pixels run from {x.min():g} to {x.max():g}"
    return [
        f"{kind}, {method}, eps {eps:g}{', clipped to [0, 1]' if clip else ''}, {shown}",
        f"error clean     {(said['said_clean'] != y).mean():.1%}",
        f"error attacked  {(said['said_attacked'] != y).mean():.1%}{sure}",
        f"written: {', '.join(map(str, files))}",
    ]


def _attack(method: str, network: Any, eps: float, clip: bool) -> Any:
    bounds = (0.0, 1.0) if clip else None
    if method == "pgd":
        return partial(pgd, network, eps=eps, clip=bounds, rng=generator(0, "pgd"))
    return partial(fgsm, network, eps=eps, clip=bounds)


def _images(network: Any, name: str, images: int | None, data: Path | None) -> tuple[Split, dict[int, int]]:
    """The images to attack, in the network's precision; and the digits that the labels of two classes stand for."""
    split, names = mnist().test if data is None else npz(data), dict[int, int]()
    outputs = outputs_of(name, network, split.x)
    if data is None and outputs.ndim == 1:
        split, names = pair(split, positive=7, negative=3), {-1: 3, 1: 7}
    images = min(10, len(split.x)) if images is None else images
    if not 1 <= images <= len(split.x):
        raise ValueError(f"images is 1 to {len(split.x):,}, got {images}")
    if data is None and outputs.ndim == 2 and outputs.shape[1] != 10:
        raise ValueError(
            f"{name} has {outputs.shape[1]} classes, MNIST has 10: give it images of its own by --data FILE.npz"
        )
    return Split(in_precision_of(network, split.x[:images]), split.y[:images]), names


def _picture(x: Any, x_adv: Any, y: Any, said_clean: Any, said_attacked: Any, names: dict[int, int]) -> bytes:
    """The first ten images, clean above attacked, each with what the network says; orange frames are mistakes."""
    matplotlib = import_matplotlib()
    from matplotlib.figure import Figure

    from .paper.draw import GREEN, ORANGE, STYLE, rendered, show_image

    shown, side = min(10, len(x)), math.isqrt(x.shape[1])
    with matplotlib.rc_context(STYLE):
        canvas = Figure(figsize=(max(2, shown), 2.6), layout="constrained")
        grid = canvas.subplots(2, shown, squeeze=False)
        for row, (images, said) in enumerate(((x, said_clean), (x_adv, said_attacked))):
            for k in range(shown):
                right, digit = said[k] == y[k], int(said[k])
                show_image(grid[row, k], images[k].reshape(side, side), f"says {names.get(digit, digit)}")
                grid[row, k].spines[:].set(color=GREEN if right else ORANGE, linewidth=1.5 if right else 3)
        grid[0, 0].set_ylabel("clean")
        grid[1, 0].set_ylabel("attacked")
        return rendered(canvas)
