"""Work that runs beside the stages, as tasks. An error in one is a bug of ours and ends the worker:
swallowed, it would leave its mentor for ever.
"""

import asyncio
from collections.abc import Callable, Coroutine


class Errands:
    """The tasks that have not ended. `ended` is called after each that was not cancelled: whoever
    cancels them ends the worker.
    """

    def __init__(self, ended: Callable[[], None] = lambda: None) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self._ended = ended

    def __len__(self) -> int:
        return len(self.tasks)

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Run it from now on."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            raise error  # to the loop's exception handler, which ends the worker
        self._ended()
