"""The contract of the queue, a table at the head of schema.sql: each of its rows names tests, which
exist, and stands in cenmail-queue(7), too."""

import re

import tree

SCHEMA = (tree.ROOT / "queue/store/schema.sql").read_text()
HEAD = SCHEMA[:SCHEMA.index("CREATE TABLE")]
TABLE, SHOWN = HEAD.split("-- Shown by:\n")
ROW = re.compile(r"^--     (\d+) +(\S.*?)  +(yes|no) +(-|k p|k) +\S", re.M)


def test_each_place_names_tests_that_exist():
    rows = [int(n) for n, *_ in ROW.findall(TABLE)]
    assert rows == list(range(1, 13))
    shown = {}
    for number, file, name in re.findall(
            r"^--     (\d+|  |and a lost disk:) +(test_\w+\.(?:py|c))::(\w+)$", SHOWN, re.M):
        number = number.strip() or last
        last = number
        shown.setdefault(number, []).append((file, name))
    assert [n for n in shown if n.isdigit()] == [str(n) for n in rows]
    for file, name in (pair for pairs in shown.values() for pair in pairs):
        found = list((tree.ROOT / "tests").rglob(file))
        assert len(found) == 1, file
        text = found[0].read_text()
        want = rf"^def {name}\(" if file.endswith(".py") else rf"^\s*unit\w*\({name}\)"
        assert re.search(want, text, re.M), f"{file}: no test {name}"


def test_the_page_has_the_same_places():
    page = (tree.ROOT / "man/cenmail-queue.7").read_text()
    listed = re.findall(r"^\.It (.*?) Ta (yes|no) Ta (\\\(en|k p|k) Ta ", page, re.M)
    assert [(p, t, "-" if o.startswith("\\") else o) for p, t, o in listed] == \
        [(p, t, o) for _, p, t, o in ROW.findall(TABLE)]
