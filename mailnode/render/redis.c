#include "render/plainconf.h"
#include "render/render.h"
#include "tables/places.h"

/* What Bayes has learned must outlive a kill -9: each second is written to the log.  A snapshot would need a fork with
 * twice the memory, and would lose what came since. */
static void persistence(PlainConf *conf, const char *root)
{
    plainconf_text(conf, "dir", PLACE_REDIS_DATA, root);
    plainconf_word(conf, "appendonly", "yes");
    plainconf_word(conf, "appendfsync", "everysec");
    plainconf_word(conf, "aof-load-truncated", "yes"); /* the torn end of a power cut */
    plainconf_text(conf, "save", "%s", "");
}

/* Learned tokens never expire and are never evicted; the filter's caches do and are. */
static void memory(PlainConf *conf)
{
    plainconf_word(conf, "maxmemory", "256mb");
    plainconf_word(conf, "maxmemory-policy", "volatile-ttl");
}

void render_redis(const NodeState *state, FileSet *out)
{
    PlainConf conf = plainconf_in(out, "redis/redis.conf", "redis", PLAIN_REDIS);

    plainconf_comment(&conf, "Redis of this node: what the spam filter remembers");
    plainconf_word(&conf, "daemonize", "no");
    plainconf_word(&conf, "supervised", "no");
    plainconf_text(&conf, "logfile", "%s", "");
    plainconf_number(&conf, "port", 0);
    plainconf_text(&conf, "unixsocket", PLACE_REDIS_SOCKET, state->root);
    plainconf_word(&conf, "unixsocketperm", "660"); /* the folder gives it the group */
    persistence(&conf, state->root);
    memory(&conf);
}
