"""A disk that loses its power. What was synced is there. Of the rest each write is there, or not,
or a part of its sectors of 512 octets; a file may have grown without its data, or not have grown; each
name that was made, moved or taken away is so only if its directory was synced, else perhaps. A sync
of a file does nothing for its name, and fdatasync nothing for what shortens a file: no file system
that we know forgets as much as this one may."""

import os
import pathlib

SECTOR = 512


class Step:
    """Something that a disk has done (durable), or perhaps. node: what a name stands for."""

    __slots__ = ("op", "durable", "node")

    def __init__(self, op, durable=False, node=None):
        self.op, self.durable, self.node = op, durable, node


class File:
    def __init__(self, data=b""):
        self.data, self.steps = bytearray(data), []

    def settle(self):
        """What can't be undone any more becomes the content."""
        done = 0
        while done < len(self.steps) and self.steps[done].durable:
            apply_whole(self.data, self.steps[done].op)
            done += 1
        del self.steps[:done]


class Directory:
    def __init__(self):
        self.entries = {}  # name -> File, Directory: on the disk for good
        self.now = {}      # as the programs see it
        self.steps = []

    def settle(self):
        done = 0
        while done < len(self.steps) and self.steps[done].durable:
            self.change(self.entries, self.steps[done])
            done += 1
        del self.steps[:done]

    @staticmethod
    def change(entries, step):
        op = step.op
        if op.kind in ("unlink", "rename"):
            entries.pop(os.path.basename(op.path), None)
        if op.kind != "unlink":
            entries[os.path.basename(op.to or op.path)] = step.node


def apply_whole(data, op):
    if op.kind == "truncate":
        del data[op.size:]
        data.extend(bytes(op.size - len(data)))
    else:
        end = op.offset + len(op.data)
        data.extend(bytes(end - len(data)) if end > len(data) else b"")
        data[op.offset:end] = op.data


def apply_torn(data, op, rng):
    """Some sectors of a write; and the file as long as if all had come, or as the last that has."""
    first, grown, before = op.offset // SECTOR, rng.random() < 0.5, len(data)
    last_kept = 0
    whole = bytearray(data)
    apply_whole(whole, op)
    torn = data + bytes(max(0, len(whole) - before))
    for sector in range(first, (op.offset + len(op.data) - 1) // SECTOR + 1):
        if rng.random() < 0.5:
            start, end = sector * SECTOR, (sector + 1) * SECTOR
            start, end = max(start, op.offset), min(end, op.offset + len(op.data))
            torn[start:end] = whole[start:end]
            last_kept = end
    if not grown:
        del torn[max(before, last_kept):]
    data[:] = torn


class Disk:
    """Fed with the operations of a trace, one by one; at any moment it can be asked what may be
    found after its power has gone."""

    def __init__(self, root, tree=None):
        self.root = os.path.realpath(root)
        self.top = tree or Directory()

    def directory(self, path):
        node = self.top
        relative = os.path.relpath(os.path.dirname(path), self.root)
        for part in relative.split("/") if relative != "." else []:
            node = node.now[part]
        return node

    def node(self, path):
        if path == self.root:
            return self.top
        return self.directory(path).now.get(os.path.basename(path))

    def do(self, op):
        if op.kind == "sync":
            self.sync(op)
        elif op.kind in ("write", "truncate"):
            node = self.node(op.path)
            if node is not None:  # else it has no name any more
                node.steps.append(Step(op))
        else:
            self.rename(op)

    def rename(self, op):
        directory = self.directory(op.path)
        target = self.directory(op.to) if op.to else directory
        node = {"create": File, "mkdir": Directory}.get(op.kind, lambda: self.node(op.path))()
        step = Step(op, node=node)
        assert target is directory or op.kind == "rename"
        Directory.change(directory.now, step)
        directory.steps.append(step)
        if target is not directory:  # as two: out of the one, into the other
            del directory.now[os.path.basename(op.to)]
            step.op = op._replace(kind="unlink", to=None)
            made = Step(op._replace(kind="create", path=op.to, to=None), node=node)
            Directory.change(target.now, made)
            target.steps.append(made)

    def sync(self, op):
        node = self.node(op.path)
        if node is None:
            return
        covered = [step for step in node.steps if step.op.done < op.at]
        forgotten = [] if op.whole or isinstance(node, Directory) else shortened(node, covered)
        for step in covered:
            step.durable = step.durable or step not in forgotten
        node.settle()

    def pending(self):
        """How many steps may or may not have been done."""
        return sum(1 for node in walk(self.top, set()) for s in node.steps if not s.durable)

    def after(self, how, rng):
        """A legal state, as {path: octets, or None for a directory}. how: "lost", "kept", "torn"."""
        chance = {"lost": 0.0, "kept": 1.0}.get(how, rng.choice((0.1, 0.5, 0.9)))
        found, contents = {}, {}

        def keeps(step):
            return step.durable or rng.random() < chance

        def content(node):
            if node not in contents:
                data = bytearray(node.data)
                for step in node.steps:
                    if keeps(step):
                        if how == "torn" and not step.durable and step.op.kind == "write" and \
                                rng.random() < 0.5:
                            apply_torn(data, step.op, rng)
                        else:
                            apply_whole(data, step.op)
                contents[node] = bytes(data)
            return contents[node]

        def visit(node, path):
            entries = dict(node.entries)
            for step in node.steps:
                if keeps(step):
                    Directory.change(entries, step)
            for name, child in entries.items():
                if isinstance(child, Directory):
                    found[path + name] = None
                    visit(child, path + name + "/")
                else:
                    found[path + name] = content(child)

        visit(self.top, "")
        return found


def shortened(node, steps):
    """What fdatasync may leave out: that a file became shorter and has not grown since."""
    size, forgotten = len(node.data), []
    for step in steps:
        end = step.op.size if step.op.kind == "truncate" else step.op.offset + len(step.op.data)
        if end > size:
            forgotten = []
        elif step.op.kind == "truncate" and end < size:
            forgotten.append(step)
        size = end if step.op.kind == "truncate" else max(size, end)
    return forgotten


def walk(node, seen):
    if id(node) not in seen:
        seen.add(id(node))
        yield node
        if isinstance(node, Directory):
            for child in [*node.now.values(), *node.entries.values()]:
                yield from walk(child, seen)


def disk_of(root, state):
    """A disk on which a state is found: all of it durable."""
    disk = Disk(root)
    for path, data in sorted(state.items()):
        node = Directory() if data is None else File(data)
        parent = disk.directory(os.path.join(disk.root, path))
        name = os.path.basename(path)
        parent.entries[name] = parent.now[name] = node
    return disk


def write_state(state, directory):
    """Into a directory that is emptied first."""
    directory = pathlib.Path(directory)
    directory.mkdir(mode=0o700, exist_ok=True)
    for old in sorted(directory.rglob("*"), reverse=True):
        if old.is_dir():
            old.rmdir()
        else:
            old.unlink()
    for path, data in sorted(state.items()):
        if data is None:
            (directory / path).mkdir(mode=0o700)
    for path, data in state.items():
        if data is not None:
            with open(os.open(directory / path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as out:
                out.write(data)
