"""What the committed benchmark runs came to: a line for each job, for README and the report.

`tinyadv bench --json FILE` writes what stands in `results/`; nothing here measures anything, and no number is typed.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..storage import StorageError, parse_json
from . import convolution, growth
from .growth import LABELS
from .jobs import JOBS

RESULTS = Path(__file__).parent / "results"
COLUMNS = [name for name in LABELS if name != "floor"]


@dataclass(frozen=True)
class Line:
    """One job: median ms and ratios to PyTorch eager by peer, ours as a share of the floor, our peak memory in MiB.

    A ratio is the median over turns of the ratio of two peers' medians within a turn, so that a machine's drift divides
    out; it need not be the ratio of the two times shown.
    """

    job: str
    ms: dict[str, float]
    ratio: dict[str, float]
    of_floor: float | None
    peak: float | None


@dataclass(frozen=True)
class Summary:
    """A benchmark run: what it ran on, in words, and a line for each job."""

    around: str
    lines: list[Line]

    @property
    def peers(self) -> list[str]:
        """The peers that took part in any job, in the order of `COLUMNS`."""
        return [name for name in COLUMNS if any(name in line.ms for line in self.lines)]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Heading and rows as texts: each peer's median time with its ratio to PyTorch's."""
        floors = any(line.of_floor is not None for line in self.lines)
        heading = ["job", *(LABELS[name] for name in self.peers), *(["products' share"] if floors else []), "peak MiB"]
        rows = []
        for line in self.lines:
            cells = [_cell(line, name) for name in self.peers]
            share = ["" if line.of_floor is None else f"{line.of_floor:.0%}"] if floors else []
            rows.append([line.job, *cells, *share, "" if line.peak is None else f"{line.peak:.0f}"])
        return heading, rows


def _cell(line: Line, name: str) -> str:
    if name not in line.ms:
        return "–"
    ms = f"{line.ms[name]:.3g}" if line.ms[name] < 1000 else f"{line.ms[name]:,.0f}"
    return f"{ms} ms" + (f" ({line.ratio[name]:.2f})" if name in line.ratio else "")


def committed(device: str = "cpu") -> Summary | None:
    """The committed run on a device, "cpu" or "cuda"; None if there is none."""
    path = RESULTS / f"{device}.json"
    return read(path) if path.exists() else None


def committed_of_images() -> Summary | None:
    """The committed run of the jobs on images; None if there is none."""
    path = RESULTS / "images-cpu.json"
    return read(path) if path.exists() else None


def read(path: Path) -> Summary:
    """The summary of a file; StorageError if `tinyadv bench --json` did not write it."""
    try:
        return summary(_loaded(path))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise StorageError(f"{path} is not what `tinyadv bench --json` wrote: {error!r:.500}") from error


def _loaded(path: Path) -> Any:
    return parse_json(path.read_text(encoding="utf-8"))


def summary(results: dict[str, Any]) -> Summary:
    """The summary of what `tinyadv bench --json` wrote."""
    around = results["surroundings"]
    words = [f"{around['processor']}, {around['threads']} thread{'s' * (around['threads'] != 1)}", around["gpu"] or ""]
    words += [f"Python {around['python']}, NumPy {around['numpy']}"]
    versions = {row["peer"]: row["version"] for row in results["rows"]}
    words += [versions[name] for name in ("torch", "jax", "autograd") if name in versions]
    words += _disturbance(results)
    lines = [_line(name, [row for row in results["rows"] if row["job"] == name]) for name in JOBS]
    return Summary("; ".join(word for word in words if word), [line for line in lines if line.ms])


def _disturbance(results: dict[str, Any]) -> list[str]:
    """In how many of the turns others were at work on the machine, in words; nothing where that was rare."""
    calls = {job["name"]: job["calls"] for job in results["jobs"]}
    turns = sum(row["calls"] / calls[row["job"]] for row in results["rows"])
    share = sum(row["turns_disturbed"] for row in results["rows"]) / turns if turns else 0.0
    return [f"others at work on the machine in {share:.0%} of the turns"] if share > 0.1 else []


def _line(job: str, rows: list[dict[str, Any]]) -> Line:
    peers = {row["peer"]: row for row in rows if row["peer"] in COLUMNS}
    ours = peers.get("ours", {})
    return Line(
        job,
        {name: float(row["median_ms"]) for name, row in peers.items()},
        {
            name: float(row["ratio"])
            for name, row in peers.items()
            if row["ratio"] is not None and row["baseline"] == "torch"
        },
        *(None if ours.get(name) is None else float(ours[name]) for name in ("of_floor", "peak_MiB")),
    )


def markdown(result: Summary, jobs: Collection[str] | None = None) -> str:
    """The summary of these jobs, by default all, as a table in Markdown, under a line that says what it was run on."""
    heading, rows = result.table()
    rows = [row for row in rows if jobs is None or row[0] in jobs]
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *([f"`{row[0]}`", *row[1:]] for row in rows)]
    return f"{result.around}.\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def sentence(result: Summary, jobs: Collection[str]) -> str:
    """Our times of these jobs, with ratios to PyTorch's, in one sentence of Markdown that says what they ran on."""
    times = [f"`{line.job}` {_cell(line, 'ours')}" for line in result.lines if line.job in jobs]
    return f"{result.around}: {', '.join(times)}.\n"


def convolution_plot() -> bytes | None:
    """The committed run of `tinyadv bench --convolution` drawn, as PNG; None if there is none."""
    return _plotted("convolution-cpu.json", convolution.plot)


def growth_plot(device: str = "cpu") -> bytes | None:
    """The committed growth run drawn, as PNG; None if there is none."""
    return _plotted(f"growth-{device}.json", growth.plot)


def _plotted(name: str, plot: Callable[..., None]) -> bytes | None:
    path = RESULTS / name
    if not path.exists():
        return None
    file = io.BytesIO()
    plot(_loaded(path)["rows"], file)
    return file.getvalue()
