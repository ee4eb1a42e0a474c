"""The explorer: networks, images and attacks in one page that stands alone, to touch without installing anything.

`write` puts the scripts of `explorer/`, test images and the networks' files into one HTML file. Nothing is fetched, and
the page's security policy forbids it. The arithmetic in JavaScript is held against NumPy's by the browser tests.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from numpy import errstate, flatnonzero, float16, float32, isfinite, ndarray, rint, stack, uint8

from . import models
from .by_name import is_embedded
from .datasets import mnist
from .layers import named_parameters
from .storage import load_arrays, save_arrays, temporary_folder, write_atomically

IMAGES = 200  # test images to choose from, twenty of each class
LARGEST = 10 << 20  # bytes of the page
KNOWN = ("softmax_regression", "maxout_network", "saturating_network", "rbf_network")
# The page's own script and style, known by their hashes; its worker is made of a text of the page.
POLICY = "default-src 'none'; script-src {script}; worker-src blob:; style-src {style}; img-src data: blob:"


def write(path: str | os.PathLike[str], networks: Sequence[tuple[str, models.Network]]) -> None:
    """Write the explorer of these networks, each with the name that the page shows, to `path`.

    Raises
    ------
    ValueError
        If there is no network, one is not of the kinds that the page knows (`KNOWN`, for images of 784 pixels and ten
        classes), was changed since it was made, or has a parameter that is NaN, infinite or too large for float16, or
        the page would be larger than `LARGEST`.
    OSError
        If it cannot be written.
    """
    if not networks:
        raise ValueError("the explorer wants at least one network")
    for name, network in networks:
        _check(name, network)
    page = _page(networks)
    if len(page.encode()) > LARGEST:
        raise ValueError(
            f"the page would have {len(page.encode()) / 2**20:.1f} MiB, more than {LARGEST >> 20}: take fewer networks"
        )
    write_atomically(path, page)


def _check(name: str, network: models.Network) -> None:
    if network.builder not in KNOWN:
        raise ValueError(f"{name} is a {network.builder}; the explorer knows {', '.join(KNOWN)}")
    if not models.is_as_built(network):
        raise ValueError(f"{name} was changed since {network.builder} made it; the explorer computes what that made")
    arguments = network.arguments
    sizes = arguments.get("inputs", 784), arguments.get("classes", 10)
    if sizes != (784, 10):
        raise ValueError(f"{name} has {sizes[0]} inputs and {sizes[1]} classes; the explorer wants 784 and 10")
    if arguments.get("full") or arguments.get("unit", "sigmoid") != "sigmoid":
        raise ValueError(f"{name} has units that the explorer does not know: {arguments}")


def _page(networks: Sequence[tuple[str, models.Network]]) -> str:
    folder = files("tinyadv") / "explorer"
    text = {name: (folder / name).read_text("utf-8") for name in (
        "page.html", "style.css", "network.js", "worker.js", "text.js", "app.js")}  # fmt: skip
    images, labels = _images()
    data = {
        "images": base64.b64encode(images.tobytes()).decode(),
        "labels": labels.tolist(),
        "networks": [
            {"name": name, "file": base64.b64encode(_file(name, network)).decode()} for name, network in networks
        ],
    }
    script = text["network.js"] + text["text.js"] + text["app.js"]
    parts = {
        "policy": POLICY.format(script=_hash(script), style=_hash(text["style.css"])),
        "style": text["style.css"],
        "data": json.dumps(data).replace("<", "\\u003c"),
        "worker": text["network.js"] + text["worker.js"],
        "script": script,
    }
    page = text["page.html"]
    for name, content in parts.items():
        page = page.replace("{{ " + name + " }}", content)
    return page


def _hash(text: str) -> str:
    """What a security policy calls an inline script or style that it lets pass."""
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"


def _images() -> tuple[ndarray, ndarray]:
    """Test images `(IMAGES, 784)` as bytes and their labels: the first of each class, the classes in turn."""
    x, y = mnist().test
    rows = stack([flatnonzero(y == k)[: IMAGES // 10] for k in range(10)], axis=1).reshape(-1)
    return rint(x[rows] * 255).astype(uint8), y[rows]


def _file(name: str, network: models.Network) -> bytes:
    """A network as a file, as `models.save` would write it; float16, but for RBF units, whose answers that moves."""
    kept = float32 if network.builder == "rbf_network" else float16
    with errstate(over="ignore"):  # what is infinite then is refused
        arrays = {key: p.data.astype(kept) for key, p in named_parameters(network).items()}
    if wrong := [key for key, a in arrays.items() if not isfinite(a).all()]:
        raise ValueError(f"{name} cannot be explored: {wrong[0]} is NaN, infinite or too large for float16")
    with temporary_folder() as folder:
        save_arrays(
            folder / "network.safetensors", arrays, {"network": network.builder, "arguments": network.arguments}
        )
        return (folder / "network.safetensors").read_bytes()


def named(paths: Sequence[Path]) -> list[tuple[str, models.Network]]:
    """The networks in files, or in the package, named after them.

    Raises
    ------
    StorageError
        If a file is missing, damaged or holds no network.
    ValueError
        If a file holds a model of one's own.
    """
    found: list[tuple[str, models.Network]] = []
    for path in paths:
        if is_embedded(str(path)):
            found.append((str(path), models.embedded(str(path))))
            continue
        if "description" in load_arrays(path)[1]:
            raise ValueError(f"{path} holds a model of one's own, and the explorer knows those of the package alone")
        found.append((path.stem if path.stem not in dict(found) else str(path), models.load(path)))
    return found


LABELS = {
    "softmax": "softmax regression",
    "rbf": "RBF",
    "maxout-naive": "maxout, naive",
    "maxout-adversarial": "maxout, adversarially trained",
}


def embedded() -> list[tuple[str, models.Network]]:
    """The trained networks that travel with the package and that the page knows, under names for people."""
    return [(label, models.embedded(name)) for name, label in LABELS.items()]
