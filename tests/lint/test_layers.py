"""Who may include whom, and what each program links: the layers of cenmail-internals(7)."""

import re
import subprocess

import pytest

import tree

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.M)

# A folder, and the headers that its files may include, as prefixes of "part/header.h".
LAYERS = {
    "queue/base": ["base/"],
    "queue/store": ["store/", "base/", "queue/store/schema.sql.h", "queue/store/migrate_"],
    "queue/wire": ["wire/", "base/"],
    "queue/flush": ["flush/", "store/store.h", "store/incoming.h", "store/keep.h",
                    "store/notice.h", "store/event.h", "store/capacity.h", "wire/", "base/"],
    "queue/listen": ["listen/", "store/db.h", "wire/", "base/", "queue/listen/journal.sql.h", "queue/listen/journal_2.sql.h"],
    "sendmail": ["sendmail/", "store/store.h", "store/incoming.h", "store/capacity.h", "base/",
                 "wire/line.h", "wire/server.h"],
}

# A library's headers, and the only files that may include them.
LIBRARIES = {
    r"openssl/(ssl|tls1)\.h": r"queue/wire/tls_state\.h",
    r"openssl/(x509\w*|pem|err|bio|asn1|opensslv)\.h": r"queue/wire/(tls\.c|tls_state\.h|certificate\.[ch])",
    r"openssl/(evp|crypto)\.h": r"queue/(wire/tls|wire/certificate|base/digest)\.c",
    r"openssl/.*": r"queue/base/digest\.c",
    r"sasl/.*": r"queue/wire/sasl\.c",
    r"sqlite3\.h": r"queue/store/\w+\.[ch]|queue/listen/journal\w*\.[ch]",
}

NEEDED = {
    "sendmail": {"libsqlite3.so.0", "libc.so.6"},
    "cenmail-flush": {"libsqlite3.so.0", "libsasl2.so.2", "libssl.so.3", "libcrypto.so.3",
                      "libssl.so.1.1", "libcrypto.so.1.1", "libc.so.6"},
    "cenmail-listen": {"libsqlite3.so.0", "libsasl2.so.2", "libssl.so.3", "libcrypto.so.3",
                       "libssl.so.1.1", "libcrypto.so.1.1", "libpthread.so.0", "libc.so.6"},
}


def layer_faults(name, text):
    folder = name.rsplit("/", 1)[0]
    faults = []
    for own, system in INCLUDE.findall(tree.without_comments(text)):
        if own and not any(own.startswith(p) for p in LAYERS[folder]):
            faults.append(f"{name}: {folder} may not include {own}")
        if own and ("/" not in own or ".." in own):
            faults.append(f'{name}: "{own}": headers are named by part: "base/buf.h"')
        for header, files in LIBRARIES.items():
            if system and re.fullmatch(header, system):
                if not re.fullmatch(files, name):
                    faults.append(f"{name}: {system} is for {files} alone")
                break
    return faults


def test_every_include_stays_within_its_layer():
    faults = [f for p in tree.code() for f in layer_faults(tree.name(p), p.read_text())]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("name, line", [
    ("queue/base/x.c", '#include "store/db.h"'),
    ("queue/wire/x.c", '#include "store/store.h"'),
    ("queue/listen/x.c", '#include "store/store.h"'),
    ("queue/flush/x.c", '#include "store/sql.h"'),
    ("sendmail/x.c", '#include "wire/tls.h"'),
    ("queue/base/x.c", '#include "buf.h"'),
    ("queue/listen/session.c", "#include <openssl/ssl.h>"),
    ("queue/base/random.c", "# include <openssl/evp.h>"),
    ("queue/flush/x.c", "#include <sqlite3.h>"),
    ("queue/wire/conn.c", "#include <sasl/sasl.h>"),
])
def test_a_breach_is_seen(name, line):
    assert layer_faults(name, line)


@pytest.mark.parametrize("program", tree.PROGRAMS)
def test_programs_link_what_they_need_and_no_more(program):
    dynamic = subprocess.run(["readelf", "-dW", tree.BUILD / program], check=True,
                             capture_output=True, text=True).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic))
    assert needed <= NEEDED[program], f"{program} links {needed - NEEDED[program]} too"
