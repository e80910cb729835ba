/* decide.h - what apply does next, from what is so: looks up, does nothing */
#pragma once

typedef enum ConfigStatus {
    CONFIG_LOOKING,  /* connected, mail-engine has not said yet what is in force */
    CONFIG_WAITS,    /* mail-engine is away, and what is wanted was not in force before */
    CONFIG_ASSUMED,  /* mail-engine is away, and what is wanted was in force when it was last seen */
    CONFIG_SAME,     /* what is wanted is in force */
    CONFIG_DIFFERS,  /* shall be prepared */
    CONFIG_PREPARED, /* shall be switched to */
    CONFIG_REFUSED,  /* a checker said no; the controller decides */
    CONFIG_HELD,     /* it decided: what is in force stays, tables go on */
    N_CONFIG_STATUS
} ConfigStatus;

typedef enum TableStatus {
    TABLES_NONE,     /* nothing is wanted yet: what is there stays */
    TABLES_CURRENT,  /* they hold what is wanted */
    TABLES_ACCOUNTS, /* they do, but the directory said something new */
    TABLES_BEHIND,
    N_TABLE_STATUS
} TableStatus;

typedef enum ApplyDeed {
    APPLY_NOTHING,
    APPLY_PREPARE,
    APPLY_SWITCH,
    APPLY_COMMIT,
    APPLY_TELL,         /* refresh sessions, then say Applied, both unless done */
    APPLY_TELL_REFUSED, /* unless done */
    N_APPLY_DEEDS
} ApplyDeed;

ApplyDeed apply_next(ConfigStatus config, TableStatus tables);
const char *config_status_name(ConfigStatus status);
const char *table_status_name(TableStatus status);
const char *apply_deed_name(ApplyDeed deed);
