/* Octets of a peer: refused, or an envelope that packs to the same octets. */
#include "fuzz.h"

#include "local/envelope.h"

#include <string.h>

static void failure_comes_back(const Mail__Failure *failure)
{
    DEFER(error_free) Error *err = error_of(failure);

    REQUIRE(err && err->what && *err->what);
    Mail__Failure again = failure_of(err);
    REQUIRE(again.has_code && again.code >= MAIL__ERROR_NUMBER__INVALID && again.code <= MAIL__ERROR_NUMBER__DAMAGED);
    REQUIRE(strcmp(again.what, err->what) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    DEFER(envelope_free) Envelope *envelope = NULL;
    DEFER(buf_done) Buf out = {0};
    uint64_t id = 0;
    DEFER(error_free) Error *err = envelope_unpack(data, size, &envelope, &id);

    REQUIRE((err == NULL) == (envelope != NULL));
    if (err) {
        REQUIRE(err->code == ERROR_INVALID || err->code == ERROR_UNSUPPORTED);
        REQUIRE(err->code == ERROR_UNSUPPORTED || id == 0);
        return 0;
    }
    REQUIRE(id != 0 && id == envelope->id && envelope->body_case != MAIL__ENVELOPE__BODY__NOT_SET);
    REQUIRE(strcmp(body_name(envelope->body_case), "unknown") != 0);
    if (envelope->body_case == MAIL__ENVELOPE__BODY_FAILURE)
        failure_comes_back(envelope->failure);

    DEFER(error_free) Error *packed = envelope_pack(envelope, &out);
    REQUIRE(!packed && out.size == size && memcmp(out.data, data, size) == 0);
    return 0;
}
