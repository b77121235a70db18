/*
 * long-link: a TCP proxy that behaves as a long link does, where the kernel has no netem: one-way
 * delay, bandwidth, cuts after an exact number of octets, and stalls. For tests and benchmarks.
 *
 *   long-link --to HOST:PORT [--delay-ms MS] [--kbit N] …      (--help lists all)
 *
 * It prints `port N` when it listens, and what it carried as one line of JSON when it ends at
 * SIGTERM or SIGINT; --record FILE is kept up to date with the same line. SIGUSR1 cuts every
 * connection now; SIGUSR2 stops the link (nothing moves, in either direction), and starts it again.
 *
 * Octets leave in the order in which they came: each piece that is read is due at its own time,
 * `delay` after the link had room for it. A connection takes its three-way handshake's time too:
 * what a client sends at once counts as sent one round trip after it was accepted. `up` is from
 * client to server. Counts are octets as they are on the wire, so of TLS when there is TLS.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "link/conn.h"

#define RECORD_NS (SECOND_NS / 20)

static void report(FILE *to)
{
	fprintf(to,
		"{\"connections\":%" PRIu64 ",\"open\":%u,\"up\":%" PRIu64 ",\"down\":%" PRIu64
		",\"cut\":%" PRIu64 "}\n",
		carried.connections, conns_n, carried.octets[UP], carried.octets[DOWN],
		carried.cut);
}

/* A whole file or the one before it: a reader never sees a half. */
static void report_file(void)
{
	char part[4096];
	if (!opt.record)
		return;
	snprintf(part, sizeof part, "%s.part", opt.record);
	FILE *to = fopen(part, "we");
	if (!to)
		die(part);
	report(to);
	fclose(to);
	if (rename(part, opt.record) != 0)
		die(opt.record);
}

/* False: the end. */
static bool heed_signal(int fd)
{
	struct signalfd_siginfo s;
	if (read(fd, &s, sizeof s) != sizeof s)
		return true;
	if (s.ssi_signo == SIGUSR1) {
		for (unsigned i = 0; i < conns_n; i++)
			conn_kill(conns[i], true);
		carried.cut += conns_n;
	} else if (s.ssi_signo == SIGUSR2) {
		down = !down;
	}
	return s.ssi_signo == SIGUSR1 || s.ssi_signo == SIGUSR2;
}

static void forget_dead(void)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < conns_n; i++) {
		if (conn_over(conns[i]))
			conn_free(conns[i]);
		else
			conns[kept++] = conns[i];
	}
	conns_n = kept;
}

static void run(int listener, int signals)
{
	static struct pollfd p[2 + 2 * LINKS_MAX];
	int64_t reported = 0;
	for (;;) {
		int64_t now = now_ns(), next = opt.record ? reported + RECORD_NS : NEVER;
		if (next < now) {
			report_file();
			reported = now;
			next = now + RECORD_NS;
		}
		p[0] = (struct pollfd) { .fd = listener, .events = POLLIN };
		p[1] = (struct pollfd) { .fd = signals, .events = POLLIN };
		unsigned n = conns_n;
		for (unsigned i = 0; i < n; i++) {
			int64_t at = conn_poll(conns[i], p + 2 + 2 * i, now);
			next = at < next ? at : next;
		}
		int64_t left = next > now ? next - now : 0;
		struct timespec t = { .tv_sec = left / SECOND_NS, .tv_nsec = left % SECOND_NS };
		if (ppoll(p, 2 + 2 * n, next == NEVER || down ? NULL : &t, NULL) < 0 &&
			errno != EINTR)
			die("ppoll");
		now = now_ns();
		if ((p[1].revents & POLLIN) && !heed_signal(signals))
			return;
		for (unsigned i = 0; i < n; i++)
			conn_step(conns[i], p + 2 + 2 * i, now);
		if (p[0].revents & POLLIN)
			conn_accept(listener, now);
		forget_dead();
	}
}

static void set_target(const char *hostport)
{
	char host[256];
	struct addrinfo *ai, hints = { .ai_socktype = SOCK_STREAM };
	const char *colon = strrchr(hostport, ':');
	if (!colon ||
		(size_t)snprintf(host, sizeof host, "%.*s", (int)(colon - hostport), hostport) >=
			sizeof host ||
		getaddrinfo(host, colon + 1, &hints, &ai) != 0) {
		fprintf(stderr, "long-link: --to takes HOST:PORT, not %s\n", hostport);
		exit(64);
	}
	memcpy(&opt.to, ai->ai_addr, ai->ai_addrlen);
	opt.to_len = ai->ai_addrlen;
	freeaddrinfo(ai);
}

static int listen_on(const char *address, const char *port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof sa;
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	sa.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
	if (inet_pton(AF_INET, address, &sa.sin_addr) != 1)
		die("--address takes an IPv4 address");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0 || listen(fd, 1024) != 0 ||
		getsockname(fd, (struct sockaddr *)&sa, &len) != 0)
		die("listen");
	printf("port %u\n", ntohs(sa.sin_port));
	fflush(stdout);
	return fd;
}

static const char usage[] =
	"usage: long-link --to HOST:PORT [option…]\n"
	"  --address A     where to listen (127.0.0.1)\n"
	"  --port N        0, the default: any free one; printed as `port N`\n"
	"  --delay-ms MS   one way (0); fractions are fine\n"
	"  --kbit N        bandwidth each way, of all connections together (0: any)\n"
	"  --buffer-kb N   what a connection may have under way, each way (8192)\n"
	"  --cut-up N      the connection is cut when exactly N octets have gone up\n"
	"  --cut-down N    the same, down\n"
	"  --cuts K        how many connections are cut so (1)\n"
	"  --fin           a cut is an orderly end, not a RST\n"
	"  --stall         a cut is silence\n"
	"  --record FILE   connections and octets so far, as JSON\n"
	"  --trace FILE    `TIME up|down OCTETS` for each piece that comes from either end\n";

static const struct option options[] = {
	{ "to", required_argument, NULL, 't' },
	{ "address", required_argument, NULL, 'a' },
	{ "port", required_argument, NULL, 'p' },
	{ "delay-ms", required_argument, NULL, 'd' },
	{ "kbit", required_argument, NULL, 'k' },
	{ "buffer-kb", required_argument, NULL, 'b' },
	{ "cut-up", required_argument, NULL, 'U' },
	{ "cut-down", required_argument, NULL, 'D' },
	{ "cuts", required_argument, NULL, 'c' },
	{ "fin", no_argument, NULL, 'f' },
	{ "stall", no_argument, NULL, 's' },
	{ "record", required_argument, NULL, 'r' },
	{ "trace", required_argument, NULL, 'T' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int start(int argc, char **argv)
{
	const char *address = "127.0.0.1", *port = "0";
	int c;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		uint64_t n = optarg ? strtoull(optarg, NULL, 10) : 0;
		switch (c) {
		case 't':
			set_target(optarg);
			break;
		case 'a':
			address = optarg;
			break;
		case 'p':
			port = optarg;
			break;
		case 'd':
			opt.delay_ns = (int64_t)(strtod(optarg, NULL) * 1e6);
			break;
		case 'k':
			opt.kbit = n;
			break;
		case 'b':
			opt.buffer = n * 1024;
			break;
		case 'U':
			opt.cut[UP] = n;
			break;
		case 'D':
			opt.cut[DOWN] = n;
			break;
		case 'c':
			opt.cuts = n;
			break;
		case 'f':
			opt.fin = true;
			break;
		case 's':
			opt.stall = true;
			break;
		case 'r':
			opt.record = optarg;
			break;
		case 'T':
			opt.trace = fopen(optarg, "we");
			if (!opt.trace)
				die(optarg);
			break;
		default:
			fputs(usage, c == 'h' ? stdout : stderr);
			exit(c == 'h' ? 0 : 64);
		}
	}
	if (!opt.to_len) {
		fputs(usage, stderr);
		exit(64);
	}
	return listen_on(address, port);
}

int main(int argc, char **argv)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int listener = start(argc, argv);
	run(listener, signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
	report_file();
	report(stdout);
	return 0;
}
