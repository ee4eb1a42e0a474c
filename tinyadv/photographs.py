"""Photographs: any of the user's as GoogLeNet's input, those that data_scripts/imagenet.py fetched, and figure 1.

The one idea: a photograph that can't be used is one line that says why. `photograph` reads one, `photographs` lists
those at hand with their classes and credits, `show` draws the three panels of figure 1. No photograph travels with the
package, in a figure either: their licences ask for more than a file that is passed on can carry.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from numpy import asarray, float32, savez_compressed
from numpy.typing import NDArray

from .attacks import check_eps, fgsm, input_gradient, pgd
from .backend import generator
from .datasets import DataError, data_folder
from .googlenet import SIDE, GoogLeNet, load_googlenet, weights_path
from .machine import import_matplotlib
from .ops import sign
from .storage import parse_json, write_atomically

GREY_LEVEL = 1 / 255  # the attack of figure 1: one level of 256, on pixels from 0 to 1
RESIZED = 256  # pixels of the shorter side, of which the middle 224 are cut out
SMALLEST, LONGEST = 32, 20  # pixels of the shorter side; times the shorter side
CLASSES_SHA256 = "acf75ef0abe89694b19056e0796401068b459c457baa30335f240c7692857355"
COMMAND = "To get it, run in tinyadv's source tree: python data_scripts/imagenet.py"


class Photograph(NamedTuple):
    """A photograph at hand: its file's name, pixels x `(1, D)` in [0, 1], its ImageNet class, author and licence.

    `selected` says that it was searched for, as one on which the attack has a certain effect: it is an example, and
    counts in no share.
    """

    name: str
    x: NDArray[float32]
    label: int
    credit: str
    selected: bool


def photograph(path: Path) -> NDArray[float32]:
    """A photograph as a row of pixels, `(1, 3 * 224 * 224)` in [0, 1]: red values, row by row, then green, then blue.

    Of an image of another size the middle is taken, after its shorter side has been resized to 256. It is turned as
    its camera noted; behind transparent parts is white; of an animation the first picture counts.

    Raises
    ------
    DataError
        If there is no such file, it isn't a readable image, or has fewer than 32 pixels on a side or a side twenty
        times the other.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    def error(found: object) -> DataError:
        return DataError(f"{path}: wanted a photograph; {found}")

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large photographs, and of odd notes by cameras
            with Image.open(path) as image:
                if image.mode in ("I", "F"):
                    raise error(f"found pixels of mode {image.mode}, which have no known range")
                picture = _in_colours(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise error("there is no such file") from None
    except IsADirectoryError:
        raise error("found a folder") from None
    except UnidentifiedImageError:
        raise error("found no image, or one of an unknown kind") from None
    except Image.DecompressionBombError:
        raise error(f"found more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels") from None
    except DataError:
        raise
    except Exception as found:  # of a damaged file Pillow's readers raise nearly everything
        raise error(f"found a damaged image: {found}"[:300]) from None
    short, long = sorted(picture.size)
    if short < SMALLEST or long > LONGEST * short:
        raise error(
            f"found {picture.width} x {picture.height} pixels, wanted at least {SMALLEST} on each side, "
            f"and none more than {LONGEST} times the other"
        )
    if picture.size != (SIDE, SIDE):
        scale = RESIZED / short
        size = (round(picture.width * scale), round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.BILINEAR if scale < 1 else Image.Resampling.BICUBIC)
        left, top = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
        picture = picture.crop((left, top, left + SIDE, top + SIDE))
    pixels = asarray(picture, dtype=float32) / float32(255)
    return pixels.transpose(2, 0, 1).reshape(1, -1)


def _in_colours(image: Any) -> Any:
    """An image of any mode in red, green and blue, 8 bits each, on white where it is transparent."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        levels = asarray(image).astype("uint16") >> 8
        return Image.fromarray(levels.astype("uint8")).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def folder() -> Path:
    """Where `data_scripts/imagenet.py` puts class names, weights and, in photographs/, photographs."""
    return data_folder() / "imagenet"


@cache
def class_names(path: Path | None = None) -> tuple[str, ...]:
    """The names of the 1000 classes, of several synonyms the first; DataError if the script hasn't fetched them."""
    path = path or folder() / "synset_words.txt"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; wanted the names of ImageNet's classes. {COMMAND}") from None
    if (found := sha256(content).hexdigest()) != CLASSES_SHA256:
        raise DataError(f"{path} has SHA-256 {found}, wanted {CLASSES_SHA256}. {COMMAND}")
    # n02510455 giant panda, panda, panda bear, coon bear, Ailuropoda melanoleuca
    return tuple(line.partition(" ")[2].partition(",")[0] for line in content.decode().splitlines())


def photographs() -> list[Photograph]:
    """The photographs that `data_scripts/imagenet.py` has fetched, in the order of its list.

    Raises
    ------
    DataError
        If there are none, or the list or one of them is damaged.
    """
    path = folder() / "photographs" / "photos.json"
    try:
        entries = parse_json(path.read_bytes())["photos"]
        found = []
        for entry in entries:
            file = path.parent / Path(entry["file"]).name
            label, credit = int(entry["true_class"]), str(entry["author_licence"])
            found.append(Photograph(file.name, photograph(file), label, credit, bool(entry.get("selected"))))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; wanted a list of photographs. {COMMAND}") from None
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path} is no list of photographs: {error}. {COMMAND}") from None
    return found


def missing() -> str:
    """What figure 1 needs and isn't there, with the command to get it; "" if all is there."""
    for path in (weights_path(), folder() / "synset_words.txt", folder() / "photographs" / "photos.json"):
        if not path.exists():
            return f"{_from_home(path)} does not exist. {COMMAND}"
    return ""


def at_hand() -> str:
    """A fingerprint of the photographs and the weights, which changes when they do; "" where either is missing."""
    files = sorted(path for path in (folder() / "photographs").glob("*") if path.is_file())
    if not files or not weights_path().exists():
        return ""
    found = sha256()
    for path in [*files, weights_path()]:
        found.update(path.name.encode() + sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _from_home(path: Path) -> str:
    """A path as one types it: below one's own folder with ~."""
    home = Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)


# ---------------------------------------------------------------------------------------------------------
# Figure 1


class Answer(NamedTuple):
    """What a network says of an image: the class of largest probability, by number and name, and that probability."""

    label: int
    name: str
    probability: float

    def __str__(self) -> str:
        return f"{self.name}, {self.probability:.1%}"


def answer(model: GoogLeNet, x: Any) -> Answer:
    """The answer of a network to one image x `(1, D)`."""
    return _answer(model.probabilities(model(x))[0])


def _answer(p: Any) -> Answer:
    label = int(p.argmax())
    names = class_names()
    return Answer(label, names[label] if label < len(names) else f"class {label}", float(p[label]))


class Attacked(NamedTuple):
    """A photograph before and after one step: the answers, the true class's probabilities, how far any pixel moved."""

    photograph: Photograph
    before: Answer
    after: Answer
    true_before: float
    true_after: float
    moved: float

    @property
    def right_before(self) -> bool:
        """Whether the first answer is the true class."""
        return self.before.label == self.photograph.label

    @property
    def right_after(self) -> bool:
        """Whether the second one is."""
        return self.after.label == self.photograph.label


def attack_each(
    model: GoogLeNet, photos: Iterable[Photograph], sizes: Sequence[float] = (GREY_LEVEL,)
) -> list[list[Attacked]]:
    """One step of FGSM with the true class on each photograph, not clipped: for every eps of `sizes` a list of them.

    One photograph at a time, so that memory stays small; its gradient is computed once for all sizes.
    """
    found: list[list[Attacked]] = [[] for _ in sizes]
    for photo in photos:
        before = model.probabilities(model(photo.x))[0]
        direction = sign(input_gradient(model, photo.x, asarray([photo.label])))
        for eps, attacked in zip(sizes, found, strict=True):
            x_adv = photo.x + eps * direction
            after = model.probabilities(model(x_adv))[0]
            attacked.append(
                Attacked(
                    photograph=photo,
                    before=_answer(before),
                    after=_answer(after),
                    true_before=float(before[photo.label]),
                    true_after=float(after[photo.label]),
                    moved=float(abs(x_adv - photo.x).max()),
                )
            )
    return found


def attack_photograph(path: Path, eps: float, method: str, clip: bool, out: Path) -> list[str]:
    """Attack the photograph at `path` on GoogLeNet; write `attack.png` and `attack.npz` into `out`.

    The attack moves away from what GoogLeNet says of the photograph, since the true class isn't known. The picture has
    the panels of figure 1; the file holds `x` and `x_adv` `(1, 3 * 224 * 224)`, and `eps`. Returns lines that say what
    happened.

    Raises
    ------
    ValueError
        For an unknown method or a bad eps.
    DataError
        If the photograph can't be used, or GoogLeNet's weights or class names aren't there.
    OSError
        If `out` can't be written.
    """
    if check_eps(eps) > 1:
        raise ValueError(f"eps is in units of pixels, which run from 0 to 1: at most 1, got {eps:g}")
    if method not in ("fgsm", "pgd"):
        raise ValueError(f"unknown method {method!r}: there are fgsm, pgd")
    x, model = photograph(path), load_googlenet()
    before = answer(model, x)
    y = asarray([before.label])
    bounds = (0.0, 1.0) if clip else None
    if method == "pgd":
        x_adv = pgd(model, x, y, eps, clip=bounds, rng=generator(0, "pgd"))
    else:
        x_adv = fgsm(model, x, y, eps, clip=bounds)
    after = answer(model, x_adv)
    picture = _picture(model, x, x_adv, eps)
    file = io.BytesIO()
    savez_compressed(file, x=x, x_adv=x_adv, eps=eps)
    write_atomically(out / "attack.npz", file.getvalue())
    write_atomically(out / "attack.png", picture)
    levels = f"{eps * 255:.3g} grey level{'s' * (round(eps * 255, 6) != 1)} of 255"
    return [
        f"googlenet, {method}, eps {eps:.4g} ({levels}){', clipped to [0, 1]' if clip else ''}, {path}",
        f"before    {before}",
        f"attacked  {after}",
        f"written: {out / 'attack.npz'}, {out / 'attack.png'}",
    ]


def _picture(model: GoogLeNet, x: Any, x_adv: Any, eps: float) -> bytes:
    matplotlib = import_matplotlib()
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.size": 11, "savefig.dpi": 160}):
        canvas = Figure(figsize=(10, 4), layout="constrained")
        show(canvas, model, x, x_adv, eps)
        file = io.BytesIO()
        canvas.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def show(canvas: Any, model: GoogLeNet, x: Any, x_adv: Any, eps: float) -> None:
    """Draw figure 1 on a canvas: x, the signs of what was added to it, and x_adv `(1, D)`; each with the answer.

    The signs are drawn as large as pixels can be, from 0 to 1; what the network is asked about is that same picture.
    """
    pattern = sign(x_adv - x)
    shown = (pattern + 1) / 2
    panels = [
        (x, "$x$", answer(model, x)),
        (shown, "sign of what is added", answer(model, shown)),
        (x_adv, f"attacked, ε = {eps * 255:.3g}/255", answer(model, x_adv)),
    ]
    for axes, (image, title, said) in zip(canvas.subplots(1, 3), panels, strict=True):
        axes.imshow(image.reshape(3, SIDE, SIDE).transpose(1, 2, 0).clip(0, 1), interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_title(title)
        axes.set_xlabel(f"{said.name}\n{said.probability:.1%}")
