#include "seal/endpoint.h"

#include <string.h>

bool endpoint_valid(const char *endpoint)
{
    static const char scheme[] = "tcp://";
    size_t len = strlen(endpoint), scheme_len = sizeof scheme - 1;

    if (len > ENDPOINT_LEN_MAX || strncmp(endpoint, scheme, scheme_len) != 0)
        return false;
    const char *address = endpoint + scheme_len, *colon = strrchr(address, ':');
    if (!colon || colon == address ||
        strspn(address, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                        "-._:[]%*") != strlen(address))
        return false;
    size_t digits = strspn(colon + 1, "0123456789");
    return (digits > 0 && digits <= 5 && !colon[1 + digits]) || strcmp(colon, ":*") == 0;
}
