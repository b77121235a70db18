#!/bin/sh
# cenmail on Debian 12, from a bare system, as root:
#   ./install.sh demo      builds, and shows a mail's whole road on this machine's loopback
#   ./install.sh check     installs what the tests need and runs `make test`
#   ./install.sh install sender|relay    says what it will do, asks, builds and installs that part
#   ./install.sh uninstall sender|relay  the way back; configuration, queue and journal stay
#                                        (--yes does not ask; --divert: beside another mail server)
#   ./install.sh packages  installs what building needs, and stops
# Packages are only asked for where something is missing. No mail server is ever installed.
set -eu
cd "$(dirname "$0")"

BUILD_PACKAGES="gcc make libc6-dev libsqlite3-dev libsasl2-dev libsasl2-modules libssl-dev sqlite3 openssl"
TEST_PACKAGES="python3 python3-pytest python3-aiosmtpd libcmocka-dev clang libclang-rt-dev clang-format clang-tidy
	cppcheck mandoc strace valgrind swaks libnet-ssleay-perl libauthen-sasl-perl iproute2 binutils
	procps git shellcheck systemd util-linux python3-prometheus-client"

say() { printf '%s\n' "$*"; }
die() {
	printf 'install.sh: %s\n' "$*" >&2
	exit 1
}

# --- packages ---

missing_of() { # PACKAGE...: those that are not installed
	command -v dpkg-query >/dev/null || return 0 # no Debian: nobody knows
	for package in "$@"; do
		dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
			printf ' %s' "$package"
	done
}

need_packages() {
	command -v dpkg-query >/dev/null || {
		say "This is no Debian: install what goes by these names there: $*"
		return 0
	}
	missing=$(missing_of "$@")
	[ -n "$missing" ] || return 0
	[ "$(id -u)" = 0 ] || die "missing:$missing; run this as root, or install them"
	say "Installing:$missing"
	log=$(mktemp)
	for try in 1 2 3; do
		if apt-get update -qq >"$log" 2>&1 && DEBIAN_FRONTEND=noninteractive apt-get install \
			-y -qq --no-install-recommends $missing >>"$log" 2>&1; then
			rm -f "$log"
			return 0
		fi
		[ "$try" = 3 ] || sleep 2
	done
	cat "$log" >&2
	rm -f "$log"
	die "apt-get could not install:$missing"
}

jobs() { getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2; }

build() {
	log=$(mktemp)
	make -s -j"$(jobs)" "$@" >"$log" 2>&1 || {
		cat "$log" >&2
		rm -f "$log"
		die "the build failed"
	}
	rm -f "$log"
}

# --- demo ---

demo_cleanup() {
	status=$?
	trap - EXIT INT TERM HUP
	for pid in $demo_pids; do
		kill "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	if [ $status -ne 0 ] && [ -d "$dir" ]; then
		for log in "$dir"/*.log; do
			say "--- $(basename "$log")"
			tail -n 20 "$log"
		done >&2
	fi
	rm -rf "$dir"
	exit $status
}

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || step() { printf '\n== %s\n' "$*"; }
indent() { sed 's/^/    /'; }

# wait_for SECONDS WHAT COMMAND...: until it succeeds, or what was started last has ended.
wait_for() {
	tries=$(($1 * 10)) what=$2
	shift 2
	until "$@"; do
		tries=$((tries - 1))
		kill -0 "$!" 2>/dev/null || die "$what did not stay"
		[ $tries -gt 0 ] || die "waited in vain for $what"
		sleep 0.1
	done
}

port_of() { sed -n "$2" "$1" | head -n 1; }
expect() { # WHAT IS SHOULD
	[ "$2" = "$3" ] || die "$1: \"$2\", and should be \"$3\""
}

queue() { # a statement, as a table for people
	sqlite3 -box "$dir/queue/queue.db" "$1" 2>/dev/null ||
		sqlite3 -header -column "$dir/queue/queue.db" "$1"
}
value() { sqlite3 "$dir/queue/queue.db" "$1"; }

certificate() { # NAME
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 \
		-subj "/CN=$1" -addext "subjectAltName=IP:127.0.0.1" \
		-keyout "$dir/$1.key" -out "$dir/$1.crt" 2>/dev/null
	chmod 600 "$dir/$1.key"
}
pin() { # FILE
	openssl x509 -in "$1" -noout -pubkey | openssl pkey -pubin -outform DER |
		openssl dgst -sha256 -r | cut -c1-64
}
sha256() { openssl dgst -sha256 -r | cut -c1-64; }

demo_ses() {
	certificate ses
	mkdir "$dir/ses"
	build/tools/ses-stand-in --port 0 --tls starttls --certificate "$dir/ses.crt" \
		--key "$dir/ses.key" --user AKIADEMO --password "$ses_password" \
		--latency 40 --record "$dir/ses" --keep-content >"$dir/ses.log" 2>&1 &
	demo_pids="$demo_pids $!"
	wait_for 10 "the stand-in for SES" grep -q '^port ' "$dir/ses.log"
	ses_port=$(port_of "$dir/ses.log" 's/^port \([0-9]*\)$/\1/p')
	printf 'AKIADEMO:%s\n' "$ses_password" >"$dir/ses.secret"
}

demo_listener() {
	certificate relay
	printf 'demo:%s\n' "$(printf %s "$relay_password" | sha256)" >"$dir/clients"
	cat >"$dir/listen.conf" <<-END
		listen 127.0.0.1:0 tls
		certificate $dir/relay.crt
		key $dir/relay.key
		allow 127.0.0.0/8
		clients $dir/clients
		upstream smtp+starttls://127.0.0.1:$ses_port pin=sha256:$(pin "$dir/ses.crt") secret=$dir/ses.secret
		journal $dir/journal/journal.db
		log stderr
	END
	mkdir "$dir/journal"
	build/cenmail-listen -C "$dir/listen.conf" >"$dir/listen.log" 2>&1 &
	demo_pids="$demo_pids $!"
	wait_for 10 "the listener" grep -q 'listening on ' "$dir/listen.log"
	listen_port=$(port_of "$dir/listen.log" 's/.*listening on 127\.0\.0\.1:\([0-9]*\) .*/\1/p')
}

demo_sender() {
	mkdir -m 700 "$dir/queue"
	printf 'demo:%s\n' "$relay_password" >"$dir/relay.secret"
	cat >"$dir/cenmail.conf" <<-END
		queue $dir/queue/queue.db
		relay lmtps://127.0.0.1:$listen_port pin=sha256:$(pin "$dir/relay.crt") secret=$dir/relay.secret
		hostname shanghai.example.com
		linger 0
		log stderr
	END
	CENMAIL_CONF="$dir/cenmail.conf"
	export CENMAIL_CONF
	build/cenmail-flush --init >"$dir/init.log" 2>&1 || die "$(cat "$dir/init.log")"
}

demo() {
	need_packages $BUILD_PACKAGES
	step "Building (make)"
	build all tools
	dir=$(mktemp -d) demo_pids=
	trap demo_cleanup EXIT
	trap 'exit 1' INT TERM HUP
	chmod 755 "$dir"
	umask 077
	relay_password=$(openssl rand -hex 16) ses_password=$(openssl rand -hex 16)

	step "1. The far end: a stand-in for SES, and cenmail-listen before it"
	demo_ses
	say "    ses-stand-in    127.0.0.1:$ses_port, STARTTLS, password"
	demo_listener
	say "    cenmail-listen  127.0.0.1:$listen_port, TLS, password, key $(pin "$dir/relay.crt" | cut -c1-16)..."

	step "2. The near end: a queue, and a mail piped into sendmail -t"
	demo_sender
	cat >"$dir/mail" <<-'END'
		From: Demo <demo@example.com>
		To: Wang <wang@example.net>
		Bcc: audit@example.net
		Subject: =?UTF-8?B?5L2g5aW9?=
		MIME-Version: 1.0
		Content-Type: text/plain; charset=UTF-8
		Content-Transfer-Encoding: 8bit

		你好，世界。
		.. a line of dots, and the next is one alone
		.
		こんにちは
	END
	indent <"$dir/mail"
	build/sendmail -t -i -f demo@example.com <"$dir/mail" 2>"$dir/sendmail.log" ||
		die "sendmail: $(cat "$dir/sendmail.log")"
	say
	say "    sendmail ended with 0: it is on disk. select * from mailq:"
	queue "select id, sender, recipient, size, state, tries from mailq" | indent
	expect "recipients in mailq" "$(value 'select count(*) from mailq')" 2
	value "select hex(data) from content" | tr -d '\n' >"$dir/stored.hex"

	step "3. cenmail-flush sends what is due, as cron would have it do every minute"
	build/cenmail-flush >"$dir/flush.log" 2>&1 || die "cenmail-flush: $(cat "$dir/flush.log")"
	grep 'status=' "$dir/flush.log" | sed 's/.*cenmail\/smtp[^:]*: //' | fold -s -w 96 | indent
	say
	say "    select * from delivered:"
	queue "select id, recipient, ses_id from delivered" | indent
	queue "select recipient, queued, connect, hop, ses as 'ses (s)' from delivered" | indent
	expect "recipients in mailq" "$(value 'select count(*) from mailq')" 0
	expect "recipients in delivered" "$(value 'select count(*) from delivered')" 2
	expect "different SES ids" "$(value 'select count(distinct ses_id) from delivered')" 1
	expect "delays that are not there" "$(value 'select count(*) from delivered
		where queued is null or connect is null or hop is null or ses is null or ses < 0.03')" 0

	step "4. What SES got"
	demo_compare
	step "All of it is as it should be: one message, two recipients, one SES id at both ends."
}

# SES's record against the queue's, and the content against what was piped in.
demo_compare() {
	ses_id=$(value 'select ses_id from delivered limit 1')
	expect "messages at SES" "$(wc -l <"$dir/ses/messages.jsonl" | tr -d ' ')" 1
	grep -q "\"id\": *\"$ses_id\"" "$dir/ses/messages.jsonl" ||
		die "SES knows no message $ses_id: $(cat "$dir/ses/messages.jsonl")"
	for recipient in wang@example.net audit@example.net; do
		grep -q "$recipient" "$dir/ses/messages.jsonl" || die "SES has no recipient $recipient"
	done
	got="$dir/ses/$ses_id.eml"
	[ -s "$got" ] || die "SES kept no content as $ses_id.eml"
	tr -d '\r' <"$got" | fold -s -w 96 | indent
	! grep -qi '^bcc:' "$got" || die "Bcc left this host"
	# The listener puts its Received line in front; all that follows is what the queue held.
	octets=$(($(wc -c <"$dir/stored.hex") / 2))
	tail -c $octets "$got" | od -An -v -tx1 | tr -d ' \n' | tr a-f A-F >"$dir/got.hex"
	cmp "$dir/got.hex" "$dir/stored.hex" || die "what SES got is not what the queue held"
	grep -q "\"sha256\": *\"$(sha256 <"$got")\"" "$dir/ses/messages.jsonl" ||
		die "SES's digest is another: $(cat "$dir/ses/messages.jsonl")"
	body() { tr -d '\r' <"$1" | sed '1,/^$/d' | sha256; }
	expect "digest of the body" "$(body "$got")" "$(body "$dir/mail")"
	say
	say "    SES id   $ses_id, here and there"
	say "    body     sha256 $(body "$got" | cut -c1-32)..., what was piped in, octet for octet"
}

# --- check ---

check() {
	need_packages $BUILD_PACKAGES $TEST_PACKAGES
	/usr/bin/python3 tests/tools/peers.py
	exec make -j"$(jobs)" test
}

# --- install, uninstall ---

MAIL_FILES="/usr/sbin/sendmail /usr/lib/sendmail /usr/bin/mailq /usr/bin/newaliases"

plan() { printf '  - %s\n' "$*"; }
present() { [ -e "$1" ] || [ -L "$1" ]; }
ours() { grep -qs /var/spool/cenmail "$1"; } # our program has its queue's place in it
diverted() { # by us
	[ "$(dpkg-divert --listpackage "$1")" = LOCAL ] && [ "$(dpkg-divert --truename "$1")" = "$1.distrib" ]
}
package_of() { dpkg-query -S "$1" 2>/dev/null | sed -n '/diversion/!s/: .*//p' | head -n 1; }

# Any of them will do; none is there on a bare system.
cron_package() {
	command -v cron >/dev/null || command -v crond >/dev/null || command -v bcron-start >/dev/null ||
		[ -e /usr/lib/systemd/system-generators/systemd-crontab-generator ] || echo cron
}

take_arguments() {
	case ${1:-} in sender | relay) role=$1 ;; *) die "which host? \`sender\` or \`relay\`" ;; esac
	yes=false divert=false
	shift
	for word in "$@"; do
		case $word in
		--yes) yes=true ;;
		--divert) divert=true ;;
		*) die "$word: what is known is --yes and --divert" ;;
		esac
	done
	[ "$(id -u)" = 0 ] || die "run this as root"
}

agree() {
	$yes && return
	[ -t 0 ] || die "nothing was done: there is no terminal to ask on, and --yes was not given"
	printf 'Go ahead? [y/N] '
	read -r answer || answer=
	case $answer in [yY] | [yY][eE][sS]) ;; *) die "nothing was done" ;; esac
}

# What would be written over and could not come back.
check_mail_files() {
	for file in $MAIL_FILES; do
		if ! command -v dpkg-divert >/dev/null; then
			! present "$file" || ours "$file" ||
				die "nothing was done: $file is there, and without dpkg-divert it can't be kept: move it away"
		elif [ -n "$(dpkg-divert --listpackage "$file")" ]; then
			diverted "$file" && { ours "$file" || ! present "$file"; } ||
				die "nothing was done: $file is diverted already: see \`dpkg-divert --list $file\`"
		fi
	done
}

# One of an earlier user cenmail, say, who had another number.
check_spool() {
	[ ! -L /var/spool/cenmail ] ||
		die "nothing was done: /var/spool/cenmail is a link, which sendmail does not follow: mount its place there"
	[ -d /var/spool/cenmail ] || return 0
	uid=$(id -u cenmail 2>/dev/null || echo none)
	stranger=$(find /var/spool/cenmail -mindepth 1 -printf '%U %p\n' | grep -v "^$uid " | head -n 1)
	[ -z "$stranger" ] || die "nothing was done: ${stranger#* } belongs to user ${stranger%% *}, and cenmail \
could not open it: change its owner (chown -R, when there is a user cenmail), or move it away"
}

plan_sender() {
	check_mail_files
	check_spool
	foreign=
	for file in $MAIL_FILES; do
		present "$file" && ! ours "$file" || continue
		owner=$(package_of "$file")
		[ -z "$owner" ] || foreign="$foreign $owner"
		plan "keep $file${owner:+, of the package $owner,} aside as $file.distrib"
	done
	later='; what packages bring there later goes aside (dpkg-divert)'
	command -v dpkg-divert >/dev/null || later=
	plan "put our sendmail at /usr/sbin/sendmail, set-user-ID root (it becomes cenmail at once)," \
		"and under its other names$later"
	plan "make the queue in /var/spool/cenmail, and let cron start cenmail-flush every minute"
	[ -z "$foreign" ] || $divert || die "nothing was done:$foreign is the mail server here, and \
programs would no longer reach it. Remove it, or say --divert if that is meant"
}

installation() {
	take_arguments "$@"
	packages=$BUILD_PACKAGES
	[ "$role" = relay ] || packages="$packages $(cron_package)"
	say "./install.sh install $role will"
	missing=$(missing_of $packages)
	[ -z "$missing" ] || plan "install packages:$missing"
	plan "build cenmail in $PWD"
	id cenmail >/dev/null 2>&1 || plan "make the user cenmail"
	if [ "$role" = sender ]; then
		plan_sender
	else
		plan "install cenmail-listen and its systemd unit, which it does not start"
	fi
	plan "put examples into /etc/cenmail where nothing is yet"
	agree
	need_packages $packages
	build all
	id cenmail >/dev/null 2>&1 || useradd --system --user-group --no-create-home \
		--home-dir /nonexistent --shell /usr/sbin/nologin cenmail
	# A host that is left between the two has no sendmail: nobody's Ctrl-C comes here.
	trap '' INT TERM HUP
	aside=
	{ [ "$role" = relay ] || divert_mail_files; } && make -s install ROLE="$role" || {
		give_back
		die "it could not be installed; the mail server's files are as they were"
	}
	trap - INT TERM HUP
	say
	what_is_left
}

# Also where nothing is yet: a mail server that is installed later must not write over ours.
divert_mail_files() {
	command -v dpkg-divert >/dev/null || return 0
	for file in $MAIL_FILES; do
		rename=--rename
		! ours "$file" || rename=--no-rename
		diverted "$file" && continue
		[ $rename = --no-rename ] || aside="$aside $file"
		dpkg-divert --local --quiet $rename --add "$file" || return 1
	done
}

give_back() { # what this run has put aside
	for file in $aside; do
		! diverted "$file" || { rm -f "$file" && dpkg-divert --local --quiet --rename --remove "$file"; } || :
	done
}

what_is_left() {
	if [ "$role" = sender ]; then
		/usr/sbin/cenmail-flush --init
		say "The queue is there. What is left to do (README.md, \"Shanghai\"):
	/etc/cenmail/cenmail.conf    relay, domain, postmaster
	/etc/cenmail/relay.secret    name:password, as the relay's clients file knows it
	cenmail-flush --check-config
cron sends from then on, every minute."
	else
		say "What is left to do (README.md, \"Tokyo\"):
	/etc/cenmail/listen.conf     listen, certificate, key, allow, upstream
	/etc/cenmail/clients         NAME:SHA-256 of its password
	/etc/cenmail/ses.secret      user:password, SES's own SMTP credentials
	cenmail-listen --check-config && systemctl enable --now cenmail-listen"
	fi
}

uninstallation() {
	take_arguments "$@"
	[ "$role" = relay ] || ! present /usr/sbin/sendmail || ours /usr/sbin/sendmail ||
		die "nothing was done: /usr/sbin/sendmail is not cenmail's"
	say "./install.sh uninstall $role will"
	if [ "$role" = sender ]; then
		waiting=$(cenmail-sql 'select count(*) from mailq' 2>/dev/null || echo 0)
		[ "$waiting" = 0 ] || plan "leave $waiting recipients in the queue that nobody will send"
		plan "take away our sendmail and cenmail-flush"
		for file in $MAIL_FILES; do
			! present "$file.distrib" || plan "put $file.distrib back in its place"
		done
	else
		plan "stop cenmail-listen and take it away"
	fi
	plan "leave /etc/cenmail, the user cenmail, and /var/spool/cenmail or /var/lib/cenmail"
	agree
	[ "$role" = sender ] || systemctl disable --now cenmail-listen.socket cenmail-listen 2>/dev/null || :
	make -s uninstall ROLE="$role"
	if [ "$role" = sender ] && command -v dpkg-divert >/dev/null; then
		for file in $MAIL_FILES; do
			! diverted "$file" || dpkg-divert --local --quiet --rename --remove "$file"
		done
	fi
}

case ${1:-} in
demo) demo ;;
check) check ;;
install) shift && installation "$@" ;;
uninstall) shift && uninstallation "$@" ;;
packages)
	need_packages $BUILD_PACKAGES
	;;
*)
	sed -n '2,9s/^# \{0,1\}//p' "$0"
	[ "${1:-}" = --help ] || exit 64
	;;
esac
