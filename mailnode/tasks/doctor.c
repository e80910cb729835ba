#include "tasks/doctor.h"

#include "base/alloc.h"
#include "engine/layout.h"

#include <stdio.h>
#include <unistd.h>

enum { LOOK_MS = 15000 };

/* ---- what others know already ---- */

static void look_services(const DoctorView *view, Findings *out)
{
    Mail__Fact *const *facts = NULL;
    size_t n = supervise_facts(view->supervise, view->now, &facts);

    for (size_t i = 0; i < n; i++)
        if (facts[i]->state != MAIL__FACT_STATE__GOOD)
            findings_add(out, facts[i]->state, facts[i]->name, "%s", facts[i]->text);
}

static void folder_found(void *context, const char *path, const char *text)
{
    findings_add(context, MAIL__FACT_STATE__DEGRADED, path, "%s; mailctl node check --repair mends it", text);
}

static void look_folders(const DoctorView *view, Findings *out)
{
    layout_look(view->root, folder_found, out);
}

/* ---- one after the other ---- */

static const struct Look {
    const char *name;
    const char *user; /* NULL: at once, as we are */
    void (*look)(const DoctorView *view, Findings *out);
} looks[] = {
    {"services", NULL, look_services},
    {"folders", NULL, look_folders},
    {"ports", NULL, look_ports},
    {"ports", "nobody", look_answers},
    {"rights of postfix", "postfix", look_rights},
    {"rights of dovecot", "dovecot", look_rights},
    {"rights of vmail", "vmail", look_rights},
    {"rights of _rspamd", "_rspamd", look_rights},
    {"rights of redis", "redis", look_rights},
    {"rights of clamav", "clamav", look_rights},
    {"rights of unbound", "unbound", look_rights},
    {"rights of openldap", "openldap", look_rights},
    {"rights of others", "nobody", look_rights_of_nobody},
    {"profiles", NULL, look_profiles},
    {"versions", "nobody", look_versions},
    {"disk", NULL, look_disk},
    {"clock", NULL, look_clock},
};
enum { N_LOOKS = sizeof looks / sizeof *looks };

struct Doctor {
    const char *root;
    Change *change;
    Supervise *supervise;
    size_t at; /* the look that is under way, or next */
    Child *child;
};

Doctor *doctor_new(const char *root, Change *change, Supervise *supervise)
{
    Doctor *doctor = xcalloc(1, sizeof *doctor);

    *doctor = (Doctor){.root = root, .change = change, .supervise = supervise};
    return doctor;
}

void doctor_free(Doctor **doctor)
{
    if (!*doctor)
        return;
    child_free(&(*doctor)->child);
    xfree(doctor);
}

size_t doctor_looks(void)
{
    return N_LOOKS;
}

static DoctorView view_of(const Doctor *doctor, Msec now)
{
    return (DoctorView){.root = doctor->root,
                        .system = "",
                        .in_force = change_in_force(doctor->change),
                        .supervise = doctor->supervise,
                        .now = now,
                        .user = looks[doctor->at].user};
}

typedef struct Eyes {
    const struct Look *look;
    DoctorView view;
} Eyes;

static int look_in_child(void *context)
{
    const Eyes *eyes = context;
    Findings found = {0};
    DEFER(buf_done) Buf lines = {0};

    eyes->look->look(&eyes->view, &found);
    findings_write(&found, &lines);
    findings_done(&found);
    for (size_t at = 0; at < lines.size;) {
        ssize_t put = write(STDOUT_FILENO, lines.data + at, lines.size - at);
        if (put <= 0)
            return 1;
        at += (size_t)put;
    }
    return 0;
}

/* True: it is over already. */
static bool look_begin(Doctor *doctor, Msec now, Findings *out)
{
    const struct Look *look = &looks[doctor->at];
    Eyes eyes = {.look = look, .view = view_of(doctor, now)};
    const ChildSpec spec = {.user = look->user, .deadline_ms = LOOK_MS};

    if (!look->user) {
        look->look(&eyes.view, out);
        return true;
    }
    Error *err = child_fork(&spec, look_in_child, &eyes, &doctor->child);
    if (err)
        findings_add(out, MAIL__FACT_STATE__UNKNOWN, look->name, "could not be looked at: %s", err->what);
    error_free(&err);
    return !doctor->child;
}

static void look_end(Doctor *doctor, Findings *out)
{
    const char *words = child_words(doctor->child);

    if (child_succeeded(doctor->child))
        findings_read(out, words);
    else
        findings_add(out, MAIL__FACT_STATE__UNKNOWN, looks[doctor->at].name, "could not be looked at: %s",
                     *words ? words : "it took too long");
    child_free(&doctor->child);
}

bool doctor_run(Doctor *doctor, Msec now, Findings *out)
{
    while (doctor->at < N_LOOKS) {
        if (doctor->child) {
            if (!child_run(doctor->child, now))
                return false;
            look_end(doctor, out);
        } else if (!look_begin(doctor, now, out)) {
            return false;
        }
        doctor->at++;
    }
    return true;
}

void doctor_wait(const Doctor *doctor, Waiter *wake)
{
    if (doctor->child)
        child_wait(doctor->child, wake);
    else
        waiter_now(wake);
}
