"""How the released programs are hardened, read back from the files."""

import re
import subprocess

import pytest

import tree


def readelf(option, *files):
    return subprocess.run(["readelf", option, *(tree.BUILD / f for f in files)], check=True,
                          capture_output=True, text=True).stdout


@pytest.mark.parametrize("program", tree.PROGRAMS)
def test_hardened(program):
    header, segments = readelf("-hW", program), readelf("-lW", program)
    dynamic, symbols = readelf("-dW", program), readelf("-sDW", program)
    if "(NEEDED)" not in dynamic:  # a static one: the C library's own use of these proves nothing
        symbols = readelf("-sW", f"obj/{program}/main.o", "libcenmail.a")
    assert re.search(r"Type:\s+DYN", header), "not position-independent"
    assert "GNU_RELRO" in segments, "no RELRO"
    assert re.search(r"\(FLAGS(_1)?\).*\b(BIND_)?NOW\b", dynamic), "bound lazily"
    stack = re.search(r"GNU_STACK.*", segments)
    assert stack and not re.search(r"\bRWE\b", stack[0]), "executable stack"
    assert "(RPATH)" not in dynamic and "(RUNPATH)" not in dynamic, "a library path is built in"
    assert "__stack_chk_fail" in symbols, "no stack protector"
    assert re.search(r"__\w+_chk\b", symbols.replace("__stack_chk_fail", "")), "not fortified"


def test_control_flow_is_protected():
    """In every object: in a program the C library's start code may lack it, and then it is off."""
    objects = [o for o in tree.BUILD.glob("obj/**/*.o")
               if (tree.ROOT / o.relative_to(tree.BUILD / "obj")).with_suffix(".c").exists()]
    assert objects
    if not re.search(r"Machine:.*X86-64", readelf("-hW", objects[0])):
        pytest.skip("cf-protection is of x86-64")
    without = [tree.name(o) for o in objects
               if not re.search(r"x86 feature:.*IBT.*SHSTK", readelf("-nW", o))]
    assert not without


def test_sendmail_is_static_and_says_what_is_in_it():
    """After an update of these packages it has to be made again, and --version has to show it."""
    said = subprocess.run([tree.BUILD / "sendmail", "--version"], check=True, capture_output=True,
                          text=True).stdout
    if "(NEEDED)" in readelf("-dW", "sendmail"):
        assert said.startswith("cenmail ") and "built in" not in said
        pytest.skip("made with STATIC=no, or without libsqlite3.a")
    have = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version} ", "libsqlite3-dev",
                           "libc6-dev"], check=True, capture_output=True, text=True).stdout
    assert said.rstrip().endswith("built in: " + have.strip())
    assert "INTERP" not in readelf("-lW", "sendmail"), "it asks for a dynamic loader"
