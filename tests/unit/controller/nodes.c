#include "cluster.h"

static void site(void)
{
    put(machine("mx1"));
    put(machine("mx2"));
    put(user_domain("staff", "mx1", NULL));
    put(instance("main", "mx1", "staff"));
}

/* ---- where a node stands ---- */

static void an_empty_node_gets_all_of_its_own(void **state)
{
    Have have = {0};

    (void)state;
    site();
    Peer *peer = joined("mx1", "boot");
    assert_int_equal(force("mx1", 0).state, MAIL__FORCE_STATE__PENDING);
    say_hello(peer, &have);
    standing_is(peer, MAIL__STANDING_STATE__BEHIND);
    take_delta(peer, &have);
    assert_int_equal(have.n, 3); /* not the other node */
    assert_int_equal(have.revision, store_revision(store));
    assert_int_equal(force("mx1", 0).state, MAIL__FORCE_STATE__PENDING); /* sent is not in force */
    say_applied(peer, &have, have.revision);
    until(force("mx1", 0).state == MAIL__FORCE_STATE__IN_FORCE);
    assert_true(nodes_online(nodes, "mx1"));
    assert_string_equal(force("mx2", 0).why, "has not joined yet");
}

static void applied_is_believed_if_it_fits(void **state)
{
    Have have = {0}, wrong;

    (void)state;
    site();
    Peer *peer = joined("mx1", "boot");
    say_hello(peer, &have);
    take_delta(peer, &have);
    for (int i = 0; i < 4; i++) {
        wrong = have;
        if (i == 0)
            wrong.revision += 50;
        if (i == 1)
            wrong.chain.octets[7] ^= 1;
        if (i == 2)
            wrong.digest.octets[7] ^= 1;
        if (i == 3)
            wrong = (Have){0};
        say_applied(peer, &wrong, wrong.revision);
        settle();
        if (force("mx1", 0).state != MAIL__FORCE_STATE__PENDING)
            fail_msg("believed: case %d", i);
    }
    say_applied(peer, &have, have.revision);
    until(force("mx1", 0).state == MAIL__FORCE_STATE__IN_FORCE);
}

/* What a small revision is worked out to here must be what the store says: the peer adds up every delta. */
static void deltas_add_up(void **state)
{
    Have have = {0};

    (void)state;
    site();
    Peer *peer = online("mx1", &have);
    put(address("main", "info@example.org", "user:alice"));
    catch_up(peer, "mx1", &have);
    put(address("main", "info@example.org", "user:bob"));
    catch_up(peer, "mx1", &have);
    put(user_domain("staff", "mx1", "127.0.0.1"));
    catch_up(peer, "mx1", &have);
    drop(MAIL__OBJECT__BODY_ADDRESS, "main", "info@example.org");
    catch_up(peer, "mx1", &have);
    put(address("main", "more@example.org", "user:bob"));
    catch_up(peer, "mx1", &have);
    put(instance("main", NULL, "staff")); /* taken away: its scope goes */
    catch_up(peer, "mx1", &have);
    assert_int_equal(have.n, 2);
    put(instance("main", "mx1", "staff"));
    catch_up(peer, "mx1", &have);
    assert_int_equal(have.n, 4);
    Digest digest;
    ok(store_node_digest(store, "mx1", &digest));
    assert_true(digest_equal(&digest, &have.digest));
    hears_nothing(peer, MAIL__ENVELOPE__BODY_DELTA);
}

static void one_delta_is_in_flight(void **state)
{
    Have have = {0};

    (void)state;
    site();
    Peer *peer = online("mx1", &have);
    put(address("main", "a@example.org", "user:alice"));
    put(address("main", "b@example.org", "user:alice"));
    put(address("main", "c@example.org", "user:alice"));
    take_delta(peer, &have);
    hears_nothing(peer, MAIL__ENVELOPE__BODY_DELTA);
    say_applied(peer, &have, have.revision);
    take_delta(peer, &have); /* both that came meanwhile, in one */
    assert_int_equal(have.revision, store_revision(store));
    hears_nothing(peer, MAIL__ENVELOPE__BODY_DELTA);
}

static void hello_again_heals(void **state)
{
    Have have = {0}, lost;

    (void)state;
    site();
    Peer *peer = online("mx1", &have);
    put(address("main", "a@example.org", "user:alice"));
    lost = have;
    take_delta(peer, &lost); /* it did not keep it */
    say_hello(peer, &have);
    standing_is(peer, MAIL__STANDING_STATE__BEHIND);
    catch_up(peer, "mx1", &have);
    say_hello(peer, &have);
    standing_is(peer, MAIL__STANDING_STATE__CURRENT);
    hears_nothing(peer, MAIL__ENVELOPE__BODY_DELTA);
}

static void what_a_node_has_lost_is_not_in_force(void **state)
{
    Have have = {0}, nothing = {0};
    Refusal refusal;

    (void)state;
    site();
    Peer *peer = online("mx1", &have);
    say_hello(peer, &nothing);
    standing_is(peer, MAIL__STANDING_STATE__BEHIND);
    assert_int_equal(force("mx1", 0).state, MAIL__FORCE_STATE__PENDING);
    assert_int_equal(force("mx1", 2).state, MAIL__FORCE_STATE__PENDING);
    take_delta(peer, &nothing);
    say_refused(peer, nothing.revision, ERROR_REFUSED, "no"); /* it was in force, and is not now */
    until(nodes_take_refusal(nodes, &refusal));
    assert_int_equal(refusal.good_revision, 0);
    error_free(&refusal.why);
}

static void a_report_tells_that_a_delta_arrived(void **state)
{
    Have have = {0};
    Mail__Report report = MAIL__REPORT__INIT;

    (void)state;
    site();
    Peer *peer = online("mx1", &have);
    put(address("main", "a@example.org", "user:alice"));
    put(address("main", "b@example.org", "user:alice"));
    take_delta(peer, &have);
    report.has_wanted_revision = true;
    report.wanted_revision = have.revision;
    say(peer, MAIL__ENVELOPE__BODY_REPORT, &report);
    uint64_t first = have.revision;
    take_delta(peer, &have);
    assert_int_equal(force("mx1", first).state, MAIL__FORCE_STATE__PENDING); /* wanted is not applied */
}

static void drift_is_told_and_all_is_sent(void **state)
{
    Have have = {0};

    (void)state;
    site();
    Peer *peer = online("mx1", &have);
    have.digest.octets[0] ^= 1;
    say_hello(peer, &have);
    standing_is(peer, MAIL__STANDING_STATE__BEHIND);
    catch_up(peer, "mx1", &have);
    until(happened("node drifted") == 1);
}

static void a_large_delta_comes_in_parts(void **state)
{
    static const Author author = {.who = "root"};
    uint64_t revision = 0;
    size_t n = 0;
    Have have = {0};

    (void)state;
    site();
    ok(store_begin(store));
    ok(change_begin(store));
    for (int i = 0; i < 3000; i++) {
        DEFER(xfree) char *name = xasprintf("user.with.a.long.name%05d@example.org", i);
        Object *object = address("main", name, "user:alice");
        ok(store_put(store, object));
        object_free(&object);
    }
    ok(change_end(store, &author, &revision));
    ok(store_commit(store));
    nodes_changed(nodes, revision, now_ms());
    Peer *peer = joined("mx1", "boot");
    say_hello(peer, &have);
    for (uint32_t part = 0;; part++) {
        DEFER(envelope_free) Envelope *envelope = expect(peer, MAIL__ENVELOPE__BODY_DELTA);
        assert_int_equal(envelope->seq, part);
        assert_int_equal(envelope->delta->to_revision, revision);
        n += envelope->delta->n_objects;
        for (size_t i = 0; i < envelope->delta->n_objects; i++) {
            Digest digest = digest_of(envelope->delta->objects[i].data, envelope->delta->objects[i].len);
            digest_add(&have.digest, &digest);
        }
        if (!envelope->last)
            continue;
        assert_true(part >= 2);
        assert_memory_equal(envelope->delta->to_digest.data, have.digest.octets, DIGEST_SIZE);
        break;
    }
    assert_int_equal(n, 3003);
}

/* ---- forks ---- */

static void a_fork_gets_nothing_until_an_admin_decides(void **state)
{
    Have have = {0};

    (void)state;
    site();
    Peer *peer = joined("mx1", "boot");
    have.revision = 99;
    say_hello(peer, &have);
    standing_is(peer, MAIL__STANDING_STATE__FORKED);
    hears_nothing(peer, MAIL__ENVELOPE__BODY_DELTA);
    put(address("main", "a@example.org", "user:alice"));
    hears_nothing(peer, MAIL__ENVELOPE__BODY_DELTA);
    assert_false(nodes_online(nodes, "mx1"));
    assert_int_equal(nodes_state(nodes, "mx1"), MAIL__NODE_STATE__NODE_FORKED);
    assert_non_null(strstr(force("mx1", 0).why, "node resync mx1 --force"));
    say_hello(peer, &have); /* as it does every few seconds */
    standing_is(peer, MAIL__STANDING_STATE__FORKED);
    until(happened("node forked") == 1);

    fails(nodes_resync(nodes, "mx1", false, now_ms()), ERROR_CONFLICT, "forked");
    ok(nodes_resync(nodes, "mx1", true, now_ms()));
    Envelope *envelope = expect(peer, MAIL__ENVELOPE__BODY_DELTA);
    assert_true(envelope->delta->forced && !envelope->delta->has_from_chain);
    have = (Have){0};
    have_take(&have, envelope);
    envelope_free(&envelope);
    assert_false(nodes_online(nodes, "mx1"));
    say_applied(peer, &have, have.revision);
    until(nodes_online(nodes, "mx1"));
    assert_int_equal(force("mx1", 0).state, MAIL__FORCE_STATE__IN_FORCE);
    assert_int_equal(happened("node forked"), 1);
}

static void tables_of_a_future_are_a_fork(void **state)
{
    Mail__Hello hello = MAIL__HELLO__INIT;

    (void)state;
    site();
    Peer *peer = joined("mx1", "boot");
    hello.has_schema = hello.has_revision = hello.has_applied_revision = true;
    hello.schema = OBJECT_SCHEMA;
    hello.applied_revision = 99;
    say(peer, MAIL__ENVELOPE__BODY_HELLO, &hello);
    standing_is(peer, MAIL__STANDING_STATE__FORKED);
}

static void resync_of_a_node_that_is_no_fork(void **state)
{
    Have have = {0};

    (void)state;
    site();
    fails(nodes_resync(nodes, "mx1", true, now_ms()), ERROR_UNAVAILABLE, "not online");
    fails(nodes_resync(nodes, "mx9", true, now_ms()), ERROR_NOT_FOUND, "does not exist");
    Peer *peer = online("mx1", &have);
    ok(nodes_resync(nodes, "mx1", false, now_ms()));
    catch_up(peer, "mx1", &have);
}

/* ---- two machines with one key ---- */

static void a_clone_is_refused_while_the_first_answers(void **state)
{
    Have have = {0}, nothing = {0};

    (void)state;
    site();
    Peer *first = online("mx1", &have);
    Peer *second = peer_connect(first, "another boot");
    say_hello(second, &nothing);
    standing_is(second, MAIL__STANDING_STATE__CLONE);
    assert_int_equal(nodes_state(nodes, "mx1"), MAIL__NODE_STATE__CLONED);
    assert_true(nodes_online(nodes, "mx1"));
    put(address("main", "a@example.org", "user:alice"));
    catch_up(first, "mx1", &have);
    hears_nothing(second, MAIL__ENVELOPE__BODY_DELTA);
    say_applied(second, &have, have.revision); /* its words count nothing */
    Envelope *failure = expect(second, MAIL__ENVELOPE__BODY_FAILURE);
    assert_non_null(strstr(failure->failure->what, "clone"));
    envelope_free(&failure);
    until(happened("clone refused") == 1);
    skew += 31000;
    until(nodes_state(nodes, "mx1") != MAIL__NODE_STATE__CLONED); /* it has stopped trying */
}

static void the_newer_counts_when_the_first_is_silent(void **state)
{
    Have have = {0}, nothing = {0};

    (void)state;
    site();
    Peer *first = online("mx1", &have);
    Peer *second = peer_connect(first, "another boot");
    first->mute = true;
    say_hello(second, &nothing);
    hears_nothing(second, MAIL__ENVELOPE__BODY_STANDING);
    skew += 3001;
    standing_is(second, MAIL__STANDING_STATE__BEHIND);
    take_delta(second, &nothing);
    assert_int_equal(nodes_state(nodes, "mx1"), MAIL__NODE_STATE__ONLINE);
}

static void the_newer_counts_at_once_with_the_same_boot(void **state)
{
    Have have = {0};

    (void)state;
    site();
    Peer *first = online("mx1", &have);
    Peer *second = peer_connect(first, "mx1");
    say_hello(second, &have);
    standing_is(second, MAIL__STANDING_STATE__CURRENT);
    put(address("main", "a@example.org", "user:alice"));
    catch_up(second, "mx1", &have);
    hears_nothing(first, MAIL__ENVELOPE__BODY_DELTA);
}

/* ---- there or not ---- */

static void silence_is_offline_and_a_word_is_online(void **state)
{
    Have have = {0};
    Mail__Report report = MAIL__REPORT__INIT;

    (void)state;
    site();
    Peer *peer = online("mx1", &have);
    skew += 2500;
    settle();
    assert_true(nodes_online(nodes, "mx1")); /* it was asked, and answered */
    skew += 2500;
    settle();
    assert_true(nodes_online(nodes, "mx1"));
    peer->mute = true;
    skew += 3001;
    until(!nodes_online(nodes, "mx1"));
    put(address("main", "a@example.org", "user:alice"));
    NodeForce found = force("mx1", 0);
    assert_int_equal(found.state, MAIL__FORCE_STATE__PENDING);
    assert_string_equal(found.why, "offline");
    assert_true(found.offline_for_ms >= 3000);
    say(peer, MAIL__ENVELOPE__BODY_REPORT, &report);
    until(nodes_online(nodes, "mx1"));
    catch_up(peer, "mx1", &have);
    until(happened("node offline") == 1 && happened("node online") == 1);
}

static void who_does_not_come_back_after_the_start(void **state)
{
    Have have = {0};

    (void)state;
    site();
    online("mx1", &have);
    close_parts();
    open_parts();
    settle();
    assert_int_equal(happened("node offline"), 0);
    assert_int_equal(nodes_state(nodes, "mx1"), MAIL__NODE_STATE__OFFLINE);
    assert_true(force("mx1", 0).offline_for_ms > 0);
    peers[0]->mute = true;
    skew += 31000;
    until(happened("node offline") == 1);
}

static void a_schema_that_is_too_old_waits(void **state)
{
    Mail__Hello hello = MAIL__HELLO__INIT;

    (void)state;
    site();
    Peer *peer = joined("mx1", "boot");
    hello.has_schema = hello.has_revision = true;
    hello.schema = OBJECT_SCHEMA - 1;
    say(peer, MAIL__ENVELOPE__BODY_HELLO, &hello);
    standing_is(peer, MAIL__STANDING_STATE__BEHIND);
    hears_nothing(peer, MAIL__ENVELOPE__BODY_DELTA);
    assert_string_equal(force("mx1", 0).why, "needs " MAILNODE_RELEASE);
}

/* ---- keys ---- */

static void a_revoked_node_is_heard_no_more(void **state)
{
    Have have = {0};
    Mail__Report report = MAIL__REPORT__INIT;

    (void)state;
    site();
    fails(nodes_revoke(nodes, "mx2"), ERROR_NOT_FOUND, "never joined");
    fails(nodes_revoke(nodes, "mx9"), ERROR_NOT_FOUND, "does not exist");
    Peer *peer = online("mx1", &have);
    ok(nodes_revoke(nodes, "mx1"));
    report.release = (char *)"9.9.9";
    say(peer, MAIL__ENVELOPE__BODY_REPORT, &report);
    say_hello(peer, &have);
    put(address("main", "a@example.org", "user:alice"));
    settle();
    assert_int_equal(peer->n_heard, 0);
    assert_int_equal(nodes_state(nodes, "mx1"), MAIL__NODE_STATE__REVOKED);
    assert_string_equal(force("mx1", 0).why, "revoked");
    Mail__NodeStatus **status = NULL;
    size_t n = 0;
    ok(nodes_status(nodes, &(StatusWish){"mx1", true, true}, now_ms(), &status, &n));
    assert_int_equal(n, 1);
    assert_string_equal(status[0]->release, "1.0.0");
    assert_string_equal(status[0]->instance, "main");
    nodes_status_free(&status, n);
}

static void a_removed_node_loses_its_key(void **state)
{
    Have have = {0};

    (void)state;
    site();
    put(machine("mx3"));
    Peer *peer = online("mx3", &have);
    drop(MAIL__OBJECT__BODY_NODE, NULL, "mx3");
    assert_false(door_knows(door, peer->public_key));
    put(machine("mx3"));
    say_hello(peer, &have);
    hears_nothing(peer, MAIL__ENVELOPE__BODY_STANDING);
    assert_int_equal(nodes_state(nodes, "mx3"), MAIL__NODE_STATE__NEVER_JOINED);
}

/* ---- what it could not do ---- */

static void only_what_was_sent_can_be_refused(void **state)
{
    Have have = {0}, other = {0};
    Refusal refusal;

    (void)state;
    site();
    Peer *peer = online("mx1", &have);
    Peer *second = online("mx2", &other);
    uint64_t revision = put(user_domain("staff", "mx1", "127.0.0.1"));
    say_refused(second, revision, ERROR_REFUSED, "no"); /* of another node */
    say_refused(peer, revision + 5, ERROR_REFUSED, "no");
    say_refused(peer, revision - 1, ERROR_REFUSED, "no"); /* it said that this one is in force */
    say_refused(peer, 2, ERROR_REFUSED, "no");            /* that touched mx2 alone */
    settle();
    assert_false(nodes_take_refusal(nodes, &refusal));
    take_delta(peer, &have);
    say_refused(peer, revision, ERROR_REFUSED, "postconf: no");
    say_refused(peer, revision, ERROR_REFUSED, "postconf: no"); /* once in a session is enough */
    until(nodes_take_refusal(nodes, &refusal));
    assert_string_equal(refusal.node, "mx1");
    assert_int_equal(refusal.revision, revision);
    assert_int_equal(refusal.good_revision, revision - 1);
    fails(refusal.why, ERROR_REFUSED, "postconf: no");
    settle();
    assert_false(nodes_take_refusal(nodes, &refusal));
    assert_int_equal(force("mx1", revision).state, MAIL__FORCE_STATE__NODE_REFUSED);
    assert_string_equal(force("mx1", revision).why, "postconf: no");
    assert_int_equal(force("mx1", revision - 1).state, MAIL__FORCE_STATE__IN_FORCE);

    /* What takes it back is sent on, and mends it. */
    uint64_t back = put(user_domain("staff", "mx1", NULL));
    assert_int_equal(force("mx1", back).state, MAIL__FORCE_STATE__PENDING);
    catch_up(peer, "mx1", &have);
    assert_string_equal(force("mx1", 0).why, "");
}

/* Its Hello is all that is known: what it had then is where the search for the culprit begins. */
static void what_is_refused_after_our_start(void **state)
{
    Have have = {0};
    Refusal refusal;

    (void)state;
    site();
    Peer *peer = online("mx1", &have);
    uint64_t good = have.revision;
    close_parts();
    open_parts();
    uint64_t revision = put(user_domain("staff", "mx1", "127.0.0.1"));
    peer = peer_connect(peer, "mx1");
    say_hello(peer, &have);
    take_delta(peer, &have);
    say_refused(peer, revision, ERROR_REFUSED, "no");
    until(nodes_take_refusal(nodes, &refusal));
    assert_int_equal(refusal.good_revision, good);
    error_free(&refusal.why);
}

static void a_held_node_shows_both_numbers(void **state)
{
    Have have = {0};
    Refusal refusal;

    (void)state;
    site();
    Peer *peer = online("mx1", &have);
    uint64_t good = have.revision, revision = put(user_domain("staff", "mx1", "127.0.0.1"));
    take_delta(peer, &have);
    say_refused(peer, revision, ERROR_INVALID, "no");
    until(nodes_take_refusal(nodes, &refusal));
    error_free(&refusal.why);
    nodes_hold(nodes, "mx1", revision);
    Envelope *hold = expect(peer, MAIL__ENVELOPE__BODY_HOLD);
    assert_int_equal(hold->hold->revision, revision);
    envelope_free(&hold);
    say_applied(peer, &have, good);
    until(force("mx1", revision).state == MAIL__FORCE_STATE__HELD);
    assert_string_equal(force("mx1", revision).why, "no");
}

static void what_is_not_understood_is_pending(void **state)
{
    Have have = {0};
    Refusal refusal;

    (void)state;
    site();
    Peer *peer = online("mx1", &have);
    uint64_t revision = put(address("main", "a@example.org", "user:alice"));
    Envelope *delta = expect(peer, MAIL__ENVELOPE__BODY_DELTA);
    envelope_free(&delta);
    say_refused(peer, revision, ERROR_UNSUPPORTED, "field 'colour' is not known here");
    until(force("mx1", revision).why[0]);
    assert_string_equal(force("mx1", revision).why, "needs " MAILNODE_RELEASE ": field 'colour' is not known here");
    assert_int_equal(force("mx1", revision).state, MAIL__FORCE_STATE__PENDING);
    assert_false(nodes_take_refusal(nodes, &refusal));
    hears_nothing(peer, MAIL__ENVELOPE__BODY_DELTA); /* again would be no use */
    drop(MAIL__OBJECT__BODY_ADDRESS, "main", "a@example.org");
    take_delta(peer, &have); /* from where it stands, past what it did not understand */
    say_applied(peer, &have, have.revision);
    until(force("mx1", 0).state == MAIL__FORCE_STATE__IN_FORCE);
}

/* ---- questions ---- */

static void configuration_is_asked_about(void **state)
{
    Have have = {0};
    Mail__Prepared prepared = MAIL__PREPARED__INIT;
    Mail__Failure no = MAIL__FAILURE__INIT;
    Error *why = NULL;
    uint64_t good, bad, away, held, late;

    (void)state;
    site();
    assert_false(nodes_prepare(nodes, "mx1", NULL, 0, now_ms(), &good));
    Peer *peer = online("mx1", &have);
    assert_true(nodes_prepare(nodes, "mx1", NULL, 0, now_ms(), &good));
    assert_true(nodes_prepare(nodes, "mx1", NULL, 0, now_ms(), &bad));
    assert_true(nodes_prepare(nodes, "mx1", NULL, 0, now_ms(), &away));
    assert_true(nodes_prepare(nodes, "mx1", NULL, 0, now_ms(), &held));
    assert_true(nodes_prepare(nodes, "mx1", NULL, 0, now_ms(), &late));
    assert_int_equal(nodes_prepared(nodes, good, now_ms(), &why), PREPARATION_PENDING);
    Envelope *asked = expect(peer, MAIL__ENVELOPE__BODY_PREPARE);
    reply(peer, asked, MAIL__ENVELOPE__BODY_PREPARED, &prepared);
    envelope_free(&asked);
    asked = expect(peer, MAIL__ENVELOPE__BODY_PREPARE);
    no.has_code = true;
    no.code = MAIL__ERROR_NUMBER__REFUSED;
    no.what = (char *)"postconf: line 12";
    reply(peer, asked, MAIL__ENVELOPE__BODY_FAILURE, &no);
    envelope_free(&asked);
    asked = expect(peer, MAIL__ENVELOPE__BODY_PREPARE);
    no.code = MAIL__ERROR_NUMBER__UNAVAILABLE;
    reply(peer, asked, MAIL__ENVELOPE__BODY_FAILURE, &no);
    envelope_free(&asked);
    asked = expect(peer, MAIL__ENVELOPE__BODY_PREPARE);
    no.code = MAIL__ERROR_NUMBER__CONFLICT;
    no.what = (char *)"port 25 of 127.0.1.1 is in use by exim4, pid 812";
    reply(peer, asked, MAIL__ENVELOPE__BODY_FAILURE, &no);
    envelope_free(&asked);
    settle();
    assert_int_equal(nodes_prepared(nodes, good, now_ms(), &why), PREPARATION_GOOD);
    assert_int_equal(nodes_prepared(nodes, good, now_ms(), &why), PREPARATION_UNKNOWN); /* forgotten */
    assert_int_equal(nodes_prepared(nodes, away, now_ms(), &why), PREPARATION_UNKNOWN);
    assert_null(why);
    assert_int_equal(nodes_prepared(nodes, bad, now_ms(), &why), PREPARATION_REFUSED);
    fails(why, ERROR_REFUSED, "line 12");
    assert_int_equal(nodes_prepared(nodes, held, now_ms(), &why), PREPARATION_REFUSED);
    fails(why, ERROR_CONFLICT, "exim4, pid 812");
    assert_int_equal(nodes_prepared(nodes, late, now_ms(), &why), PREPARATION_PENDING);
    assert_int_equal(nodes_prepared(nodes, late, now_ms() + 10000, &why), PREPARATION_UNKNOWN);
}

static void nobody_waits_for_a_node_that_went(void **state)
{
    Have have = {0};
    Error *why = NULL;
    uint64_t ticket;

    (void)state;
    site();
    Peer *peer = online("mx1", &have);
    assert_true(nodes_prepare(nodes, "mx1", NULL, 0, now_ms(), &ticket));
    peer->mute = true;
    skew += 3001;
    until(!nodes_online(nodes, "mx1"));
    assert_int_equal(nodes_prepared(nodes, ticket, now_ms(), &why), PREPARATION_UNKNOWN);
}

/* ---- reports ---- */

static void facts_grow_old(void **state)
{
    Have have = {0};
    Mail__Report report = MAIL__REPORT__INIT;
    Mail__BackupStanding standing = MAIL__BACKUP_STANDING__INIT;
    Mail__Fact fact = MAIL__FACT__INIT, *facts[] = {&fact};
    Mail__Happening happening = MAIL__HAPPENING__INIT, *list[] = {&happening};
    Mail__NodeStatus **status = NULL;
    size_t n = 0;

    (void)state;
    site();
    Peer *peer = online("mx1", &have);
    fact.name = (char *)"tables";
    fact.text = (char *)"at revision 4";
    fact.has_state = fact.has_age_ms = true;
    fact.state = MAIL__FACT_STATE__GOOD;
    fact.age_ms = 70;
    happening.has_number = happening.has_severity = true;
    happening.number = 5;
    happening.severity = MAIL__FACT_STATE__DEGRADED;
    happening.what = (char *)"drift mended";
    happening.text = (char *)"2 rows";
    report.n_facts = report.n_happenings = 1;
    report.facts = facts;
    report.happenings = list;
    report.release = (char *)"1.0.1";
    standing.plan = (char *)"nightly";
    standing.destination = (char *)"vault";
    standing.has_state = standing.has_good_age_ms = standing.has_next_ms = true;
    standing.good_age_ms = 5;
    standing.next_ms = 61000;
    report.n_backups = 1;
    report.backups = &(Mail__BackupStanding *){&standing};
    say(peer, MAIL__ENVELOPE__BODY_REPORT, &report);
    say(peer, MAIL__ENVELOPE__BODY_REPORT, &report); /* happenings are repeated in each session */
    until(happened("drift mended") == 1);
    settle();
    assert_int_equal(happened("drift mended"), 1);
    ok(nodes_status(nodes, &(StatusWish){NULL, true, true}, now_ms() + 60000, &status, &n));
    assert_int_equal(n, 2);
    assert_string_equal(status[0]->name, "mx1");
    assert_string_equal(status[0]->release, "1.0.1");
    assert_int_equal(status[0]->n_facts, 1);
    assert_string_equal(status[0]->facts[0]->text, "at revision 4");
    assert_true(status[0]->facts[0]->age_ms >= 60070);
    assert_int_equal(status[0]->n_backups, 1);
    assert_string_equal(status[0]->backups[0]->plan, "nightly");
    assert_string_equal(status[0]->backups[0]->text, "");
    assert_true(status[0]->backups[0]->good_age_ms >= 60005);
    assert_true(status[0]->backups[0]->next_ms <= 1000);
    assert_false(status[0]->backups[0]->has_ended_age_ms); /* it has not run */
    assert_true(status[0]->seen_ms >= 60000);
    assert_int_equal(status[1]->state, MAIL__NODE_STATE__NEVER_JOINED);
    assert_int_equal(status[1]->n_facts, 0);
    nodes_status_free(&status, n);
    fails(nodes_status(nodes, &(StatusWish){.node = "mx9"}, now_ms(), &status, &n), ERROR_NOT_FOUND, "mx9");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_node_gets_all_of_its_own),
        TEST(applied_is_believed_if_it_fits),
        TEST(deltas_add_up),
        TEST(one_delta_is_in_flight),
        TEST(hello_again_heals),
        TEST(what_a_node_has_lost_is_not_in_force),
        TEST(a_report_tells_that_a_delta_arrived),
        TEST(drift_is_told_and_all_is_sent),
        TEST(a_large_delta_comes_in_parts),
        TEST(a_fork_gets_nothing_until_an_admin_decides),
        TEST(tables_of_a_future_are_a_fork),
        TEST(resync_of_a_node_that_is_no_fork),
        TEST(a_clone_is_refused_while_the_first_answers),
        TEST(the_newer_counts_when_the_first_is_silent),
        TEST(the_newer_counts_at_once_with_the_same_boot),
        TEST(silence_is_offline_and_a_word_is_online),
        TEST(who_does_not_come_back_after_the_start),
        TEST(a_schema_that_is_too_old_waits),
        TEST(a_revoked_node_is_heard_no_more),
        TEST(a_removed_node_loses_its_key),
        TEST(only_what_was_sent_can_be_refused),
        TEST(what_is_refused_after_our_start),
        TEST(a_held_node_shows_both_numbers),
        TEST(what_is_not_understood_is_pending),
        TEST(configuration_is_asked_about),
        TEST(nobody_waits_for_a_node_that_went),
        TEST(facts_grow_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
