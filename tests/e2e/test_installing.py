"""./install.sh install and uninstall, run for real on a host of their own (tests/tools/host.py): they
say what they will do, do it and no more, and what was there before comes back."""

import os
import shutil
import stat

import pytest
from harness import ROOT
from host import MAIL_FILES, Host, make_install

pytestmark = pytest.mark.skipif(bool(os.environ.get("CENMAIL_SAN")),
                                reason="install.sh builds and installs the plain programs")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """All that `make install` would make is there: on the host the tree is for reading."""
    make_install(tmp_path_factory.mktemp("built"))


@pytest.fixture
def host(built, tmp_path):
    one = Host(tmp_path, users={"deploy": 64002})
    yield one
    one.close()


def install_sh(host, *arguments, **more):
    done = host.run(["sh", ROOT / "install.sh", *arguments], **more)
    return done.returncode, (done.stdout + done.stderr).decode()


def files(host):
    """Every file but those that a run may touch: path -> what it is."""
    found = {}
    for top, folders, names in os.walk(host.root):
        for name in names + [f for f in folders if os.path.islink(f"{top}/{f}")]:
            path = os.path.join(top, name)
            mode = os.lstat(path)
            found[path[len(str(host.root)):]] = (
                stat.S_IFMT(mode.st_mode), mode.st_size if stat.S_ISREG(mode.st_mode) else 0)
        folders[:] = [f for f in folders if f"{top}/{f}" != f"{host.root}/tmp"]
    return found


def foreign_mail_server(host):
    """A package with a sendmail of its own, as dpkg knows it."""
    host.put("/usr/sbin/sendmail", "#!/bin/sh\necho I am foreign\n", 0o755)
    host.put("/var/lib/dpkg/info/foreign-mta.list",
             "/.\n/usr\n/usr/sbin\n/usr/sbin/sendmail\n/usr/lib\n/usr/lib/sendmail\n")
    os.symlink("../sbin/sendmail", host.root / "usr/lib/sendmail")
    with open(host.root / "var/lib/dpkg/status", "a", encoding="utf-8") as status:
        status.write("\nPackage: foreign-mta\nStatus: install ok installed\nArchitecture: all\n"
                     "Version: 1\nMaintainer: x <x@example.com>\nDescription: x\n")


def test_nothing_is_done_unasked(host):
    before = files(host)
    code, said = install_sh(host, "install", "sender")
    assert code == 1 and "nothing was done" in said and "--yes" in said
    for words in ("user cenmail", "/usr/sbin/sendmail", "set-user-ID", "/var/spool/cenmail", "cron"):
        assert words in said
    assert files(host) == before
    assert install_sh(host, "install")[0] == 1
    assert install_sh(host, "install", "sender", "--maybe")[0] == 1
    code, said = install_sh(host, "install", "sender", "--yes", user="deploy")
    assert code == 1 and "as root" in said
    assert files(host) == before


def test_installed_it_takes_mail_and_uninstalled_it_is_gone(host):
    before = files(host)
    code, said = install_sh(host, "install", "sender", "--yes")
    assert code == 0, said
    assert "relay.secret" in said  # what is left to do
    passwd = (host.root / "etc/passwd").read_text().splitlines()
    user = next(line.split(":") for line in passwd if line.startswith("cenmail:"))
    assert int(user[2]) < 1000 and user[6].endswith("nologin")
    spool = os.stat(host.root / "var/spool/cenmail")
    assert (spool.st_uid, stat.S_IMODE(spool.st_mode)) == (int(user[2]), 0o700)
    sendmail = os.stat(host.root / "usr/sbin/sendmail")
    assert (sendmail.st_uid, stat.S_IMODE(sendmail.st_mode)) == (0, 0o4755)
    assert stat.S_IMODE(os.stat(host.root / "etc/cenmail/relay.secret").st_mode) == 0o600
    assert (host.root / "etc/cron.d/cenmail").stat().st_uid == 0
    done = host.run(["sendmail", "a@example.net"], b"x\n", "deploy")
    assert done.returncode == 0, done.stderr
    assert b"a@example.net" in host.run(["mailq"], user="deploy").stdout
    again, said = install_sh(host, "install", "sender", "--yes")  # an upgrade
    assert again == 0 and "aside" not in said.split("put our sendmail")[0], said
    assert b"a@example.net" in host.run(["mailq"], user="deploy").stdout
    code, said = install_sh(host, "uninstall", "sender", "--yes")
    assert code == 0 and "leave 1 recipients" in said, said
    left = set(files(host)) - set(before)
    assert {os.path.dirname(f) for f in left} <= {
        "/etc", "/etc/cenmail", "/var/spool/cenmail", "/var/lib/dpkg", "/var/log"}, left
    assert (host.root / "var/spool/cenmail/queue.db").stat().st_size > 0
    assert "cenmail" not in host.run(["dpkg-divert", "--list"]).stdout.decode()
    assert not host.run(["dpkg-divert", "--list", "*sendmail*"]).stdout


def test_a_mail_server_is_not_replaced_unless_that_is_meant(host):
    foreign_mail_server(host)
    before = files(host)
    code, said = install_sh(host, "install", "sender", "--yes")
    assert code == 1 and "foreign-mta" in said and "--divert" in said
    assert files(host) == before
    code, said = install_sh(host, "install", "sender", "--yes", "--divert")
    assert code == 0 and "keep /usr/sbin/sendmail, of the package foreign-mta" in said, said
    assert (host.root / "usr/sbin/sendmail.distrib").read_text().endswith("foreign\n")
    assert host.run(["sendmail", "--version"]).stdout.startswith(b"cenmail ")
    for file in MAIL_FILES:  # a mail server that comes later does not write over ours
        assert host.run(["dpkg-divert", "--truename", file]).stdout.decode().strip() == f"{file}.distrib"
    code, said = install_sh(host, "uninstall", "sender", "--yes")
    assert code == 0 and "put /usr/sbin/sendmail.distrib back" in said, said
    assert host.run(["sendmail"]).stdout == b"I am foreign\n"
    assert host.run(["/usr/lib/sendmail"]).stdout == b"I am foreign\n"


def by_hand(host):
    host.put("/usr/sbin/sendmail", "#!/bin/sh\necho by hand\n", 0o755)


def test_what_somebody_put_there_by_hand_comes_back(host):
    by_hand(host)
    code, said = install_sh(host, "install", "sender", "--yes")
    assert code == 0 and "keep /usr/sbin/sendmail aside" in said, said
    assert install_sh(host, "uninstall", "sender", "--yes")[0] == 0
    assert host.run(["sendmail"]).stdout == b"by hand\n"
    assert install_sh(host, "uninstall", "sender", "--yes")[0] == 1  # no second time
    assert host.run(["sendmail"]).stdout == b"by hand\n"


# --- what goes wrong ---


def test_what_is_not_ours_is_not_uninstalled(host):
    by_hand(host)
    before = files(host)
    code, said = install_sh(host, "uninstall", "sender", "--yes")
    assert code == 1 and "nothing was done" in said and "/usr/sbin/sendmail" in said
    done = host.run(["make", "-s", "-C", ROOT, "uninstall", "ROLE=sender"])
    assert done.returncode != 0 and b"not cenmail's" in done.stderr
    assert files(host) == before


def test_an_installation_that_fails_leaves_what_was_there(host):
    foreign_mail_server(host)
    before = files(host)
    (host.root / "usr/sbin/cenmail-flush").mkdir()  # no file can take its place
    code, said = install_sh(host, "install", "sender", "--yes", "--divert")
    assert code == 1 and "as they were" in said, said
    assert host.run(["sendmail"]).stdout == host.run(["/usr/lib/sendmail"]).stdout == b"I am foreign\n"
    assert not host.run(["dpkg-divert", "--list", "*sendmail*"]).stdout
    assert not set(before) - set(files(host))


def test_killed_between_putting_aside_and_putting_there(host):
    by_hand(host)
    divert = ["dpkg-divert", "--local", "--quiet", "--rename", "--add", "/usr/sbin/sendmail"]
    assert host.run(divert).returncode == 0
    assert install_sh(host, "uninstall", "sender", "--yes")[0] == 0
    assert host.run(["sendmail"]).stdout == b"by hand\n"
    assert host.run(divert).returncode == 0
    assert install_sh(host, "install", "sender", "--yes")[0] == 0
    assert host.run(["sendmail", "--version"]).stdout.startswith(b"cenmail ")


@pytest.mark.parametrize("divert", [["--local", "--divert", "/usr/sbin/sendmail.real"],
                                    ["--package", "wrapper", "--divert", "/usr/sbin/sendmail.real"]],
                         ids=["by hand", "by a package"])
def test_somebody_elses_diversion_stays(host, divert):
    assert host.run(["dpkg-divert", "--quiet", "--no-rename", *divert, "--add",
                     "/usr/sbin/sendmail"]).returncode == 0
    by_hand(host)
    before = files(host)
    code, said = install_sh(host, "install", "sender", "--yes", "--divert")
    assert code == 1 and "nothing was done" in said and "divert" in said, said
    assert files(host) == before


def test_a_spool_that_is_not_cenmails(host):
    spool = host.root / "var/spool/cenmail"
    shutil.rmtree(spool, ignore_errors=True)
    (host.root / "var/spool/elsewhere").mkdir()
    spool.symlink_to("elsewhere")
    code, said = install_sh(host, "install", "sender", "--yes")
    assert code == 1 and "nothing was done: /var/spool/cenmail" in said, said
    spool.unlink()
    spool.mkdir()  # as after `deluser cenmail`: the next one has another number
    host.put("/var/spool/cenmail/queue.db", "x")
    os.chown(spool / "queue.db", 64003, 64003)
    code, said = install_sh(host, "install", "sender", "--yes")
    assert code == 1 and "nothing was done: /var/spool/cenmail/queue.db" in said, said
    assert not host.run(["dpkg-divert", "--list", "*sendmail*"]).stdout
    assert (spool / "queue.db").stat().st_uid == 64003


def test_packages_that_can_not_be_had(host):
    status = host.root / "var/lib/dpkg/status"
    text = status.read_text()
    assert "\nPackage: sqlite3\nStatus: install ok installed\n" in text
    status.write_text(text.replace("\nPackage: sqlite3\nStatus: install ok installed\n",
                                   "\nPackage: sqlite3\nStatus: install ok half-installed\n"))
    (host.root / "usr/bin/apt-get").unlink()
    host.put("/usr/bin/apt-get", "#!/bin/sh\necho no route to the archive\nexit 100\n", 0o755)
    before = files(host)
    code, said = install_sh(host, "install", "sender", "--yes")
    assert code == 1 and "could not install: sqlite3" in said and "no route" in said, said
    assert files(host) == before


def test_a_host_that_is_no_debian(host):
    """It is told what to see to itself; nothing is promised that dpkg would have to do, and what is there
    is not written over. (Up to the build, in which the packages' versions would be others.)"""
    for name in ("dpkg-query", "dpkg-divert"):
        (host.root / "usr/bin" / name).unlink()
    by_hand(host)
    before = files(host)
    code, said = install_sh(host, "install", "sender", "--yes")
    assert code == 1 and "nothing was done: /usr/sbin/sendmail is there" in said, said
    assert files(host) == before
    (host.root / "usr/sbin/sendmail").unlink()
    code, said = install_sh(host, "install", "sender", "--yes")
    assert "This is no Debian" in said and "the build failed" in said, said
    assert "install packages" not in said and "dpkg-divert" not in said, said
