#include "render/render.h"

void render_all(const NodeState *state, const Overrides *overrides, FileSet *out)
{
    if (state->instance) {
        render_redis(state, out);
        render_unbound(state, out);
        if (state->filter->antivirus)
            render_clamd(state, out);
        render_rspamd(state, overrides, out);
        render_dovecot(state, overrides, out);
        render_postfix(state, overrides, out);
    }
    if (state->n_directories)
        render_slapd(state, out);
}
