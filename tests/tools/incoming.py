"""The files of incoming/, written and read by somebody who has only read incoming_file.h."""

import secrets

CONTENT = b"From: s@example.com\r\nTo: r@example.net\r\nSubject: x\r\n\r\nbody\r\n"


def crc32c(data):
    crc = 0xffffffff
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def compose(*recipients, key=None, submitted=1_700_000_000_000, sender="s@example.com",
            content=CONTENT):
    """(name, octets)"""
    key = key or secrets.token_hex(16)
    head = ["cenmail incoming 1", f"key {key}", f"submitted {submitted}", "uid 1000",
            f"sender {sender}", "message-id <x@example.com>", "eightbit 0",
            *[f"recipient {r}" for r in recipients], f"size {len(content)}", "", ""]
    data = "\n".join(head).encode() + content
    return f"{submitted:015}-{key}", data + b"crc32c %08x\n" % crc32c(data)


class Incoming:
    """The directory beside a queue."""

    def __init__(self, queue):
        self.path = queue.database.parent / "incoming"

    def put(self, name, data):
        """As a sender does it: under another name first."""
        part = self.path / f"{name}.tmp"
        part.write_bytes(data)
        part.rename(self.path / name)

    @property
    def names(self):
        return sorted(p.name for p in self.path.iterdir() if p.name != "damaged")

    @property
    def damaged(self):
        return sorted(p.name for p in (self.path / "damaged").iterdir())
