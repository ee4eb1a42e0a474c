"""The job in PyTorch with `torch.compile` on the network, on a GPU with CUDA graphs; the rest is `peer_torch`."""

from __future__ import annotations

import torch

from . import peer_torch
from .peer_torch import conv_fgsm, conv_train, dbm, fgsm, googlenet, put, softmax, train

__all__ = ["conv_fgsm", "conv_train", "dbm", "fgsm", "googlenet", "put", "softmax", "start", "train"]


def start(threads: int, device: str) -> str:
    mode = "reduce-overhead" if device == "cuda" else "default"
    peer_torch._prepared = lambda net: torch.compile(net, mode=mode)
    return peer_torch.start(threads, device) + " compile"
