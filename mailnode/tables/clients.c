/* Relay clients: networks as the first and the last of their addresses, written so that the order of texts is theirs. */
#include "tables/compute.h"

#include "model/name.h"

#include <stdio.h>

enum { BOUND_SIZE = 1 + 2 * 16 + 1 };

/* Every bit behind the prefix is 'fill'.  As the map asks: how many groups, then each as four digits; no address of one
 * family is between two of the other. */
static void bound(const Network *network, unsigned char fill, char out[BOUND_SIZE])
{
    bool four = network->n_octets == 4;
    int at = snprintf(out, BOUND_SIZE, "%c", four ? '4' : '8');

    for (unsigned i = 0; i < network->n_octets; i++) {
        unsigned known = network->bits <= 8 * i ? 0 : network->bits - 8 * i;
        unsigned char mask = known >= 8 ? 0xff : (unsigned char)(0xff << (8 - known));
        at += snprintf(out + at, (size_t)(BOUND_SIZE - at), four ? "%04u" : "%02x",
                       (network->octets[i] & mask) | (fill & ~mask));
    }
}

Error *client_named(Compute *compute, const char *network)
{
    DEFER(object_free) Object *object = NULL;
    char low[BOUND_SIZE], high[BOUND_SIZE];
    Network read;

    Error *err = compute_object(compute, MAIL__OBJECT__BODY_RELAY_CLIENT, network, &object);
    if (err)
        return err;
    if (object && network_read(network, &read)) {
        bound(&read, 0x00, low);
        bound(&read, 0xff, high);
        compute_row(compute, ROWS_RELAY_CLIENT, (const char *const[]){network, low, high});
    }
    return compute_settle(compute, ROWS_RELAY_CLIENT, network, NULL);
}
