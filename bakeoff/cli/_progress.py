"""The rate column of progress bars."""

from __future__ import annotations

from rich.progress import ProgressColumn, Task
from rich.text import Text


class Rate(ProgressColumn):
    """Items a second, once it is known."""

    def render(self, task: Task) -> Text:
        """Return the rate of *task* as text."""
        speed = task.finished_speed or task.speed
        return Text("" if not speed else f"{speed:,.0f}/s", style="dim")
