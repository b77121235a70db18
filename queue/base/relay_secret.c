/*
 * The secret file of a relay: `user:password`, or an IAM key for SES, from which the password is
 * derived: `iam REGION KEY-ID:SECRET`. A file of its own, as what derives needs OpenSSL, which
 * `sendmail` does not link.
 */
#include "base/relay.h"

#include "base/ses_password.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Octets that neither AUTH PLAIN (NUL) nor a line of text can carry. */
static bool is_secret_text(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 127)
			return false;
	return s.n > 0;
}

/* The words before the key's id: `iam REGION KEY-ID`. False: it is a plain user name. */
static bool take_region(struct span *user, struct span *ret_region)
{
	struct span rest = *user;

	if (!span_eq(span_word(&rest), span_of("iam")) || rest.n == 0)
		return false;
	*ret_region = span_word(&rest);
	*user = rest;
	return true;
}

static int split_secret(struct relay *r, struct span line, struct err *e)
{
	char derived[SES_PASSWORD_SIZE];
	struct span region;

	if (line.n > 0 && line.p[line.n - 1] == '\n')
		line.n--;
	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	long colon = span_find(line, ':');
	struct span user = colon < 0 ? line : span_make(line.p, (size_t)colon);
	struct span password = colon < 0 ? span_of("") : span_from(line, (size_t)colon + 1);

	bool iam = take_region(&user, &region);
	if (iam && ses_password(region, password, derived, e) < 0)
		return err_prefix(e, "%s: iam REGION KEY-ID:SECRET: ", r->secret);
	if (iam)
		password = span_of(derived);
	bool good = is_secret_text(user) && is_secret_text(password) &&
		    span_copy(user, r->user, sizeof r->user) &&
		    span_copy(password, r->password, sizeof r->password);
	wipe(derived, sizeof derived);
	if (!good)
		return err_set(e, EX_CONFIG,
			"%s: must be one line, user:password or iam REGION KEY-ID:SECRET, each of "
			"1 to %zu octets",
			r->secret, sizeof r->user - 1);
	return 0;
}

static int check_secret_file(int fd, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, EX_CONFIG, "can't look at %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EX_CONFIG, "%s is not a regular file", path);
	if (st.st_mode & S_IRWXO)
		return err_set(e, EX_CONFIG,
			"%s: others may read or change it (mode %04o); do: chmod 600 %s", path,
			(unsigned)(st.st_mode & 07777), path);
	return 0;
}

int relay_read_secret(struct relay *r, struct err *e)
{
	char text[sizeof r->user + sizeof r->password + 4];
	size_t n = 0;
	int result = -1;

	if (*r->secret == '\0')
		return 0;
	int fd = open(r->secret, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, EX_CONFIG, "can't open the secret %s", r->secret);
	if (check_secret_file(fd, r->secret, e) < 0)
		goto out;
	while (n < sizeof text) {
		ssize_t got = read(fd, text + n, sizeof text - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			err_sys(e, EX_CONFIG, "can't read the secret %s", r->secret);
			goto out;
		}
		if (got == 0)
			break;
		n += (size_t)got;
	}
	result = split_secret(r, span_make(text, n), e);
	if (result < 0) {
		wipe(r->user, sizeof r->user);
		wipe(r->password, sizeof r->password);
	}
out:
	wipe(text, sizeof text);
	close(fd);
	return result;
}
