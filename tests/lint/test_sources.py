"""Rules of the house that no compiler checks."""

import re

import pytest

import tree

LINES_MAX = 450
TEST_LINES_MAX = 600  # tables of cases

# What came into SQL after 3.26, which is what Alibaba Cloud Linux 3 ships.
SQL_NEWER = {
    r"\bRETURNING\b": "3.35",
    r"\)\s*(?:WITHOUT\s+ROWID\s*,\s*)?STRICT\b": "3.37",
    r"\bGENERATED\s+ALWAYS\b": "3.31",
    r"\bAS\s*\([^()]*\)\s*(?:STORED|VIRTUAL)\b": "3.31",
    r"\bunixepoch\s*\(": "3.38",
    r"\biif\s*\(": "3.32",
    r"->>?\s*'": "3.38",
    r"\bMATERIALIZED\b": "3.35",
    r"\bDROP\s+COLUMN\b": "3.35",
    r"\bIS\s+(?:NOT\s+)?DISTINCT\s+FROM\b": "3.39",
    r"\b(?:RIGHT|FULL)\s+(?:OUTER\s+)?JOIN\b": "3.39",
    r"\bNULLS\s+(?:FIRST|LAST)\b": "3.30",
    r"\)\s*FILTER\s*\(": "3.30",
    r"\bUPDATE\s+\w+\s+SET\b[^;()]*\bFROM\b": "3.33",
    r"\b(?:ceil|floor|sqrt|pow|power|ln|log10|log2)\s*\(": "3.35",
    r"\b(?:concat|concat_ws|string_agg|octet_length|timediff|unhex)\s*\(": "3.41 or later",
    r"\bjson\w*\s*\(": "an extension in 3.26",
}
SQL_BEGINS = re.compile(
    r"^\s*(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|WITH|REPLACE|PRAGMA|BEGIN|COMMIT)\b", re.I)

# Names that SQLite 3.26's header and OpenSSL 1.1.1's do not have. A file may use one between
# #ifdef NAME and #endif.
C_NEWER = re.compile(
    r"\b(sqlite3_(?:changes64|total_changes64|error_offset|txn_state|hard_heap_limit64|uri_key"
    r"|filename_\w+|create_filename|database_file_object|autovacuum_pages|drop_modules"
    r"|value_encoding|str_\w+_?|is_interrupted|stmt_explain|deserialize)"
    r"|SQLITE_DBCONFIG_(?:TRUSTED_SCHEMA|DQS_D[MD]L|LEGACY_ALTER_TABLE|LEGACY_FILE_FORMAT"
    r"|WRITABLE_SCHEMA|ENABLE_VIEW|STMT_SCANSTATUS|REVERSE_SCANORDER)|SQLITE_OPEN_NOFOLLOW"
    r"|SQLITE_OPEN_EXRESCODE|SQLITE_FCNTL_(?:RESERVE_BYTES|CKPT_\w+|EXTERNAL_READER)"
    r"|OSSL_\w+|EVP_(?:MAC|KDF|RAND|SIGNATURE|KEYMGMT|KEYEXCH)_\w+|EVP_Q_\w+|EVP_(?:MD|CIPHER)_fetch"
    r"|EVP_MD_free|EVP_MD_CTX_get\w+|EVP_MD_get\w+|EVP_PKEY_(?:Q_keygen|get_\w+|eq|fromdata\w*)"
    r"|EVP_PKEY_CTX_new_from_\w+|EVP_Digest\w+Init_ex2?2|EVP_default_properties\w*"
    r"|SSL_(?:CTX_new_ex|get[01]_peer_certificate|get0_group_name|set0_tmp_dh_pkey"
    r"|CTX_load_verify_(?:file|dir|store)|CTX_set0_tmp_dh_pkey|set_retry_verify|group_to_name"
    r"|OP_IGNORE_UNEXPECTED_EOF|OP_ENABLE_KTLS|R_UNEXPECTED_EOF_WHILE_READING)"
    r"|X509_(?:new_ex|get0_distinguishing_id|STORE_CTX_new_ex|STORE_load_(?:file|path|store)\w*)"
    r"|PEM_\w+_ex|BIO_new_ex|ERR_(?:raise\w*|get_error_all|peek_error_\w+)|RSA_pkey_ctx_\w+)\b")


def sql_faults(text):
    return [f"{m[0]!r} needs SQLite {since}" for pattern, since in SQL_NEWER.items()
            for m in re.finditer(pattern, text, re.I)]


def c_faults(text):
    text = tree.without_comments(text)
    guarded = set(re.findall(r"^\s*#\s*if(?:def|\s+defined\(?)\s*(\w+)", text, re.M))
    return [m[1] for m in C_NEWER.finditer(text) if m[1] not in guarded]


def test_sql_stays_within_sqlite_3_26():
    faults = []
    for p in tree.sources("queue/*/*.sql"):
        plain = re.sub(r"--[^\n]*", "", p.read_text())
        faults += [f"{tree.name(p)}: {f}" for f in sql_faults(plain)]
    for p in tree.code():
        for line, s in tree.strings(p.read_text()):
            if SQL_BEGINS.match(s):
                faults += [f"{tree.name(p)}:{line}: {f}" for f in sql_faults(s)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("text", [
    "INSERT INTO t VALUES(1) RETURNING id", "CREATE TABLE t(a) STRICT", "SELECT unixepoch()",
    "CREATE TABLE t(a, b AS (a+1) STORED)", "CREATE TABLE t(b GENERATED ALWAYS AS (a))",
    "SELECT iif(a,b,c)", "SELECT a->>'$.b' FROM t", "SELECT 1 WHERE a IS NOT DISTINCT FROM b",
    "SELECT a FROM t ORDER BY a NULLS LAST", "UPDATE t SET a=u.a FROM u WHERE t.id=u.id",
    "SELECT count(*) FILTER (WHERE a) FROM t", "SELECT a FROM t FULL OUTER JOIN u",
])
def test_newer_sql_is_seen(text):
    assert sql_faults(text)


def test_c_stays_within_openssl_1_1_1_and_sqlite_3_26():
    faults = [f"{tree.name(p)}: {f} is newer" for p in tree.code() for f in c_faults(p.read_text())]
    assert not faults, "\n".join(faults)


def test_newer_c_is_seen():
    assert c_faults("x = SSL_get1_peer_certificate(s);")
    assert c_faults("EVP_MAC *m = EVP_MAC_fetch(0, 0, 0);")
    assert c_faults("sqlite3_changes64(d);")
    assert not c_faults("#ifdef SQLITE_DBCONFIG_TRUSTED_SCHEMA\nx(SQLITE_DBCONFIG_TRUSTED_SCHEMA);\n#endif")
    assert not c_faults("/* not SSL_get1_peer_certificate */")


def test_files_are_short():
    long = [f"{tree.name(p)}: {n} lines"
            for files, most in ((tree.code(), LINES_MAX),
                                (tree.sources("tests/*/*.[ch]", "tests/*/*/*.[ch]"), TEST_LINES_MAX))
            for p in files if (n := p.read_text().count("\n")) > most]
    assert not long, "\n".join(long)


def test_every_file_says_what_it_is_for():
    faults = [tree.name(p) for p in tree.code() if not p.read_text().startswith("/*\n * ")]
    assert not faults, f"these do not open with a comment: {faults}"


def test_headers_have_guards_of_their_own():
    seen = {}
    for p in tree.code():
        if p.suffix == ".h":
            m = re.search(r"^#ifndef (CENMAIL_\w+_H)\n#define \1\n", p.read_text(), re.M)
            assert m, f"{tree.name(p)} has no guard"
            assert m[1] not in seen, f"{tree.name(p)} and {seen[m[1]]} share the guard {m[1]}"
            seen[m[1]] = tree.name(p)


# Rule 6: a POSIX lock dies when anything in the process closes the file, so only SQLite opens it.
OPENS = re.compile(r"\b(?:open|openat|fopen|freopen|creat|truncate|mmap|copy_file_range|rename|unlink)"
                   r"\s*\(([^;]*)\)")
# Where the database's own path is in hand: the names it goes by in the code.
QUEUE_PATH = re.compile(r"\bqueue\b(?!\.lock)|queue\.db|-wal|-shm|db_path|store_wal_path|sqlite3_db_filename")


def opens_of_the_queue(text):
    return [" ".join(m[0].split()) for m in OPENS.finditer(tree.without_comments(text))
            if QUEUE_PATH.search(m[1])]


def test_only_sqlite_opens_the_queue():
    faults = [f"{tree.name(p)}: {f}" for p in tree.code() if p.suffix == ".c"
              for f in opens_of_the_queue(p.read_text())]
    assert not faults, "\n".join(faults)


def test_an_open_of_the_queue_is_seen():
    assert opens_of_the_queue("int fd = open(conf->queue, O_RDONLY);")
    assert opens_of_the_queue('FILE *f = fopen("/var/spool/cenmail/queue.db-wal",\n "r");')
    assert not opens_of_the_queue("stat(conf->queue, &st); open(path, O_RDONLY);")


# Paths that any Linux has; others belong to somebody's machine.
ROOTS = set("usr etc var dev proc sys tmp bin sbin lib run home root opt srv nonexistent".split())
PATH = re.compile(r"""(?:^|[\s"'=(<`])/([a-z]\w{2,})/\w""")


def machine_paths(text):
    return [m[1] for m in PATH.finditer(text) if m[1] not in ROOTS]


def test_no_paths_of_one_machine():
    faults = []
    for p in tree.tracked():
        try:
            faults += [f"{tree.name(p)}: /{d}/" for d in machine_paths(p.read_text())]
        except UnicodeDecodeError:
            continue
    assert not faults, "\n".join(faults)


def test_a_path_of_one_machine_is_seen():
    assert machine_paths("cd /" + "builds/x")
    assert not machine_paths("/usr/bin/env, 24/7, a/b/c")
