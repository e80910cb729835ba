#include "decide.h"

#include <stdint.h>

/* An empty field is APPLY_NOTHING. */
static const uint8_t deeds[N_CONFIG_STATUS][N_TABLE_STATUS] = {
    [CONFIG_LOOKING] = {[TABLES_ACCOUNTS] = APPLY_COMMIT},
    [CONFIG_WAITS] = {[TABLES_ACCOUNTS] = APPLY_COMMIT},
    [CONFIG_ASSUMED] =
        {[TABLES_CURRENT] = APPLY_TELL, [TABLES_ACCOUNTS] = APPLY_COMMIT, [TABLES_BEHIND] = APPLY_COMMIT},
    [CONFIG_SAME] = {[TABLES_CURRENT] = APPLY_TELL, [TABLES_ACCOUNTS] = APPLY_COMMIT, [TABLES_BEHIND] = APPLY_COMMIT},
    [CONFIG_DIFFERS] =
        {[TABLES_CURRENT] = APPLY_PREPARE, [TABLES_ACCOUNTS] = APPLY_COMMIT, [TABLES_BEHIND] = APPLY_PREPARE},
    [CONFIG_PREPARED] =
        {[TABLES_CURRENT] = APPLY_SWITCH, [TABLES_ACCOUNTS] = APPLY_SWITCH, [TABLES_BEHIND] = APPLY_SWITCH},
    [CONFIG_REFUSED] =
        {[TABLES_CURRENT] = APPLY_TELL_REFUSED, [TABLES_ACCOUNTS] = APPLY_COMMIT, [TABLES_BEHIND] = APPLY_TELL_REFUSED},
    [CONFIG_HELD] = {[TABLES_CURRENT] = APPLY_TELL, [TABLES_ACCOUNTS] = APPLY_COMMIT, [TABLES_BEHIND] = APPLY_COMMIT},
};

ApplyDeed apply_next(ConfigStatus config, TableStatus tables)
{
    return (ApplyDeed)deeds[config][tables];
}

const char *config_status_name(ConfigStatus status)
{
    static const char *const names[N_CONFIG_STATUS] = {
        [CONFIG_LOOKING] = "looking", [CONFIG_WAITS] = "waits",     [CONFIG_ASSUMED] = "assumed",
        [CONFIG_SAME] = "same",       [CONFIG_DIFFERS] = "differs", [CONFIG_PREPARED] = "prepared",
        [CONFIG_REFUSED] = "refused", [CONFIG_HELD] = "held",
    };
    return names[status];
}

const char *table_status_name(TableStatus status)
{
    static const char *const names[N_TABLE_STATUS] = {
        [TABLES_NONE] = "none",
        [TABLES_CURRENT] = "current",
        [TABLES_ACCOUNTS] = "accounts",
        [TABLES_BEHIND] = "behind",
    };
    return names[status];
}

const char *apply_deed_name(ApplyDeed deed)
{
    static const char *const names[N_APPLY_DEEDS] = {
        [APPLY_NOTHING] = "nothing", [APPLY_PREPARE] = "prepare", [APPLY_SWITCH] = "switch",
        [APPLY_COMMIT] = "commit",   [APPLY_TELL] = "tell",       [APPLY_TELL_REFUSED] = "tell-refused",
    };
    return names[deed];
}
