"""The benchmark: all peers do the same job, the engine is as right as the chain rule by hand, and bad input is named.

The peers run on tiny networks here. Masks are drawn the same for the engine and for the network by hand, whatever order
in memory either likes, so that they can be compared with dropout on.
"""

import importlib
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tinyadv import layers
from tinyadv.bench import by_hand, convolution, floor, ours, runner, summary
from tinyadv.bench.check import _compare, check_job
from tinyadv.bench.command import _peers, bench_command
from tinyadv.bench.growth import SIZES, jobs_along, plot
from tinyadv.bench.jobs import (
    JOBS,
    MACHINE_NORMS,
    Data,
    as_rows,
    from_rows,
    load_data,
    start_parameters,
)
from tinyadv.bench.quiet import Patience, busy, disturbed
from tinyadv.bench.runner import BenchError, Peer, run_job
from tinyadv.storage import StorageError

TINY = replace(JOBS["train240"], name="tiny", units=12, pieces=3, batch=20, inputs=40, calls=2)
NO_DROPOUT = replace(TINY, keep=(1.0, 1.0), max_norm=0.98)
KINDS = [replace(TINY, attacked=attacked) for attacked in ("training", "inference")]


def digits(n, inputs=40, seed=0):
    """Made examples with something to learn: noisy prototypes in [0, 1]."""
    rng = np.random.default_rng(seed)
    prototypes, y = rng.random((10, inputs)), rng.integers(0, 10, n)
    x = np.clip(prototypes[y] + 0.2 * rng.standard_normal((n, inputs)), 0, 1)
    return Data(x.astype(np.float32), y)


def run(peer, job, steps, data, dtype=np.float32, start=None):
    """Losses and parameters after some steps."""
    peer.start(1, "cpu")
    start = [a.astype(dtype) for a in start or start_parameters(job)]
    step, read = peer.train(start, job)
    losses, batches = [], len(data.x) // job.batch
    for i in range(steps):
        rows = slice(i % batches * job.batch, (i % batches + 1) * job.batch)
        losses.append(step(peer.put(data.x[rows].astype(dtype)), peer.put(data.y[rows])))
    return np.array(losses), read()


def largest(found, wanted):
    return max(float(np.abs(a - b).max()) for a, b in zip(found, wanted, strict=True))


@pytest.fixture
def same_masks(monkeypatch):
    """Make the engine and the network by hand draw the same masks, whatever the memory order of their arrays."""
    streams = {"engine": np.random.default_rng(5), "by hand": np.random.default_rng(5)}

    def draw(which, examples, units, keep, dtype):
        return (streams[which].random((examples, units)) < keep).astype(dtype) * dtype.type(1 / keep)

    def of_engine(rng, x, keep, scale):
        assert scale == 1 / keep
        return draw("engine", *x.shape, keep, x.dtype)

    def masks_by_hand(net, rng, N):
        widths = [W.shape[1] for W in net.W]
        keeps = [net.job.keep[0], *[net.job.keep[1]] * (len(widths) - 1)]
        return [draw("by hand", N, n, keep, net.dtype).T for n, keep in zip(widths, keeps, strict=True)]

    monkeypatch.setattr(layers, "keep_mask", of_engine)
    monkeypatch.setattr(by_hand.Net, "masks", masks_by_hand)


# ---------------------------------------------------------------------------------------------------------
# The same job


@pytest.mark.parametrize("job", KINDS, ids=lambda job: job.attacked)
@pytest.mark.parametrize("name", ["by_hand", "peer_torch", "peer_jax", "peer_autograd"])
def test_peers_and_the_engine_agree_over_five_steps_without_dropout(name, job):
    library = name.removeprefix("peer_")
    if name != "by_hand":
        pytest.importorskip(library)
    peer = importlib.import_module(f"tinyadv.bench.{name}")
    job = replace(job, keep=(1.0, 1.0), max_norm=0.98)
    start, data = start_parameters(job), digits(100)
    J, found = run(peer, job, 5, data)
    J_ours, wanted = run(ours, job, 5, data)
    assert largest(wanted, start) > 0.01  # they went somewhere
    assert all((np.linalg.norm(W, axis=-1) < 0.98 + 1e-6).all() for W in found[::2])
    assert largest(found, wanted) < 1e-6
    np.testing.assert_allclose(J, J_ours, rtol=1e-6)


@pytest.mark.parametrize("job", KINDS, ids=lambda job: job.attacked)
def test_the_engine_equals_the_network_by_hand_with_the_same_masks(job, same_masks):
    job = replace(job, max_norm=0.9)
    J, wanted = run(by_hand, job, 5, digits(100), np.float64)
    J_ours, found = run(ours, job, 5, digits(100), np.float64)
    np.testing.assert_allclose(J_ours, J, rtol=1e-12)
    assert largest(found, wanted) < 1e-13


def test_loss_curve_in_float32_stays_within_rounding_of_float64(same_masks):
    """200 steps, about 2^-24 of rounding in each sum: the curves agree to 1e-4, the parameters to 1e-3."""
    job = replace(TINY, learning_rate=0.02, max_norm=1.0)
    J, wanted = run(by_hand, job, 200, digits(400), np.float64)
    J_ours, found = run(ours, job, 200, digits(400), np.float32)
    assert J[-20:].mean() < 0.9 * J[:20].mean()  # it learns
    np.testing.assert_allclose(J_ours, J, rtol=1e-4)
    assert largest(found, wanted) < 1e-3


def test_fgsm_and_softmax_agree_with_the_engine():
    job = replace(TINY, kind="fgsm")
    data, start = digits(60), start_parameters(job)
    attacks = [peer.fgsm(start, job)(data.x, data.y) for peer in (ours, by_hand)]
    np.testing.assert_array_equal(*attacks)
    job = replace(TINY, kind="softmax")
    results = []
    for peer in (ours, by_hand):
        epoch, read = peer.softmax(start_parameters(job), job)
        epoch(data.x, data.y)
        results.append(read())
    assert largest(results[0], start_parameters(job)) > 0.01
    assert largest(*results) < 1e-6


MACHINE = replace(JOBS["dbm500"], name="machine", units=9, upper=7, iterations=5, inputs=40, batch=20)


@pytest.mark.parametrize("name", ["peer_torch", "peer_jax"])
def test_peers_and_the_engine_agree_over_steps_of_multi_prediction(name):
    pytest.importorskip(name.removeprefix("peer_"))
    peer, job = importlib.import_module(f"tinyadv.bench.{name}"), replace(MACHINE, keep=(1.0, 1.0))
    data, start = digits(20), start_parameters(job)
    x = (data.x > 0.5).astype(np.float32)
    results = []
    for p in (peer, ours):
        p.start(1, "cpu")
        step, read = p.dbm(start, job)
        J = [step(p.put(x), p.put(data.y)) for _ in range(5)]
        results.append((np.array(J), read()))
    (J, found), (J_ours, wanted) = results
    assert min(float(abs(a - b).max()) for a, b in zip(wanted, start, strict=True)) > 1e-3
    for W, norm in zip(found[:3], MACHINE_NORMS, strict=True):
        assert np.linalg.norm(W, axis=1).max() < norm + 1e-5
    assert largest(found, wanted) < 1e-5
    np.testing.assert_allclose(J, J_ours, rtol=1e-5)


def test_masks_of_multi_prediction_are_drawn_unless_a_job_is_checked():
    data = digits(20)
    for keep, repeats in (((0.5, 0.5), False), ((1.0, 1.0), True)):
        step, _ = ours.dbm(start_parameters(MACHINE), replace(MACHINE, keep=keep, learning_rate=1e-30))
        x = (data.x > 0.5).astype(np.float32)
        assert (step(x, data.y) == step(x, data.y)) == repeats


@pytest.mark.parametrize("depth", [1, 3])
def test_depth_is_free(depth):
    job = replace(NO_DROPOUT, depth=depth)
    assert largest(run(ours, job, 3, digits(60))[1], run(by_hand, job, 3, digits(60))[1]) < 1e-6


def test_ties_go_to_the_first_piece_in_both():
    job = replace(NO_DROPOUT, max_norm=10.0)
    start = start_parameters(job)
    start[0][1:] = start[0][:1]  # all pieces of the first layer are equal
    results = [run(peer, job, 1, digits(20), start=start)[1] for peer in (ours, by_hand)]
    assert largest(*results) < 1e-6
    assert np.array_equal(results[0][0][1], start[0][1])  # the second piece has never won
    assert not np.array_equal(results[0][0][0], start[0][0])


def test_masks_by_hand_keep_the_right_share():
    mask = by_hand.keep_mask(np.random.Generator(np.random.SFC64(0)), (300, 400), 0.8, np.float32)
    assert mask.dtype == np.float32
    assert set(np.unique(mask)) == {np.float32(0), np.float32(1.25)}
    assert abs((mask > 0).mean() - 0.8) < 0.005


# ---------------------------------------------------------------------------------------------------------
# Images

TINY_CONV = replace(JOBS["conv-small"], name="tiny-conv", channels=(3, 4, 3), units=5, batch=6, keep=(1.0, 1.0))


@pytest.mark.parametrize("name", ["peer_torch", "peer_jax"])
def test_peers_and_the_engine_train_the_same_convolutional_network(name):
    pytest.importorskip(name.removeprefix("peer_"))
    peer = importlib.import_module(f"tinyadv.bench.{name}")
    start, data = start_parameters(TINY_CONV), load_data(TINY_CONV)
    results = []
    for each in (peer, ours):
        each.start(1, "cpu")
        step, read = each.conv_train(start, TINY_CONV)
        losses = [step(each.put(data.x[i : i + 6]), each.put(data.y[i : i + 6])) for i in (0, 6, 12)]
        results.append((losses, read()))
    (J, found), (J_ours, wanted) = results
    np.testing.assert_allclose(J, J_ours, rtol=1e-5)
    assert [a.shape for a in found] == [a.shape for a in start]
    assert largest(wanted, start) > 1e-3  # they went somewhere
    assert largest(found, wanted) < 1e-6
    norms = [(kernels[0] ** 2).sum(axis=(0, 1, 2)) ** 0.5 for kernels in (start, found)]
    assert norms[0].min() > 0.91  # it has been bound
    assert norms[1].max() < 0.9 + 1e-5
    attacks = [each.conv_fgsm(start, TINY_CONV)(each.put(data.x[:6]), each.put(data.y[:6])) for each in (peer, ours)]
    assert (np.abs(attacks[0] - attacks[1]) > 0.05).mean() < 1e-3


@pytest.mark.slow
def test_peers_and_the_engine_attack_the_same_googlenet():
    pytest.importorskip("torch")
    peer = importlib.import_module("tinyadv.bench.peer_torch")
    job = JOBS["googlenet1"]
    start, data = start_parameters(job), load_data(job)
    attacks = [each.googlenet(start, job)(each.put(data.x[:1]), each.put(data.y[:1])) for each in (peer, ours)]
    assert (np.abs(attacks[0] - attacks[1]) > job.eps / 2).mean() < 1e-2
    assert (attacks[1] != data.x[:1]).mean() > 0.5


def test_a_peer_without_a_job_is_skipped_and_named():
    said = []
    rows = run_job(TINY_CONV, [Peer.parse("by-hand")], 1, threads=1, patience=0, say=said.append)
    assert rows == []
    assert said == ["tiny-conv: by-hand is skipped: NotImplementedError: by-hand has no job of the kind 'conv-train'"]


def test_the_kernel_is_named_and_settings_that_choose_it(monkeypatch):
    rows = run_job(TINY_CONV, [Peer.parse("ours")], 1, threads=1, patience=0)
    assert "1 thread" in rows[0]["blas"] or "threadpoolctl is not installed" in rows[0]["blas"]
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert runner.surroundings(1, "cpu")["openblas_settings"] == {"OPENBLAS_CORETYPE": "Haswell"}


def test_rows_are_undone():
    start = start_parameters(TINY)
    assert [a.shape for a in as_rows(start)] == [(36, 40), (36,), (36, 12), (36,), (10, 12), (10,)]
    assert largest(from_rows(as_rows(start), start), start) == 0
    assert np.array_equal(as_rows(start)[0][4 * 3 + 2], start[0][2, 4])  # unit 4, piece 2


# ---------------------------------------------------------------------------------------------------------
# Floors


def test_floor_has_the_products_of_the_job():
    U, P, N, D = TINY.units, TINY.pieces, TINY.batch, TINY.inputs
    there, back = P * U * D + P * U * U + 10 * U, P * U * U + 10 * U

    def work(job):
        return sum(y.size * a.shape[1] for a, _, y in floor.products_of(job))

    assert work(replace(TINY, kind="fgsm")) == N * (there + back + P * U * D)
    assert work(KINDS[0]) == N * (2 * (there + back) + P * U * D + 2 * there)
    assert work(KINDS[1]) == N * (3 * (there + back) + P * U * D + 2 * there)
    assert work(replace(TINY, kind="softmax")) == 2 * N * D * 10
    # 4 rounds after the first, each up and down between both pairs of layers, and twice that on the way back, where
    # only the pixels that begin have no gradient
    both = D * MACHINE.units + MACHINE.units * MACHINE.upper
    assert work(MACHINE) == N * (4 * 2 * both * 3 - D * MACHINE.units)


def test_floor_of_the_update_moves_every_parameter():
    floor.update.start(2, "cpu")
    assert sum(part.stop - part.start for part in floor.update.parts(1001)) >= 1001
    step, _ = floor.update.train(start_parameters(TINY), TINY)
    assert step(None, None) == 0.0


# ---------------------------------------------------------------------------------------------------------
# The runner


def test_two_rounds_of_a_tiny_job():
    said = []
    peers = [Peer.parse(name) for name in ("ours", "by-hand", "floor")]
    rows = run_job(TINY, peers, 2, data=digits(100), threads=1, patience=0, say=said.append)
    assert [row["peer"] for row in rows] == ["ours", "by-hand", "floor"]
    for row in rows:
        assert row["calls"] == 4
        assert 0 < row["p5_ms"] <= row["median_ms"] <= row["p95_ms"]
        assert row["ratio"] > 0
        assert row["baseline"] == "by-hand"
    assert rows[1]["ratio"] == rows[2]["of_floor"] == 1
    assert 0 < rows[0]["mean_loss"] < 5
    assert rows[0]["version"].startswith("tinyadv")
    assert not said
    json.dumps(rows)


def test_a_peer_that_cannot_take_part_is_skipped_and_named():
    said, peers = [], [Peer("jax", label="jax@elsewhere"), Peer.parse("ours")]
    rows = run_job(TINY, peers, 1, data=digits(100), threads=1, device="nowhere", patience=0, say=said.append)
    assert rows == []
    assert said[0].startswith("tiny: jax@elsewhere is skipped: ")
    assert said[1] == "tiny: ours is skipped: ValueError: unknown device 'nowhere': wanted 'cpu' or 'cuda'"


def test_check_compares_processes():
    rows = check_job(TINY, [Peer.parse(name) for name in ("ours", "by-hand", "floor")], data=digits(100), threads=1)
    assert [(row["peer"], row["same"]) for row in rows] == [("ours", True), ("by-hand", True)]
    assert rows[0]["difference"] == 0 < rows[1]["difference"] < 1e-6


@pytest.mark.parametrize("job", ["train240", "fgsm100"])
def test_what_is_no_number_is_not_the_same(job):
    reference = [np.zeros(3), np.zeros(2)]
    assert _compare(JOBS[job], reference, reference)[0] == 0
    for place in (0, 1):
        found = [np.zeros(3), np.zeros(2)]
        found[place][1] = np.nan
        assert _compare(JOBS[job], reference, found)[0] == np.inf


def test_machine_is_watched():
    assert disturbed(0.5, 1.0)
    assert not disturbed(0.02, 1.0)
    assert busy() is None or busy() >= 0
    patience = Patience(0.0)
    patience.wait()
    assert patience.left == 0.0


@pytest.mark.parametrize("text", ["numppy", "torch@/no/such/python", ""])
def test_unknown_peers_are_named(text):
    with pytest.raises(BenchError, match=r"no peer 'numppy'|no interpreter /no/such/python|no peer ''"):
        Peer.parse(text)


def test_growth_varies_one_size_at_a_time(tmp_path):
    for axis, sizes in SIZES.items():
        jobs = jobs_along(axis)
        assert tuple(getattr(job, axis) for job in jobs) == sizes
        assert sum(replace(job, name="train240", calls=12) == JOBS["train240"] for job in jobs) == 1
    rows = [
        {"axis": axis, "size": size, "peer": peer, "us_per_example": 100.0}
        for axis, sizes in SIZES.items()
        for size in sizes
        for peer in ("ours", "floor")
    ]
    plot(rows, tmp_path / "growth.svg", "svg")
    assert (tmp_path / "growth.svg").stat().st_size > 1000


def test_ways_of_convolution_take_turns_and_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(convolution, "SIZES", {"kernel": (1, 3), "channels": (2,), "batch": (1, 2)})
    monkeypatch.setattr(convolution, "BASE", {"kernel": 3, "channels": 2, "batch": 2})
    file, figure = tmp_path / "convolution.json", tmp_path / "convolution.svg"
    result = bench("--convolution", "--rounds", "1", "--json", str(file), "--plot", str(figure))
    assert result.exit_code == 0, result.output
    rows = json.loads(file.read_text())["rows"]
    assert [(row["axis"], row["size"]) for row in rows if row["way"] == "chosen"] == [
        ("kernel", 1), ("kernel", 3), ("channels", 2), ("batch", 1), ("batch", 2)
    ]  # fmt: skip
    assert all(row["us_per_example"] > 0 for row in rows)
    assert figure.stat().st_size > 1000


# ---------------------------------------------------------------------------------------------------------
# The command


def bench(*arguments):
    app = typer.Typer()
    app.command()(bench_command)
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--job", "trian240"], "no job 'trian240': there are train240, "),
        (["--against", "troch"], "no peer 'troch': there are ours, "),
        (["--device", "tpu"], "device is cpu or cuda, got 'tpu'"),
        (["--rounds", "0"], "rounds is at least 1"),
        (["--growth", "--convolution"], "one of --growth, --convolution and --check at a time"),
    ],
)
def test_bad_input_is_one_line_and_code_2(arguments, message):
    result = bench(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_command_writes_its_results(tmp_path, monkeypatch):
    monkeypatch.setitem(JOBS, "train240", TINY)
    monkeypatch.setattr(runner, "load_data", lambda job: digits(100))
    file = tmp_path / "bench.json"
    result = bench("--against", "by-hand", "--rounds", "1", "--threads", "1", "--patience", "0", "--json", str(file))
    assert result.exit_code == 0, result.output
    assert "by-hand" in result.stdout
    results = json.loads(file.read_text())
    assert {row["peer"] for row in results["rows"]} == {"ours", "by-hand", "floor", "floor-update"}
    assert results["surroundings"]["threads"] == 1
    assert results["jobs"][0]["batch"] == TINY.batch
    assert next(row["import_s"] for row in results["rows"] if row["peer"] == "ours") > 0


# ---------------------------------------------------------------------------------------------------------
# The summary of committed runs


def written(*rows):
    around = {"processor": "A processor", "threads": 2, "gpu": None, "python": "3.11.0", "numpy": "2.0.0"}
    usual = {
        "ratio": None,
        "baseline": "torch",
        "of_floor": None,
        "peak_MiB": None,
        "version": "1",
        "turns_disturbed": 0,
    }
    rows = [usual | {"calls": 6 * JOBS[row["job"]].calls} | row for row in rows]  # six turns
    jobs = [{"name": name, "calls": job.calls} for name, job in JOBS.items()]
    return {"surroundings": around, "jobs": jobs, "rows": rows}


def test_the_summary_has_a_line_for_each_job_with_times_ratios_and_the_floor():
    found = summary.summary(
        written(
            {"job": "softmax", "peer": "ours", "median_ms": 123.4, "ratio": 0.5, "of_floor": 0.161, "peak_MiB": 216.4},
            {"job": "softmax", "peer": "torch", "median_ms": 246.8, "ratio": 1.0, "version": "torch 9.9"},
            {"job": "softmax", "peer": "floor", "median_ms": 20.0, "ratio": 0.1},
            {"job": "train240", "peer": "by-hand", "median_ms": 10.0},
        )
    )
    assert found.around == "A processor, 2 threads; Python 3.11.0, NumPy 2.0.0; torch 9.9"
    assert found.table() == (
        ["job", "tinyadv", "NumPy by hand", "PyTorch", "products' share", "peak MiB"],
        [
            ["train240", "–", "10 ms", "–", "", ""],  # in the order of the jobs, not of the file
            ["softmax", "123 ms (0.50)", "–", "247 ms (1.00)", "16%", "216"],
        ],
    )
    lines = summary.markdown(found).splitlines()
    assert lines[0].endswith("torch 9.9.")
    assert lines[2:] == [
        "| job | tinyadv | NumPy by hand | PyTorch | products' share | peak MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| `train240` | – | 10 ms | – |  |  |",
        "| `softmax` | 123 ms (0.50) | – | 247 ms (1.00) | 16% | 216 |",
    ]
    said = summary.sentence(found, {"softmax", "train240"})
    assert said == f"{found.around}: `train240` –, `softmax` 123 ms (0.50).\n"


@pytest.mark.parametrize(("disturbed", "said"), [((6, 3), "in 75% of the turns"), ((1, 0), "")])
def test_the_summary_says_how_often_others_were_at_work(disturbed, said):
    rows = [
        {"job": "softmax", "peer": peer, "median_ms": 1.0, "turns_disturbed": turns}
        for peer, turns in zip(("ours", "torch"), disturbed, strict=True)
    ]
    around = summary.summary(written(*rows)).around
    assert around.endswith(f"others at work on the machine {said}") == bool(said)


def test_without_committed_runs_there_is_no_summary(tmp_path, monkeypatch):
    monkeypatch.setattr(summary, "RESULTS", tmp_path)
    assert summary.committed_of_images() is None
    assert summary.convolution_plot() is None
    assert summary.committed("cpu") is None
    assert summary.growth_plot("cpu") is None


@pytest.mark.parametrize(("where", "name", "value"), [("jobs", "calls", 0), ("rows", "median_ms", 10**400)])
def test_numbers_that_cannot_be_reckoned_with_are_refused(where, name, value, tmp_path):
    document = json.loads((summary.RESULTS / "cpu.json").read_text("utf-8"))
    for entry in document[where]:
        entry[name] = value
    (tmp_path / "run.json").write_text(json.dumps(document), "utf-8")
    with pytest.raises(StorageError, match=r"is not what `tinyadv bench --json` wrote: (ZeroDivision|Overflow)Error"):
        summary.read(tmp_path / "run.json")


def test_committed_runs_can_be_read_and_drawn():
    found = summary.committed("cpu")
    measured = [line.job for line in found.lines]
    assert measured == [name for name in JOBS if name in measured]
    later = {name for name, job in JOBS.items() if job.of_images}  # they have a run of their own
    assert set(JOBS) - set(measured) <= {"dbm500", "dbm2087"} | later  # since the last run of all
    assert all({"ours", "by-hand", "torch", "torch-compile", "jax"} <= line.ms.keys() for line in found.lines)
    assert summary.growth_plot("cpu").startswith(b"\x89PNG")
    assert summary.convolution_plot().startswith(b"\x89PNG")
    of_images = summary.committed_of_images()
    assert {line.job for line in of_images.lines} <= {name for name, job in JOBS.items() if job.of_images}
    assert all({"ours", "torch", "torch-compile"} <= line.ms.keys() for line in of_images.lines)


def test_a_peer_is_named_without_its_interpreter_unless_another_has_its_name():
    assert [p.label for p in _peers("by-hand,torch@" + sys.executable, "cpu")][:3] == ["ours", "by-hand", "torch"]
    twice = _peers(f"torch,torch@{sys.executable}", "cpu")
    assert [p.label for p in twice if p.name == "torch"] == ["torch", f"torch@{sys.executable}"]
