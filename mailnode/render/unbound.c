#include "render/plainconf.h"
#include "render/render.h"
#include "tables/places.h"

/* The root's keys of 2017 and 2024, as IANA publishes them (root-anchors.xml). */
static const char *const root_keys[] = {
    ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
    ". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
};

static void process(PlainConf *conf, const char *root)
{
    plainconf_text(conf, "username", "unbound");
    plainconf_text(conf, "directory", PLACE_UNBOUND_DATA, root);
    plainconf_word(conf, "do-daemonize", "no");
    plainconf_word(conf, "use-syslog", "no");
    plainconf_word(conf, "log-time-ascii", "yes");
    plainconf_number(conf, "num-threads", 1);
}

static void listener(PlainConf *conf, const char *loopback)
{
    plainconf_text(conf, "interface", "%s", loopback);
    plainconf_number(conf, "port", PORT_DNS);
    plainconf_text_word(conf, "access-control", "127.0.0.0/8", "allow");
    plainconf_word(conf, "hide-identity", "yes");
    plainconf_word(conf, "hide-version", "yes");
}

static void resolution(PlainConf *conf)
{
    for (size_t i = 0; i < sizeof root_keys / sizeof root_keys[0]; i++)
        plainconf_text(conf, "trust-anchor", "%s", root_keys[i]);
    plainconf_word(conf, "infra-keep-probing", "yes"); /* after an outage, without waiting for 15 minutes */
    plainconf_word(conf, "msg-cache-size", "8m");
    plainconf_word(conf, "rrset-cache-size", "16m");
}

/* What the probe asks for. */
static void readiness(PlainConf *conf)
{
    plainconf_text_word(conf, "local-zone", DNS_READY_NAME, "static");
    plainconf_text(conf, "local-data", DNS_READY_NAME " A 127.0.0.1");
}

void render_unbound(const NodeState *state, FileSet *out)
{
    PlainConf conf = plainconf_in(out, "unbound/unbound.conf", "unbound", PLAIN_UNBOUND);

    plainconf_comment(&conf, "Unbound of this node: the resolver of the spam filter");
    plainconf_section(&conf, "server");
    process(&conf, state->root);
    listener(&conf, state->loopback);
    resolution(&conf);
    readiness(&conf);
    plainconf_section(&conf, "remote-control");
    plainconf_word(&conf, "control-enable", "no");
    fileset_restart_on(out, "unbound", "interface", state->loopback);
}
