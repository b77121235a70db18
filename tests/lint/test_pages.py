"""The manual pages and README.md say what the programs do."""

import os
import re
import subprocess

import pytest

import tree

MAN = tree.ROOT / "man"
MAIL = ("cenmail.conf.5", "cenmail-flush", "", "mail")
LISTEN = ("listen.conf.5", "cenmail-listen",
          "listen 127.0.0.1:1 plain\nupstream smtp://127.0.0.1\n", "listen")
SET = {"listen", "upstream"}  # by that configuration


def page(name):
    return (MAN / name).read_text()


def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, **more)


# --- configuration ---

def keys_of_page(text):
    """Each key and the default that the page names: a value, "" for none, None for in words."""
    section = text.split(".Sh KEYS\n")[1].split(".Sh ")[0]
    keys = {}
    for entry in section.split(".It Ic ")[1:]:
        value = re.search(r"^Default:\n\.Cm (\S+)$", entry, re.M)
        words = re.search(r"^Default: .+$", entry, re.M)
        none = re.search(r"^No default\.$", entry, re.M)
        assert bool(value) + bool(words) + bool(none) == 1, f"no one default: {entry}"
        keys[entry.split()[0]] = value[1] if value else "" if none else None
    return keys


def keys_of_program(program, text, tmp_path):
    conf = tmp_path / "conf"
    conf.write_text(text)
    dump = run(tree.BUILD / program, "-C", conf, "--check-config")
    assert dump.returncode == 0, dump.stderr
    return dict(re.findall(r"^#?(\w+)(?: (.*))?$", dump.stdout, re.M))


@pytest.mark.parametrize("name, program, minimal, _", [MAIL, LISTEN])
def test_page_names_every_key_and_its_default(name, program, minimal, _, tmp_path):
    of_page = keys_of_page(page(name))
    of_program = keys_of_program(program, minimal, tmp_path)
    assert list(of_page) == list(of_program)
    for key, default in of_page.items():
        if default is not None and key not in SET:
            assert default == of_program[key], key


@pytest.mark.parametrize("name, _p, _m, struct", [MAIL, LISTEN])
def test_page_names_the_keys_without_effect(name, _p, _m, struct):
    """A key's field that no code but the table's own reads (conf->key, c->key) has no effect."""
    users = [p for p in tree.code() if not re.match(r"conf\w*\.[ch]$", p.name)]
    words = {"mail": ("sendmail", "queue/flush", "queue/base"), "listen": ("queue/listen",)}[struct]
    text = "\n".join(tree.without_comments(p.read_text()) for p in users
                     if tree.name(p.parent) in words)
    unread = {k for k in keys_of_page(page(name)) if not re.search(rf"\b(?:conf|c)(?:->|\.){k}\b", text)}
    section = page(name).partition(".Sh NOT YET IN EFFECT\n")[2].split(".Sh ")[0]
    assert set(re.findall(r"^\.Ic (\w+)", section, re.M)) == unread


@pytest.mark.parametrize("name, program", [("flush/cenmail.conf.in", "cenmail-flush"),
                                           ("listen/listen.conf.in", "cenmail-listen")])
def test_examples_are_accepted_once_filled_in(name, program, tmp_path):
    text = (tree.ROOT / "queue" / name).read_text().replace("@SYSCONFDIR@", "/etc/cenmail")
    text = re.sub(r"^#(?=[a-z_]+ \S)", "", text, flags=re.M).replace("sha256:HEX", "sha256:" + "0" * 64)
    keys = keys_of_program(program, text, tmp_path)
    assert keys["relay" if program == "cenmail-flush" else "upstream"]


# --- options ---

# An option, and each form of sendmail's -b and -q.
OPTION = r"(?<![\w-])(--[a-z][\w-]*|-b[A-Za-z]\b|-q15m|-q[A-Z]|-q[a-z]\b|-\w)"
THEIRS = {  # from their manual pages
    "sendmail 8.18": "-Ac -Am -B -ba -bC -bd -bD -bh -bH -bi -bm -bp -bP -bs -bt -bv -C -D -d -F -f -G -h"
                     " -i -L -N -n -O -o -p -q -q15m -qp -qf -qG -qI -qQ -qR -qS -Q -R -r -t -U -V -v -X"
                     " -c -e -I -M -m -s -T -x",
    "LSB 5.0": "-bm -bp -bs -F -f -i -odb -odf -oem -oep -oeq -oew -oi -om -t -v",
    "Postfix 3.7": "-Am -Ac -B -bd -bh -bH -bi -bm -bp -bs -bv -C -F -f -G -h -I -i -L -m -N -n -oA -O"
                   " -o7 -o8 -oi -om -o -r -R -q -q15m -qI -qR -qS -t -U -V -XV -v -X",
}

def options_of_page(text):
    """Every option that has an entry of its own, or stands in a list of others (".Fl A ,")."""
    flags = set()
    for entry in re.findall(r"^\.It (Fl .*)$", text, re.M):
        flags |= {"-" + f for f in re.findall(r"\bFl (-?[A-Za-z][\w-]*)", entry)}
    return flags | {"-" + f for f in re.findall(r"(?:^\.|^\.Po )Fl (\w+)(?: [,.;]|\n\.Pc)", text, re.M)}


def options_of_program(program):
    helped = run(tree.BUILD / program, "--help")
    assert helped.returncode == 0, helped.stderr
    lines = re.findall(r"^\s+(-.*?)(?:  |$)", helped.stdout, re.M)  # up to the explanation
    return {f for line in lines for f in re.findall(OPTION, line)} | {"--help", "--version"}


@pytest.mark.parametrize("peer, theirs", THEIRS.items())
def test_every_option_of_the_peers_is_known(peer, theirs):
    ours = options_of_program("sendmail")
    for one in theirs.split():
        assert one in ours or (one[:2] in ours and one[:2] not in ("-b", "-q")), f"{peer}: {one}"


@pytest.mark.parametrize("program", tree.PROGRAMS)
def test_page_and_help_name_the_same_options(program):
    assert options_of_page(page(program + ".8")) == options_of_program(program)


@pytest.mark.parametrize("program", tree.PROGRAMS)
def test_version(program):
    said = run(tree.BUILD / program, "--version")
    version = re.search(r"^VERSION\s*:=\s*(\S+)", (tree.ROOT / "Makefile").read_text(), re.M)[1]
    assert said.returncode == 0 and version in said.stdout


# --- the queue ---

def statements_of_page():
    blocks = re.findall(r"^\.Bd -literal -offset indent\n(.*?)^\.Ed", page("cenmail-queue.7"), re.M | re.S)
    lines = [re.sub(r"\s*--.*", "", l) for b in blocks for l in b.splitlines()]
    assert len(lines) > 10
    return lines


@pytest.mark.parametrize("statement", statements_of_page())
def test_statements_of_the_page_work(statement, tmp_path):
    conf = tmp_path / "conf"
    conf.write_text(f"queue {tmp_path}/queue.db\nlog stderr\n")
    env = dict(os.environ, CENMAIL_CONF=str(conf))
    assert run(tree.BUILD / "cenmail-flush", "--init", env=env).returncode == 0
    for _ in range(17):
        sent = run(tree.BUILD / "sendmail", "-f", "a@example.com", "b@example.com", input="x\n", env=env)
        assert sent.returncode == 0, sent.stderr
    statement = statement.replace("id=23", "id=17") if "recipient" in statement else statement
    if "and state='held'" in statement:
        statement = "update recipient set state='held' where message=17; " + statement
    done = run(tree.ROOT / "queue/store/cenmail-sql", statement + " select changes();", env=env)
    assert done.returncode == 0, done.stderr
    if not statement.startswith("select"):
        assert done.stdout.strip() == "1"


def test_page_names_every_column_of_every_view():
    text = page("cenmail-queue.7")
    schema = (tree.ROOT / "queue/store/schema.sql").read_text()
    for view, body in re.findall(r"CREATE VIEW (\w+) AS SELECT\n(.*?);\n", schema, re.S):
        entry = re.search(rf"^\.It Sy {view}\n(.*?)^\.(?:It|El)", text, re.M | re.S)
        assert entry, f"{view} has no entry"
        named = set(re.findall(r"[\w]+", " ".join(re.findall(r"^\.Sy (.*)$", entry[1], re.M))))
        out = re.split(r"\bFROM\b(?![^(]*\))", body)[0]
        columns = set(re.findall(r"\bAS (\w+)", out)) - {"INTEGER", "BLOB"}
        assert columns <= named, f"{view}: {columns - named}"


# --- README.md, and the pages among themselves ---

def readme_blocks():
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", (tree.ROOT / "README.md").read_text(), re.M | re.S))


def test_readme_commands_exist():
    blocks = readme_blocks()
    install = (tree.ROOT / "install.sh").read_text()
    makefile = (tree.ROOT / "Makefile").read_text()
    for command in re.findall(r"\./install\.sh (\w+)", blocks):
        assert re.search(rf"^\t?{command}\)", install, re.M), command
    for target in re.findall(r"^\s*make ([a-z]+)", blocks, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target
    for program in re.findall(r"\bcenmail-[a-z]+\b", blocks):
        assert re.search(rf"/{program}\b", makefile), program
    assert "./install.sh demo" in blocks and "./install.sh check" in blocks


def test_ci_runs_what_readme_says():
    assert "install.sh\" check" in (tree.ROOT / ".ci/run").read_text()


def test_readme_layout_exists():
    text = (tree.ROOT / "README.md").read_text()
    layout = re.search(r"## Layout\n.*?```\n(.*?)```", text, re.S)[1]
    for path in re.findall(r"^(\S+)", layout, re.M):
        assert (tree.ROOT / path).exists(), path


def test_every_page_is_installed_and_referred_to_by_its_section():
    makefile = (tree.ROOT / "Makefile").read_text()
    own = {p.stem: p.suffix[1:] for p in MAN.iterdir()}
    for p in MAN.iterdir():
        assert f"man/{p.name}" in makefile.split("define INSTALLED")[1], p.name
        for name, section in re.findall(r"^\.Xr (\S+) (\d)", p.read_text(), re.M):
            assert own.get(name, section) == section, f"{p.name}: {name}({section})"
            assert name in own or not name.startswith("cenmail"), f"{p.name}: no page {name}"
