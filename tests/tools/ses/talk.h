/*
 * Answers, in lock step, as SES gives them or as the script of faults would have them; and the
 * content of a message, un-stuffed.
 */
#ifndef SES_TALK_H
#define SES_TALK_H

#include "faults.h"
#include "state.h"

/* A client that has spoken before its answer broke lock step: it is counted, told, and left. */
static enum next say(struct session *s, const char *text)
{
	char line[1024];
	bool ahead = io_ahead(&s->io);
	if (ahead) {
		atomic_fetch_add(&counters.pipelined, 1);
		text = "503 Bad sequence of commands: speak when you have been answered";
	}
	int n = snprintf(line, sizeof line, "%s\r\n", text);
	if (n < 0 || (size_t)n >= sizeof line || !io_write(&s->io, line, (size_t)n))
		return END;
	return ahead ? END : GO_ON;
}

static enum next cut_reply(struct session *s, const char *text, size_t n)
{
	char line[1024];
	int len = snprintf(line, sizeof line, "%s\r\n", text);
	if (len > 0 && (size_t)len < sizeof line)
		io_write(&s->io, line, n < (size_t)len ? n : (size_t)len);
	return END;
}

/*
 * Answers with `text` or with what the script of faults has for this step. *ret_positive says
 * whether a 2yz or 3yz was said, so that the step counts as done.
 */
static enum next answer(struct session *s, const char *step, const char *address, const char *text,
	bool *ret_positive)
{
	char what[512];
	*ret_positive = false;
	if (fault_due(opt.faults, step, address, what, sizeof what)) {
		atomic_fetch_add(&counters.faults, 1);
		if (strncmp(what, "cut ", 4) == 0)
			return cut_reply(s, text, strtoul(what + 4, NULL, 10));
		if (strncmp(what, "stall ", 6) == 0) {
			sleep_ms((unsigned long)(strtod(what + 6, NULL) * 1000));
		} else if (strncmp(what, "close", 5) == 0) {
			return END;
		} else if (strncmp(what, "reset", 5) == 0) {
			s->reset = true;
			return END;
		} else {
			text = what;
		}
	}
	*ret_positive = text[0] == '2' || text[0] == '3';
	enum next next = say(s, text);
	return strncmp(text, "421", 3) == 0 ? END : next;
}

static enum next simple(struct session *s, const char *step, const char *text)
{
	bool positive;
	return answer(s, step, "", text, &positive);
}

/* --- the content --- */

static void content_add(struct session *s, const char *p, size_t n)
{
	if (s->size > opt.size) /* already too long: only its end matters */
		return;
	if (s->size + n > s->cap) {
		s->cap = 2 * (s->size + n) + 4096;
		s->content = realloc(s->content, s->cap);
		if (!s->content)
			abort();
	}
	memcpy(s->content + s->size, p, n);
	s->size += n;
}

/*
 * Un-stuffs up to CRLF . CRLF, which alone ends it:
 *   START  a line begins                DOT     it began with a dot
 *   CR     after a CR                   DOT_CR  after that dot and a CR
 *   TEXT   in a line
 */
static enum io_got read_content(struct session *s)
{
	enum { START, TEXT, CR, DOT, DOT_CR } state = START;
	struct io *io = &s->io;
	for (;;) {
		if (io->at == io->len) {
			enum io_got got = io_fill(io, idle_deadline());
			if (got != IO_OK)
				return got;
		}
		char c = io->buf[io->at];
		if (state == TEXT && c != '\r') { /* the long stretches, quickly */
			char *from = io->buf + io->at, *end = io->buf + io->len;
			char *cr = memchr(from, '\r', (size_t)(end - from));
			size_t n = (size_t)((cr ? cr : end) - from);
			for (size_t i = 0; i < n; i++)
				s->bare += from[i] == '\n' || from[i] == '\0';
			content_add(s, from, n);
			io->at += n;
			continue;
		}
		io->at++;
		if (state == START && c == '.') {
			state = DOT;
			continue;
		}
		if (state == DOT && c == '\r') {
			state = DOT_CR;
			continue;
		}
		if (state == DOT_CR) {
			if (c == '\n')
				return IO_OK;
			content_add(s, "\r", 1);
			s->bare++;
			state = TEXT;
		}
		content_add(s, &c, 1);
		if (c == '\n' && state == CR) {
			state = START;
			continue;
		}
		s->bare += c == '\n' || c == '\0' || state == CR;
		state = c == '\r' ? CR : TEXT;
	}
}

#endif
