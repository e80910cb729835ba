/* Lines as Postfix and Rspamd write them, and as a hostile peer would like them to be read. */
#include "tasks/trace.h"

#include "expect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT "Nov 28 19:09:18 mx1 postfix/"
#define QID "4jcKb20Grmz1cK60"
#define OTHER "4jcLTc2lr4z1cMmh"

static const char *const route[] = {
    AT "smtpd[30888]: " QID ": client=localhost[127.0.0.1]",
    AT "cleanup[31060]: " QID ": message-id=<bc5d511a@test>",
    AT "qmgr[30887]: " QID ": from=<someone@remote.test>, size=585, nrcpt=2 (queue active)",
    AT "lmtp[31100]: " QID
       ": to=<alice@u.internal>, orig_to=<info@example.org>, relay=x, dsn=2.0.0, status=sent (250 2.0.0)",
    AT "smtp[31101]: " QID ": to=<far@else.test>, relay=none, dsn=5.1.1, status=bounced (550 no)",
    AT "bounce[31102]: " QID ": sender non-delivery notification: " OTHER,
    AT "qmgr[30887]: " OTHER ": from=<>, size=2585, nrcpt=1 (queue active)",
    AT "smtp[31101]: " OTHER ": to=<someone@remote.test>, relay=none, dsn=4.4.1, status=deferred (later)",
    AT "qmgr[30887]: " QID ": removed",
};
enum { N_ROUTE = sizeof route / sizeof *route };

/* "accepted,message-id,..." of all lines that belong to it. */
static char *steps_of(const char *wanted, const char *const *lines, size_t n)
{
    DEFER(trace_free) Trace *trace = NULL;
    Buf steps = {0};
    TraceStep step;

    ok(trace_new(wanted, &trace));
    for (size_t i = 0; i < n; i++)
        trace_look(trace, lines[i]);
    for (size_t i = 0; i < n; i++) {
        if (!trace_step(trace, lines[i], &step))
            continue;
        buf_printf(&steps, "%s%s", steps.size ? "," : "", step.what);
        trace_step_done(&step);
    }
    char *text = strdup(buf_text(&steps));
    buf_done(&steps);
    return text;
}

static void steps_are(const char *wanted, const char *const *lines, size_t n, const char *expected)
{
    char *steps = steps_of(wanted, lines, n);

    assert_string_equal(steps, expected);
    free(steps);
}

static void test_route(void **state)
{
    static const char all[] = "accepted,message-id,queued,delivered,bounced,told sender,queued,deferred,done";
    static const char *const names[] = {QID,
                                        "bc5d511a@test",
                                        "<bc5d511a@test>",
                                        "someone@remote.test",
                                        "INFO@example.org",
                                        "alice@u.internal",
                                        "far@Else.test"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        steps_are(names[i], route, N_ROUTE, all);
    steps_are(OTHER, route, N_ROUTE, "queued,deferred");
    steps_are("remote.test", route, N_ROUTE, "");
    steps_are("one@remote.test", route, N_ROUTE, "");
    steps_are("BC5D511A@test", route, N_ROUTE, ""); /* a Message-ID has a case */
    steps_are("NOQUEUE", route, N_ROUTE, "");
}

static void test_attempts(void **state)
{
    static const char *const lines[] = {
        AT
        "smtpd[1]: NOQUEUE: reject: RCPT from h[1.2.3.4]: 550 5.1.1 <no@example.org>: Recipient address rejected: no; "
        "from=<a@b.test> to=<no@example.org> proto=ESMTP helo=<c>",
        AT "submission/smtpd[1]: NOQUEUE: reject: RCPT from h[1.2.3.4]: 451 4.3.0 <no@example.org>: later; from=<> "
           "to=<no@example.org> proto=ESMTP",
        AT
        "smtpd[1]: NOQUEUE: milter-reject: RCPT from h[1.2.3.4]: 451 4.7.1 later; from=<a@b.test> to=<no@example.org> "
        "proto=ESMTP helo=<c>",
        AT "smtpd[1]: NOQUEUE: reject: RCPT from h[1.2.3.4]: 550 5.1.1 <x@example.org>: no; from=<a@b.test> "
           "to=<x@example.org> proto=ESMTP helo=<c>",
        AT "cleanup[1]: " QID ": milter-reject: END-OF-MESSAGE from h[1.2.3.4]: 554 5.7.1 spam; from=<a@b.test> "
           "to=<x@example.org> proto=ESMTP helo=<c>",
        AT "submission/smtpd[1]: NOQUEUE: reject: RCPT from h[1.2.3.4]: 553 5.7.1 <own@example.org>: no; "
           "from=<own@example.org> to=<y@example.org> proto=ESMTP helo=<c> sasl_username=<alice>",
        AT
        "smtpd[1]: NOQUEUE: reject: MAIL from h[1.2.3.4]: 552 5.3.4 too large; from=<big@b.test> proto=ESMTP helo=<c>",
        "2026-11-28 19:09:19 #12(rspamd_proxy) <a71c34>; proxy; rspamd_task_write_log: id: <m@test>, qid: <" QID
        ">, ip: 1.2.3.4, from: <a@b.test>, (default: T (reject): [20.00/15.00] [X(1.0){}])",
    };
    enum { N = sizeof lines / sizeof *lines };
    (void)state;
    steps_are("no@example.org", lines, N, "refused,put off,filter");
    steps_are("x@example.org", lines, N, "refused,filter,filter");
    steps_are("A@b.test", lines, N, "refused,filter,refused,filter,filter");
    steps_are("own@example.org", lines, N, "refused");
    steps_are("big@b.test", lines, N, "refused");
    steps_are("NOQUEUE", lines, N, "");
}

/* What a peer wrote into an address, a Message-ID or a HELO name is never taken for a field of the daemon. */
static void test_hostile(void **state)
{
    static const char *const lines[] = {
        AT "qmgr[1]: AAAAAA1: from=<\"x>, to=<victim@example.org\"@b.test>, size=1, nrcpt=1 (queue active)",
        AT
        "lmtp[1]: AAAAAA2: to=<\"a>, orig_to=<victim@example.org>, status=sent (\"@b.test>, relay=none, status=bounced (no)",
        AT "lmtp[1]: AAAAAA3: to=<\"a\\\">, orig_to=<victim@example.org>\"@b.test>, relay=none, status=sent (ok)",
        AT "smtpd[1]: NOQUEUE: reject: RCPT from h[1.2.3.4]: 550 5.1.1 <\"; from=<victim@example.org> to=<b@c> "
           "proto=ESMTP helo=<d>\"@b.test>: no; from=<a@b.test> to=<\"; from=<victim@example.org> to=<b@c> proto=ESMTP "
           "helo=<d>\"@b.test> proto=ESMTP helo=<c>",
        AT
        "smtp[1]: AAAAAA8: to=<b@c.test>, relay=h[1.2.3.4]:25, dsn=5.0.0, status=bounced (550 , status=sent (250 ok))",
        AT "cleanup[1]: AAAAAA4: message-id=<x>, to=<victim@example.org>",
        AT "cleanup[1]: AAAAAA5: message-id=victim@example.org",
        AT "smtpd[1]: AAAAAA6: client=h[1.2.3.4], to=<victim@example.org>",
        "2026-11-28 19:09:19 #1(p) <a>; proxy; rspamd_task_write_log: id: <x>, qid: <" QID
        ">, qid: <AAAAAA7>, ip: 1.2.3.4",
        "Nov 28 19:09:18 mx1 dovecot/x[1]: " QID ": to=<victim@example.org>",
        "to=<victim@example.org>",
        AT "smtpd[1]: ../../x: to=<victim@example.org>",
        AT "smtpd[1: " QID ": to=<victim@example.org>",
        AT "smtpd]: " QID ": to=<victim@example.org>",
    };
    enum { N = sizeof lines / sizeof *lines };
    (void)state;
    steps_are("victim@example.org", lines, N, "");
    steps_are(QID, lines, N, "");
    steps_are("AAAAAA7", lines, N, "");
    steps_are("AAAAAA2", lines, N, "bounced");
    steps_are("AAAAAA3", lines, N, "delivered");
    steps_are("AAAAAA8", lines, N, "bounced");
}

static void test_shown(void **state)
{
    DEFER(trace_free) Trace *trace = NULL;
    TraceStep step;
    char line[4096];
    (void)state;

    ok(trace_new(QID, &trace));
    assert_true(trace_step(trace, "Feb  3 01:02:03 mx1 postfix/smtpd[1]: " QID ": client=\x1b[2J\xff\x7f", &step));
    assert_string_equal(step.time, "02-03 01:02:03");
    assert_string_equal(step.program, "smtpd");
    assert_string_equal(step.id, QID);
    assert_string_equal(buf_text(&step.text), "client=\\x1b[2J\\xff\\x7f");
    trace_step_done(&step);
    int at = snprintf(line, sizeof line, AT "smtpd[1]: " QID ": client=");
    memset(line + at, 'x', sizeof line - 1 - (size_t)at);
    line[sizeof line - 1] = '\0';
    assert_true(trace_step(trace, line, &step));
    assert_in_range(step.text.size, 900, 1100);
    trace_step_done(&step);
}

/* Another node's Message-ID finds the message of that id, and nobody's mail by an address that looks like one. */
static void test_joined(void **state)
{
    DEFER(trace_free) Trace *trace = NULL;
    TraceStep step;
    (void)state;

    ok(trace_new("ZZZZZZZ1", &trace));
    ok(trace_join(trace, "someone@remote.test"));
    for (size_t i = 0; i < N_ROUTE; i++)
        trace_look(trace, route[i]);
    for (size_t i = 0; i < N_ROUTE; i++)
        assert_false(trace_step(trace, route[i], &step));
    fails(trace_join(trace, "a\nb"), ERROR_INVALID, "printable");
    ok(trace_join(trace, "bc5d511a@test"));
    for (size_t i = 0; i < N_ROUTE; i++)
        trace_look(trace, route[i]);
    assert_true(trace_step(trace, route[1], &step));
    assert_string_equal(step.message_id, "bc5d511a@test");
    trace_step_done(&step);
    for (size_t i = 2; i < TRACE_JOINED_MAX; i++)
        ok(trace_join(trace, "one@test"));
    fails(trace_join(trace, "one@test"), ERROR_INVALID, "more than 50");
}

static void test_wanted(void **state)
{
    Trace *trace = NULL;
    char *longest = malloc(TRACE_WANTED_MAX + 2);
    (void)state;

    memset(longest, 'a', TRACE_WANTED_MAX + 1);
    longest[TRACE_WANTED_MAX + 1] = '\0';
    fails(trace_new("", &trace), ERROR_INVALID, "write a queue id");
    fails(trace_new(longest, &trace), ERROR_INVALID, "of at most 1000 octets");
    fails(trace_new("a\nb", &trace), ERROR_INVALID, "printable");
    fails(trace_new("\x1b[2J", &trace), ERROR_INVALID, "printable");
    free(longest);
}

/* Every line cut at every place, and with each octet changed: nothing but an answer. */
static void test_broken(void **state)
{
    unsigned seed = 4711;
    (void)state;

    for (size_t i = 0; i < N_ROUTE; i++)
        for (size_t len = 0; len <= strlen(route[i]); len++) {
            char *cut = strndup(route[i], len);
            const char *lines[] = {cut};
            free(steps_of("someone@remote.test", lines, 1));
            for (int change = 0; len && change < 8; change++) {
                seed = seed * 1103515245u + 12345u;
                cut[(seed >> 8) % len] = "<>\"\\:;, []=\x01\xff\x7f@A"[(seed >> 20) % 16];
                free(steps_of(QID, lines, 1));
            }
            free(cut);
        }
}

static void test_many(void **state)
{
    DEFER(trace_free) Trace *trace = NULL;
    char line[200];
    (void)state;

    ok(trace_new("someone@remote.test", &trace));
    for (int i = 0; i <= TRACE_IDS_MAX; i++) {
        assert_false(trace_full(trace));
        snprintf(line, sizeof line, AT "qmgr[1]: A%06d: from=<someone@remote.test>, size=1", i);
        trace_look(trace, line);
    }
    assert_true(trace_full(trace));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_route),  cmocka_unit_test(test_attempts), cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_shown),  cmocka_unit_test(test_joined),   cmocka_unit_test(test_wanted),
        cmocka_unit_test(test_broken), cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
