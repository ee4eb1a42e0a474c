"""What nobody gets below: a job's matrix products alone, and the memory traffic of its update alone.

No peers, but they take turns with them. The products write into arrays made once, in the memory orders that suit them;
the gradients of the clean and the adversarial pass are one product, as they can be. An update reads w, v and g and
writes w and v, whatever it computes: five words a parameter.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np

from .jobs import Arrays, Attack, Epoch, Job, Read, Step

Product = tuple[Any, ...]  # a, b, and where a @ b goes


def random(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def products_of(job: Job) -> list[Product]:
    """The matrix products of one call of the job, on arrays of its shapes; a column of h and dz is an example."""
    if job.kind == "softmax":
        W, x, z = random(job.classes, job.inputs), random(job.batch, job.inputs), random(job.classes, job.batch)
        return [(W, x.T, z.copy()), (z, x, W.copy())]
    if job.kind == "dbm":
        return _mean_field(job)
    rows = [job.units * job.pieces] * job.depth + [job.classes]
    W = [random(n, job.units if i else job.inputs) for i, n in enumerate(rows)]

    def some(N: int, of: int) -> tuple[list[Any], list[Any], list[Any]]:
        """The first N columns of arrays with `of`: h, dz, and z, which has N."""
        pixels = random(of, job.inputs).T
        h = [a[:, :N] for a in (pixels, *(random(w.shape[1], of) for w in W[1:]))]
        return h, [random(len(w), of)[:, :N] for w in W], [random(len(w), N) for w in W]

    def there_and_back(N: int, of: int) -> list[Product]:
        h, dz, z = some(N, of)
        back = [(w.T, d, random(w.shape[1], N)) for w, d in zip(W[1:], dz[1:], strict=True)]
        return [*zip(W, h, z, strict=True), *back]

    N = job.batch
    to_x = [(random(W[0].shape[0], 2 * N)[:, :N].T, W[0], random(N, job.inputs))]
    if job.kind == "fgsm":
        return there_and_back(N, N) + to_x
    h, dz, _ = some(2 * N, 2 * N)
    gradients = [(d, a.T, w.copy()) for d, a, w in zip(dz, h, W, strict=True)]
    if job.attacked == "training":
        return there_and_back(N, 2 * N) * 2 + to_x + gradients
    return there_and_back(N, N) + to_x + there_and_back(2 * N, 2 * N) + gradients


def _mean_field(job: Job) -> list[Product]:
    """Up and down between pixels, h1 and h2 in every round, back again, and one product for each matrix's gradient."""
    N, times = job.batch, job.iterations - 1
    W1, W2 = random(job.units, job.inputs), random(job.upper, job.units)
    v, h1, h2 = random(job.inputs, N), random(job.units, N), random(job.upper, N)
    up, down = [(W1, v, h1.copy()), (W2, h1, h2.copy())], [(W1.T, h1, v.copy()), (W2.T, h2, h1.copy())]
    forward = (up + down) * times
    backward = (up + down) * (times - 1) + up + down[1:]  # the pixels that begin have no gradient
    uses = 2 * times * N
    all_v, all_h1, all_h2 = (random(len(a), uses) for a in (v, h1, h2))
    return forward + backward + [(all_h1, all_v.T, W1.copy()), (all_h2, all_h1.T, W2.copy())]


class Products:
    """The job's matrix products alone, in NumPy, or on a GPU in CuPy."""

    device: str = "cpu"
    xp: ModuleType = np

    def start(self, threads: int, device: str) -> str:
        self.device = device
        if device == "cuda":
            import cupy

            self.xp = cupy
        return f"products alone, {self.xp.__name__} {self.xp.__version__}"

    def put(self, a: Any) -> Any:
        return a

    def prepare(self, products: list[Product]) -> list[Product]:
        return [tuple(self.xp.asarray(a) for a in product) for product in products]

    def multiply(self, products: list[Product]) -> None:
        for a, b, y in products:
            self.xp.matmul(a, b, out=y)

    def finish(self) -> None:
        if self.device == "cuda":
            self.xp.cuda.get_current_stream().synchronize()

    def train(self, start: Arrays, job: Job) -> tuple[Step, Read]:
        products = self.prepare(products_of(job))

        def step(x: Any, y: Any) -> float:
            self.multiply(products)
            self.finish()
            return 0.0

        return step, lambda: []

    def dbm(self, start: Arrays, job: Job) -> tuple[Step, Read]:
        return self.train(start, job)

    def fgsm(self, start: Arrays, job: Job) -> Attack:
        step, _ = self.train(start, job)
        return lambda x, y: np.full(0, step(x, y))

    def softmax(self, start: Arrays, job: Job) -> tuple[Epoch, Read]:
        products = self.prepare(products_of(job))

        def epoch(x: Any, y: Any) -> None:
            for _ in range(0, len(x), job.batch):
                self.multiply(products)
            self.finish()

        return epoch, lambda: []


class TorchProducts(Products):
    """The same in PyTorch, with its layouts: examples in rows."""

    def start(self, threads: int, device: str) -> str:
        import torch

        self.device, self.torch = device, torch
        torch.set_num_threads(threads)
        return f"products alone, torch {torch.__version__}"

    def prepare(self, products: list[Product]) -> list[Product]:
        def tensor(a: Any) -> Any:
            return self.torch.from_numpy(a).to(self.device).T

        return [(tensor(b), tensor(a), tensor(y).contiguous()) for a, b, y in products]

    def multiply(self, products: list[Product]) -> None:
        for a, b, y in products:
            self.torch.mm(a, b, out=y)

    def finish(self) -> None:
        if self.device == "cuda":
            self.torch.cuda.synchronize()


class Update(Products):
    """The update's memory traffic alone: two sums that move five words a parameter, a thread for each core."""

    def start(self, threads: int, device: str) -> str:
        if device != "cpu":
            raise RuntimeError(f"the update's floor runs on the CPU, not on {device!r}")
        self.pool, self.threads = ThreadPoolExecutor(threads), threads
        return f"traffic of the update alone, numpy {np.__version__}"

    def train(self, start: Arrays, job: Job) -> tuple[Step, Read]:
        w, v, g = (np.zeros(sum(a.size for a in start), np.float32) for _ in range(3))
        parts = [(w[part], v[part], g[part]) for part in self.parts(len(w))]

        def move(part: tuple[Any, Any, Any]) -> None:
            for w, v, g in (part, [a[: 2 * len(a) // 3] for a in part]):  # three words each, then two
                np.add(v, g, out=w)

        def step(x: Any, y: Any) -> float:
            list(self.pool.map(move, parts))
            return 0.0

        return step, lambda: []

    def parts(self, n: int) -> list[slice]:
        size = -(-n // self.threads)
        return [slice(i, i + size) for i in range(0, n, size)]


products, torch_products, update = Products(), TorchProducts(), Update()
