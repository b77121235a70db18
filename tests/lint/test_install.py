"""`make install` puts there what its table says, with the modes that it says."""

import os
import re
import stat
import subprocess

import pytest

import tree


def make(*arguments, build=tree.BUILD):
    subprocess.run(["make", "-s", f"BUILD={os.path.relpath(build, tree.ROOT)}", *arguments],
                   cwd=tree.ROOT, env=tree.make_env(), check=True, capture_output=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What a DESTDIR holds after an installation, for both roles twice over."""
    def install(role, to):
        make(f"DESTDIR={to}", f"ROLE={role}", "install")
        return to
    both = tmp_path_factory.mktemp("both")
    install("sender relay", both)
    (both / "etc/cenmail/cenmail.conf").write_text("# mine\n")
    return {"both": install("sender relay", both),
            "sender": install("sender", tmp_path_factory.mktemp("sender")),
            "relay": install("relay", tmp_path_factory.mktemp("relay"))}


@pytest.mark.parametrize("path, mode", [
    ("usr/sbin/sendmail", 0o4755), ("usr/sbin/cenmail-flush", 0o755),
    ("usr/sbin/cenmail-listen", 0o755), ("usr/sbin/cenmail-sql", 0o755),
    ("var/spool/cenmail", 0o700), ("var/lib/cenmail", 0o700), ("etc/cenmail", 0o755),
    ("etc/cenmail/relay.secret", 0o600), ("etc/cenmail/ses.secret", 0o600),
    ("etc/cenmail/clients", 0o600), ("etc/cron.d/cenmail", 0o644),
    ("lib/systemd/system/cenmail-listen.service", 0o644),
    ("lib/systemd/system/cenmail-listen.socket", 0o644),
    ("usr/share/man/man8/sendmail.8", 0o644)])
def test_modes(installed, path, mode):
    assert stat.S_IMODE(os.lstat(installed["both"] / path).st_mode) == mode


@pytest.mark.parametrize("link", ["usr/bin/mailq", "usr/bin/newaliases", "usr/lib/sendmail"])
def test_links_lead_to_sendmail(installed, link):
    assert (installed["both"] / link).resolve() == installed["both"] / "usr/sbin/sendmail"


def test_configuration_is_never_overwritten(installed):
    assert (installed["both"] / "etc/cenmail/cenmail.conf").read_text() == "# mine\n"


def test_a_relay_keeps_its_own_sendmail(installed):
    assert not (installed["relay"] / "usr/sbin/sendmail").exists()
    assert not (installed["relay"] / "etc/cron.d").exists()
    assert not (installed["sender"] / "usr/sbin/cenmail-listen").exists()


def test_nothing_is_left_to_fill_in(installed):
    for path in installed["both"].rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 100_000:
            text = path.read_bytes()
            assert b"@PREFIX@" not in text and b"DIR@" not in text, path


def files_below(directory):
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if not p.is_dir()}


def test_nothing_half_installed_stays(installed):
    assert not [f for f in files_below(installed["both"]) if f.endswith(".new")]


def test_uninstalling_leaves_configuration_and_secrets_alone(tmp_path):
    make(f"DESTDIR={tmp_path}", "install")
    assert "usr/sbin/sendmail" in files_below(tmp_path)
    make(f"DESTDIR={tmp_path}", "uninstall")
    assert files_below(tmp_path) == {f"etc/cenmail/{name}" for name in (
        "cenmail.conf", "listen.conf", "relay.secret", "ses.secret", "clients")}
    assert (tmp_path / "var/spool/cenmail").is_dir()


def test_uninstalling_one_role_leaves_the_other_whole(tmp_path):
    make(f"DESTDIR={tmp_path}", "install")
    make(f"DESTDIR={tmp_path}", "ROLE=sender", "uninstall")
    left = files_below(tmp_path)
    assert "usr/sbin/sendmail" not in left and "etc/cron.d/cenmail" not in left
    assert {"usr/sbin/cenmail-listen", "usr/share/man/man8/cenmail-listen.8",
            "usr/share/man/man5/listen.conf.5", "usr/share/doc/cenmail/LICENSE"} <= left
    make(f"DESTDIR={tmp_path}", "ROLE=relay", "uninstall")
    assert all(name.startswith("etc/cenmail/") for name in files_below(tmp_path))


def test_what_settings_are_filled_into_follows_them(tmp_path):
    cron = tmp_path / "made/flush/cenmail.cron"
    for prefix in ("/usr", "/opt/cenmail"):
        make(f"PREFIX={prefix}", os.path.relpath(cron, tree.ROOT), build=tmp_path)
        assert f" {prefix}/sbin/cenmail-flush" in cron.read_text()


def test_page_shows_every_mode():
    """cenmail-privileges(7) has the table's rows, but for documentation and links."""
    table = subprocess.run(["make", "-s", f"BUILD={tree.BUILD.relative_to(tree.ROOT)}", "installed"], cwd=tree.ROOT,
                           env=tree.make_env(), check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in table.splitlines()]
    assert len(rows) > 20
    want = {(row[4], row[2], row[3]) for row in rows if row[1] != "link" and "/share/" not in row[4]}
    page = (tree.ROOT / "man/cenmail-privileges.7").read_text()
    assert set(re.findall(r"^\.It Pa (\S+) Ta (\d+) Ta (\w+)$", page, re.M)) == want
    for row in rows:
        assert row[1] != "link" or "/share/" in row[4] or f".Pa {row[4]}" in page, row
