#include "tasks/restic.h"

/* No secret is the number 0 to an object. */
static const Secret *secret_of(const Job *job, protobuf_c_boolean has, uint64_t id)
{
    return has && id ? job_secret(job, id) : NULL;
}

Error *restic_open_job(Job *job, const char *destination, unsigned lock_wait_s, Restic **ret_restic)
{
    const Object *instance = job_object(job, MAIL__OBJECT__BODY_INSTANCE, NULL);
    const Object *found = job_object(job, MAIL__OBJECT__BODY_DESTINATION, destination);

    if (!instance)
        return error_new(ERROR_NOT_FOUND, "no instance is placed here");
    if (!found)
        return error_new(ERROR_NOT_FOUND, "destination %s is not known here", destination);
    const Mail__Destination *stated = found->destination;
    const Secret *password = secret_of(job, stated->has_password, stated->password);
    const Secret *env = secret_of(job, stated->has_env, stated->env);
    const Secret *ssh_key = secret_of(job, stated->has_ssh_key, stated->ssh_key);
    if (!password || (stated->env && !env) || (stated->ssh_key && !ssh_key))
        return error_hint(error_new(ERROR_NOT_FOUND, "%s: one of its secrets is not here", destination),
                          "set it again: mailctl destination set %s password=- env=@FILE ssh-key=@FILE", destination);
    ResticSpec spec = {.job = job,
                       .instance = instance->name,
                       .destination_name = found->name,
                       .destination = stated,
                       .password = password,
                       .env = env,
                       .ssh_key = ssh_key,
                       .lock_wait_s = lock_wait_s};

    return restic_open(&spec, ret_restic);
}
