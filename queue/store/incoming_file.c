/*
 * The format of a file in incoming/, written and read. What is read is believed in nothing: the
 * checksum says that it is as it was written, and each value is checked as if it said nothing.
 */
#include "store/incoming_file.h"

#include "base/address.h"
#include "base/crc.h"
#include "base/dsn.h"
#include "base/number.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC          "cenmail incoming 1\n"
#define HEADER_MAX     ((size_t)128 << 20) /* 100,000 recipients with all they may have */
#define CONTENT_MAX    ((size_t)1 << 30)
#define HEADER_PIECE   ((size_t)16 << 10)
#define RECIPIENTS_MAX 100000
#define TIME_MAX       UINT64_C(253402300799999)
#define MSGID_MAX      998
#define NOTIFY_MAX     30

/* --- written --- */

static void add(struct buf *out, const char *name, const char *value)
{
	if (value)
		buf_printf(out, "%s %s\n", name, value);
}

static void add_number(struct buf *out, const char *name, uint64_t value)
{
	buf_printf(out, "%s %llu\n", name, (unsigned long long)value);
}

/* Which would be read as a line of its own. */
static bool holds_break(const struct store_submission *m)
{
	bool any = span_has_break(span_of(m->sender)) || span_has_break(span_of(m->message_id)) ||
		   span_has_break(span_of(m->ret)) || span_has_break(span_of(m->envid));

	for (unsigned i = 0; i < m->rcpts && !any; i++)
		any = span_has_break(span_of(m->rcpt[i].address)) ||
		      span_has_break(span_of(m->rcpt[i].notify)) ||
		      span_has_break(span_of(m->rcpt[i].orcpt));
	return any;
}

int incoming_file_header(const struct store_submission *m, struct buf *out, struct err *e)
{
	char key[33];

	buf_init(out, HEADER_MAX);
	if (holds_break(m))
		return err_set(e, EX_DATAERR, "a value of the envelope holds a line end");
	hex_encode(m->key, sizeof m->key, key);
	buf_add_str(out, MAGIC);
	add(out, "key", key);
	add_number(out, "submitted", (uint64_t)m->submitted);
	add_number(out, "uid", m->uid);
	add(out, "sender", m->sender);
	add(out, "message-id", m->message_id);
	add_number(out, "eightbit", m->eightbit);
	add(out, "ret", m->ret);
	add(out, "envid", m->envid);
	for (unsigned i = 0; i < m->rcpts; i++) {
		add(out, "recipient", m->rcpt[i].address);
		add(out, "notify", m->rcpt[i].notify);
		add(out, "orcpt", m->rcpt[i].orcpt);
	}
	add_number(out, "size", m->content.n);
	buf_add_char(out, '\n');
	return out->failed ? err_set(e, EX_TEMPFAIL, "out of memory for the envelope") : 0;
}

void incoming_file_trailer(uint32_t crc, char out[INCOMING_TRAILER + 1])
{
	snprintf(out, INCOMING_TRAILER + 1, "crc32c %08x\n", (unsigned)crc);
}

/* --- read --- */

/* The next line, when it is `name VALUE`: terminates the value in place. */
static bool take(char **at, const char *end, const char *name, const char **ret)
{
	size_t n = strlen(name), left = (size_t)(end - *at);
	char *value, *stop;

	if (left < n + 2 || memcmp(*at, name, n) != 0 || (*at)[n] != ' ')
		return false;
	value = *at + n + 1;
	stop = memchr(value, '\n', (size_t)(end - value));
	if (!stop || memchr(value, '\0', (size_t)(stop - value)))
		return false;
	*stop = '\0';
	*ret = value;
	*at = stop + 1;
	return true;
}

static bool take_number(char **at, const char *end, const char *name, uint64_t max, uint64_t *ret)
{
	const char *value;

	return take(at, end, name, &value) && number_parse(span_of(value), max, ret) == 0;
}

/* Printable, at most max octets. */
static bool fits(const char *s, size_t max, char least)
{
	size_t n = 0;

	for (; s[n]; n++)
		if (n == max || s[n] < least || s[n] > '~')
			return false;
	return true;
}

/* An optional word. False: it is there, and is not one. */
static bool take_word(char **at, const char *end, const char *name, size_t max, const char **ret)
{
	const char *value = NULL;

	if (take(at, end, name, &value) && (!value[0] || !fits(value, max, '!')))
		return false;
	*ret = value;
	return true;
}

static bool is_address(const char *s)
{
	struct address a;

	return address_parse(span_of(s), &a, NULL) == 0 && strcmp(a.text, s) == 0;
}

static bool take_envelope(char **at, const char *end, struct store_submission *m)
{
	const char *key;
	uint64_t submitted, uid, eightbit;

	if (!take(at, end, "key", &key) || hex_decode(span_of(key), m->key, sizeof m->key) < 0 ||
		!take_number(at, end, "submitted", TIME_MAX, &submitted) ||
		!take_number(at, end, "uid", UINT32_MAX, &uid) ||
		!take(at, end, "sender", &m->sender) || (m->sender[0] && !is_address(m->sender)) ||
		!take(at, end, "message-id", &m->message_id) ||
		!fits(m->message_id, MSGID_MAX, ' ') ||
		!take_number(at, end, "eightbit", 1, &eightbit) ||
		!take_word(at, end, "ret", 4, &m->ret) ||
		!take_word(at, end, "envid", DSN_ENVID_MAX, &m->envid))
		return false;
	m->submitted = (int64_t)submitted;
	m->uid = (uid_t)uid;
	m->eightbit = eightbit;
	return !m->ret || strcmp(m->ret, "FULL") == 0 || strcmp(m->ret, "HDRS") == 0;
}

/* 0, or -1: EX_DATAERR, EX_TEMPFAIL. */
static int take_recipients(char **at, const char *end, struct incoming_file *f, struct err *e)
{
	unsigned room = 0, n = 0;
	const char *address;

	while (n < RECIPIENTS_MAX && take(at, end, "recipient", &address)) {
		if (n == room) {
			struct store_rcpt *grown =
				realloc(f->rcpt, (room = room ? room * 2 : 8) * sizeof *grown);
			if (!grown)
				return err_set(e, EX_TEMPFAIL, "out of memory for recipients");
			f->rcpt = grown;
		}
		f->rcpt[n] = (struct store_rcpt) { .address = address };
		if (!is_address(address) ||
			!take_word(at, end, "notify", NOTIFY_MAX, &f->rcpt[n].notify) ||
			!take_word(at, end, "orcpt", DSN_ORCPT_MAX, &f->rcpt[n].orcpt))
			return err_set(e, EX_DATAERR, "recipient %u of it is not valid", n + 1);
		n++;
	}
	f->m.rcpt = f->rcpt;
	f->m.rcpts = n;
	return n > 0 ? 0 : err_set(e, EX_DATAERR, "it has no recipient");
}

/* From the magic line to the empty one, and no octet of the content. */
static int parse_header(char **at, const char *end, struct incoming_file *f, struct err *e)
{
	const size_t magic = strlen(MAGIC);
	uint64_t size;

	if ((size_t)(end - *at) < magic || memcmp(*at, MAGIC, magic) != 0)
		return err_set(e, EX_DATAERR,
			"it does not begin with \"cenmail incoming 1\": foreign, or of another "
			"version");
	*at += magic;
	if (!take_envelope(at, end, &f->m))
		return err_set(e, EX_DATAERR, "its envelope is not valid");
	if (take_recipients(at, end, f, e) < 0)
		return -1;
	if (!take_number(at, end, "size", CONTENT_MAX, &size) || *at == end || **at != '\n')
		return err_set(e, EX_DATAERR, "its envelope does not end as it should");
	++*at;
	f->m.content = (struct span) { .p = NULL, .n = (size_t)size };
	return 0;
}

static int parse(struct incoming_file *f, struct err *e)
{
	char *at = f->raw.data, *end = f->raw.data + f->raw.len;
	char trailer[INCOMING_TRAILER + 1];

	if (f->raw.len < INCOMING_TRAILER)
		return err_set(e, EX_DATAERR, "it is too short");
	end -= INCOMING_TRAILER;
	incoming_file_trailer(crc32c(0, at, (size_t)(end - at)), trailer);
	if (memcmp(end, trailer, INCOMING_TRAILER) != 0)
		return err_set(e, EX_DATAERR, "its checksum does not fit");
	if (parse_header(&at, end, f, e) < 0)
		return -1;
	if ((size_t)(end - at) != f->m.content.n)
		return err_set(e, EX_DATAERR, "its content is not of the size that it says");
	f->m.content.p = at;
	return 0;
}

/* Up to n octets more. 1 some, 0 the end, -1. */
static int read_more(int fd, struct buf *to, size_t n, struct err *e)
{
	char *room = buf_room(to, n);
	ssize_t got;

	if (!room)
		return err_set(e, EX_TEMPFAIL, "out of memory for %zu octets", n);
	do
		got = read(fd, room, n);
	while (got < 0 && errno == EINTR);
	if (got < 0) /* a bad place on the disk; asking again helps nobody */
		return err_sys(e, EX_DATAERR, "it can't be read");
	buf_added(to, (size_t)got);
	return got > 0;
}

static int read_whole(int fd, size_t size, struct incoming_file *f, struct err *e)
{
	int r = 1;

	buf_init(&f->raw, size);
	while (r > 0 && f->raw.len < size)
		r = read_more(fd, &f->raw, size - f->raw.len, e);
	return r < 0 ? -1 : parse(f, e);
}

/* In growing pieces, as the content may be much larger. */
static int read_header(int fd, size_t size, struct incoming_file *f, struct err *e)
{
	char *at, *end;
	int r = 1;

	buf_init(&f->raw, HEADER_MAX);
	while (r > 0 && f->raw.len < size &&
		(f->raw.len == 0 || !memmem(f->raw.data, f->raw.len, "\n\n", 2)))
		r = read_more(fd, &f->raw, f->raw.len ? f->raw.len : HEADER_PIECE, e);
	if (r < 0 || f->raw.len == 0)
		return r < 0 ? -1 : err_set(e, EX_DATAERR, "it is empty");
	at = f->raw.data;
	end = f->raw.data + f->raw.len;
	return parse_header(&at, end, f, e);
}

static int open_file(int dir, const char *name, size_t *ret_size, struct err *e)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	struct stat st;

	if (fd < 0) {
		int code = errno == ENOENT                                         ? EX_NOINPUT
			   : errno == EMFILE || errno == ENFILE || errno == ENOMEM ? EX_TEMPFAIL
										   : EX_DATAERR;
		return err_sys(e, code, "it can't be opened");
	}
	if (fstat(fd, &st) < 0)
		err_sys(e, EX_DATAERR, "it can't be looked at");
	else if (!S_ISREG(st.st_mode))
		err_set(e, EX_DATAERR, "it is not a regular file");
	else if (st.st_uid != geteuid())
		err_set(e, EX_DATAERR, "it belongs to uid %u", (unsigned)st.st_uid);
	else if (st.st_size > (off_t)(HEADER_MAX + CONTENT_MAX + INCOMING_TRAILER))
		err_set(e, EX_DATAERR, "it is larger than any message");
	else {
		*ret_size = (size_t)st.st_size;
		return fd;
	}
	close(fd);
	return -1;
}

int incoming_file_read(
	int dir, const char *name, bool header_only, struct incoming_file *ret, struct err *e)
{
	struct incoming_file f = { 0 };
	size_t size = 0;
	int fd = open_file(dir, name, &size, e);
	int result;

	if (fd < 0)
		return -1;
	result = header_only ? read_header(fd, size, &f, e) : read_whole(fd, size, &f, e);
	close(fd);
	if (result < 0)
		incoming_file_done(&f);
	else
		*ret = f;
	return result;
}

void incoming_file_done(struct incoming_file *f)
{
	if (!f)
		return;
	buf_done(&f->raw);
	free(f->rcpt);
	*f = (struct incoming_file) { 0 };
}
