"""Mail servers of others as clients of the listener: Postfix, Exim and OpenSMTPD, unpacked and never
installed (peers.py), each in a mount namespace of its own that has its changes in memory. They log
in, over TLS, and know the listener by its certificate. submit() gives one a message as its own
sendmail takes it, poke() makes it try its queue again, and log is what it has said."""

import os
import pathlib
import shutil

import peers
from harness import Program, not_here, run, wait_for
from parts import CLIENT, CLIENT_PASSWORD

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
CA = "/etc/ssl/listener.crt"
MOUNTS = """
mount -t tmpfs -o mode=755,suid,exec tmpfs /srv
for d in etc var usr; do
    mkdir /srv/$d /srv/$d.work
    mount -t overlay overlay -o lowerdir=$([ $d = usr ] && echo {usr}:)/$d,upperdir=/srv/$d,\
workdir=/srv/$d.work /$d
done
mount -t tmpfs -o mode=755 tmpfs /run
echo ready
exec tail -f /dev/null
"""


class Mta:
    """near: the listener. how: smtp or lmtp; and TLS by starttls or from the first octet (tls)."""

    usr, users = None, {}

    def __init__(self, near, how, kind):
        self.near, self.how, self.kind, self.port = near, how, kind, near.ports[kind]
        if os.getuid() != 0:
            not_here("a mail server of its own needs root")
        self.holder = Program("mta", ["unshare", "-m", "--propagation", "private", "sh", "-ec",
                                      MOUNTS.format(usr=self.unpacked())])
        self.daemon = None
        try:
            self.holder.line(lambda line: line == "ready")
        except AssertionError as why:
            self.close()
            not_here(f"mount namespaces are not permitted here: {why}")
        self.root = pathlib.Path(f"/proc/{self.holder.pid}/root")
        for name, number in self.users.items():
            self.append("etc/passwd", f"{name}:x:{number}:{number}::/nonexistent:/bin/false\n")
            self.append("etc/group", f"{name}:x:{number}:\n")
        shutil.copy(near.certificate.cert, self.root / CA.lstrip("/"))
        self.prepare()

    def close(self):
        if self.daemon:
            self.daemon.close()
        self.holder.close()

    def unpacked(self):
        raise NotImplementedError

    def prepare(self):
        raise NotImplementedError

    def append(self, path, text):
        with open(self.root / path, "a", encoding="utf-8") as f:
            f.write(text)

    def put(self, path, text, mode=0o644):
        to = self.root / path
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(text)
        to.chmod(mode)

    def own(self, path, user="root", group="root", mode=0o755):
        to = self.root / path
        to.mkdir(parents=True, exist_ok=True)
        os.chown(to, self.users.get(user, 0), self.users.get(group, 0))
        to.chmod(mode)

    def inside(self, *argv):
        return ["nsenter", "-t", str(self.holder.pid), "-m", *map(str, argv)]

    def run(self, *argv, stdin=b""):
        done = run(self.inside(*argv), stdin, env={"PATH": PATH})
        assert done.returncode == 0, (argv, done.stdout, done.stderr, self.log)
        return done.stdout.decode()

    def submit(self, message, *recipients):
        self.run("/usr/sbin/sendmail", "-i", "-f", message.sender,
                 *(recipients or (message.recipient,)), stdin=message.given)

    def start(self, *argv):
        self.daemon = Program(type(self).__name__, self.inside(*argv), env={"PATH": PATH})

    @property
    def log(self):
        return self.daemon.log if self.daemon else ""


POSTFIX_SERVICES = """
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix(Mta):
    users = {"postfix": 64101, "postdrop": 64102}
    services = POSTFIX_SERVICES + """
pickup unix n - n 1 1 pickup
verify unix - - n - 1 verify
lmtp unix - - n - - lmtp
showq unix n - n - - showq
discard unix - - n - - discard
"""
    settings = """
compatibility_level = 3.6
queue_directory = /var/spool/postfix
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
data_directory = /var/lib/postfix
mail_owner = postfix
setgid_group = postdrop
myhostname = shanghai.example.com
mydestination =
inet_interfaces = loopback-only
maillog_file = /var/log/postfix
smtp_host_lookup = native
lmtp_host_lookup = native
address_verify_map =
alias_maps =
notify_classes =
bounce_notice_recipient = nobody@example.com
transport_maps = inline:{{{{shanghai.example.com=discard:}}}}
default_transport = {how}:{where}
{how}_sasl_auth_enable = yes
{how}_sasl_password_maps = inline:{{{{127.0.0.1={client}:{password}}}}}
{how}_sasl_security_options = noanonymous
{how}_tls_security_level = secure
{how}_tls_CAfile = {ca}
{how}_tls_secure_cert_match = localhost
{how}_tls_wrappermode = {wrapped}
{how}_tls_loglevel = 1
"""

    def unpacked(self):
        return peers.tree() / "postfix/usr"

    def prepare(self):
        spool = "var/spool/postfix"
        self.own(spool)
        for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
                     "private", "saved", "trace"):
            self.own(f"{spool}/{name}", "postfix", mode=0o700)
        self.own(f"{spool}/maildrop", "postfix", "postdrop", 0o1730)
        self.own(f"{spool}/public", "postfix", "postdrop", 0o710)
        self.own(f"{spool}/pid")
        self.own("var/lib/postfix", "postfix", mode=0o700)
        where = f"[127.0.0.1]:{self.port}" if self.how == "smtp" else f"inet:[127.0.0.1]:{self.port}"
        self.put("etc/postfix/master.cf", self.services)
        self.put("etc/postfix/main.cf", self.settings.format(
            how=self.how, where=where, client=CLIENT, password=CLIENT_PASSWORD, ca=CA,
            wrapped="yes" if self.kind == "tls" else "no"))
        self.put("etc/postfix/dynamicmaps.cf", "")
        self.start("/usr/lib/postfix/sbin/master", "-d")
        wait_for(lambda: (self.root / spool / "public/pickup").exists(), what="Postfix")

    def poke(self):
        self.run("/usr/sbin/postqueue", "-f")

    @property
    def log(self):
        path = self.root / "var/log/postfix"
        return super().log + (path.read_text(errors="replace") if path.exists() else "")


class Exim(Mta):
    """Uses CHUNKING and PIPELINING, as it does where they are offered."""

    users = {"Debian-exim": 64104}
    settings = """
primary_hostname = shanghai.example.com
exim_user = Debian-exim
exim_group = Debian-exim
never_users =
domainlist local_domains =
queue_only
begin routers
up:
  driver = manualroute
  transport = up
  route_list = * 127.0.0.1
  self = send
begin transports
up:
  driver = smtp
  port = {port}
  protocol = {protocol}
  hosts_require_auth = *
  hosts_require_tls = {starttls}
  tls_verify_certificates = {ca}
  tls_verify_hosts = *
  tls_verify_cert_hostnames =
begin retry
* * F,1h,1s
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  client_send = ^{client}^{password}
"""

    def unpacked(self):
        return peers.tree(peers.fetch_mtas) / "exim4-daemon-light/usr"

    def prepare(self):
        for path in ("var/spool/exim4", "var/log/exim4"):
            self.own(path, "Debian-exim", "Debian-exim", 0o750)
        wrapped = "smtps" if self.kind == "tls" else "smtp"
        self.put("etc/exim4/exim4.conf", self.settings.format(
            port=self.port, protocol="lmtp" if self.how == "lmtp" else wrapped, ca=CA,
            starttls="*" if self.kind == "starttls" else "", client=CLIENT,
            password=CLIENT_PASSWORD))

    def poke(self):
        self.run("/usr/sbin/exim4", "-qqff")

    @property
    def log(self):
        path = self.root / "var/log/exim4/mainlog"
        return path.read_text(errors="replace") if path.exists() else ""


class OpenSmtpd(Mta):
    users = {"opensmtpd": 64105, "opensmtpq": 64106}

    def unpacked(self):
        return peers.tree(peers.fetch_mtas) / "opensmtpd/usr"

    def prepare(self):
        self.own("var/lib/opensmtpd/empty")
        os.chown(self.root / "usr/sbin/smtpctl", 0, self.users["opensmtpq"])
        (self.root / "usr/sbin/smtpctl").chmod(0o2755)
        scheme = {"tls": "smtps", "starttls": "smtp+tls", "plain": self.how}[self.kind]
        up, auth = ("", "") if self.kind == "plain" else ("up@", "auth <secrets>")
        shutil.copy(self.root / CA.lstrip("/"), self.root / "etc/ssl/certs/ca-certificates.crt")
        self.put("etc/smtpd.secrets", f"up {CLIENT}:{CLIENT_PASSWORD}\n", 0o640)
        self.put("etc/smtpd.conf", f"""
table secrets file:/etc/smtpd.secrets
listen on socket
action "up" relay host {scheme}://{up}localhost:{self.port} {auth}
match from any for any action "up"
""")
        self.start("/usr/sbin/smtpd", "-d", "-f", "/etc/smtpd.conf")
        wait_for(lambda: (self.root / "run/smtpd.sock").exists(), what="OpenSMTPD")

    def poke(self):
        self.run("/usr/sbin/smtpctl", "schedule", "all")
