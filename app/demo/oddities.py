"""What real tables also hold: a small share of rows that a clean-up or a report may stumble over."""

from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from app.demo.tasks import Story, TaskRow

_EVERY = 80  # tasks
_REMEMBERED = 64  # pictures
_OLD = timedelta(days=35)  # past every default keeping time


class Oddities:
    """Turns every 80th story into an odd one, each kind in its turn."""

    def __init__(self, now: datetime) -> None:
        self._old_before = now - _OLD
        self._pictures: deque[str] = deque(maxlen=_REMEMBERED)
        ordinary = (_missing_files, self._shared_picture, _no_finish_time, _unknown_status, _clock_went_back, _loose)
        # Only in rows that have expired: one such path in a live row is a reason not to trust any path of its column.
        hostile = (_above_the_root, _absolute, _not_canonical)
        self._young_kinds: tuple[Callable[[Story], Story], ...] = ordinary
        self._old_kinds: tuple[Callable[[Story], Story], ...] = (*ordinary, *hostile)

    def strewn(self, stories: Iterator[Story]) -> Iterator[Story]:
        """Yield the same number of stories, one in eighty of them odd."""
        for story in stories:
            turn, rest = divmod(story.task.id, _EVERY)
            old = story.task.created_at < self._old_before
            if rest == 0:
                kinds = self._old_kinds if old else self._young_kinds
                yield kinds[turn % len(kinds)](story)
            else:
                if old and story.on_disk and story.task.status == "completed":
                    self._pictures.append(story.task.image_path or "")
                yield story

    def _shared_picture(self, story: Story) -> Story:
        """Two rows name one file: both expired, or an expired one and this live one."""
        if not self._pictures:
            return story
        return story._replace(task=story.task._replace(image_path=self._pictures[story.task.id % len(self._pictures)]))


def _missing_files(story: Story) -> Story:
    task = story.task
    path = task.image_path or f"{task.created_at:%Y/%m/%d}/{task.task_id[:16]}_已丢失.jpg"
    return story._replace(task=task._replace(image_path=path), on_disk=False)


def _no_finish_time(story: Story) -> Story:
    return story._replace(task=story.task._replace(status="completed", completed_at=None, error_message=None))


def _unknown_status(story: Story) -> Story:
    return story._replace(task=story.task._replace(status="archived"))


def _clock_went_back(story: Story) -> Story:
    started = story.task.started_at
    if started is None or story.task.completed_at is None:
        return story
    finished = started - timedelta(seconds=3.2)
    return story._replace(task=story.task._replace(completed_at=finished, updated_at=finished, processing_time=-3.2))


def _loose(story: Story) -> Story:
    """A receipt whose task is not known."""
    return story if story.receipt is None else story._replace(receipt=story.receipt._replace(task_id=None))


# Nothing stands at the places these name: even a clean-up that obeyed them would find nothing to remove.


def _above_the_root(story: Story) -> Story:
    return _with_document(story, "../../gengfu-outside/合同.docx")


def _absolute(story: Story) -> Story:
    return _with_document(story, "/srv/gengfu-outside/合同.docx")


def _not_canonical(story: Story) -> Story:
    return _with_document(story, f"{story.task.created_at:%Y/%m/%d}//./{story.task.task_id[:16]}_合同.docx")


def _with_document(story: Story, path: str) -> Story:
    finished = story.task.completed_at or story.task.created_at
    odd: TaskRow = story.task._replace(
        status="completed", completed_at=finished, error_message=None, document_path=path
    )
    return story._replace(task=odd)
