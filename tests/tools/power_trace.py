"""What programs did to the files of one directory, and what they said and when, recorded by strace:
every octet written, every sync, every name made or taken away, in the order in which the kernel was
asked. (sendmail is linked statically, so nothing can be preloaded into it.)"""

import collections
import os
import re

CALLS = ("open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,ftruncate,"
         "truncate,fallocate,copy_file_range,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mknod,"
         "mknodat,mkdir,mkdirat,rmdir,symlink,symlinkat,fsync,fdatasync,sync,syncfs,"
         "sync_file_range,msync,mmap,exit_group")

# One operation on the disk: begins at line `at` of the trace, has returned by line `done`.
#   create PATH, mkdir PATH, unlink PATH, link PATH TO, rename PATH TO, write PATH offset data,
#   truncate PATH size, sync PATH (whole: fsync, else fdatasync)
Op = collections.namedtuple("Op", "kind path at done to offset data size whole",
                            defaults=(None, 0, b"", 0, True))
# Something said on another descriptor (fd: as strace names it), or the end of a process.
Said = collections.namedtuple("Said", "pid fd at data")


def recorder(output):
    """What to put in front of a command."""
    return ["strace", "-f", "-q", "-y", "-xx", "-s", str(1 << 24), "--seccomp-bpf",
            "-e", f"trace={CALLS}", "-e", "signal=none", "-o", output]


LINE = re.compile(r"(\d+) +(.*)", re.S)
CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)(?:<|$| )", re.S)
RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)", re.S)
EXITED = re.compile(r"\+\+\+ exited with (\d+) \+\+\+")
STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
NAMED = re.compile(r"^(AT_FDCWD|-?\d+)(?:<(.*?)>(\(deleted\))?)?$")


def unhex(text):
    return bytes.fromhex(text.replace("\\x", ""))


def octets(argument):
    """A string of strace's, in full."""
    found = STRING.fullmatch(argument)
    assert found, f"not a whole string: {argument[:80]}"
    return unhex(found.group(1))


def name(argument):
    return os.fsdecode(octets(argument))


def descriptor(argument):
    """What a descriptor stands for: a path, "pipe:[…]", "socket:[…]"; nothing for a file that has no
    name any more."""
    found = NAMED.match(argument)
    assert found, argument
    if found.group(3):
        return ""
    return os.fsdecode(unhex(found.group(2))) if found.group(2) else ""


def at_path(directory, argument):
    return os.path.normpath(os.path.join(descriptor(directory), name(argument)))


def calls(lines):
    """(pid, call, arguments, answer, line where it began, line where it returned); an exit is a
    call named "exited"."""
    begun = {}
    for at, line in enumerate(lines):
        pid, text = LINE.match(line.rstrip("\n")).groups()
        start = at
        if text.endswith("<unfinished ...>"):
            begun[pid] = at, text[:-len(" <unfinished ...>")]
            continue
        resumed = RESUMED.match(text)
        if resumed:
            start, head = begun.pop(pid)
            text = head + resumed.group(2)
        exited = EXITED.match(text)
        if exited:
            yield int(pid), "exited", [], int(exited.group(1)), at, at
            continue
        found = CALL.match(text)
        if found and found.group(3) != "?":
            yield (int(pid), found.group(1), found.group(2).split(", "), int(found.group(3)),
                   start, at)


class Trace:
    """ops: on files beneath `root`, in order. said: what was written elsewhere. exits: pid -> line.
    there: names (from root) that there were before."""

    def __init__(self, path, root, there=()):
        self.root, self.ops, self.said, self.exits = os.path.realpath(root), [], [], {}
        self.position = {}
        self.exists = {os.path.join(self.root, name) for name in there}
        with open(path, encoding="ascii") as lines:
            for call in calls(lines):
                self.take(*call)
        self.ops.sort(key=lambda op: op.done if op.kind == "sync" else op.at)

    def ours(self, path):
        return path.startswith(self.root + "/") or path == self.root

    def take(self, pid, call, args, answer, at, done):
        if call == "exited":
            self.exits[pid] = at
        elif answer >= 0 or call == "mmap":
            handler = getattr(self, "on_" + call, None)
            assert handler, f"{call} is not in the model"
            for op in handler(pid, args, answer, at, done) or ():
                if not op.path.endswith("-shm"):  # an index, made anew by whoever opens first
                    self.ops.append(op)

    # --- names ---

    def make(self, kind, path, at, done):
        if self.ours(path) and path != self.root and path not in self.exists:
            self.exists.add(path)
            yield Op(kind, path, at, done)

    def opened(self, path, flags, at, done):
        self.position[path] = 0
        if "O_CREAT" in flags:
            yield from self.make("create", path, at, done)
        if "O_TRUNC" in flags and self.ours(path):
            yield Op("truncate", path, at, done)

    def on_open(self, pid, args, answer, at, done):
        return self.opened(os.path.normpath(name(args[0])), args[1], at, done)

    def on_openat(self, pid, args, answer, at, done):
        return self.opened(at_path(args[0], args[1]), args[2], at, done)

    def on_mknod(self, pid, args, answer, at, done):
        return self.make("create", name(args[0]), at, done)

    def on_mknodat(self, pid, args, answer, at, done):
        return self.make("create", at_path(args[0], args[1]), at, done)

    def on_mkdir(self, pid, args, answer, at, done):
        return self.make("mkdir", name(args[0]), at, done)

    def on_mkdirat(self, pid, args, answer, at, done):
        return self.make("mkdir", at_path(args[0], args[1]), at, done)

    def moved(self, kind, path, to, at, done):
        assert self.ours(path) == self.ours(to), (path, to)
        if self.ours(path):
            self.exists.add(to)
            if kind == "rename":
                self.exists.discard(path)
            yield Op(kind, path, at, done, to=to)

    def on_rename(self, pid, args, answer, at, done):
        return self.moved("rename", name(args[0]), name(args[1]), at, done)

    def on_renameat(self, pid, args, answer, at, done):
        return self.moved("rename", at_path(*args[0:2]), at_path(*args[2:4]), at, done)

    on_renameat2 = on_renameat

    def on_link(self, pid, args, answer, at, done):
        return self.moved("link", name(args[0]), name(args[1]), at, done)

    def on_linkat(self, pid, args, answer, at, done):
        return self.moved("link", at_path(*args[0:2]), at_path(*args[2:4]), at, done)

    def gone(self, path, at, done):
        if self.ours(path):
            self.exists.discard(path)
            yield Op("unlink", path, at, done)

    def on_unlink(self, pid, args, answer, at, done):
        return self.gone(name(args[0]), at, done)

    def on_unlinkat(self, pid, args, answer, at, done):
        return self.gone(at_path(*args[0:2]), at, done)

    # --- content ---

    def wrote(self, pid, fd, data, offset, at, done):
        path = descriptor(fd)
        if self.ours(path):
            yield Op("write", path, at, done, offset=offset, data=data)
        else:
            self.said.append(Said(pid, fd.partition("<")[0] + " " + path, at, data))

    def on_pwrite64(self, pid, args, answer, at, done):
        return self.wrote(pid, args[0], octets(args[1])[:answer], int(args[3]), at, done)

    def on_write(self, pid, args, answer, at, done):
        path, data = descriptor(args[0]), octets(args[1])[:answer]
        if self.ours(path):  # from its beginning: one writer, who opened it
            offset = self.position[path]
            self.position[path] = offset + answer
            return self.wrote(pid, args[0], data, offset, at, done)
        return self.wrote(pid, args[0], data, 0, at, done)

    def on_writev(self, pid, args, answer, at, done):
        assert not self.ours(descriptor(args[0])), "writev to a file is not in the model"
        data = b"".join(unhex(s) for s in STRING.findall(", ".join(args[1:])))
        return self.wrote(pid, args[0], data[:answer], 0, at, done)

    on_sendmsg = on_writev

    def on_sendto(self, pid, args, answer, at, done):
        return self.wrote(pid, args[0], octets(args[1])[:answer], 0, at, done)

    def on_ftruncate(self, pid, args, answer, at, done):
        path = descriptor(args[0])
        if self.ours(path):
            yield Op("truncate", path, at, done, size=int(args[1]))

    def on_mmap(self, pid, args, answer, at, done):
        """Nothing of a file's content is written through memory: nothing would record it."""
        if "MAP_SHARED" in args[3] and "PROT_WRITE" in args[2]:
            path = descriptor(args[4])
            assert not self.ours(path) or path.endswith("-shm"), f"{path} is written through memory"

    def on_fsync(self, pid, args, answer, at, done):
        path = descriptor(args[0])
        if self.ours(path):
            yield Op("sync", path, at, done)

    def on_fdatasync(self, pid, args, answer, at, done):
        path = descriptor(args[0])
        if self.ours(path):
            yield Op("sync", path, at, done, whole=False)

    def on_exit_group(self, pid, args, answer, at, done):
        pass
