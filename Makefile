# cenmail: see README.md. `make` leaves build/sendmail, build/cenmail-flush, build/cenmail-listen.
#   make test    unit, end-to-end and lint tests (pytest drives them all)
#   make asan    the same tests on binaries built with ASan and UBSan; make tsan: with TSan
#   make lint    clang-format, cppcheck, clang-tidy, mandoc, shellcheck, and clang's own warnings
#   make fuzz    libFuzzer on each parser, FUZZ_SECONDS=60 each (tests/fuzz/fuzz.py)
#   make bench   measurements beside the peers; make soak: the long forms of the tests
#   make valgrind  the unit tests under valgrind; -j2 runs two at once
#   make install DESTDIR= PREFIX=/usr ROLE="sender relay"   (one of the two: that host's part only)

PREFIX     ?= /usr
SYSCONFDIR ?= /etc/cenmail
SPOOLDIR   ?= /var/spool/cenmail
STATEDIR   ?= /var/lib/cenmail
BUILD      ?= build
ifeq ($(origin CC),default)
CC         := gcc
endif
AR         ?= ar
PYTHON     ?= /usr/bin/python3
PYTEST_ARGS ?=
VERSION    := 0.1

# sendmail alone is linked statically where libsqlite3 and libc can be had so: most of what a call of
# it cost was the dynamic loader's, and the loader has no business in a set-user-ID program. What is
# built in is shown by `sendmail --version`, and is made again when these packages change. STATIC=no
# links it dynamically, with the name service (LDAP, sssd) for users' names.
,   := ,
SAN ?=
ifeq ($(origin STATIC),undefined)
ifeq ($(SAN),)
STATIC := $(if $(filter 2,$(words $(wildcard $(foreach l,libsqlite3.a libc.a,$(shell \
	$(CC) -print-file-name=$(l)))))),yes,no)
else
STATIC := no
endif
endif
ifeq ($(STATIC),yes)
BUILT_IN := , with these built in: $(or $(strip $(shell dpkg-query -W -f '$${Package} $${Version} ' \
	libsqlite3-dev libc6-dev 2>/dev/null || rpm -q sqlite-devel glibc-static 2>/dev/null)),unknown)
else
NSS := -DCENMAIL_NSS
endif

CPPFLAGS_OWN := -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iqueue -I. -I$(BUILD)/gen \
	-include queue/base/banned.h -DCENMAIL_VERSION='"$(VERSION)"' \
	-DCENMAIL_SYSCONFDIR='"$(SYSCONFDIR)"' -DCENMAIL_SPOOLDIR='"$(SPOOLDIR)"' \
	-DCENMAIL_STATEDIR='"$(STATEDIR)"' -DCENMAIL_FLUSH='"$(PREFIX)/sbin/cenmail-flush"'
WARN := -Wall -Wextra -Werror -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes \
	-Wold-style-definition -Wwrite-strings -Wvla -Wundef -Wformat=2 -Wimplicit-fallthrough \
	-Wswitch-enum -Wno-unused-parameter
HARDEN := -fstack-protector-strong -fstack-clash-protection -fPIE
ifeq ($(shell uname -m),x86_64)
HARDEN += -fcf-protection
endif
ifeq ($(SAN),)
OPT ?= -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
else
OPT ?= -O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all
LDFLAGS_SAN := -fsanitize=$(SAN)
endif
CFLAGS_ALL  := -std=gnu17 $(OPT) $(WARN) $(HARDEN) $(CFLAGS)
LDFLAGS_ALL := -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed $(LDFLAGS_SAN) $(LDFLAGS)

LIBS_SENDMAIL := -lsqlite3
LIBS_FLUSH    := -lsqlite3 -lsasl2 -lssl -lcrypto -lpthread
LIBS_LISTEN   := -lsqlite3 -lsasl2 -lssl -lcrypto -lpthread

MAINS := sendmail/main.c queue/flush/main.c queue/listen/main.c
SRCS  := $(filter-out $(MAINS),$(wildcard sendmail/*.c queue/*/*.c))
OBJS  := $(SRCS:%.c=$(BUILD)/obj/%.o)
LIB   := $(BUILD)/libcenmail.a
BINS  := $(BUILD)/sendmail $(BUILD)/cenmail-flush $(BUILD)/cenmail-listen
UNITS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
TOOLS := $(patsubst tests/tools/%.c,$(BUILD)/tools/%,$(wildcard tests/tools/*.c)) \
	$(patsubst tests/fault/%.c,$(BUILD)/fault/%,$(wildcard tests/fault/*.c)) \
	$(if $(SAN),,$(patsubst tests/tools/preload/%.c,$(BUILD)/fault/%.so,$(wildcard tests/tools/preload/*.c)) \
	$(BUILD)/fault/sendmail)

all: $(BINS)

# What the settings are compiled or filled into is made again when one of them changes.
SETTINGS := $(PREFIX) $(SYSCONFDIR) $(SPOOLDIR) $(STATEDIR) $(VERSION) $(CC) $(CPPFLAGS) \
	$(CFLAGS_ALL) $(LDFLAGS_ALL) $(STATIC) $(BUILT_IN)
$(BUILD)/settings: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(SETTINGS))' | cmp -s - $@ || \
		printf '%s\n' '$(subst ','\'',$(SETTINGS))' >$@
FORCE:

ifeq ($(STATIC),yes)
# The linker would warn of dlopen, with which SQLite loads extensions: it is never asked to.
QUIET := $(if $(findstring --no-warnings,$(shell $(CC) -Wl,--help 2>/dev/null)),-Wl$(,)--no-warnings)
$(BUILD)/sendmail: $(BUILD)/obj/sendmail/main.o $(LIB)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL:-pie=-static-pie) $(QUIET) -o $@ $^ $(LIBS_SENDMAIL) -lm
else
$(BUILD)/sendmail: $(BUILD)/obj/sendmail/main.o $(LIB)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_SENDMAIL)
endif
$(BUILD)/obj/sendmail/main.o: CPPFLAGS_OWN += -DCENMAIL_BUILT_IN='"$(BUILT_IN)"'
$(BUILD)/cenmail-flush: $(BUILD)/obj/queue/flush/main.o $(LIB)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_FLUSH)
$(BUILD)/cenmail-listen: $(BUILD)/obj/queue/listen/main.o $(LIB)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_LISTEN)

# Quick-append, so that two objects of one name in different folders both stay.
$(LIB): $(OBJS)
	@rm -f $@
	$(AR) qcs $@ $^

$(BUILD)/obj/%.o: %.c Makefile $(BUILD)/settings
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_OWN) $(CPPFLAGS) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# schema.sql files as C string literals: build/gen/queue/store/schema.sql.h
SQL := $(wildcard queue/*/*.sql)
GEN := $(SQL:%=$(BUILD)/gen/%.h)
$(OBJS): | $(GEN)
$(BUILD)/gen/%.sql.h: %.sql Makefile
	@mkdir -p $(@D)
	sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/"/' -e 's/$$/\\n"/' $< > $@

units: $(UNITS)
tools: $(TOOLS)
$(BUILD)/unit/%: tests/unit/%.c $(LIB) Makefile $(BUILD)/settings
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_OWN) $(CFLAGS_ALL) -MMD -MP -MF $@.d $(LDFLAGS_ALL) -o $@ $< $(LIB) \
		-lcmocka $(LIBS_LISTEN)
$(BUILD)/fault/%: tests/fault/%.c $(LIB) Makefile $(BUILD)/settings
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_OWN) $(CFLAGS_ALL) -MMD -MP -MF $@.d $(LDFLAGS_ALL) -o $@ $< $(LIB) -lsqlite3
# To be loaded before the C library, and a sendmail that loads it: the same objects, linked dynamically.
$(BUILD)/fault/%.so: tests/tools/preload/%.c Makefile $(BUILD)/settings
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=gnu17 $(OPT) $(WARN) -fPIC -shared -o $@ $<
$(BUILD)/fault/sendmail: $(BUILD)/obj/sendmail/main.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_SENDMAIL)
# What a submission can't be cheaper than; static, whatever sendmail is.
$(BUILD)/bench/floor: tests/bench/floor.c Makefile $(BUILD)/settings
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=gnu17 $(OPT) $(WARN) $(HARDEN) \
		$(LDFLAGS_ALL:-pie=-static-pie) -Wl,--no-warnings -o $@ $< -lsqlite3 -lm
# Test tools stand alone: they share no code with what they test.
$(BUILD)/tools/%: tests/tools/%.c $(wildcard tests/tools/*/*.h) Makefile $(BUILD)/settings
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=gnu17 $(OPT) $(WARN) $(HARDEN) -MMD -MP -MF $@.d $(LDFLAGS_ALL) \
		-o $@ $< -lssl -lcrypto -lpthread

# Each tests/fuzz/fuzz_*.c with libFuzzer; the library is built once more, in build/fuzz.
fuzzers:
	$(MAKE) BUILD=$(BUILD)/fuzz CC=clang SAN=fuzzer-no-link,address,undefined fuzz-binaries
fuzz-binaries: $(patsubst tests/fuzz/%.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c)) $(BUILD)/steps
$(BUILD)/fuzz_%: tests/fuzz/fuzz_%.c $(LIB) tests/fuzz/fuzz.h Makefile
	$(CC) $(CPPFLAGS_OWN) $(CFLAGS_ALL) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $< $(LIB) \
		$(LIBS_LISTEN)
# Counts steps instead of time: compiled on its own, with the compiler's callback at each block.
STEPS := tests/fuzz/steps.c $(patsubst %,queue/base/%.c,address address_list aliases buf clock err \
	field log number random recipients span spool user) \
	$(patsubst %,sendmail/%.c,intake normalise longline header compose sender)
$(BUILD)/steps: $(STEPS) $(wildcard queue/base/*.h sendmail/*.h) Makefile
	$(CC) $(CPPFLAGS_OWN) -std=gnu17 -O1 -g -fno-builtin -fsanitize-coverage=bb,trace-pc \
		-Wl,--wrap=memchr,--wrap=memcpy,--wrap=memmove -o $@ $(STEPS) -lpthread
FUZZ_SECONDS ?= 60
fuzz: fuzzers
	CENMAIL_BUILD=$(BUILD) $(PYTHON) tests/fuzz/fuzz.py --seconds $(FUZZ_SECONDS) $(FUZZ_TARGETS)

test: all units tools $(if $(SAN),,fuzzers)
	CENMAIL_BUILD=$(BUILD) CENMAIL_SAN=$(SAN) \
		$(PYTHON) -m pytest tests -p no:cacheprovider $(PYTEST_ARGS)
asan:
	$(MAKE) BUILD=build/asan SAN=address,undefined test
tsan:
	$(MAKE) BUILD=build/tsan SAN=thread test
soak:
	CENMAIL_SOAK=1 $(MAKE) test
bench: all tools $(BUILD)/bench/floor
	CENMAIL_BUILD=$(BUILD) $(PYTHON) tests/bench/bench.py
# Each unit a target of its own, so that -j spreads them.
valgrind: $(UNITS:%=%.valgrind)
%.valgrind: %
	valgrind -q --error-exitcode=1 --leak-check=full --show-leak-kinds=definite,possible \
		--errors-for-leak-kinds=definite,possible $<
clean:
	rm -rf build

# --- lint: each check is a target of its own, so that tests/lint can name the one that failed ---

SOURCES  := $(wildcard sendmail/*.[ch] queue/*/*.[ch] tests/*/*.[ch] tests/*/*/*.[ch])
HEADERS  := $(filter %.h,$(SOURCES))
ANALYSED := $(wildcard sendmail/*.c queue/*/*.c)
CHECKED  := $(ANALYSED) $(wildcard tests/unit/*.c)
PAGES    := $(wildcard man/*.[1-9])

lint: lint-format lint-man lint-shell lint-clang lint-cppcheck lint-tidy
lint-format:
	clang-format --dry-run -Werror $(SOURCES)
lint-man:
	mandoc -T lint -W warning $(PAGES)
lint-shell:
	shellcheck -S warning install.sh .ci/run queue/store/cenmail-sql
lint-cppcheck: $(GEN)
	@mkdir -p $(BUILD)/lint/cppcheck
	cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr -j2 \
		--cppcheck-build-dir=$(BUILD)/lint/cppcheck --enable=warning,performance,portability \
		--suppress=missingInclude --suppress=internalAstError \
		-Iqueue -I. -I$(BUILD)/gen -D__linux__ -D_GNU_SOURCE $(ANALYSED)
# A stamp for each file: only what changed is analysed again. `make -j lint-tidy` spreads it.
lint-tidy: $(ANALYSED:%.c=$(BUILD)/lint/%.tidy)
lint-clang: $(CHECKED:%.c=$(BUILD)/lint/%.clang)
$(BUILD)/lint/%.tidy: %.c $(HEADERS) .clang-tidy Makefile | $(GEN)
	@mkdir -p $(@D)
	clang-tidy --quiet $< -- $(CPPFLAGS_OWN) -std=gnu17 -fPIE 2>$@.err || { cat $@.err; exit 1; }
	@touch $@
$(BUILD)/lint/%.clang: %.c $(HEADERS) Makefile | $(GEN)
	@mkdir -p $(@D)
	clang -fsyntax-only $(CPPFLAGS_OWN) -std=gnu17 $(WARN) $<
	@touch $@

# --- install ---

# Files that name other files: @PREFIX@ and its kin become this build's. cenmail-sql runs as it is in
# the tree too, so there it is the defaults that are replaced.
IN   := $(wildcard queue/*/*.in)
MADE := $(IN:queue/%.in=$(BUILD)/made/%) $(BUILD)/made/store/cenmail-sql
$(BUILD)/made/store/cenmail-sql: queue/store/cenmail-sql Makefile $(BUILD)/settings
	@mkdir -p $(@D)
	sed -e 's|/etc/cenmail|$(SYSCONFDIR)|g' -e 's|/var/spool/cenmail|$(SPOOLDIR)|g' $< > $@
$(BUILD)/made/%: queue/%.in Makefile $(BUILD)/settings
	@mkdir -p $(@D)
	sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' \
		-e 's|@SPOOLDIR@|$(SPOOLDIR)|g' -e 's|@STATEDIR@|$(STATEDIR)|g' $< > $@

# One line for each thing installed: role, kind, mode, owner, where, from what. A `conf` is written
# only where there is none yet; a link's source is its text. Owners are set when root installs into
# the running system; into a DESTDIR the modes are set and the owners are left to the packager.
# A file takes the place of an older one by rename: who calls sendmail meanwhile finds one of them.
ROLE    ?= sender relay
CRONDIR ?= /etc/cron.d
UNITDIR ?= /lib/systemd/system
DOCDIR  ?= $(PREFIX)/share/doc/cenmail
MANDIR  ?= $(PREFIX)/share/man
define INSTALLED
both   dir  0755 root    $(SYSCONFDIR)
sender dir  0700 cenmail $(SPOOLDIR)
relay  dir  0700 cenmail $(STATEDIR)
sender file 4755 root    $(PREFIX)/sbin/sendmail       $(BUILD)/sendmail
sender link -    -       $(PREFIX)/lib/sendmail        ../sbin/sendmail
sender link -    -       $(PREFIX)/bin/mailq           ../sbin/sendmail
sender link -    -       $(PREFIX)/bin/newaliases      ../sbin/sendmail
sender file 0755 root    $(PREFIX)/sbin/cenmail-flush  $(BUILD)/cenmail-flush
sender file 0755 root    $(PREFIX)/sbin/cenmail-sql    $(BUILD)/made/store/cenmail-sql
relay  file 0755 root    $(PREFIX)/sbin/cenmail-listen $(BUILD)/cenmail-listen
sender file 0644 root    $(CRONDIR)/cenmail            $(BUILD)/made/flush/cenmail.cron
relay  file 0644 root    $(UNITDIR)/cenmail-listen.service $(BUILD)/made/listen/cenmail-listen.service
relay  file 0644 root    $(UNITDIR)/cenmail-listen.socket $(BUILD)/made/listen/cenmail-listen.socket
sender conf 0644 root    $(SYSCONFDIR)/cenmail.conf    $(BUILD)/made/flush/cenmail.conf
relay  conf 0644 root    $(SYSCONFDIR)/listen.conf     $(BUILD)/made/listen/listen.conf
sender conf 0600 root    $(SYSCONFDIR)/relay.secret    /dev/null
relay  conf 0600 root    $(SYSCONFDIR)/ses.secret      /dev/null
relay  conf 0600 root    $(SYSCONFDIR)/clients         /dev/null
both   file 0644 root    $(DOCDIR)/README.md           README.md
both   file 0644 root    $(DOCDIR)/LICENSE             LICENSE
both   file 0644 root    $(DOCDIR)/cenmail.conf        $(BUILD)/made/flush/cenmail.conf
both   file 0644 root    $(DOCDIR)/listen.conf         $(BUILD)/made/listen/listen.conf
sender file 0644 root    $(MANDIR)/man8/sendmail.8     man/sendmail.8
sender link -    -       $(MANDIR)/man8/mailq.8        sendmail.8
sender link -    -       $(MANDIR)/man8/newaliases.8   sendmail.8
sender file 0644 root    $(MANDIR)/man8/cenmail-flush.8 man/cenmail-flush.8
relay  file 0644 root    $(MANDIR)/man8/cenmail-listen.8 man/cenmail-listen.8
both   file 0644 root    $(MANDIR)/man5/cenmail.conf.5 man/cenmail.conf.5
both   file 0644 root    $(MANDIR)/man5/listen.conf.5 man/listen.conf.5
both   file 0644 root    $(MANDIR)/man7/cenmail-queue.7 man/cenmail-queue.7
both   file 0644 root    $(MANDIR)/man7/cenmail-internals.7 man/cenmail-internals.7
both   file 0644 root    $(MANDIR)/man7/cenmail-privileges.7 man/cenmail-privileges.7
endef
export INSTALLED

install: all $(MADE)
	@set -e; umask 022; own=false; \
	if [ "$$(id -u)" = 0 ] && [ -z "$(DESTDIR)" ]; then own=true; \
		id cenmail >/dev/null 2>&1 || { echo "make install: there is no user cenmail:" \
			"useradd --system --no-create-home --shell /usr/sbin/nologin cenmail" >&2; \
			exit 1; }; fi; \
	printf '%s\n' "$$INSTALLED" | while read -r role kind mode owner to from; do \
		case " $(ROLE) both " in *" $$role "*) ;; *) continue ;; esac; \
		to="$(DESTDIR)$$to"; who=; \
		if $$own && [ $$kind != link ]; then who="-o $$owner -g $$owner"; fi; \
		case $$kind in \
		dir)  install -d -m $$mode $$who "$$to" ;; \
		link) mkdir -p "$${to%/*}"; ln -sfn "$$from" "$$to.new"; mv -fT "$$to.new" "$$to" ;; \
		conf) [ -e "$$to" ] || install -D -m $$mode $$who "$$from" "$$to" ;; \
		file) install -D -m $$mode $$who "$$from" "$$to.new"; mv -fT "$$to.new" "$$to" ;; \
		esac; echo "$$kind $$mode $$owner $$to"; \
	done
# The table, for cenmail-privileges(7) and the tests.
installed:
	@printf '%s\n' "$$INSTALLED"
# Takes away what was installed, but never configuration, secrets, queue or journal; nor another's
# sendmail; nor what the other role, where it stays, has need of.
uninstall:
	@case " $(ROLE) " in *" sender "*) sendmail="$(DESTDIR)$(PREFIX)/sbin/sendmail"; \
		if [ -e "$$sendmail" ] && ! grep -qs "$(SPOOLDIR)" "$$sendmail"; then \
		echo "make uninstall: $$sendmail is not cenmail's: nothing was done" >&2; exit 1; fi ;; esac
	@roles="$(ROLE) both"; for other in sender:cenmail-flush relay:cenmail-listen; do \
		case " $(ROLE) " in *" $${other%:*} "*) ;; \
		*) [ ! -e "$(DESTDIR)$(PREFIX)/sbin/$${other#*:}" ] || roles="$(ROLE)" ;; esac; done; \
	printf '%s\n' "$$INSTALLED" | while read -r role kind mode owner to from; do \
		case " $$roles " in *" $$role "*) ;; *) continue ;; esac; \
		case $$kind in file|link) rm -fv "$(DESTDIR)$$to" ;; esac; \
	done

-include $(OBJS:.o=.d) $(MAINS:%.c=$(BUILD)/obj/%.d) $(UNITS:%=%.d) $(TOOLS:%=%.d)

.PHONY: all units tools fuzzers fuzz-binaries fuzz test asan tsan soak bench valgrind clean install installed uninstall
.PHONY: lint lint-format lint-man lint-shell lint-cppcheck lint-tidy lint-clang
