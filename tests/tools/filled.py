"""A queue of many messages, made once and copied for each test that needs one."""

import shutil

import corpus
import parts


class Filled:
    """count messages of 2 KB, submitted by sendmail itself."""

    def __init__(self, directory, count):
        self.queue = parts.Queue(directory)
        self.ids = [f"<p{i}@corpus.example.com>" for i in range(count)]
        corpus.submit_all(self.queue, [corpus.Plain(i) for i in range(count)])
        assert self.queue.states() == {"queued": count}

    def pour(self, queue):
        """Puts a copy in the place of another queue's database, which nobody has open."""
        for old in queue.database.parent.glob("queue.db*"):
            old.unlink()
        for new in self.queue.database.parent.glob("queue.db*"):
            if not new.name.endswith("-shm"):
                shutil.copy(new, queue.database.parent / new.name)
