# cenmail: see README.md. `make` leaves build/sendmail, build/cenmail-flush, build/cenmail-listen.
#   make test    unit, end-to-end and lint tests (pytest drives them all)
#   make asan    the same tests on binaries built with ASan and UBSan; make tsan: with TSan
#   make lint    cppcheck, clang-tidy, clang-format, mandoc
#   make bench   measurements beside the peers; make soak: the long forms of the tests
#   make install DESTDIR= PREFIX=/usr

PREFIX     ?= /usr
SYSCONFDIR ?= /etc/cenmail
SPOOLDIR   ?= /var/spool/cenmail
STATEDIR   ?= /var/lib/cenmail
BUILD      ?= build
CC         ?= gcc
AR         ?= ar
PYTHON     ?= /usr/bin/python3
PYTEST_ARGS ?=
VERSION    := 0.1

CPPFLAGS_OWN := -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iqueue -I. -I$(BUILD)/gen \
	-include queue/base/banned.h -DCENMAIL_VERSION='"$(VERSION)"' \
	-DCENMAIL_SYSCONFDIR='"$(SYSCONFDIR)"' -DCENMAIL_SPOOLDIR='"$(SPOOLDIR)"' \
	-DCENMAIL_STATEDIR='"$(STATEDIR)"'
WARN := -Wall -Wextra -Werror -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes \
	-Wold-style-definition -Wwrite-strings -Wvla -Wundef -Wformat=2 -Wimplicit-fallthrough \
	-Wswitch-enum -Wno-unused-parameter
HARDEN := -fstack-protector-strong -fstack-clash-protection -fPIE
ifeq ($(shell uname -m),x86_64)
HARDEN += -fcf-protection
endif
SAN ?=
ifeq ($(SAN),)
OPT ?= -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
else
OPT ?= -O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all
LDFLAGS_SAN := -fsanitize=$(SAN)
endif
CFLAGS_ALL  := -std=gnu17 $(OPT) $(WARN) $(HARDEN) $(CFLAGS)
LDFLAGS_ALL := -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed $(LDFLAGS_SAN) $(LDFLAGS)

LIBS_SENDMAIL := -lsqlite3
LIBS_FLUSH    := -lsqlite3 -lsasl2 -lssl -lcrypto
LIBS_LISTEN   := -lsqlite3 -lsasl2 -lssl -lcrypto -lpthread

MAINS := sendmail/main.c queue/flush/main.c queue/listen/main.c
SRCS  := $(filter-out $(MAINS),$(wildcard sendmail/*.c queue/*/*.c))
OBJS  := $(SRCS:%.c=$(BUILD)/obj/%.o)
LIB   := $(BUILD)/libcenmail.a
BINS  := $(BUILD)/sendmail $(BUILD)/cenmail-flush $(BUILD)/cenmail-listen
UNITS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
TOOLS := $(patsubst tests/tools/%.c,$(BUILD)/tools/%,$(wildcard tests/tools/*.c))

all: $(BINS)

$(BUILD)/sendmail: $(BUILD)/obj/sendmail/main.o $(LIB)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_SENDMAIL)
$(BUILD)/cenmail-flush: $(BUILD)/obj/queue/flush/main.o $(LIB)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_FLUSH)
$(BUILD)/cenmail-listen: $(BUILD)/obj/queue/listen/main.o $(LIB)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_LISTEN)

# Quick-append, so that two objects of one name in different folders both stay.
$(LIB): $(OBJS)
	@rm -f $@
	$(AR) qcs $@ $^

$(BUILD)/obj/%.o: %.c Makefile
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
$(BUILD)/unit/%: tests/unit/%.c $(LIB) Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_OWN) $(CFLAGS_ALL) -MMD -MP -MF $@.d $(LDFLAGS_ALL) -o $@ $< $(LIB) \
		-lcmocka $(LIBS_LISTEN)
# Test tools stand alone: they share no code with what they test.
$(BUILD)/tools/%: tests/tools/%.c Makefile
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=gnu17 $(OPT) $(WARN) $(HARDEN) $(LDFLAGS_ALL) -o $@ $< \
		-lssl -lcrypto -lpthread

test: all units tools
	CENMAIL_BUILD=$(BUILD) $(PYTHON) -m pytest tests -p no:cacheprovider $(PYTEST_ARGS)
asan:
	$(MAKE) BUILD=build/asan SAN=address,undefined test
tsan:
	$(MAKE) BUILD=build/tsan SAN=thread test
clean:
	rm -rf build

-include $(OBJS:.o=.d) $(MAINS:%.c=$(BUILD)/obj/%.d) $(UNITS:%=%.d)

.PHONY: all units tools test asan tsan clean
