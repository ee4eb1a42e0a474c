"""An executor for tests: it works on tasks here, so that they see what the test has changed in this process."""

from tinyadv.paper.lab import Lab
from tinyadv.paper.workers import Outcome, Task, attempt


class Inline:
    """Works on one task at a time, in this process."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.task = lab, list[Task]()

    def free(self) -> int:
        return 1 - len(self.task)

    def submit(self, task: Task) -> None:
        self.task.append(task)

    def next(self) -> Outcome:
        return attempt(self.task.pop(), self.lab)

    def close(self) -> None: ...
