"""What is known of the memory that tasks need, and what sets of attempts need together."""

from __future__ import annotations

#: A task, by the names of job and task.
Owner = tuple[str, str]


class Look:
    """The next look at the memory of an attempt."""

    __slots__ = ("age_ns", "key", "last_bytes")

    def __init__(self, key: str, age_ns: int) -> None:
        self.key = key
        self.age_ns = age_ns
        #: What it used at the last look.
        self.last_bytes = 0


class TaskNeed:
    """What is known of the need of a task, and which of its attempts are on the books."""

    __slots__ = (
        "growing", "is_dull", "is_provisional", "known", "look", "owner", "recorded", "running", "young"
    )  # fmt: skip

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        #: None: unknown.
        self.known: int | None = None
        #: What is on record of it.
        self.recorded: int | None = None
        #: It is known from a look only, at an attempt that had not ended.
        self.is_provisional = False
        #: The attempt that is looked at, if one is.
        self.look: Look | None = None
        #: The last look told nothing that the end did not tell.
        self.is_dull = False
        #: How many attempts run that declare nothing; those of them that have not taken their memory yet;
        #: and the older ones of unknown need, which may still grow.
        self.running = self.young = self.growing = 0


class Sum:
    """What some attempts need together."""

    __slots__ = ("certain", "unknown_count")

    def __init__(self) -> None:
        #: The sum of all needs that are declared or known.
        self.certain = 0
        #: How many attempts have an unknown need.
        self.unknown_count = 0


class Books:
    """All tasks, and the sums of what runs and of what is young."""

    def __init__(self) -> None:
        self.tasks: dict[Owner, TaskNeed] = {}
        self.running, self.young = Sum(), Sum()
        #: The tasks of attempts that may still grow.
        self.growing: set[TaskNeed] = set()
        #: What each attempt was entered as: its task, or the need that it declares.
        self.entries: dict[str, TaskNeed | int] = {}

    def clear(self) -> None:
        """Take all attempts out; what is known of the tasks stays."""
        for one in (self.running, self.young):
            one.certain = one.unknown_count = 0
        self.growing.clear()
        self.entries.clear()
        for task in self.tasks.values():
            task.look, task.running, task.young, task.growing = None, 0, 0, 0

    def task(self, owner: Owner) -> TaskNeed:
        """Return a task."""
        task = self.tasks.get(owner)
        if task is None:
            task = self.tasks[owner] = TaskNeed(owner)
        return task

    def declare(self, key: str, need: int, *, is_young: bool) -> None:
        """Enter an attempt that declares what it needs."""
        self.entries[key] = need
        self.running.certain += need
        if is_young:
            self.young.certain += need

    def enter(self, key: str, task: TaskNeed, *, is_young: bool) -> None:
        """Enter an attempt that declares nothing."""
        self.entries[key] = task
        known = task.known
        task.running += 1
        if known is None:
            self.running.unknown_count += 1
        else:
            self.running.certain += known
        if is_young:
            task.young += 1
            if known is None:
                self.young.unknown_count += 1
            else:
                self.young.certain += known

    def end_young(self, key: str) -> bool:
        """Note that an attempt is not young any more; return whether its need is still unknown."""
        entry = self.entries[key]
        if isinstance(entry, int):
            self.young.certain -= entry
            return False
        entry.young -= 1
        if entry.known is None:
            self.young.unknown_count -= 1
            entry.growing += 1
            self.growing.add(entry)
            return True
        self.young.certain -= entry.known
        return False

    def end_growing(self, key: str) -> None:
        """Note that one of those that may grow is not looked at any more, or has ended."""
        task = self.entries[key]
        assert isinstance(task, TaskNeed)  # it declares nothing
        task.growing -= 1
        if not task.growing:
            self.growing.discard(task)

    def remove(self, key: str) -> TaskNeed | None:
        """Take an attempt out; return its task, if it declares nothing."""
        entry = self.entries.pop(key, 0)
        if isinstance(entry, int):
            self.running.certain -= entry
            return None
        entry.running -= 1
        if entry.known is None:
            self.running.unknown_count -= 1
        else:
            self.running.certain -= entry.known
        return entry

    def learn(self, task: TaskNeed, need: int) -> None:
        """Note what a task needs: that counts for all its attempts at once."""
        more = need - (task.known or 0)
        self.running.certain += more * task.running
        self.young.certain += more * task.young
        if task.known is None:
            self.running.unknown_count -= task.running
            self.young.unknown_count -= task.young
        task.known = need
        self.growing.discard(task)  # nothing of it is unknown any more
