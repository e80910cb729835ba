#include "tables/winner.h"

#include <string.h>

const char *const class_names[N_CLASSES] = {
    [0] = "-",
    [CLASS_USERS] = "-u",
    [CLASS_GROUPS] = "-g",
    [CLASS_USERS | CLASS_GROUPS] = "-ug",
};

Winner winner_of(const Candidates *candidates, int class_)
{
    Presence group = class_ & CLASS_GROUPS ? candidates->group : PRESENCE_NONE;
    Presence user = class_ & CLASS_USERS ? candidates->user : PRESENCE_NONE;

    if (candidates->specific)
        return WINNER_SPECIFIC;
    if (candidates->wildcard)
        return WINNER_WILDCARD;
    for (Presence presence = PRESENCE_THERE; presence > PRESENCE_NONE; presence--) {
        if (group == presence)
            return WINNER_GROUP; /* F-025: before the user of the same name */
        if (user == presence)
            return WINNER_USER;
    }
    return candidates->catch_all ? WINNER_CATCH_ALL : WINNER_NONE;
}

const char *verdict_of(Standing standing, bool internal)
{
    switch (standing) {
    case STANDING_OPEN:
        return internal ? "internal_only" : "OK";
    case STANDING_FULL: /* 452 or 552: the settings say */
        return internal ? "internal_over_quota" : "over_quota";
    case STANDING_GONE:
        return internal ? "internal_gone" : VERDICT_GONE;
    case STANDING_CLOSED:
        return internal ? "internal_closed" : VERDICT_CLOSED;
    case STANDING_NOBODY:
        break;
    }
    return internal ? "internal_nobody" : VERDICT_NOBODY;
}

bool local_part_valid(const char *name)
{
    size_t len = strlen(name);
    if (len < 1 || len > 64) /* RFC 5321 4.5.3.1.1 */
        return false;
    if (name[0] == '.' || name[0] == '+' || name[len - 1] == '.' || strstr(name, ".."))
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-'+") == len;
}
