"""Do all peers do the same job? Same start, dropout off, a few calls, a max-norm that binds: the same result.

The bounds are rounding's: a sum of 784 products in float32 depends on its order by about 1e-7. Where an input
gradient is 0 but for rounding, its sign is rounding too; so a comparison of attacks counts the entries that differ, and
the bound on parameters leaves room for what a few pixels can do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..machine import cores
from ..storage import temporary_folder
from .jobs import Arrays, Data, Job, load_data, start_parameters
from .runner import AbsentError, Peer, PeerProcess, Say, trained_parameters, write_data

TOLERANCE = 1e-4  # of parameters whose rows have an L2 norm of about 1
SHARE = 1e-4  # of an attack's entries may differ
SHARE_OF_IMAGES = 1e-2  # where one of very many maxima is decided by rounding, a whole region's gradient differs
MAX_NORM = 0.98  # below the norm of 1 that rows start with: it binds


def without_dropout(job: Job) -> Job:
    """The job as it is checked: no dropout or fixed masks, and, for maxout, a max-norm that binds on every row."""
    return replace(job, keep=(1.0, 1.0), max_norm=MAX_NORM)


def check_job(
    job: Job, peers: Sequence[Peer], steps: int = 5, *, data: Data | None = None, threads: int | None = None,
    device: str = "cpu", say: Say = print,
) -> list[dict[str, Any]]:  # fmt: skip
    """Every peer's largest difference to the first one, and whether it is within rounding."""
    job = without_dropout(job)
    data, rows, reference = data or load_data(job), list[dict[str, Any]](), None
    start = trained_parameters(job) if job.kind == "fgsm" else start_parameters(job)
    with temporary_folder() as folder:
        file = write_data(folder / "data.npz", data, start)
        for peer in peers:
            if peer.name.startswith("floor"):
                continue
            try:
                with PeerProcess(peer, job, file, threads or cores(), device) as worker:
                    calls = {"train": steps, "dbm": steps, "conv-train": steps, "softmax": 1}  # of an attack one batch
                    worker.ask({"run": calls.get(job.kind, 0)})
                    found = worker.save(folder / f"{len(rows)}.npz")
            except AbsentError as reason:
                say(f"{job.name}: {peer.label} is skipped: {reason}")
                continue
            reference = reference or found
            difference, bound = _compare(job, reference, found)
            about = {"job": job.name, "peer": peer.label, "version": worker.version}
            rows.append({**about, "difference": difference, "bound": bound, "same": difference <= bound})
    return rows


def _compare(job: Job, reference: Arrays, found: Arrays) -> tuple[float, float]:
    """The largest difference of a parameter, or the share of an attack's entries that differ; and its bound."""
    if not all(np.isfinite(a).all() for a in found):
        return math.inf, TOLERANCE
    differences = [np.abs(a - b) for a, b in zip(reference, found, strict=True)]
    if job.kind in ("fgsm", "conv-fgsm", "googlenet"):
        return float((differences[0] > job.eps / 2).mean()), SHARE_OF_IMAGES if job.of_images else SHARE
    return max(float(d.max()) for d in differences), TOLERANCE
