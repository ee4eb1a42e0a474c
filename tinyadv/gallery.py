"""One-off attacks: adversarial examples of test images against a trained network, as a picture and an .npz.

It is what the command `tinyadv attack` does; the attacks themselves are in `attacks`.
"""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

from numpy import savez_compressed

from . import metrics
from .attacks import check_eps, fgsm, pgd
from .backend import generator
from .datasets import Split, mnist, pair
from .layers import parameters
from .machine import import_matplotlib
from .models import Network, load
from .storage import write_atomically

METHODS = ("fgsm", "pgd")
LARGEST_EPS = 255.0  # far beyond sense, and far from where float32 ends


def attack_test_images(path: Path, eps: float, method: str, images: int, clip: bool, out: Path) -> list[str]:
    """Attack the first `images` test images on the network at `path`; write `attack.npz` and `attack.png` into `out`.

    The labels to move away from are the true ones, as in the paper. The file holds `x`, `x_adv` `(images, 784)`, the
    true labels `y`, what the network says, `said_clean` and `said_attacked`, and `eps`. Logistic regression is shown
    sevens (1) and threes (-1) alone. Returns lines that say what happened.

    Raises
    ------
    ValueError
        For an unknown method, a bad eps, fewer than one image or more than there are, or a network of other inputs.
    StorageError
        If there is no readable network at `path`.
    OSError
        If `out` cannot be written.
    """
    if check_eps(eps) > LARGEST_EPS:
        raise ValueError(f"eps is in units of pixels, which run from 0 to 1: at most {LARGEST_EPS:g}, got {eps:g}")
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}: there are {', '.join(METHODS)}")
    model = load(path)
    x, y = _test_images(model, images)
    x_adv = metrics.in_batches(_attack(method, model, eps, clip), x, y)
    clean, attacked = metrics.evaluate(model, x, y), metrics.evaluate(model, x_adv, y)
    said = {"said_clean": metrics.predict(model, x), "said_attacked": metrics.predict(model, x_adv)}
    file = io.BytesIO()
    savez_compressed(file, x=x, x_adv=x_adv, y=y, eps=eps, **said)
    picture = _picture(x, x_adv, y, said["said_clean"], said["said_attacked"])
    write_atomically(out / "attack.npz", file.getvalue())
    write_atomically(out / "attack.png", picture)
    sure = f", confidence on mistakes {attacked.confidence_on_mistakes:.1%}" if attacked.wrong else ""
    return [
        f"{model.builder}, {method}, eps {eps:g}{', clipped to [0, 1]' if clip else ''}, {images} test images",
        f"error clean     {clean.error:.1%}",
        f"error attacked  {attacked.error:.1%}{sure}",
        f"written: {out / 'attack.npz'}, {out / 'attack.png'}",
    ]


def _attack(method: str, model: Network, eps: float, clip: bool) -> Any:
    bounds = (0.0, 1.0) if clip else None
    if method == "pgd":
        return partial(pgd, model, eps=eps, clip=bounds, rng=generator(0, "pgd"))
    return partial(fgsm, model, eps=eps, clip=bounds)


def _test_images(model: Network, images: int) -> Split:
    test = pair(mnist().test, positive=7, negative=3) if model.top == "logistic" else mnist().test
    if not 1 <= images <= len(test.x):
        raise ValueError(f"images is 1 to {len(test.x):,}, got {images}")
    return Split(test.x[:images].astype(parameters(model)[0].dtype, copy=False), test.y[:images])


def _picture(x: Any, x_adv: Any, y: Any, said_clean: Any, said_attacked: Any) -> bytes:
    """The first ten images, clean above attacked, each with what the network says; orange frames are mistakes."""
    matplotlib = import_matplotlib()
    from matplotlib.figure import Figure

    from .paper.draw import GREEN, ORANGE, STYLE, show_image

    shown = min(10, len(x))
    digits = {-1: 3, 1: 7} if y.dtype.kind == "f" else {}  # logistic regression tells threes from sevens
    with matplotlib.rc_context(STYLE):
        canvas = Figure(figsize=(max(2, shown), 2.6), layout="constrained")
        grid = canvas.subplots(2, shown, squeeze=False)
        for row, (images, said) in enumerate(((x, said_clean), (x_adv, said_attacked))):
            for k in range(shown):
                right, digit = said[k] == y[k], int(said[k])
                show_image(grid[row, k], images[k], f"says {digits.get(digit, digit)}")
                grid[row, k].spines[:].set(color=GREEN if right else ORANGE, linewidth=1.5 if right else 3)
        grid[0, 0].set_ylabel("clean")
        grid[1, 0].set_ylabel("attacked")
        file = io.BytesIO()
        canvas.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
