"""Training: that it learns, that interruptions change nothing, when it stops, what it refuses before any work."""

import io
import math
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from placed import host

from tinyadv import layers, losses, metrics, models, save, training
from tinyadv.backend import generator
from tinyadv.layers import parameters
from tinyadv.optim import SGD, Schedule
from tinyadv.progress import Silent
from tinyadv.storage import StorageError, load_arrays
from tinyadv.tensor import Tensor
from tinyadv.training import DivergedError, Stopping, Target, train

N, D, K = 60, 8, 3
MAX_NORM = 0.6
SCHEDULE = Schedule(0.2, decay=1.001, momentum=0.5, final_momentum=0.9, saturation=4)


def problem(n=N):
    """Three clouds of points around three corners."""
    rng = np.random.default_rng(7)
    y = np.arange(n) % K
    return (np.eye(D)[y] + 0.1 * rng.normal(size=(n, D))).astype("float32"), y


def network(seed=0, units=5, top="softmax", keep=(0.8, 0.5)):
    return models.maxout_network(units, 2, 1, top, D, K, keep, scale=0.1, rng=generator(seed, "weights"))


def run(
    model=None,
    objective=losses.clean_objective,
    data=None,
    epochs=4,
    seed=0,
    max_norm=MAX_NORM,
    factors=None,
    **options,
):
    """A small training: the network, its optimiser, and what `train` says."""
    model = network() if model is None else model
    optimiser = SGD(model if factors else parameters(model), SCHEDULE, max_norm, factors)
    x, y = problem() if data is None else data
    done = train(model, objective, x, y, epochs=epochs, seed=seed, optimiser=optimiser, **({"batch": 20} | options))
    return model, optimiser, done


def bits(model, optimiser):
    """Every bit of the state: parameters and velocities."""
    return [host(a).tobytes() for a in [*(p.data for p in parameters(model)), *optimiser.velocities]]


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)  # after every epoch
    return tmp_path / "checkpoint"


class Counted:
    """An objective that counts its calls, and raises `error` at the call of that number."""

    def __init__(self, at=math.inf, error=KeyboardInterrupt, objective=losses.clean_objective):
        self.calls, self.at, self.error, self.objective = 0, at, error, objective

    def __call__(self, model, x, y, rng):
        self.calls += 1
        if self.calls == self.at:
            raise self.error
        return self.objective(model, x, y, rng)


@contextmanager
def counted(at=math.inf):
    """Counts steps of optimisers, and interrupts before that number: the training stays the one that it is."""
    steps, step = [], SGD.step

    def counting(self, *args):
        steps.append(1)
        if len(steps) == at:
            raise KeyboardInterrupt
        step(self, *args)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SGD, "step", counting)
        yield steps


# ---------------------------------------------------------------------------------------------------------
# Learning


@pytest.mark.parametrize("objective", [losses.clean_objective, losses.adversarial_objective])
def test_the_loss_falls_and_the_log_says_so(objective):
    model, _, done = run(objective=objective, epochs=12, max_norm=2.0)
    assert [entry["epoch"] for entry in done.log] == list(range(1, 13))
    assert done.log[0]["loss"] > 1.0  # log 3 at first
    assert done.log[-1]["loss"] < 0.6
    assert done.best_epoch == 12
    x, y = problem()
    assert (model(x).argmax(axis=1) == y).all()


def test_an_epoch_sees_every_example_once_in_an_order_of_its_own():
    x, y = problem(50)
    seen = []

    def objective(model, x, y, rng):
        seen.append((x, y))
        return losses.clean_objective(model, x, y, rng)

    run(objective=objective, data=(x, y), epochs=2)
    assert [len(part) for part, _ in seen] == [20, 20, 10] * 2
    epochs = [np.concatenate([a for a, _ in seen[i : i + 3]]) for i in (0, 3)]
    assert epochs[0].tobytes() != epochs[1].tobytes()
    for epoch in epochs:
        assert epoch.tobytes() != x.tobytes()
        assert sorted(map(tuple, epoch)) == sorted(map(tuple, x))
    rows = {tuple(row): label for row, label in zip(x, y, strict=True)}
    assert all(b.shape == (len(a), 3) for a, b in seen)  # labels are targets by then
    assert all(rows[tuple(row)] == t.argmax() for a, b in seen for row, t in zip(a, b, strict=True))


def test_the_logged_loss_is_the_mean_over_batches_and_validation_follows_the_epoch():
    values = iter([1.0, 2.0, 6.0, 4.0, 4.0, 4.0])
    states = []

    def objective(model, x, y, rng):
        return next(values), losses.clean_objective(model, x, y, rng)[1]

    def validate(model):
        states.append(parameters(model)[0].data.copy())
        return {"error": np.float32(0.25) * len(states)}

    _, _, done = run(objective=objective, epochs=2, validate=validate)
    assert done.log == [{"epoch": 1, "loss": 3.0, "error": 0.25}, {"epoch": 2, "loss": 4.0, "error": 0.5}]
    assert all(type(entry["error"]) is float for entry in done.log)
    assert (states[0] != states[1]).any()


def test_the_schedule_and_the_norm_are_the_optimiser_s():
    epochs = []

    class Watched(SGD):
        def step(self, gradients, epoch=1):
            epochs.append(epoch)
            super().step(gradients, epoch)

    model = network()
    x, y = problem()
    optimiser = Watched(parameters(model), SCHEDULE, 0.05)
    train(model, losses.clean_objective, x, y, epochs=2, seed=0, optimiser=optimiser, batch=20)
    assert epochs == [1, 1, 1, 2, 2, 2]
    assert np.linalg.norm(parameters(model)[0].data, axis=-1).max() <= 0.05 * (1 + 1e-6)


def test_a_training_on_another_library_is_the_same_one(xp):
    model = network(keep=(1.0, 1.0))  # libraries draw masks of their own
    for p in parameters(model):
        p.data = xp.asarray(p.data)
    x, y = problem()
    _, _, done = run(model, data=(xp.asarray(x), xp.asarray(y)))
    expected, _, expected_done = run(network(keep=(1.0, 1.0)))
    assert [e["loss"] for e in done.log] == pytest.approx([e["loss"] for e in expected_done.log], rel=1e-5)
    for p, q in zip(parameters(model), parameters(expected), strict=True):
        assert type(p.data) is type(xp.zeros(1))
        np.testing.assert_allclose(host(p.data), q.data, rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------------------------------------------------
# Seeds


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    first, same, other = (run(seed=seed) for seed in (1, 1, 2))
    assert bits(*first[:2]) == bits(*same[:2]) != bits(*other[:2])
    assert first[2].log == same[2].log != other[2].log


def test_the_order_and_the_masks_are_streams_of_their_own():
    """Masks drawn more often, or not at all, move no batch; every epoch and every seed has its own of both."""

    def seen(seed, draws):
        batches, drawn = [], []

        def objective(model, x, y, rng):
            batches.append(x.tobytes())
            drawn.append([rng.random() for _ in range(draws)])
            return losses.clean_objective(model, x, y, None)

        run(objective=objective, epochs=3, seed=seed)
        return batches, [first for first, *_ in drawn[::3]] if draws else None  # the first draw of every epoch

    (batches, _), (same, masks), (same_too, same_masks) = (seen(0, draws) for draws in (0, 1, 5))
    others, other_masks = seen(1, 1)
    assert batches == same == same_too
    assert masks == same_masks
    assert len({*batches, *others}) == 18
    orders = [generator(seed, f"order of epoch {epoch}").random() for seed in (0, 1) for epoch in (1, 2, 3)]
    assert len({*masks, *other_masks, *orders}) == 12


# ---------------------------------------------------------------------------------------------------------
# Interruptions


@pytest.mark.parametrize("objective", [losses.clean_objective, losses.adversarial_objective])
def test_interrupted_in_every_epoch_and_resumed_it_becomes_the_same_network(checkpoint, objective):
    expected = run(objective=objective)
    for epoch in range(1, 5):
        with pytest.raises(KeyboardInterrupt), counted(at=2):  # in this epoch's second batch
            run(objective=objective, checkpoint=checkpoint)
        assert checkpoint.exists() == (epoch > 1)
        model, optimiser, done = run(objective=objective, epochs=epoch, checkpoint=checkpoint)
        assert len(done.log) == epoch
    assert bits(model, optimiser) == bits(*expected[:2])
    assert done == expected[2]
    assert optimiser.updates == expected[1].updates == 12


@pytest.mark.parametrize("at", range(1, 13))
def test_interrupted_at_any_batch_and_resumed_it_becomes_the_same_network(checkpoint, at):
    validate = lambda model: {"norm": float(abs(parameters(model)[0].data).sum())}  # noqa: E731
    options = {"validate": validate, "stopping": Stopping("norm", patience=10), "checkpoint": checkpoint}
    expected = run(**options | {"checkpoint": None})
    with pytest.raises(KeyboardInterrupt), counted(at):
        run(**options)
    with counted() as resumed:
        model, optimiser, done = run(**options)
    assert len(resumed) == 12 - 3 * ((at - 1) // 3)  # no epoch that was done is done again
    assert bits(model, optimiser) == bits(*expected[:2])
    assert done == expected[2]


def test_a_finished_training_is_not_done_again_but_can_be_continued(checkpoint):
    with counted() as first:
        finished = run(checkpoint=checkpoint)
    with counted() as again:
        same = run(checkpoint=checkpoint)
    assert (len(first), len(again)) == (12, 0)
    assert bits(*same[:2]) == bits(*finished[:2])
    with counted() as longer:
        continued = run(checkpoint=checkpoint, epochs=6)
    assert len(longer) == 6
    assert bits(*continued[:2]) == bits(*run(epochs=6)[:2])


def test_a_checkpoint_is_written_at_the_end_and_not_more_often_than_it_is_worth(tmp_path, monkeypatch):
    now, written = [0.0], []
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
    save_arrays = training.save_arrays
    monkeypatch.setattr(training, "save_arrays", lambda *a: written.append(now[0]) or save_arrays(*a))

    def validate(model):
        now[0] += 2.0  # an epoch takes two seconds
        return {}

    run(epochs=8, validate=validate, checkpoint=tmp_path / "checkpoint")
    assert written == [6.0, 12.0, 16.0]


def test_the_checkpoint_of_a_network_on_another_library(xp, checkpoint):
    def on_it():
        model = network()
        for p in parameters(model):
            p.data = xp.asarray(p.data)
        return model

    x, y = problem()
    data = xp.asarray(x), xp.asarray(y)
    with pytest.raises(KeyboardInterrupt), counted(at=5):
        run(on_it(), data=data, checkpoint=checkpoint)
    model, optimiser, done = run(on_it(), data=data, checkpoint=checkpoint)
    assert len(done.log) == 4
    assert all(type(a) is type(xp.zeros(1)) for a in [*(p.data for p in parameters(model)), *optimiser.velocities])


def forever(path, seed):
    """What the process below runs: it never ends by itself."""
    training.CHECKPOINT_SECONDS = -1.0
    run(epochs=10**6, seed=seed, checkpoint=path)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_process_leaves_a_checkpoint_that_can_be_continued(tmp_path, seed):
    path, delay = tmp_path / "checkpoint", np.random.default_rng(seed).uniform(0.0, 0.2, size=2)
    code = f"import test_training; test_training.forever({str(path)!r}, {seed})"
    done = 0
    for seconds in delay:
        child = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent)
        deadline = time.monotonic() + 60
        while not path.exists() or len(load_arrays(path)[1]["log"]) == done:
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(seconds)
        child.kill()
        assert child.wait() == -signal.SIGKILL
        before, done = done, len(load_arrays(path)[1]["log"])
        assert done > before
    continued = run(epochs=done + 2, seed=seed, checkpoint=path)
    straight = run(epochs=done + 2, seed=seed)
    assert bits(*continued[:2]) == bits(*straight[:2])
    assert continued[2] == straight[2]


# ---------------------------------------------------------------------------------------------------------
# Checkpoints that are not to be trusted


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_checkpoint_is_named_and_not_trusted(checkpoint, damage):
    run(checkpoint=checkpoint)
    whole = bytearray(checkpoint.read_bytes())
    whole[-40] ^= 1
    checkpoint.write_bytes({"flip": bytes(whole), "truncate": whole[:-7], "empty": b""}[damage])
    before, objective = checkpoint.read_bytes(), Counted()
    with pytest.raises(StorageError, match=r"checkpoint is (damaged|not a readable safetensors file)"):
        run(objective=objective, checkpoint=checkpoint)
    assert objective.calls == 0
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"model": lambda: network(units=6)},
            "it has model.arguments.units 5, not 6; model.layers.1.W",
        ),
        ({"model": lambda: network(top="sigmoid")}, "it has model.arguments.top softmax, not sigmoid"),
        (
            {"model": lambda: models.softmax_regression(D, K, rng=generator(0))},
            "it has model.builder maxout_network, not softmax_regression",
        ),
        ({"seed": 1}, "it has seed 0, not 1$"),
        ({"batch": 10}, "it has batch 20, not 10$"),
        ({"max_norm": None}, "it has max_norm 0.6, not None$"),
        ({"factors": {"layers.1.W": 0.5}}, r"it has rate_factors\.layers\.1\.W missing, not 0\.5$"),
        ({"data": problem(50)}, r"it has examples 60, not 50; data SHA-256 \w+, not SHA-256 \w+$"),
        ({"epochs": 3}, "has done 4 epochs already, wanted are 3$"),
    ],
)
def test_another_training_s_checkpoint_is_named(checkpoint, change, message):
    run(checkpoint=checkpoint)
    model = change["model"]() if "model" in change else network()
    untouched = [p.data.tobytes() for p in parameters(model)]
    with pytest.raises(StorageError, match=message) as info:
        run(checkpoint=checkpoint, **change | {"model": model})
    assert str(checkpoint) in str(info.value)
    assert [p.data.tobytes() for p in parameters(model)] == untouched


def test_the_dtype_belongs_to_the_training(checkpoint):
    run(checkpoint=checkpoint)
    x, y = problem()
    with pytest.raises(StorageError, match=r"it has .*dtype float32, not float64"):
        run(network().to(dtype="float64"), data=(x.astype("float64"), y), checkpoint=checkpoint)


def closed_over(scale):
    def objective(model, x, y, rng):
        J, gradients = losses.clean_objective(model, x, y, rng)
        return scale * J, gradients

    return objective


def inner_function(number):
    """Lambdas that differ in a function inside of them, or in a tuple."""
    return {
        1: lambda m, x, y, rng: losses.clean_objective(m, x, y, rng, l1=(lambda: 0.01)()),
        2: lambda m, x, y, rng: losses.clean_objective(m, x, y, rng, l1=(lambda: 0.02)()),
        3: lambda m, x, y, rng: losses.clean_objective(m, x, y, rng, *(0.01, 0.0)),
        4: lambda m, x, y, rng: losses.clean_objective(m, x, y, rng, *(0.02, 0.0)),
    }[number]


X, Y = problem()


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        ({}, {"data": (X[::-1].copy(), Y)}, r"data SHA-256 \w+, not SHA-256 \w+$"),
        ({}, {"data": (X, np.roll(Y, 1))}, r"data SHA-256 \w+, not SHA-256 \w+$"),
        ({}, {"model": network(seed=1)}, r"initial parameters SHA-256 \w+, not SHA-256 \w+$"),
        ({}, {"objective": losses.adversarial_objective}, "objective .*clean_objective, not .*adversarial_objective"),
        (
            {"objective": partial(losses.adversarial_objective, eps=0.05)},
            {"objective": partial(losses.adversarial_objective, eps=0.06)},
            r"objective.keywords.eps 0.05, not 0.06$",
        ),
        ({"objective": closed_over(1.0)}, {"objective": closed_over(2.0)}, r"objective.scale 1.0, not 2.0$"),
        (
            {"objective": inner_function(1)},
            {"objective": inner_function(2)},
            r"objective \S*<lambda> \w+, not \S* \w+$",
        ),
        (
            {"objective": inner_function(3)},
            {"objective": inner_function(4)},
            r"objective \S*<lambda> \w+, not \S* \w+$",
        ),
    ],
    ids=[
        "images",
        "labels",
        "initial weights",
        "objective",
        "value of a partial",
        "value around a function",
        "function in a lambda",
        "tuple in a lambda",
    ],
)
def test_what_looks_like_the_same_training_is_told_from_it(checkpoint, first, then, message):
    run(checkpoint=checkpoint, **first)
    with pytest.raises(StorageError, match=f"is the checkpoint of another training: it has {message}"):
        run(checkpoint=checkpoint, epochs=5, **first | then)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (threading.Lock(), "args.0 is a lock, of which nobody can say whether it is the same"),
        (iter([1]), "args.0 is a list_iterator, which cannot be searched"),
        (random.Random(0), "args.0 is a Random, of which nobody can say"),  # what it draws next is in no attribute
        ((0.1).conjugate, "args.0 is the method conjugate of a float, of which nobody can say"),
        (io.StringIO("a"), "args.0 is a StringIO, of which nobody can say"),
    ],
    ids=["lock", "iterator", "random numbers", "method", "file"],
)
def test_an_objective_that_cannot_be_told_from_others_is_refused_before_any_work(held, message, checkpoint):
    with pytest.raises(TypeError, match=message), counted() as steps:
        run(objective=partial(losses.clean_objective, held), checkpoint=checkpoint)
    assert not steps
    assert not checkpoint.exists()


@pytest.mark.parametrize("kind", ["pandas", "list"])
def test_labels_belong_to_inputs_by_position(kind):
    """A Series whose index is shuffled, as a split of a table leaves it, would give another label for y[rows]."""
    x, y = problem()
    y = np.where(y == 0, 1, -1)

    def trained(labels):
        model = models.logistic_regression(D, rng=generator(0))
        run(model, data=(x, labels))
        return model

    labels = y.tolist()
    if kind == "pandas":
        pandas = pytest.importorskip("pandas")
        labels = pandas.Series(y, index=np.random.default_rng(0).permutation(len(y)))
    expected, model = trained(y), trained(labels)
    assert [p.data.tobytes() for p in parameters(model)] == [p.data.tobytes() for p in parameters(expected)]
    assert metrics.evaluate(model, x, labels) == metrics.evaluate(expected, x, y)


def test_a_saved_network_is_no_checkpoint(checkpoint):
    save(network(), checkpoint)
    with pytest.raises(StorageError, match="checkpoint is not the checkpoint of a training"):
        run(checkpoint=checkpoint)


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(StorageError, match="is not a readable safetensors file"):
        run(checkpoint=tmp_path)


# ---------------------------------------------------------------------------------------------------------
# Stopping


def scripted(values):
    """A validation that gives these errors, one an epoch, after the one that shows what there is; and the weights."""
    left, weights = iter([math.nan, *values]), []

    def validate(model):
        weights.append([p.data.copy() for p in parameters(model)])
        return {"error": next(left), "epochs": 7.0}

    return validate, weights


@pytest.mark.parametrize(
    ("values", "patience", "best", "last"),
    [
        ([0.5, 0.4, 0.6, 0.4, 0.3, 0.9, 0.9, 0.9], 3, 5, 8),  # an equal one is no better
        ([0.5, 0.6, 0.6, 0.6], 3, 1, 4),
        ([0.5, 0.4, 0.3, 0.2], 1, 4, 4),
        ([0.5, 0.6], 1, 1, 2),
        ([math.nan, 0.5, math.nan, 0.4, math.nan, math.nan], 2, 4, 6),
        ([math.nan, math.nan], 1, 1, 2),
    ],
)
def test_it_stops_after_patience_and_keeps_the_best_epoch(values, patience, best, last, checkpoint):
    validate, weights = scripted([*values, *[0.0] * 9])
    epochs = 4 if patience == 1 and best == 4 else 20
    model, _, done = run(
        epochs=epochs, validate=validate, stopping=Stopping("error", patience), checkpoint=checkpoint
    )  # fmt: skip
    assert (done.best_epoch, len(done.log)) == (best, last)
    for p, expected in zip(parameters(model), weights[best], strict=True):
        assert p.data.tobytes() == expected.tobytes()
    assert best == last or parameters(model)[0].data.tobytes() != weights[last][0].tobytes()
    with counted() as steps:
        again = run(epochs=epochs, stopping=Stopping("error", patience), checkpoint=checkpoint)
    assert not steps
    assert again[2].log[-1].keys() == {"epoch", "loss", "error", "epochs"}
    assert parameters(again[0])[0].data.tobytes() == weights[best][0].tobytes()


def test_the_training_loss_can_be_watched():
    _, _, done = run(epochs=6, stopping=Stopping("loss", 1))
    assert done.best_epoch == len(done.log) == 6  # it falls in every epoch


def test_without_stopping_the_last_epoch_counts():
    validate, weights = scripted([0.1, 0.2, 0.3, 0.4])
    model, _, done = run(validate=lambda model: {"error": validate(model)["error"]})
    assert done.best_epoch == 4
    assert parameters(model)[0].data.tobytes() == weights[-1][0].tobytes()


@pytest.mark.parametrize(
    ("validate", "message"),
    [
        (None, "stopping watches 'eror', but training and validation give loss$"),
        (lambda model: {"error": 0.5, "adversarial error": 0.6}, "validation give loss, error, adversarial error$"),
    ],
)
def test_stopping_by_what_nobody_measures_is_named_before_any_work(validate, message):
    objective = Counted()
    with pytest.raises(ValueError, match=message):
        run(objective=objective, validate=validate, stopping=Stopping("eror"))
    assert objective.calls == 0


def test_stopping_by_the_number_of_the_epoch_is_refused_also_on_resuming(checkpoint):
    run(checkpoint=checkpoint, epochs=2)
    for path in (None, checkpoint):
        with pytest.raises(ValueError, match=r"stopping watches 'epoch', but .* give loss$"):
            run(stopping=Stopping("epoch"), checkpoint=path)


@pytest.mark.parametrize(("target", "stops_after"), [(0.5, 3), (0.4, 3), (0.3, 5), (0.1, 6), (1.0, 1)])
def test_a_target_ends_training_once_it_is_reached_and_the_last_epoch_counts(target, stops_after, checkpoint):
    values = [0.9, 0.6, 0.4, 0.7, 0.2, 0.3]
    validate = lambda model: {"cost": next(figures)}  # noqa: E731
    figures = iter([math.inf, *values])  # before the first epoch, and after each
    model, optimiser, done = run(epochs=6, validate=validate, stopping=Target("cost", target), checkpoint=checkpoint)
    assert ([entry["cost"] for entry in done.log], done.best_epoch) == (values[:stops_after], stops_after)
    assert bits(model, optimiser) == bits(*run(epochs=stops_after)[:2])
    figures = iter([])  # reached: nothing is done again
    again, _, _ = run(epochs=6, validate=validate, stopping=Target("cost", target), checkpoint=checkpoint)
    assert bits(again, optimiser) == bits(model, optimiser)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_target_is_a_finite_number(value):
    with pytest.raises(ValueError, match="a target is a finite number, got"):
        Target("loss", value)


def test_the_mean_objective_is_that_of_the_batches_each_with_its_own_masks_and_changes_nothing():
    (x, y), (model, _, _) = problem(50), run(epochs=12, max_norm=2.0)
    before = [p.data.tobytes() for p in parameters(model)]
    rng = generator(3, "masks of the mean objective")
    costs = [losses.clean_objective(model, x[i : i + 20], y[i : i + 20], rng)[0] for i in (0, 20, 40)]
    mean = training.mean_objective(model, losses.clean_objective, x, y, seed=3, batch=20)
    assert mean == pytest.approx((20 * costs[0] + 20 * costs[1] + 10 * costs[2]) / 50, rel=1e-12)
    assert mean != pytest.approx(float(model.loss(model(x), y)), rel=1e-3)  # dropout is on
    assert [p.data.tobytes() for p in parameters(model)] == before


def test_patience_is_at_least_one_epoch():
    with pytest.raises(ValueError, match="patience is a number of epochs, at least 1; got 0"):
        Stopping("error", 0)


# ---------------------------------------------------------------------------------------------------------
# Divergence, and bad arguments


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_says_where_and_leaves_the_last_checkpoint(checkpoint, value, monkeypatch):
    run(epochs=2, seed=5, checkpoint=checkpoint)
    before, calls, forward = checkpoint.read_bytes(), [], models.Network.loss

    def loss(self, outputs, y):
        calls.append(1)
        J = forward(self, outputs, y)
        return J + value if len(calls) == 6 else J  # the first call checks the labels

    monkeypatch.setattr(models.Network, "loss", loss)
    with pytest.raises(DivergedError, match=f"J became {value} in epoch 4, step 2 of 3, seed 5; ") as error:
        run(epochs=6, seed=5, checkpoint=checkpoint)
    assert str(error.value).endswith(f"; the last good checkpoint is {checkpoint}, of epoch 3")
    assert checkpoint.read_bytes() != before  # of epoch 3
    assert [entry["epoch"] for entry in load_arrays(checkpoint)[1]["log"]] == [1, 2, 3]
    monkeypatch.undo()
    resumed = run(epochs=6, seed=5, checkpoint=checkpoint)
    assert bits(*resumed[:2]) == bits(*run(epochs=6, seed=5)[:2])


def test_an_update_that_makes_a_parameter_no_number_is_noticed_before_it_is_kept(checkpoint):
    """The loss of the last batch is still finite, its gradient is not: what comes of it is not a good checkpoint."""
    updates = []

    def objective(*args):
        J, gradients = losses.clean_objective(*args)
        updates.append(J)
        if len(updates) == 6:
            gradients[0][..., 0] = np.nan
        return J, gradients

    message = (
        "a parameter became NaN or infinite in epoch 2, step 3 of 3, seed 0; the last good checkpoint is .* epoch 1$"
    )
    with pytest.raises(DivergedError, match=message):
        run(objective=objective, epochs=2, checkpoint=checkpoint)
    assert all(np.isfinite(a).all() for a in load_arrays(checkpoint)[0].values())


def test_a_network_that_is_no_number_diverges_at_once_and_moves_no_parameter():
    model = network()
    parameters(model)[-1].data[:] = np.nan
    with pytest.raises(DivergedError, match="J became nan in epoch 1, step 1 of 3, seed 0"):
        run(model)
    assert parameters(model)[0].data.tobytes() == parameters(network())[0].data.tobytes()


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ({"data": (problem()[0], problem()[1][:-1])}, "got 60 inputs, 59 labels, 4 epochs, batch 20"),
        ({"data": (problem()[0][:0], problem()[1][:0])}, "got 0 inputs, 0 labels"),
        ({"epochs": 0}, "0 epochs, batch 20"),
        ({"batch": 0}, "4 epochs, batch 0"),
    ],
)
def test_bad_arguments_are_named_before_any_work(options, got):
    objective = Counted()
    with pytest.raises(ValueError, match=f"as many inputs as labels, at least one, and epochs .* {got}"):
        run(objective=objective, **options)
    assert objective.calls == 0


def test_another_network_s_optimiser_is_named():
    x, y = problem()
    for others in (parameters(network()), parameters(network())[:2]):
        with pytest.raises(ValueError, match="the optimiser is not this network's"):
            train(network(), losses.clean_objective, x, y, epochs=1, seed=0, optimiser=SGD(others))


def test_an_optimiser_that_made_updates_begins_no_checkpoint(checkpoint):
    """The checkpoint could never be continued: its updates would not fit its log."""
    model, optimiser, _ = run(epochs=1)
    objective, (x, y) = Counted(), problem()
    with pytest.raises(ValueError, match=r"a new optimiser, this one has made 3 updates: wanted SGD\(model, \.\.\.\)"):
        train(model, objective, x, y, epochs=2, seed=0, optimiser=optimiser, checkpoint=checkpoint)
    assert (objective.calls, checkpoint.exists()) == (0, False)
    train(model, objective, x, y, epochs=1, seed=0, optimiser=optimiser)  # without one it may go on


@pytest.mark.parametrize("name", ["loss", "epoch"])
def test_validation_does_not_overwrite_what_the_log_has_of_training(name):
    with pytest.raises(ValueError, match=f"validation gives '{name}'.*call it 'validation_{name}'"):
        run(validate=lambda model: {name: 1.0})
    objective = Counted()
    with pytest.raises(ValueError, match=f"validation gives '{name}'"):  # asked before any work, it says so then
        run(objective=objective, validate=lambda model: {name: 1.0}, stopping=Stopping("error"))
    assert objective.calls == 0


@pytest.mark.parametrize("stopping", [Stopping, lambda quantity: Target(quantity, 0.9)])
def test_stopping_by_what_rises_is_refused(stopping):
    with pytest.raises(ValueError, match="stopping watches what falls as the network improves, got 'val_Accuracy'"):
        stopping("val_Accuracy")


def test_a_layer_put_in_another_s_place_while_training_is_noticed():
    """Its gradients would move the parameters that are no longer there."""
    (x, y), model = problem(), network()

    def replacing(model, x, y, rng):
        model.layers[-1] = network(1).layers[-1]
        return losses.clean_objective(model, x, y, rng)

    with pytest.raises(ValueError, match="the optimiser is not this network's"):
        train(model, replacing, x, y, epochs=1, seed=0, optimiser=SGD(model))


# ---------------------------------------------------------------------------------------------------------
# Progress


class Recorded(Silent):
    def __init__(self):
        self.calls = []

    def begin(self, title, epochs, done):
        self.calls.append(("begin", title, epochs, done))

    def advance(self, epoch, loss):
        self.calls.append(("advance", epoch))

    def end(self, entry, last):
        self.calls.append(("end", entry["epoch"], last))

    def close(self):
        self.calls.append("close")


def test_progress_is_told_what_happens(checkpoint):
    progress = Recorded()
    with pytest.raises(KeyboardInterrupt), counted(at=5):
        run(epochs=3, checkpoint=checkpoint, progress=progress, title="small")
    assert progress.calls == [
        ("begin", "small", 3, 0), ("advance", 0.0), ("end", 1, False), ("advance", 1.0), "close",
    ]  # fmt: skip
    progress = Recorded()
    run(epochs=3, checkpoint=checkpoint, progress=progress, title="small")
    assert progress.calls == [
        ("begin", "small", 3, 1), ("advance", 1.0), ("end", 2, False), ("advance", 2.0), ("end", 3, True), "close",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y: x.__setitem__((3, 5), np.nan), "training wants finite inputs"),
        (lambda x, y: y.__setitem__(-1, 10), "labels of 10 classes are 0 to 9"),
    ],
)
def test_bad_data_is_refused_before_the_first_update(spoil, message):
    rng = np.random.default_rng(0)
    x, y = rng.random((20, 784), dtype=np.float32), rng.integers(0, 10, 20)
    spoil(x, y)
    model = models.softmax_regression(rng=generator(0))
    optimiser = SGD(parameters(model))
    with pytest.raises(ValueError, match=message):
        training.train(model, losses.clean_objective, x, y, epochs=1, seed=0, batch=5, optimiser=optimiser)
    assert optimiser.updates == 0


@pytest.mark.parametrize(
    ("top", "targets", "said"),
    [
        ("sigmoid", lambda t: 2 * t - 1, "targets are from 0 to 1, got some from -1 to 1"),
        ("softmax", lambda t: 255 * t, "targets are from 0 to 1, got some from 0 to 255"),
        ("softmax", lambda t: t + np.eye(3)[1] * (1 - t), "targets of a softmax add up to 1"),
        ("softmax", lambda t: 0.98 * t, "add up to 1 in every row, got a row that is 0.02 away from it"),
    ],
)
def test_targets_that_cannot_be_are_refused(top, targets, said):
    network = models.Network("own", {}, [layers.Linear(4, 3, generator(0))], top)
    x, t = np.ones((6, 4), "float32"), np.eye(3)[[0, 1, 2] * 2]
    with pytest.raises(ValueError, match=said):
        train(network, losses.clean_objective, x, targets(t), epochs=1, seed=0, optimiser=SGD(network))
    for sound in (0.9 * t + 0.1 / 3, 0.9995 * t):  # to within a thousandth
        train(network, losses.clean_objective, x, sound, epochs=1, seed=0, optimiser=SGD(network))


@pytest.mark.parametrize("first", [None, lambda model: {"a": 1.0}])
def test_a_training_goes_on_with_the_same_figures_alone(first, tmp_path):
    def go(epochs, validate, **more):
        network = models.Network("own", {}, [layers.Linear(4, 3, generator(0))], "softmax")
        x, y = np.random.default_rng(0).random((20, 4), dtype="float32"), np.arange(20) % 3
        return train(
            network, losses.clean_objective, x, y, epochs=epochs, seed=0, optimiser=SGD(network), validate=validate,
            checkpoint=tmp_path / "checkpoint", **more,
        )  # fmt: skip

    go(2, first)
    for other in (lambda model: {"b": 1.0}, lambda model: {"a": 1.0, "b": 2.0}):
        with pytest.raises(StorageError, match=f"a log of {'a, ' if first else ''}loss, this training gives "):
            go(4, other)
    with pytest.raises((StorageError, ValueError)):
        go(4, lambda model: {"b": 1.0}, stopping=Stopping("b"))
    assert len(go(4, first).log) == 4
    assert len(go(4, lambda model: {"b": 1.0}).log) == 4  # nothing left to do


# ---------------------------------------------------------------------------------------------------------
# What a checkpoint keeps, and for whom


def size(model):
    """A figure that grows with training: its first epoch is its best."""
    return {"size": float(sum((host(p.data) ** 2).sum() for p in parameters(model)))}


def test_a_finished_training_gives_the_last_epoch_to_one_without_stopping(checkpoint):
    stopped, _, _ = run(validate=size, stopping=Stopping("size"), checkpoint=checkpoint)
    last, optimiser, done = run(validate=size, checkpoint=checkpoint)
    whole, other, _ = run(validate=size)
    assert done.best_epoch == 4
    assert bits(last, optimiser) == bits(whole, other)
    assert bits(stopped, optimiser) != bits(last, optimiser)


def test_a_checkpoint_without_the_best_epoch_is_not_taken_for_one_with_it(checkpoint):
    run(validate=size, epochs=3, checkpoint=checkpoint)
    with pytest.raises(StorageError, match=r"not stopped by 'size': it keeps .* epoch 3, .* best one, 1, are lost"):
        run(validate=size, stopping=Stopping("size"), checkpoint=checkpoint)
    _, _, done = run(validate=size, stopping=Stopping("loss"), checkpoint=checkpoint)  # whose best is the last one
    assert done.best_epoch == 4


def test_a_target_that_a_checkpoint_has_passed_is_lost(checkpoint):
    _, _, done = run(checkpoint=checkpoint)
    value = done.log[1]["loss"]
    with pytest.raises(StorageError, match="went on after an epoch whose loss was at most"):
        run(stopping=Target("loss", value), checkpoint=checkpoint, epochs=6)
    _, _, more = run(stopping=Target("loss", done.log[-1]["loss"]), checkpoint=checkpoint, epochs=6)
    assert len(more.log) == 4


class Remembering(SGD):
    """An optimiser with arrays of its own."""

    def __init__(self, owner, schedule):
        super().__init__(owner, schedule)
        self.squares = [np.zeros_like(p.data) for p in self.parameters]

    def step(self, gradients, epoch=1):
        for square, g in zip(self.squares, gradients, strict=True):
            square += g * g
        super().step(gradients, epoch)


class Plainly(SGD):
    """An optimiser of one's own without arrays of its own."""


class CountingSchedule:
    def __init__(self):
        self.calls = 0

    def at(self, update, epoch):
        self.calls += 1
        return 0.1 / self.calls, 0.5


class CountingObjective:
    def __init__(self):
        self.calls = 0

    def __call__(self, *args):
        self.calls += 1
        return losses.clean_objective(*args)


def counting(which):
    """A network, an objective and an optimiser. One of them counts its calls."""
    model = network()
    objective = CountingObjective() if which == "objective.calls" else losses.clean_objective
    if which == "optimiser.squares.0":
        return model, objective, Remembering(model, SCHEDULE)
    return model, objective, SGD(model, CountingSchedule() if which == "schedule.calls" else SCHEDULE)


@pytest.mark.parametrize("which", ["objective.calls", "schedule.calls", "optimiser.squares.0"])
def test_what_a_checkpoint_would_not_keep_is_named(which, checkpoint):
    x, y = problem()
    model, objective, optimiser = counting(which)
    train(model, objective, x, y, epochs=2, seed=0, optimiser=optimiser)
    model, objective, optimiser = counting(which)
    with pytest.raises(TypeError, match=f"training changes {which}"):
        train(model, objective, x, y, epochs=2, seed=0, optimiser=optimiser, checkpoint=checkpoint)
    assert not checkpoint.exists()


def test_another_optimiser_does_not_go_on(checkpoint):
    x, y = problem()
    for kind in (Plainly, Plainly, SGD):
        model = network()
        arguments = {"seed": 0, "optimiser": kind(model, SCHEDULE), "checkpoint": checkpoint}
        if kind is SGD:
            with pytest.raises(StorageError, match=r"another training: it has optimiser Plainly"):
                train(model, losses.clean_objective, x, y, epochs=3, **arguments)
        else:
            train(model, losses.clean_objective, x, y, epochs=2, **arguments)


def test_an_optimiser_from_before_the_network_was_turned_is_refused():
    x, y = problem()
    model = network()
    optimiser = SGD(model, SCHEDULE)
    model.to(dtype="float64")
    with pytest.raises(ValueError, match="before the model was moved or turned"):
        train(model, losses.clean_objective, x.astype("float64"), y, epochs=1, seed=0, optimiser=optimiser)


def test_parameters_that_share_memory_are_refused():
    W = np.zeros((3, 4), "float32")
    with pytest.raises(ValueError, match="0 and 1 share memory"):
        SGD([Tensor(W), Tensor(W.T)])


def test_a_last_batch_that_is_smaller_weighs_less_in_the_loss():
    still = Schedule(1e-12, decay=1.0, floor=0.0)
    model = network(keep=(1.0, 1.0))
    x, y = problem()
    done = train(model, losses.clean_objective, x, y, epochs=1, seed=0, optimiser=SGD(model, still), batch=59)
    wanted = training.mean_objective(model, losses.clean_objective, x, y, seed=0, batch=60)
    assert done.log[0]["loss"] == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("name", ["val_acc", "test-accuracy", "AUC", "f1_score", "accuracy2"])
def test_stopping_by_what_rises_is_refused_by_its_usual_names(name):
    with pytest.raises(ValueError, match="validate an error"):
        Stopping(name)


@pytest.mark.parametrize("name", ["error", "loss", "inaccuracies", "pgd_error"])
def test_stopping_by_what_falls_is_not(name):
    assert Stopping(name).quantity == name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validate": lambda model: 0.1}, "figures by name, .* got a float"),
        ({"objective": lambda *_: None}, r"gives \(J, gradients\), got a NoneType"),
        ({"objective": lambda model, *_: (Tensor(1.0), [])}, r"got a Tensor: wanted J.item\(\)"),
    ],
)
def test_what_training_is_given_is_named(options, message):
    with pytest.raises(TypeError, match=message):
        run(**options)


OBJECTIVE = """
from tinyadv import losses
EPS = 0.1
ALPHA = 0.5
def objective(model, x, y, rng):
    def inner():
        return EPS
    return losses.adversarial_objective(model, x, y, rng, inner())
"""


def test_a_constant_of_the_objective_s_module_belongs_to_the_training(checkpoint):
    def fresh(text):
        names = {"__name__": "a_notebook"}
        exec(text, names)
        return names["objective"]

    run(objective=fresh(OBJECTIVE), epochs=1, checkpoint=checkpoint)
    run(objective=fresh(OBJECTIVE.replace("ALPHA = 0.5", "ALPHA = 0.6")), epochs=2, checkpoint=checkpoint)  # not named
    with pytest.raises(StorageError, match=r"constants.objective.EPS 0.1, not 0.3"):
        run(objective=fresh(OBJECTIVE.replace("EPS = 0.1", "EPS = 0.3")), epochs=3, checkpoint=checkpoint)
