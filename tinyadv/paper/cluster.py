"""The tasks of a run on a `dask.distributed` cluster, given by its scheduler's address.

The one idea: workers need not see this machine's files. Networks travel to them and back as the bytes of their files,
whose fingerprints are checked wherever they are read, measurements as JSON; all that is kept is kept here. A task whose
worker dies is begun again on another one.
"""

from __future__ import annotations

import queue
import re
from pathlib import Path
from typing import Any

from ..backend import check_device
from ..progress import Bars, Console, say
from ..storage import temporary_folder, write_atomically
from .lab import Lab
from .workers import Outcome, Remote, Task, TrainTask, attempt

TOPIC = "tinyadv"
PATIENCE = 3.0  # seconds in which a scheduler has to answer


def check_scheduler(address: str, device: str) -> None:
    """Raise what keeps the workers of the scheduler at `address` from being used, before any work is done.

    Raises
    ------
    ValueError
        If `dask.distributed` is not installed, or no scheduler answers within a few seconds.
    DeviceError
        If a worker does not have the device.
    """
    client = _client(address)
    try:
        client.run(check_device, device)
    finally:
        client.close()


def _client(address: str) -> Any:
    try:
        import distributed
    except ImportError as error:
        raise ValueError(
            "--scheduler needs dask.distributed, which is not installed: pip install 'tinyadv[cluster]'"
        ) from error
    if not re.fullmatch(r"(tcp|tls)://\S+:\d+", address):
        raise ValueError(f"the address of a --scheduler is tcp://HOST:PORT (or tls), got {address!r}")
    try:
        connect: Any = distributed.Client
        return connect(address, timeout=PATIENCE, set_as_default=False)
    except (TimeoutError, OSError, ValueError) as error:
        raise ValueError(f"no scheduler answers at {address!r} within {PATIENCE:.0f} seconds: {error}") from error


class Cluster:
    """Works on as many tasks at once as there are; the scheduler gives them to workers.

    Parameters
    ----------
    address : str
        The scheduler's, such as "tcp://host:8786".
    folder : path
        Where trained networks are kept here.
    device : str
        The workers' device.
    """

    def __init__(self, address: str, folder: Path, device: str) -> None:
        self.client, self.lab = _client(address), Lab(folder, device, say=say)
        self.news: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.bars, self.consoles = Bars(), dict[str, Console]()
        self.tasks, self.places = dict[str, tuple[Task, Any]](), dict[str, str]()
        self.networks = dict[str, Any]()  # by hash: where the cluster has a network's bytes
        self.client.subscribe_topic(TOPIC, lambda event: self.news.put(("message", event[1])))
        if not self.client.scheduler_info()["workers"]:
            say(f"the scheduler at {address} has no workers yet: waiting for one")

    def free(self) -> int:
        return 1_000_000

    def submit(self, task: Task) -> None:
        if isinstance(task, TrainTask) and self.lab.has(task.recipe):
            self.news.put(("outcome", Outcome(task)))
            return
        networks = {recipe.hash: self._sent(self.lab.path(recipe)) for recipe in task.recipes}
        future = self.client.submit(_serve, task, self.lab.device, networks, pure=False)
        self.tasks[future.key] = task, future
        future.add_done_callback(lambda future: self.news.put(("future", future)))

    def _sent(self, path: Path) -> Any:
        """The bytes of a network as the cluster knows them; sent, unless it still has them."""
        sent = self.networks.get(path.stem)
        if sent is None or sent.status != "finished":
            sent = self.networks[path.stem] = self.client.scatter(path.read_bytes())
        return sent

    def next(self) -> Outcome:
        while True:
            what, news = self.news.get()
            if what == "outcome":
                return news
            if what == "message" and news["task"] in self.tasks:
                self._show(news["task"], news["what"], news["arguments"])
            if what == "future" and news.key in self.tasks:
                return self._outcome(news)

    def _show(self, key: str, what: str, arguments: list[Any]) -> None:
        console = self.consoles.setdefault(key, Console(self.bars))
        if what == "say":
            say(*arguments)
        elif what == "start":
            if key in self.places:
                say(f"{self.tasks[key][0].title}: its worker, {self.places[key]}, is lost; it is begun again")
            self.places[key] = arguments[0]
            console.work(self.tasks[key][0].title)
        else:
            getattr(console, what)(*arguments)

    def _outcome(self, future: Any) -> Outcome:
        task, _ = self.tasks.pop(future.key)
        if future.key in self.consoles:
            self.consoles.pop(future.key).close()
        if future.status != "finished":  # `attempt` lets no exception through: this is the cluster's
            why = future.exception() if future.status == "error" else future.status
            return Outcome(task, error=f"lost by the cluster ({why})", died=True)
        outcome, content = future.result()
        if isinstance(task, TrainTask) and not outcome.error:
            write_atomically(self.lab.path(task.recipe), content)
        return outcome

    def close(self) -> None:
        for console in self.consoles.values():
            console.close()
        self.client.cancel([future for _, future in self.tasks.values()], force=True)
        self.client.close()


class _CancelledError(BaseException):
    """Nobody wants the task any more."""


def _serve(task: Task, device: str, networks: dict[str, bytes]) -> tuple[Outcome, bytes]:
    """Work on a task, on a worker: in a folder of its own, to which the networks that it needs are written."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def send(what: str, *arguments: Any) -> None:
        state = worker.state.tasks.get(key)
        if state is None or state.state != "executing":
            raise _CancelledError
        worker.log_event(TOPIC, {"task": key, "what": what, "arguments": arguments})

    with temporary_folder() as folder:
        for name, content in networks.items():
            write_atomically(folder / f"{name}.safetensors", content)
        send("start", worker.address)
        lab = Lab(folder, device, Remote(send), lambda line: send("say", line))
        outcome = attempt(task, lab)
        content = lab.path(task.recipe).read_bytes() if isinstance(task, TrainTask) and not outcome.error else b""
        return outcome, content
