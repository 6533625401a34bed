"""What happens in a turn while it runs, on one line of the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.status import Status
from rich.text import Text

from turnlab.chunks import Chunk, Reply, Transcript
from turnlab.reports.words import clean
from turnlab.tasks import Task, TaskStatus
from turnlab.work import Observer


class Progress(Observer):
    """One line that says what is happening while a turn runs; nothing without a console."""

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._status: Status | None = None
        self._reply = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.hide()

    def hide(self) -> None:
        """Leave the terminal to others until there is something to say."""
        if self._status:
            self._status.stop()
        self._status = None

    def say(self, words: str) -> None:
        """Show `words` in place of what was shown, as much of them as fits a line."""
        if self._console is None:
            return
        text = Text(clean(words))
        text.truncate(max(10, self._console.width - 4), overflow="ellipsis")
        if self._status is None:
            self._status = Status(text, console=self._console)
            self._status.start()
        else:
            self._status.update(text)

    def task(self, task: Task) -> None:
        if task.status is TaskStatus.STARTED:
            self.say(f"{task.name} ...")

    def chunk(self, component: str, chunk: Chunk) -> None:
        if isinstance(chunk, Transcript):
            self._reply = ""
            self.say(f"{component}: {chunk.text}")
        elif isinstance(chunk, Reply):
            self._reply += chunk.text
            self.say(f"{component}: {self._reply[-60:]}")
