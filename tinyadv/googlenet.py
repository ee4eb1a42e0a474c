"""GoogLeNet, the network of figure 1: weights that others trained on ImageNet, computed by this engine.

The one idea: to the attacks it is a network as every other. `model(x)` takes rows of pixels in [0, 1] and gives
logits; what the published weights expect of an image (blue before red, grey levels around 0) happens inside. The
network is `GoogLeNet.__call__`; a hurried reader may skip the rest.

Source: C. Szegedy et al., Going Deeper with Convolutions, 2014 (https://arxiv.org/abs/1409.4842). The weights are the
public replication by the Berkeley Vision and Learning Center, "released for unrestricted use"; not the authors' own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from . import losses, ops
from .backend import Array, array_module, as_array, to_device
from .datasets import DataError, data_folder
from .images import conv2d, from_rows, local_response_normalisation, max_pool, mean_pool
from .storage import StorageError, load_arrays
from .tensor import Alike, Value

SIDE = 224  # pixels
MEAN_BGR = (104.0, 117.0, 123.0)  # of ImageNet's blue, green and red, in grey levels from 0 to 255
BLOCKS = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
BRANCHES = ("1x1", "3x3", "5x5", "pool_proj")  # what an inception block joins, in this order
CLASSIFIER = "loss3/classifier"

# Of the 6,998,552 parameters in float16, in the order of their names: whoever converts the public files gets these.
WEIGHTS_SHA256 = "c2d5e686acd7f670965072867fafb9ab78d7fe4d8e2a81fb9f88aaf08d701dfe"


class GoogLeNet:
    """The 22 layers of GoogLeNet, without the two auxiliary classifiers, which only training needs.

    Parameters
    ----------
    weights : mapping
        For each layer of `layers()`, NAME.weight `(O, C, K, K)`, of the last layer `(O, C)`, and NAME.bias `(O,)`.
        Any numbers of channels that fit each other will do. Float16 is turned into float32.

    Raises
    ------
    ValueError
        If a layer is missing or unknown, or a shape doesn't fit.
    """

    builder = "googlenet"

    def __init__(self, weights: Mapping[str, Array]) -> None:
        _check(weights)
        self.weights: dict[str, Array] = {}
        for name, a in weights.items():
            a = a.astype("float32") if a.dtype == "float16" else a
            # kernels as conv2d takes them: (K, K, C, O)
            self.weights[name] = array_module(a).ascontiguousarray(a.transpose(2, 3, 1, 0)) if a.ndim == 4 else a

    def __call__(self, x: Value) -> Alike:
        """The logits `(N, 1000)` of images x `(N, 3 * 224 * 224)`: red, then green, then blue values in [0, 1]."""
        x = from_rows(x, (3, SIDE, SIDE))
        x = self.grey_levels(x)
        x = self.convolution(x, "conv1/7x7_s2", stride=2, padding=3)
        x = max_pool(x, 3, 2)
        x = local_response_normalisation(x)
        x = self.convolution(x, "conv2/3x3_reduce")
        x = self.convolution(x, "conv2/3x3", padding=1)
        x = local_response_normalisation(x)
        x = max_pool(x, 3, 2)
        x = self.inception(x, "3a")
        x = self.inception(x, "3b")
        x = max_pool(x, 3, 2)
        for block in ("4a", "4b", "4c", "4d", "4e"):
            x = self.inception(x, block)
        x = max_pool(x, 3, 2)
        x = self.inception(x, "5a")
        x = self.inception(x, "5b")
        x = mean_pool(x, 7, 1)
        return ops.linear(x[0, 0], self.weights[f"{CLASSIFIER}.weight"], self.weights[f"{CLASSIFIER}.bias"])

    def grey_levels(self, x: Value) -> Alike:
        """Images `(224, 224, N, 3)` in [0, 1] as the weights expect them: blue first, 0 to 255 less the mean."""
        mean = array_module(self.weights["conv1/7x7_s2.bias"]).asarray(MEAN_BGR, dtype=x.dtype)
        return x[..., ::-1] * 255.0 - mean

    def convolution(self, x: Value, name: str, stride: int = 1, padding: int = 0) -> Alike:
        """A convolution with its bias, rectified."""
        y = conv2d(x, self.weights[f"{name}.weight"], stride, padding)
        return ops.relu(y + self.weights[f"{name}.bias"])

    def inception(self, x: Value, block: str) -> Alike:
        """Four views of the same image, of windows of 1, 3 and 5 pixels and of the maximum of 3, side by side.

        The convolutions of 1 pixel before the larger ones reduce the channels, and with them the work.
        """
        name = f"inception_{block}"
        small = self.convolution(x, f"{name}/1x1")
        medium = self.convolution(self.convolution(x, f"{name}/3x3_reduce"), f"{name}/3x3", padding=1)
        large = self.convolution(self.convolution(x, f"{name}/5x5_reduce"), f"{name}/5x5", padding=2)
        pooled = self.convolution(max_pool(x, 3, 1, padding=1), f"{name}/pool_proj")
        return ops.concatenate([small, medium, large, pooled], axis=3)

    def loss(self, outputs: Value, y: Array) -> Alike:
        """J of logits and labels, one number: the mean over the examples."""
        return losses.softmax_cross_entropy(outputs, y)

    def probabilities(self, outputs: Value) -> Alike:
        """The logits as class probabilities `(N, 1000)`."""
        return ops.softmax(outputs)

    def to(self, device: str | None = None, dtype: str | None = None) -> GoogLeNet:
        """This network, its weights moved to "cpu" or "cuda", or turned into "float32" or "float64"."""
        for name, a in self.weights.items():
            a = to_device(a, device) if device else a
            self.weights[name] = a.astype(dtype) if dtype else a
        return self


def layers() -> dict[str, tuple[int, tuple[str, ...]]]:
    """Of each layer with weights its kernel's size (0 for the classifier, a plain matrix), and the layers it reads."""
    found: dict[str, tuple[int, tuple[str, ...]]] = {
        "conv1/7x7_s2": (7, ()),
        "conv2/3x3_reduce": (1, ("conv1/7x7_s2",)),
        "conv2/3x3": (3, ("conv2/3x3_reduce",)),
    }
    before: tuple[str, ...] = ("conv2/3x3",)
    for block in BLOCKS:
        name = f"inception_{block}"
        found[f"{name}/1x1"] = (1, before)
        for K in (3, 5):
            found[f"{name}/{K}x{K}_reduce"] = (1, before)
            found[f"{name}/{K}x{K}"] = (K, (f"{name}/{K}x{K}_reduce",))
        found[f"{name}/pool_proj"] = (1, before)
        before = tuple(f"{name}/{branch}" for branch in BRANCHES)
    found[CLASSIFIER] = (0, before)
    return found


def _check(weights: Mapping[str, Array]) -> None:
    wanted = {f"{layer}.{kind}" for layer in layers() for kind in ("weight", "bias")}
    if unknown := weights.keys() - wanted:
        raise ValueError(f"GoogLeNet has no {_some(unknown)}")
    if missing := wanted - weights.keys():
        raise ValueError(f"GoogLeNet lacks {_some(missing)}")
    for layer, (K, sources) in layers().items():
        shape, bias = weights[f"{layer}.weight"].shape, weights[f"{layer}.bias"].shape
        inputs = sum(len(weights[f"{source}.bias"]) for source in sources) or 3
        fits = (inputs, *((K, K) if K else ()))
        if shape != (*bias, *fits) or len(bias) != 1:
            wanted_shape = ", ".join(map(str, ("O", *fits)))
            raise ValueError(f"{layer} wants weights ({wanted_shape}) and biases (O,), got {shape} and {bias}")


def _some(names: Iterable[str]) -> str:
    """The first three of many names."""
    first, *rest = sorted(names)
    return ", ".join([first, *rest[:2]]) + (f" and {len(rest) - 2} more" if len(rest) > 2 else "")


def weights_path() -> Path:
    """Where `data_scripts/imagenet.py` puts the weights."""
    return data_folder() / "imagenet" / "googlenet.safetensors"


def fingerprint(weights: Mapping[str, Array]) -> str:
    """The SHA-256 of all parameters as float16, in the order of their names."""
    digest = sha256()
    for name in sorted(weights):
        digest.update(as_array(weights[name]).astype("<f2").tobytes())
    return digest.hexdigest()


def load_googlenet(path: Path | None = None) -> GoogLeNet:
    """GoogLeNet with the public weights that `data_scripts/imagenet.py` has fetched, from `path` or the data folder.

    Raises
    ------
    DataError
        If they aren't there, or aren't those weights; the message has the command.
    """
    path = path or weights_path()
    command = "To get GoogLeNet's weights, run in tinyadv's source tree: python data_scripts/imagenet.py"
    try:
        weights, _ = load_arrays(path)
        if (found := fingerprint(weights)) != WEIGHTS_SHA256:
            raise DataError(f"{path} holds weights with SHA-256 {found}, wanted {WEIGHTS_SHA256}")
        return GoogLeNet(weights)
    except (StorageError, DataError, ValueError) as error:
        raise DataError(f"{error}. {command}") from None
