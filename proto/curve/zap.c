#include "curve/zap.h"

#include "base/alloc.h"
#include "seal/keys.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <zmq.h>

enum { KEY_OCTETS = 32, REQUEST_ID_MAX = 255, WORD_MAX = 63 };

typedef struct Allowed {
    char key[CURVE_KEY_SIZE];
    UT_hash_handle hh;
} Allowed;

struct Zap {
    pthread_t thread;
    void *control;           /* ours: a word on it ends the thread */
    void *requests, *ending; /* the thread's, once it runs */
    pthread_mutex_t lock;    /* of 'allowed' */
    Allowed *allowed;
    atomic_uint_least64_t n_refused;
};

/* ---- the table ---- */

void zap_allow(Zap *zap, const char *key)
{
    Allowed *found = NULL;

    pthread_mutex_lock(&zap->lock);
    HASH_FIND_STR(zap->allowed, key, found);
    if (!found && strlen(key) < CURVE_KEY_SIZE) {
        found = xcalloc(1, sizeof *found);
        snprintf(found->key, sizeof found->key, "%s", key);
        HASH_ADD_STR(zap->allowed, key, found);
    }
    pthread_mutex_unlock(&zap->lock);
}

void zap_disallow(Zap *zap, const char *key)
{
    Allowed *found = NULL;

    pthread_mutex_lock(&zap->lock);
    HASH_FIND_STR(zap->allowed, key, found);
    if (found)
        HASH_DEL(zap->allowed, found);
    pthread_mutex_unlock(&zap->lock);
    free(found);
}

static bool allowed(Zap *zap, const char *key)
{
    Allowed *found = NULL;

    pthread_mutex_lock(&zap->lock);
    HASH_FIND_STR(zap->allowed, key, found);
    pthread_mutex_unlock(&zap->lock);
    return found != NULL;
}

uint64_t zap_refused(const Zap *zap)
{
    return zap->n_refused;
}

/* ---- one question ---- */

enum { VERSION, REQUEST_ID, DOMAIN, ADDRESS, ROUTING_ID, MECHANISM, CREDENTIALS, N_FRAMES }; /* RFC 27 */

typedef struct Question {
    char version[WORD_MAX + 1], domain[WORD_MAX + 1], mechanism[WORD_MAX + 1];
    uint8_t request_id[REQUEST_ID_MAX];
    size_t request_id_size;
    uint8_t key[KEY_OCTETS];
    bool has_key;
} Question;

static void word_take(char word[WORD_MAX + 1], const void *data, size_t size)
{
    if (size > WORD_MAX)
        return; /* none of ours: stays empty */
    memcpy(word, data, size);
    word[size] = '\0';
}

static void frame_take(Question *question, size_t n, const void *data, size_t size)
{
    switch (n) {
    case VERSION:
        word_take(question->version, data, size);
        break;
    case REQUEST_ID:
        question->request_id_size = size <= REQUEST_ID_MAX ? size : 0;
        memcpy(question->request_id, data, question->request_id_size);
        break;
    case DOMAIN:
        word_take(question->domain, data, size);
        break;
    case MECHANISM:
        word_take(question->mechanism, data, size);
        break;
    case CREDENTIALS:
        question->has_key = size == KEY_OCTETS;
        if (question->has_key)
            memcpy(question->key, data, KEY_OCTETS);
        break;
    default:
        break;
    }
}

static bool question_take(void *requests, Question *question)
{
    int more = 1;

    *question = (Question){.has_key = false};
    for (size_t n = 0; more; n++) {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        int got = zmq_msg_recv(&frame, requests, 0);
        if (got >= 0)
            frame_take(question, n, zmq_msg_data(&frame), zmq_msg_size(&frame));
        more = got >= 0 && zmq_msg_more(&frame);
        zmq_msg_close(&frame);
        if (got < 0)
            return false;
    }
    return true;
}

/* The whole policy.  Whoever is not let in by name is refused. */
static bool admitted(Zap *zap, const Question *question, const char *key)
{
    if (strcmp(question->version, "1.0") != 0 || strcmp(question->mechanism, "CURVE") != 0 || !question->has_key)
        return false;
    if (curve_key_published(key))
        return false;
    if (strcmp(question->domain, ZAP_DOMAIN_ANY) == 0)
        return true;
    return strcmp(question->domain, ZAP_DOMAIN_KNOWN) == 0 && allowed(zap, key);
}

/* 400, not 300: with 300 libzmq's client would hang in the handshake, and hold a descriptor of ours, again and again. */
static void answer(Zap *zap, const Question *question)
{
    char key[CURVE_KEY_SIZE] = "";

    if (question->has_key)
        zmq_z85_encode(key, question->key, KEY_OCTETS);
    bool good = admitted(zap, question, key);
    if (!good)
        zap->n_refused++;
    zmq_send(zap->requests, "1.0", 3, ZMQ_SNDMORE);
    zmq_send(zap->requests, question->request_id, question->request_id_size, ZMQ_SNDMORE);
    zmq_send(zap->requests, good ? "200" : "400", 3, ZMQ_SNDMORE);
    zmq_send(zap->requests, good ? "OK" : "NO", 2, ZMQ_SNDMORE);
    zmq_send(zap->requests, key, good ? strlen(key) : 0, ZMQ_SNDMORE);
    zmq_send(zap->requests, "", 0, 0);
}

/* ---- the thread ---- */

static void *serve(void *context)
{
    Zap *zap = context;
    zmq_pollitem_t items[] = {{.socket = zap->requests, .events = ZMQ_POLLIN},
                              {.socket = zap->ending, .events = ZMQ_POLLIN}};

    for (;;) {
        Question question;
        int ready = zmq_poll(items, 2, -1);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready < 0 || items[1].revents)
            break;
        if (items[0].revents && question_take(zap->requests, &question))
            answer(zap, &question);
    }
    zmq_close(zap->requests);
    zmq_close(zap->ending);
    return NULL;
}

/* The main loop's signals are the main loop's. */
static int thread_start(Zap *zap)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&zap->thread, NULL, serve, zap);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

static void *bound(void *zmq, int type, const char *endpoint)
{
    void *socket = zmq_socket(zmq, type);

    if (socket && zmq_bind(socket, endpoint) != 0) {
        int number = errno;
        zmq_close(socket);
        errno = number;
        return NULL;
    }
    return socket;
}

static void zap_free(Zap **zap)
{
    Allowed *one = (*zap)->allowed;

    HASH_CLEAR(hh, (*zap)->allowed); /* the table alone; the entries are a list still */
    while (one) {
        Allowed *next = one->hh.next;
        free(one);
        one = next;
    }
    pthread_mutex_destroy(&(*zap)->lock);
    free(*zap);
    *zap = NULL;
}

Error *zap_start(void *zmq, Zap **ret_zap)
{
    Zap *zap = xcalloc(1, sizeof *zap);

    pthread_mutex_init(&zap->lock, NULL);
    zap->requests = bound(zmq, ZMQ_REP, "inproc://zeromq.zap.01");
    zap->ending = bound(zmq, ZMQ_PAIR, "inproc://zap-ending");
    zap->control = zmq_socket(zmq, ZMQ_PAIR);
    if (zap->requests && zap->ending && zap->control && zmq_connect(zap->control, "inproc://zap-ending") == 0 &&
        (errno = thread_start(zap)) == 0) {
        *ret_zap = zap;
        return NULL;
    }
    Error *err = error_new(ERROR_SYSTEM, "ZAP handler: %s", zmq_strerror(errno));
    void *sockets[] = {zap->requests, zap->ending, zap->control};
    for (size_t i = 0; i < sizeof sockets / sizeof *sockets; i++)
        if (sockets[i])
            zmq_close(sockets[i]);
    zap_free(&zap);
    return err;
}

void zap_end(Zap **zap)
{
    if (!*zap)
        return;
    while (zmq_send((*zap)->control, "", 0, 0) < 0 && errno == EINTR)
        continue;
    pthread_join((*zap)->thread, NULL);
    zmq_close((*zap)->control);
    zap_free(zap);
}
