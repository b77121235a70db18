/*
 * ses-stand-in: behaves as Amazon SES's SMTP endpoint does, for tests and benchmarks: the same
 * EHLO lines before and after STARTTLS, AUTH PLAIN and LOGIN, strict lock step, and a verdict on
 * the whole message at the final dot. It shares no code with what is tested.
 *
 * `ses-stand-in --help` lists the options. It prints `port N` when it listens, and its counters
 * as one line of JSON when it ends at SIGTERM or SIGINT. With --record DIR it appends a line of
 * JSON to DIR/messages.jsonl for each message, before it answers for it, and leaves
 * DIR/counters.json at the end.
 *
 * --faults FILE is a script of misbehaviour. Lines of
 *     STEP [<PATTERN>] [SKIP+]COUNT WHAT
 * STEP      connect greeting ehlo starttls auth mail rcpt data dot rset quit
 * PATTERN   of the sender (mail, data, dot) or recipient (rcpt): shell wildcards; none: any
 * COUNT     how many times, `*` for ever, after the first SKIP times; the first line that is due
 *           counts. A file that is changed begins anew, and is heeded at once.
 * WHAT      a reply (`454 Throttling failure: Maximum sending rate exceeded`), or
 *   close                 ends the connection; at the dot the message is not taken
 *   reset                 the same with a RST
 *   close-before-reply    dot only: the message is taken, but nobody is told
 *   reset-before-reply    the same with a RST
 *   cut N                 N octets of the proper reply, then the end; the dot's message is taken
 *   stall S               S seconds late; the dot's message is taken before
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "ses/session.h"

static const char usage[] =
	"usage: ses-stand-in [option…]\n"
	"  --address A          where to listen (127.0.0.1)\n"
	"  --port N             0, the default: any free one; printed as `port N`\n"
	"  --tls MODE           starttls (default), wrapped or none\n"
	"  --certificate FILE --key FILE   PEM; needed unless --tls none\n"
	"  --user U --password P   who may send; without them nobody has to log in\n"
	"  --latency MS         before the answer to each message (0)\n"
	"  --idle S             a silent client is cut off with 451 (10)\n"
	"  --rate N             recipients a second, over all connections (0: any)\n"
	"  --quota N            recipients in all (0: any)\n"
	"  --size N             octets of a message (41943040)\n"
	"  --offer-size         SIZE in EHLO, as SES once had it\n"
	"  --unverified P       senders (envelope or From) that match are refused; repeatable\n"
	"  --unverified-rcpt P  recipients too, as in the sandbox; repeatable\n"
	"  --max-connections N  above them 421 (0: any)\n"
	"  --record DIR         messages.jsonl, counters.json\n"
	"  --keep-content       DIR/ID.eml too\n"
	"  --faults FILE        see the top of ses-stand-in.c\n";

struct arguments {
	const char *address, *certificate, *key, *record;
	unsigned long port;
	bool keep;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "ses-stand-in: %s\n", what);
	exit(1);
}

static void pattern_add(struct patterns *p, const char *pattern)
{
	if (p->n == PATTERNS_MAX)
		die("too many patterns");
	p->v[p->n++] = pattern;
}

static unsigned long number(const char *s)
{
	char *end;
	unsigned long n = strtoul(s, &end, 10);
	if (*s < '0' || *s > '9' || *end)
		die("a number is wanted");
	return n;
}

static enum mode mode_of(const char *s)
{
	if (strcmp(s, "starttls") == 0)
		return MODE_STARTTLS;
	if (strcmp(s, "wrapped") == 0)
		return MODE_WRAPPED;
	if (strcmp(s, "none") != 0)
		die("--tls takes starttls, wrapped or none");
	return MODE_NONE;
}

enum {
	OPT_ADDRESS = 1,
	OPT_PORT,
	OPT_TLS,
	OPT_CERTIFICATE,
	OPT_KEY,
	OPT_USER,
	OPT_PASSWORD,
	OPT_LATENCY,
	OPT_IDLE,
	OPT_RATE,
	OPT_QUOTA,
	OPT_SIZE,
	OPT_OFFER_SIZE,
	OPT_UNVERIFIED,
	OPT_UNVERIFIED_RCPT,
	OPT_MAX,
	OPT_RECORD,
	OPT_KEEP,
	OPT_FAULTS,
	OPT_HELP
};

static const struct option options[] = {
	{ "address", required_argument, NULL, OPT_ADDRESS },
	{ "port", required_argument, NULL, OPT_PORT },
	{ "tls", required_argument, NULL, OPT_TLS },
	{ "certificate", required_argument, NULL, OPT_CERTIFICATE },
	{ "key", required_argument, NULL, OPT_KEY },
	{ "user", required_argument, NULL, OPT_USER },
	{ "password", required_argument, NULL, OPT_PASSWORD },
	{ "latency", required_argument, NULL, OPT_LATENCY },
	{ "idle", required_argument, NULL, OPT_IDLE },
	{ "rate", required_argument, NULL, OPT_RATE },
	{ "quota", required_argument, NULL, OPT_QUOTA },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "offer-size", no_argument, NULL, OPT_OFFER_SIZE },
	{ "unverified", required_argument, NULL, OPT_UNVERIFIED },
	{ "unverified-rcpt", required_argument, NULL, OPT_UNVERIFIED_RCPT },
	{ "max-connections", required_argument, NULL, OPT_MAX },
	{ "record", required_argument, NULL, OPT_RECORD },
	{ "keep-content", no_argument, NULL, OPT_KEEP },
	{ "faults", required_argument, NULL, OPT_FAULTS },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static void argument(struct arguments *a, int c)
{
	switch (c) {
	case OPT_ADDRESS:
		a->address = optarg;
		break;
	case OPT_PORT:
		a->port = number(optarg);
		break;
	case OPT_TLS:
		opt.mode = mode_of(optarg);
		break;
	case OPT_CERTIFICATE:
		a->certificate = optarg;
		break;
	case OPT_KEY:
		a->key = optarg;
		break;
	case OPT_USER:
		opt.user = optarg;
		break;
	case OPT_PASSWORD:
		opt.password = optarg;
		break;
	case OPT_LATENCY:
		opt.latency_ms = number(optarg);
		break;
	case OPT_IDLE:
		opt.idle_s = strtod(optarg, NULL);
		break;
	case OPT_RATE:
		opt.rate = strtod(optarg, NULL);
		break;
	case OPT_QUOTA:
		opt.quota = number(optarg);
		break;
	case OPT_SIZE:
		opt.size = number(optarg);
		break;
	case OPT_OFFER_SIZE:
		opt.offer_size = true;
		break;
	case OPT_UNVERIFIED:
		pattern_add(&opt.unverified, optarg);
		break;
	case OPT_UNVERIFIED_RCPT:
		pattern_add(&opt.unverified_rcpt, optarg);
		break;
	case OPT_MAX:
		opt.max_connections = number(optarg);
		break;
	case OPT_RECORD:
		a->record = optarg;
		break;
	case OPT_KEEP:
		a->keep = true;
		break;
	case OPT_FAULTS:
		opt.faults = optarg;
		break;
	case OPT_HELP:
		fputs(usage, stdout);
		exit(0);
	default:
		fputs(usage, stderr);
		exit(64);
	}
}

static SSL_CTX *tls_context(const struct arguments *a)
{
	if (!a->certificate || !a->key)
		die("--certificate and --key are needed for TLS");
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	if (!ctx || SSL_CTX_use_certificate_chain_file(ctx, a->certificate) != 1 ||
		SSL_CTX_use_PrivateKey_file(ctx, a->key, SSL_FILETYPE_PEM) != 1)
		die("the certificate or the key can't be used");
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return ctx;
}

static int listen_on(const struct arguments *a)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)a->port) };
	socklen_t len = sizeof sa;
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (inet_pton(AF_INET, a->address, &sa.sin_addr) != 1)
		die("--address takes an IPv4 address");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0 || listen(fd, 1024) != 0 ||
		getsockname(fd, (struct sockaddr *)&sa, &len) != 0) {
		perror("ses-stand-in: listen");
		exit(1);
	}
	printf("port %u\n", ntohs(sa.sin_port));
	fflush(stdout);
	return fd;
}

struct visitor {
	int fd;
	unsigned long number;
};

static void *visit(void *arg)
{
	struct visitor v = *(struct visitor *)arg;
	free(arg);
	session_run(v.fd, v.number);
	atomic_fetch_sub(&counters.open, 1);
	return NULL;
}

static void welcome(int listener)
{
	int one = 1, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	pthread_t thread;
	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	struct visitor *v = malloc(sizeof *v);
	if (!v)
		abort();
	v->fd = fd;
	v->number = atomic_fetch_add(&counters.connections, 1) + 1;
	unsigned long open = atomic_fetch_add(&counters.open, 1) + 1;
	if (open > atomic_load(&counters.most_open))
		atomic_store(&counters.most_open, open);
	if (pthread_create(&thread, NULL, visit, v) != 0)
		abort();
	pthread_detach(thread);
}

int main(int argc, char **argv)
{
	struct arguments a = { .address = "127.0.0.1" };
	sigset_t stop;
	int c;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		argument(&a, c);
	if (optind < argc)
		die("no arguments are taken but options");
	if (opt.mode != MODE_NONE)
		opt.tls = tls_context(&a);
	record_open(a.record, a.keep);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	pthread_sigmask(SIG_BLOCK, &stop, NULL);
	struct pollfd p[2] = { { .fd = listen_on(&a), .events = POLLIN },
		{ .fd = signalfd(-1, &stop, SFD_CLOEXEC), .events = POLLIN } };
	while (!(p[1].revents & POLLIN)) {
		if (poll(p, 2, -1) < 0)
			continue;
		if (p[0].revents & POLLIN)
			welcome(p[0].fd);
	}
	record_counters();
	counters_write(STDOUT_FILENO);
	_exit(0); /* sessions under way are cut, as when a host dies */
}
