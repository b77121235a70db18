"""A session with a program that speaks SMTP on its standard input and output."""

import os
import re
import select
import smtplib
import socket
import subprocess

QUEUED = re.compile(rb"^250 2\.0\.0 Ok: queued as (\w+)\r\n", re.M)


class PipeSession:
    """Lock step, or all at once: say() waits for a reply, send() does not."""

    def __init__(self, argv, env, deadline=60):
        self.deadline = deadline
        self.process = subprocess.Popen([str(a) for a in argv], env=env, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        self.data = b""
        self.greeting = self.reply()

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.process.kill()
        self.process.wait()
        for pipe in self.process.stdin, self.process.stdout, self.process.stderr:
            pipe.close()

    def send(self, *lines):
        data = b"".join(x if isinstance(x, bytes) else x.encode() + b"\r\n" for x in lines)
        view = memoryview(data)
        while view:
            view = view[self.process.stdin.write(view):]

    def line(self):
        while b"\r\n" not in self.data:
            ready, _, _ = select.select([self.process.stdout], [], [], self.deadline)
            assert ready, f"no reply within {self.deadline} s; so far {self.data!r}"
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                raise EOFError(self.data)
            self.data += more
        line, _, self.data = self.data.partition(b"\r\n")
        return line.decode()

    def reply(self):
        lines = [self.line()]
        while lines[-1][3:4] == "-":
            lines.append(self.line())
        return int(lines[0][:3]), "\n".join(line[4:] for line in lines)

    def say(self, *lines):
        self.send(*lines)
        return self.reply()

    def codes(self, *lines):
        """The code of each line's reply, in lock step."""
        return [self.say(line)[0] for line in lines]

    def end(self):
        """Closes its input. (exit code, what else it said, its standard error)"""
        out, err = self.process.communicate(timeout=self.deadline)
        return self.process.returncode, self.data + out, err


class PipeSMTP(smtplib.SMTP):
    """Python's client on a program instead of a connection."""

    def __init__(self, argv, env):
        self.argv, self.program_env = argv, env
        super().__init__("program", 1, local_hostname="client.example.com")

    def _get_socket(self, host, port, timeout):
        ours, theirs = socket.socketpair()
        with theirs:
            self.program = subprocess.Popen([str(a) for a in self.argv], stdin=theirs,
                                            stdout=theirs, env=self.program_env)
        ours.settimeout(60)
        return ours
