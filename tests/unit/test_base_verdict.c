/*
 * The table "What an answer means", row by row.
 */
#include "base/conf.h"
#include "base/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define SENDER    "app@shop.example"
#define RECIPIENT "ann@qq.com"

enum { OURS = 1 /* the peer is our listener */, OPERATOR = 2 /* the operator's to mend */ };

static const struct {
	enum step step;
	int code;
	const char *text;
	int flags;
	enum verdict_class class;
	int64_t retry_s;
} answers[] = {
	/* sent: 2yz to the content and to nothing else */
	{ STEP_CONTENT, 250, "Ok 0106-000000", 0, VERDICT_SENT, 0 },
	{ STEP_CONTENT, 299, "", 0, VERDICT_SENT, 0 },
	{ STEP_MAIL, 250, "Ok", 0, VERDICT_UNKNOWN, 0 },
	{ STEP_RCPT, 250, "Ok", 0, VERDICT_UNKNOWN, 0 },
	{ STEP_DATA, 250, "Ok", 0, VERDICT_UNKNOWN, 0 },
	{ STEP_DATA, 354, "go on", 0, VERDICT_UNKNOWN, 0 },
	{ STEP_CONTENT, 354, "go on", 0, VERDICT_UNKNOWN, 0 },
	{ STEP_MAIL, 354, "go on", 0, VERDICT_UNKNOWN, 0 },
	{ STEP_RSET, 250, "Ok", 0, VERDICT_UNKNOWN, 0 },

	/* never, later */
	{ STEP_MAIL, 550, "no", 0, VERDICT_NEVER, 0 },
	{ STEP_MAIL, 501, "Invalid MAIL FROM address provided", 0, VERDICT_NEVER, 0 },
	{ STEP_RCPT, 550, "User unknown", 0, VERDICT_NEVER, 0 },
	{ STEP_RCPT, 553, "<x> address unknown", 0, VERDICT_NEVER, 0 },
	{ STEP_CONTENT, 552, "Message is too long.", 0, VERDICT_NEVER, 0 },
	{ STEP_CONTENT, 554, "Transaction failed: Duplicate header 'Date'.", 0, VERDICT_NEVER, 0 },
	{ STEP_CONTENT, 554, "Transaction failed: Recipient count exceeds 50.", 0, VERDICT_NEVER,
		0 },
	{ STEP_DATA, 554, "no valid recipients", 0, VERDICT_NEVER, 0 },
	{ STEP_RCPT, 504, "no", 0, VERDICT_NEVER, 0 },
	{ STEP_RCPT, 450, "greylisted", 0, VERDICT_LATER, 0 },
	{ STEP_RCPT, 452, "Too many recipients", 0, VERDICT_LATER, 0 },
	{ STEP_RCPT, 552, "Too many recipients", 0, VERDICT_LATER, 0 },
	{ STEP_RCPT, 552, "Mailbox full", 0, VERDICT_NEVER, 0 },
	{ STEP_CONTENT, 552, "Too many recipients", 0, VERDICT_NEVER, 0 },
	{ STEP_CONTENT, 451, "Temporary service failure", 0, VERDICT_LATER, 0 },
	{ STEP_MAIL, 499, "", 0, VERDICT_LATER, 0 },

	/* road: the two ends do not get on */
	{ STEP_CONTENT, 421, "Too many concurrent SMTP connections", 0, VERDICT_ROAD, 0 },
	{ STEP_MAIL, 500, "what?", 0, VERDICT_ROAD, 0 },
	{ STEP_CONTENT, 500, "what?", 0, VERDICT_ROAD, 0 },
	{ STEP_DATA, 502, "no", 0, VERDICT_ROAD, 0 },
	{ STEP_MAIL, 503, "sequence", 0, VERDICT_ROAD, 0 },
	{ STEP_RCPT, 530, "Authentication required", 0, VERDICT_ROAD, 0 },
	{ STEP_MAIL, 535, "Account not subscribed to SES", OPERATOR, VERDICT_ROAD, 0 },
	{ STEP_MAIL, 535, "Authentication Credentials Invalid", 0, VERDICT_ROAD, 0 },
	{ STEP_MAIL, 538, "encrypt", 0, VERDICT_ROAD, 0 },
	{ STEP_CONTENT, 454, "Temporary service failure", 0, VERDICT_ROAD, 0 },
	{ STEP_RSET, 550, "no", 0, VERDICT_ROAD, 0 },
	{ STEP_QUIT, 451, "no", 0, VERDICT_ROAD, 0 },

	/* before MAIL nothing is about a message */
	{ STEP_GREETING, 554, "go away", 0, VERDICT_ROAD, 0 },
	{ STEP_EHLO, 550, "no", 0, VERDICT_ROAD, 0 },
	{ STEP_EHLO, 250, "no", 0, VERDICT_ROAD, 0 },
	{ STEP_STARTTLS, 454, "TLS not available", 0, VERDICT_ROAD, 0 },
	{ STEP_AUTH, 535, "Authentication Credentials Invalid", 0, VERDICT_ROAD, 0 },
	{ STEP_AUTH, 454, "Throttling failure: Daily message quota exceeded", 0, VERDICT_ROAD, 0 },
	{ STEP_AUTH, 550, "cenmail: no class=never", OURS, VERDICT_ROAD, 0 },
	{ STEP_GREETING, 421, "cenmail: stopping class=road retry=7", OURS, VERDICT_ROAD, 7 },
	{ STEP_GREETING, 421, "cenmail: stopping class=road retry=7", 0, VERDICT_ROAD, 0 },

	/* pace */
	{ STEP_CONTENT, 454, "Throttling failure: Maximum sending rate exceeded.", 0, VERDICT_PACE,
		5 },
	{ STEP_MAIL, 454, "THROTTLING failure: Daily message QUOTA exceeded", 0, VERDICT_PACE,
		3600 },
	{ STEP_CONTENT, 454, "No throttling here", 0, VERDICT_ROAD, 0 },
	{ STEP_CONTENT, 554, "Throttling failure", 0, VERDICT_NEVER, 0 },

	/* the operator's faults */
	{ STEP_CONTENT, 554,
		"Access denied: User `x' is not authorized to perform ses:SendRawEmail", OPERATOR,
		VERDICT_ROAD, 0 },
	{ STEP_RCPT, 554, "<a@b>: Recipient address rejected: Access denied", 0, VERDICT_NEVER, 0 },
	{ STEP_CONTENT, 554, "Message rejected: Sending paused for this account. For more",
		OPERATOR, VERDICT_ROAD, 0 },
	{ STEP_CONTENT, 554, "Message rejected: Sending suspended for this account.",
		OPERATOR | OURS, VERDICT_ROAD, 0 },
	{ STEP_CONTENT, 554, "Your account is paused", OPERATOR, VERDICT_ROAD, 0 },
	{ STEP_CONTENT, 554, "Account not subscribed to SES", OPERATOR, VERDICT_ROAD, 0 },
	/* and those that the configuration adds */
	{ STEP_CONTENT, 550, "5.7.1 SENDER account is FROZEN (x)", OPERATOR, VERDICT_ROAD, 0 },
	{ STEP_RCPT, 452, "out of credit", OPERATOR | OURS, VERDICT_ROAD, 0 },
	{ STEP_CONTENT, 551, "sender account is frozen", 0, VERDICT_NEVER, 0 },
	{ STEP_CONTENT, 550, "out of credit", 0, VERDICT_NEVER, 0 },
	{ STEP_CONTENT, 550, "cenmail: account is frozen class=never", OURS, VERDICT_NEVER, 0 },
	{ STEP_CONTENT, 250, "account is frozen", 0, VERDICT_SENT, 0 },

	{ STEP_RCPT, 554, "<paused@account.example> unknown", 0, VERDICT_NEVER, 0 },

	/* held, or never: who is not verified */
	{ STEP_CONTENT, 554,
		"Message rejected: Email address is not verified. The following identities failed "
		"the check in region AP-NORTHEAST-1: " SENDER,
		0, VERDICT_HELD, 0 },
	{ STEP_CONTENT, 554,
		"Message rejected: Email address is not verified. The following identities failed "
		"the check in region AP-NORTHEAST-1: ANN@QQ.COM",
		0, VERDICT_NEVER, 0 },
	{ STEP_CONTENT, 554, "Email address is not verified: " RECIPIENT ", App <" SENDER ">", 0,
		VERDICT_HELD, 0 },
	{ STEP_CONTENT, 554, "Email address is not verified: joann@qq.com, bob@x.example", 0,
		VERDICT_HELD, 0 },
	{ STEP_CONTENT, 554, "Email address is not verified: ann@qq.com.cn", 0, VERDICT_HELD, 0 },
	{ STEP_CONTENT, 554, "ann@qq.com.cn, ann@qq.com. Not verified", 0, VERDICT_NEVER, 0 },
	{ STEP_CONTENT, 554, "MAIL FROM domain not verified: DNS setup is invalid.", 0,
		VERDICT_HELD, 0 },
	{ STEP_RCPT, 550, "Sender not verified", 0, VERDICT_NEVER, 0 },

	/* class= of our listener, believed of it alone */
	{ STEP_CONTENT, 451, "cenmail: SES unreachable class=road retry=30", OURS, VERDICT_ROAD,
		30 },
	{ STEP_CONTENT, 451, "cenmail: SES unreachable class=road retry=30", 0, VERDICT_LATER, 0 },
	{ STEP_CONTENT, 452, "cenmail: daily quota class=pace retry=3600", OURS, VERDICT_PACE,
		3600 },
	{ STEP_CONTENT, 452, "cenmail: quota class=pace", OURS, VERDICT_PACE, 5 },
	{ STEP_CONTENT, 451, "cenmail: in doubt class=held", OURS, VERDICT_HELD, 0 },
	{ STEP_MAIL, 550, "cenmail: client may not send as <x> class=never", OURS, VERDICT_NEVER,
		0 },
	{ STEP_MAIL, 503, "cenmail: no class=never", OURS, VERDICT_NEVER, 0 },
	{ STEP_CONTENT, 554, "cenmail: no class=later", OURS, VERDICT_LATER, 0 },
	{ STEP_CONTENT, 550, "cenmail: what? class=unknown", OURS, VERDICT_UNKNOWN, 0 },
	{ STEP_CONTENT, 451, "cenmail: x class=road wait=0.002 ses=0.183", OURS, VERDICT_ROAD, 0 },
	{ STEP_CONTENT, 451, "cenmail: x wait=0.002 retry=9 class=road  ", OURS, VERDICT_ROAD, 9 },
	/* it overrules no code that settles */
	{ STEP_CONTENT, 451, "cenmail: x class=never", OURS, VERDICT_LATER, 0 },
	{ STEP_CONTENT, 550, "cenmail: x class=sent", OURS, VERDICT_NEVER, 0 },
	{ STEP_CONTENT, 250, "Ok 01 class=never wait=0.1", OURS, VERDICT_SENT, 0 },
	{ STEP_CONTENT, 250, "Ok 01 class=road", OURS, VERDICT_SENT, 0 },
	{ STEP_RCPT, 250, "Ok class=sent", OURS, VERDICT_UNKNOWN, 0 },
	/* and only in an answer of its own: SES's text, which a sender can have a part in, has none
	 */
	{ STEP_CONTENT, 554, "Message rejected: x class=road wait=0.1 ses=0.2", OURS, VERDICT_NEVER,
		0 },
	{ STEP_CONTENT, 451, "x cenmail: y class=held", OURS, VERDICT_LATER, 0 },
	{ STEP_CONTENT, 454, "Throttling x retry=9", OURS, VERDICT_PACE, 5 },
	/* only as words of their own at the end */
	{ STEP_CONTENT, 550, "cenmail: class=road said somebody", OURS, VERDICT_NEVER, 0 },
	{ STEP_CONTENT, 550, "cenmail: class=road retry=5 <a@b>", OURS, VERDICT_NEVER, 0 },
	{ STEP_CONTENT, 550, "cenmail: xclass=road", OURS, VERDICT_NEVER, 0 },
	{ STEP_CONTENT, 550, "cenmail: (class=road)", OURS, VERDICT_NEVER, 0 },
	{ STEP_CONTENT, 550, "cenmail: x class=roads", OURS, VERDICT_NEVER, 0 },
	{ STEP_CONTENT, 550, "cenmail: x class=", OURS, VERDICT_NEVER, 0 },
	{ STEP_CONTENT, 550, "cenmail: x CLASS=road", OURS, VERDICT_NEVER, 0 },
	/* the last word counts: what stands before it may be quoted */
	{ STEP_CONTENT, 450, "cenmail: class=held class=road", OURS, VERDICT_ROAD, 0 },
	/* seconds that are none */
	{ STEP_CONTENT, 451, "cenmail: x class=road retry=-1", OURS, VERDICT_ROAD, 0 },
	{ STEP_CONTENT, 451, "cenmail: x class=road retry=86400", OURS, VERDICT_ROAD, 86400 },
	{ STEP_CONTENT, 451, "cenmail: x class=road retry=86401", OURS, VERDICT_ROAD, 0 },
	{ STEP_CONTENT, 451, "cenmail: x class=later retry=30", OURS, VERDICT_LATER, 0 },
	/* SES's own words through our listener are read as SES's */
	{ STEP_CONTENT, 454, "Throttling failure: rate wait=0.1 ses=0.2", OURS, VERDICT_PACE, 5 },
};

static struct conf_pair operators[] = { { (char[]) { "550" }, (char[]) { "account is frozen" } },
	{ (char[]) { "452" }, (char[]) { "out of credit" } } };
static const struct conf_list operator_reply = { operators, 2 };

static bool says_class(const char *text)
{
	return strncmp(text, "cenmail: ", 9) == 0 && strstr(text, "class=road");
}

static void table(void **state)
{
	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		struct outcome o = { .step = answers[i].step, .reply.code = answers[i].code };
		struct verdict_rules rules = { .peer_says_class = answers[i].flags & OURS,
			.sender = SENDER,
			.recipient = RECIPIENT,
			.operator_reply = &operator_reply };
		struct verdict v;
		snprintf(o.reply.text, sizeof o.reply.text, "%s", answers[i].text);
		verdict_pass(&o, &rules, &v);
		if (v.class != answers[i].class || v.retry_ms != answers[i].retry_s * 1000)
			fail_msg("%s: %d %s: %s, retry %d ms", step_name(o.step), o.reply.code,
				o.reply.text, verdict_name(v.class), (int)v.retry_ms);
		const bool operators_fault = answers[i].flags & OPERATOR;
		assert_int_equal(v.operator_fault, operators_fault);
		/* What our listener says of the road is no message's fault, nor is what SES says of
		 * the account, nor that there are too many connections. */
		if (v.class == VERDICT_ROAD)
			assert_int_equal(v.own_mail,
				answers[i].step >= STEP_MAIL && !operators_fault && !v.crowded &&
					!(rules.peer_says_class && says_class(answers[i].text)));
		assert_int_equal(v.reply.code, answers[i].code);
		assert_string_equal(v.reply.text, answers[i].text);
		assert_false(v.maybe_sent);
	}
}

static void no_answer(void **state)
{
	struct verdict_rules rules = { 0 };

	for (enum step s = STEP_CONNECT; s <= STEP_QUIT; s++) {
		struct outcome o = { .step = s,
			.lost = true,
			.maybe_sent = s == STEP_CONTENT,
			.reply.text = "connection reset" };
		struct verdict v;
		verdict_pass(&o, &rules, &v);
		/* What may have been taken is not known. */
		assert_int_equal(v.class, s == STEP_CONTENT ? VERDICT_UNKNOWN : VERDICT_ROAD);
		assert_int_equal(v.own_mail, s >= STEP_MAIL);
		assert_int_equal(v.maybe_sent, s == STEP_CONTENT);
		assert_int_equal(v.retry_ms, 0);
		assert_string_equal(v.reply.text, "connection reset");

		/* lost counts, whatever lies in the reply */
		o.reply.code = s == STEP_CONTENT ? 250 : 550;
		verdict_pass(&o, &rules, &v);
		assert_int_equal(v.class, s == STEP_CONTENT ? VERDICT_UNKNOWN : VERDICT_ROAD);
		assert_int_equal(v.reply.code, 0);
		o.maybe_sent = false;
		verdict_pass(&o, &rules, &v);
		assert_int_equal(v.class, VERDICT_ROAD);
	}
}

static void answers_that_can_not_be(void **state)
{
	struct verdict_rules rules = { .peer_says_class = true };
	struct verdict v;
	struct outcome o = { .step = STEP_CONTENT,
		.unexpected = true,
		.maybe_sent = true,
		.reply = { .code = 250, .text = "Ok class=never" } };

	verdict_pass(&o, &rules, &v);
	assert_int_equal(v.class, VERDICT_UNKNOWN);
	assert_true(v.maybe_sent);
	o.step = STEP_EHLO;
	verdict_pass(&o, &rules, &v);
	assert_int_equal(v.class, VERDICT_ROAD);
	static const int codes[] = { 1, 99, 100, 199, 300, 399, 600, 999, -1 };
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
		struct outcome odd = { .step = STEP_CONTENT, .reply.code = codes[i] };
		verdict_pass(&odd, &rules, &v);
		assert_int_equal(v.class, VERDICT_UNKNOWN);
	}
}

/* No answer but a 2yz to the content settles as sent, none but a 5yz as never: every code, every
 * step, every class that may be said. */
static void nothing_settles_by_mistake(void **state)
{
	static const char *const texts[] = { "x", "cenmail: x class=sent", "cenmail: x class=never",
		"cenmail: x class=later", "Throttling quota", "Access denied", "not verified" };
	struct verdict v;

	for (enum step s = STEP_CONNECT; s <= STEP_QUIT; s++)
		for (int code = 0; code <= 650; code++)
			for (size_t t = 0; t < 2 * (sizeof texts / sizeof *texts); t++) {
				struct outcome o = { .step = s, .reply.code = code };
				struct verdict_rules rules = {
					.peer_says_class = t % 2, .sender = "", .recipient = ""
				};
				snprintf(o.reply.text, sizeof o.reply.text, "%s", texts[t / 2]);
				verdict_pass(&o, &rules, &v);
				if (v.class == VERDICT_SENT)
					assert_true(s == STEP_CONTENT && code / 100 == 2);
				if (v.class == VERDICT_NEVER)
					assert_true(s >= STEP_MAIL && s <= STEP_CONTENT &&
						    code / 100 == 5);
			}
}

/* What is asked of the road beside a pause: a slower pace, fewer connections. */
static void too_much(void **state)
{
	static const struct {
		enum step step;
		int code;
		const char *text;
		bool throttled, crowded, own_mail;
	} t[] = {
		{ STEP_CONTENT, 454, "Throttling failure: Maximum sending rate exceeded.", true,
			false, false },
		{ STEP_CONTENT, 454, "Throttling failure: Daily message quota exceeded", false,
			false, false },
		{ STEP_MAIL, 421, "Too many concurrent SMTP connections", false, true, false },
		{ STEP_CONTENT, 421, "Error: too many connections from 10.1.1.1", false, true,
			false },
		{ STEP_MAIL, 421, "too many messages in this connection", false, false, true },
		{ STEP_RCPT, 451, "too many connections", false, false, false },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct outcome o = { .step = t[i].step, .reply.code = t[i].code };
		struct verdict v;

		snprintf(o.reply.text, sizeof o.reply.text, "%s", t[i].text);
		verdict_pass(&o, &(struct verdict_rules) { .sender = "", .recipient = "" }, &v);
		assert_int_equal(v.throttled, t[i].throttled);
		assert_int_equal(v.crowded, t[i].crowded);
		assert_int_equal(v.own_mail, t[i].own_mail);
	}
}

static void names(void **state)
{
	assert_string_equal(verdict_name(VERDICT_SENT), "sent");
	assert_string_equal(verdict_name(VERDICT_UNKNOWN), "unknown");
	assert_string_equal(verdict_name(VERDICT_PACE), "pace");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(no_answer),
		cmocka_unit_test(answers_that_can_not_be),
		cmocka_unit_test(nothing_settles_by_mistake),
		cmocka_unit_test(too_much),
		cmocka_unit_test(names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
