/*
 * SASL by Cyrus libsasl2. Nothing from outside steers it: no configuration file is read, plug-ins
 * come from the directory the library was built for, and only those of our two mechanisms are
 * loaded.
 */
#include "wire/sasl.h"

#include "base/base64.h"

#include <assert.h>
#include <pthread.h>
#include <sasl/sasl.h>

#define SERVICE       "smtp"
#define CHALLENGE_MAX 4096 /* octets of a challenge or of a response, decoded */
#define NAME_MAX_SASL 255  /* octets of a name or a password */

/* --- the process --- */

static void *mutex_new(void)
{
	pthread_mutex_t *m = malloc(sizeof *m);

	if (m && pthread_mutex_init(m, NULL) != 0) {
		free(m);
		m = NULL;
	}
	return m;
}

static int mutex_lock(void *m)
{
	return pthread_mutex_lock(m) == 0 ? SASL_OK : SASL_FAIL;
}

static int mutex_unlock(void *m)
{
	return pthread_mutex_unlock(m) == 0 ? SASL_OK : SASL_FAIL;
}

static void mutex_free(void *m)
{
	pthread_mutex_destroy(m);
	free(m);
}

static int be_silent(void *context, int level, const char *message)
{
	return SASL_OK; /* we say ourselves what went wrong */
}

static int get_option(
	void *context, const char *plugin, const char *option, const char **result, unsigned *len)
{
	if (strcmp(option, "mech_list") == 0)
		*result = "PLAIN";
	else if (strcmp(option, "pwcheck_method") == 0)
		*result = "none"; /* what is asked when our own verifier said no */
	else
		return SASL_FAIL;
	if (len)
		*len = (unsigned)strlen(*result);
	return SASL_OK;
}

static int choose_file(void *context, const char *file, sasl_verify_type_t type)
{
	const char *slash = strrchr(file, '/');
	struct span base = span_of(slash ? slash + 1 : file);

	if (type == SASL_VRFY_PLUGIN &&
		(span_starts_nocase(base, "libplain.") || span_starts_nocase(base, "liblogin.")))
		return SASL_OK;
	return SASL_CONTINUE; /* do without it */
}

/* The library keeps all call-backs as one type; it casts them back before it calls. */
#define CALLBACK(f) ((int (*)(void))(void (*)(void))(f))

static const sasl_callback_t process_callbacks[] = {
	{ SASL_CB_LOG, CALLBACK(be_silent), NULL },
	{ SASL_CB_GETOPT, CALLBACK(get_option), NULL },
	{ SASL_CB_VERIFYFILE, CALLBACK(choose_file), NULL },
	{ SASL_CB_LIST_END, NULL, NULL },
};

int sasl_start(bool client, bool server, struct err *e)
{
	int r = SASL_OK;

	unsetenv("SASL_PATH");
	unsetenv("SASL_CONF_PATH");
	sasl_set_mutex(mutex_new, mutex_lock, mutex_unlock, mutex_free);
	if (client)
		r = sasl_client_init(process_callbacks);
	if (r == SASL_OK && server)
		r = sasl_server_init(process_callbacks, NULL);
	if (r != SASL_OK)
		return err_set(
			e, EX_OSERR, "libsasl2 does not start: %s", sasl_errstring(r, NULL, NULL));
	return 0;
}

static int set_missing(struct err *e, const char *mechanism)
{
	return err_set(e, EX_CONFIG,
		"libsasl2 has no plug-in for %s: install libsasl2-modules (Debian) or "
		"cyrus-sasl-plain (Red Hat, Alibaba Cloud Linux)",
		mechanism);
}

/* --- client --- */

struct sasl_login {
	sasl_conn_t *conn;
	char mechanism[8], user[NAME_MAX_SASL + 1];
	sasl_secret_t *secret; /* asked for until the exchange ends */
	sasl_callback_t callbacks[4];
};

static int give_name(void *context, int id, const char **result, unsigned *len)
{
	const struct sasl_login *s = context;

	*result = id == SASL_CB_AUTHNAME ? s->user : ""; /* "": to act for nobody else */
	if (len)
		*len = (unsigned)strlen(*result);
	return SASL_OK;
}

static int give_secret(sasl_conn_t *conn, void *context, int id, sasl_secret_t **ret)
{
	*ret = ((const struct sasl_login *)context)->secret;
	return SASL_OK;
}

static sasl_secret_t *secret_of(const char *password)
{
	size_t n = strlen(password);
	sasl_secret_t *secret = malloc(sizeof *secret + n + 1);

	if (secret) {
		secret->len = n;
		memcpy(secret->data, password, n + 1);
	}
	return secret;
}

struct sasl_login *sasl_login_new(const char *mechanism, const char *host, const char *user,
	const char *password, struct err *e)
{
	struct sasl_login *s = NULL;
	size_t users = strlen(user), mechanisms = strlen(mechanism);

	assert(mechanisms < sizeof s->mechanism);
	if (users == 0 || users > NAME_MAX_SASL || *password == '\0' ||
		strlen(password) > NAME_MAX_SASL) {
		err_set(e, EX_CONFIG, "AUTH: name and password need 1 to %d octets each",
			NAME_MAX_SASL);
		return NULL;
	}
	s = calloc(1, sizeof *s);
	if (!s || !(s->secret = secret_of(password))) {
		err_set(e, EX_OSERR, "AUTH: no memory");
		sasl_login_free(s);
		return NULL;
	}
	memcpy(s->mechanism, mechanism, mechanisms + 1);
	memcpy(s->user, user, users + 1);
	s->callbacks[0] = (sasl_callback_t) { SASL_CB_USER, CALLBACK(give_name), s };
	s->callbacks[1] = (sasl_callback_t) { SASL_CB_AUTHNAME, CALLBACK(give_name), s };
	s->callbacks[2] = (sasl_callback_t) { SASL_CB_PASS, CALLBACK(give_secret), s };
	s->callbacks[3] = (sasl_callback_t) { SASL_CB_LIST_END, NULL, NULL };
	int r = sasl_client_new(SERVICE, host, NULL, NULL, s->callbacks, 0, &s->conn);
	if (r != SASL_OK) {
		err_set(e, EX_SOFTWARE, "AUTH: libsasl2: %s", sasl_errstring(r, NULL, NULL));
		sasl_login_free(s);
		return NULL;
	}
	return s;
}

void sasl_login_free(struct sasl_login *s)
{
	if (!s)
		return;
	if (s->conn)
		sasl_dispose(&s->conn);
	if (s->secret) {
		wipe(s->secret, sizeof *s->secret + s->secret->len);
		free(s->secret);
	}
	wipe(s, sizeof *s);
	free(s);
}

/* The response of a step, encoded. */
static int give(struct sasl_login *s, int r, struct span response, struct buf *out, struct err *e)
{
	if (r == SASL_NOMECH)
		return set_missing(e, s->mechanism);
	if (r != SASL_OK && r != SASL_CONTINUE)
		return err_set(
			e, EX_NOPERM, "AUTH %s: %s", s->mechanism, sasl_errstring(r, NULL, NULL));
	if (response.n > CHALLENGE_MAX)
		return err_set(e, EX_SOFTWARE, "AUTH %s: response too long", s->mechanism);
	base64_encode(response, out);
	return out->failed ? err_set(e, EX_SOFTWARE, "AUTH %s: no room", s->mechanism) : 0;
}

int sasl_login_first(struct sasl_login *s, struct buf *out, struct err *e)
{
	const char *p = NULL, *chosen = NULL;
	unsigned n = 0;

	int r = sasl_client_start(s->conn, s->mechanism, NULL, &p, &n, &chosen);
	if (r == SASL_OK && p && n == 0) {
		buf_add_char(out, '='); /* RFC 4954: an initial response that is empty */
		return 0;
	}
	return give(s, r, span_make(p, n), out, e);
}

int sasl_login_step(struct sasl_login *s, struct span challenge, struct buf *out, struct err *e)
{
	const char *p = NULL;
	unsigned n = 0;
	struct buf in;
	int r = -1;

	buf_init(&in, CHALLENGE_MAX);
	if (base64_decode(challenge, &in) < 0) {
		err_set(e, EX_PROTOCOL, "AUTH %s: the challenge is not base64", s->mechanism);
		goto out;
	}
	r = sasl_client_step(s->conn, buf_str(&in), (unsigned)in.len, NULL, &p, &n);
	r = give(s, r, span_make(p, n), out, e);
out:
	buf_done(&in);
	return r;
}

/* --- server --- */

struct check {
	sasl_verify verify;
	void *arg;
	bool asked, good;
};

static int check_password(sasl_conn_t *conn, void *context, const char *user, const char *pass,
	unsigned n, struct propctx *props)
{
	struct check *c = context;

	c->asked = true;
	c->good = c->verify(c->arg, user, span_make(pass, n));
	return c->good ? SASL_OK : SASL_BADAUTH;
}

/* authzid NUL authcid NUL password, the last two not empty. The library checks it again. */
static bool is_plain(struct span s)
{
	long first = span_find(s, '\0');
	if (first < 0)
		return false;
	struct span rest = span_from(s, (size_t)first + 1);
	long second = span_find(rest, '\0');
	if (second <= 0 || second > NAME_MAX_SASL || first > NAME_MAX_SASL)
		return false;
	struct span password = span_from(rest, (size_t)second + 1);
	return password.n > 0 && password.n <= NAME_MAX_SASL && span_find(password, '\0') < 0;
}

/* What the library's answer means. That it accepts is not enough: our verifier must have. */
static enum sasl_checked judge(sasl_conn_t *conn, int r, const struct check *c, struct err *e)
{
	if (r == SASL_OK && c->good)
		return SASL_GOOD;
	if (c->asked)
		return SASL_WRONG;
	switch (r) {
	case SASL_BADAUTH:
	case SASL_NOAUTHZ:
	case SASL_NOUSER:
		return SASL_WRONG;
	case SASL_BADPROT:
	case SASL_BADPARAM:
	case SASL_CONTINUE:
		return SASL_MALFORMED;
	case SASL_NOMECH:
		set_missing(e, "PLAIN");
		return SASL_BROKEN;
	default:
		err_set(e, EX_SOFTWARE, "AUTH: libsasl2: %s", sasl_errdetail(conn));
		return SASL_BROKEN;
	}
}

enum sasl_checked sasl_check_plain(struct span response, sasl_verify verify, void *arg, char *name,
	size_t name_size, struct err *e)
{
	struct check check = { .verify = verify, .arg = arg };
	const sasl_callback_t callbacks[] = {
		{ SASL_CB_SERVER_USERDB_CHECKPASS, CALLBACK(check_password), &check },
		{ SASL_CB_LIST_END, NULL, NULL },
	};
	sasl_conn_t *conn = NULL;
	const char *out = NULL;
	unsigned n = 0;

	if (!is_plain(response))
		return SASL_MALFORMED;
	int r = sasl_server_new(SERVICE, "localhost", NULL, NULL, NULL, callbacks, 0, &conn);
	if (r != SASL_OK) {
		err_set(e, EX_SOFTWARE, "AUTH: libsasl2: %s", sasl_errstring(r, NULL, NULL));
		return SASL_BROKEN;
	}
	r = sasl_server_start(conn, "PLAIN", response.p, (unsigned)response.n, &out, &n);
	enum sasl_checked result = judge(conn, r, &check, e);
	if (result == SASL_GOOD) {
		const void *user = NULL;
		if (sasl_getprop(conn, SASL_USERNAME, &user) != SASL_OK || !user ||
			strlen(user) >= name_size)
			result = SASL_WRONG;
		else
			memcpy(name, user, strlen(user) + 1);
	}
	sasl_dispose(&conn);
	return result;
}
