"""A queue of many messages, made once and copied for each test that needs one."""

import shutil

import corpus
import incoming
import parts

CONTENT = b"From: app@example.com\r\nSubject: one of many\r\n\r\n" + b"x" * 251 + b"\r\n"
# Small messages, as it is rows and the depth of the trees that count. They are due in 50 minutes
# (with retry_max at its hour; beyond it they would be due, as after a clock that was wrong).
ROWS = """
pragma synchronous=off;
begin;
with recursive n(i) as (select 1 union all select i+1 from n where i<{count})
insert into message(key,submitted,uid,sender,size,eightbit,message_id)
select randomblob(16),1795000000000+i,0,'app'||(i%100)||'@example.com',{size},0,'<'||i||'@example.com>'
from n;
insert into content(message,crc,data) select id,{crc},x'{data}' from message;
insert into recipient(message,address,once,flow,next_try,since)
select id,'kunde'||id||'@example.net',randomblob(16),id%64,1000*strftime('%s','now','+50 minutes')+id%10000,submitted from message;
commit;
pragma wal_checkpoint(truncate);
"""


def by_sql(database, count):
    """The command line that fills an empty queue with `count` messages that are not due, quickly,
    as they come from no sendmail."""
    return ["sqlite3", "-cmd", ".dbconfig no_ckpt_on_close on", "-cmd",
            ".dbconfig enable_trigger off", database,
            ROWS.format(count=count, size=len(CONTENT), crc=incoming.crc32c(CONTENT),
                        data=CONTENT.hex())]


class Filled:
    """count messages of 2 KB, or another size, submitted by sendmail itself."""

    def __init__(self, directory, count, size=2048):
        self.queue = parts.Queue(directory)
        self.octets = count * size
        self.ids = [f"<p{i}@corpus.example.com>" for i in range(count)]
        corpus.submit_all(self.queue, [corpus.Plain(i, size) for i in range(count)])
        assert self.queue.states() == {"queued": count}

    def pour(self, queue):
        """Puts a copy in the place of another queue's database, which nobody has open."""
        for old in queue.database.parent.glob("queue.db*"):
            old.unlink()
        for new in self.queue.database.parent.glob("queue.db*"):
            if not new.name.endswith("-shm"):
                shutil.copy(new, queue.database.parent / new.name)
