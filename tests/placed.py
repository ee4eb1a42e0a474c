"""Where the tests put arrays: parameters on another array library, results back on the CPU."""

from tinyadv.backend import to_device
from tinyadv.layers import parameters
from tinyadv.tensor import raw


def host(x):
    """An array on the CPU; a Tensor is none."""
    return to_device(x, "cpu")


def host_data(x):
    """What a Tensor holds, or an array, on the CPU."""
    return to_device(raw(x), "cpu")


def place(owner, xp):
    """A network or layer with its parameters as arrays of `xp`."""
    for p in parameters(owner):
        p.data = xp.asarray(p.data)
    return owner
