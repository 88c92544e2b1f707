/* SPDX-License-Identifier: Apache-2.0 */
/* chips/fault/plan.c - reading a plan, and counting calls against it.
 *
 * Floor:  chips. */
#include "base/json.h"
#include "chips/fault/state.h"

#include <string.h>

static const char *const WHERE[] = {
#define NAME(ENUM, text) text,
    MZ_FAULT_WHERE_LIST(NAME)
#undef NAME
};
static const char *const KIND[] = {
#define NAME(ENUM, text) text,
    MZ_FAULT_KIND_LIST(NAME)
#undef NAME
};

const char *mz_fault_where_name(mz_fault_where where)
{
    return WHERE[where];
}

static int find(const char *const *names, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (name && strcmp(names[i], name) == 0) return i;
    return -1;
}

static mz_err refuse(const char *field, const char *why)
{
    const mz_err err = MZ_FAIL(MZ_ECONFIG, "fault plan: %s %s", field, why);
    mz_note_where(NULL, field, -1);
    return err;
}

mz_err mz_fault_check(const mz_fault *f)
{
    const mz_fault_where w = f->where;
    const bool enqueues = w == MZ_FAULT_UPLOAD || w == MZ_FAULT_DOWNLOAD || w == MZ_FAULT_COPY ||
                          w == MZ_FAULT_ZERO || w == MZ_FAULT_LAUNCH;
    const bool allocates = w == MZ_FAULT_ALLOC || w == MZ_FAULT_QUEUE || w == MZ_FAULT_BIND;
    const bool has_op = w == MZ_FAULT_QUERY || w == MZ_FAULT_BIND || w == MZ_FAULT_LAUNCH;
    if ((unsigned)w >= MZ_FAULT_WHERE_COUNT) return refuse("where", "is unknown");
    if ((unsigned)f->kind >= MZ_FAULT_KIND_COUNT) return refuse("kind", "is unknown");
    if (f->at < 1) return refuse("at", "counts from 1");
    if (f->kind == MZ_FAULT_LATE && !enqueues) return refuse("kind", "late needs an enqueued call");
    if (f->kind == MZ_FAULT_OOM && !allocates) return refuse("kind", "oom needs an allocation");
    if ((f->kind == MZ_FAULT_NAN || f->kind == MZ_FAULT_FLIP) && w != MZ_FAULT_LAUNCH)
        return refuse("kind", "spoils the output of a launch only");
    if (!f->any_op && !has_op) return refuse("op", "does not belong to this call");
    if (!f->any_op && (unsigned)f->op >= MZ_OP_COUNT) return refuse("op", "is unknown");
    if (!(f->ms >= 0.0 && f->ms <= 1e6)) return refuse("ms", "is not 0..1e6");
    if (f->element < 0) return refuse("element", "is negative");
    if (f->bit < 0) return refuse("bit", "is negative");
    return MZ_OK;
}

static mz_err read_op(mz_fault *f, const json_t *value)
{
    const char *name = json_string_value(value);
    for (int i = 0; i < MZ_OP_COUNT; i++)
        if (name && strcmp(name, mz_op_name((mz_op_kind)i)) == 0) {
            f->op = (mz_op_kind)i;
            f->any_op = false;
            return MZ_OK;
        }
    return refuse("op", "is unknown");
}

static mz_err read_number(const char *key, const json_t *value, int64_t *out)
{
    if (!json_is_integer(value)) return refuse(key, "is not a whole number");
    *out = json_integer_value(value);
    return MZ_OK;
}

static mz_err read_field(mz_fault *f, const char *key, const json_t *value)
{
    const char *text = json_string_value(value);
    /* An unknown name becomes -1, which the check at the end refuses. */
    if (strcmp(key, "where") == 0)
        return f->where = (mz_fault_where)find(WHERE, MZ_COUNT(WHERE), text), MZ_OK;
    if (strcmp(key, "kind") == 0)
        return f->kind = (mz_fault_kind)find(KIND, MZ_COUNT(KIND), text), MZ_OK;
    if (strcmp(key, "op") == 0) return read_op(f, value);
    if (strcmp(key, "at") == 0) return read_number(key, value, &f->at);
    if (strcmp(key, "element") == 0) return read_number(key, value, &f->element);
    if (strcmp(key, "bit") == 0) return read_number(key, value, &f->bit);
    if (strcmp(key, "ms") == 0) {
        if (!json_is_number(value)) return refuse(key, "is not a number");
        return f->ms = json_number_value(value), MZ_OK;
    }
    if (strcmp(key, "for_good") == 0) {
        if (!json_is_boolean(value)) return refuse(key, "is not true or false");
        return f->for_good = json_is_true(value), MZ_OK;
    }
    return refuse(key, "is unknown");
}

static mz_err read_fault(mz_fault *f, json_t *object)
{
    const char *key = NULL;
    json_t *value = NULL;
    *f = (mz_fault){.where = MZ_FAULT_WHERE_COUNT, .kind = MZ_FAULT_KIND_COUNT};
    f->any_op = true;
    f->ms = 100.0;
    if (!json_is_object(object)) return refuse("entry", "is not an object");
    json_object_foreach(object, key, value) MZ_TRY(read_field(f, key, value));
    return mz_fault_check(f);
}

static mz_err read_list(mz_fault_device *f, const json_t *list)
{
    if (!json_is_array(list) || json_array_size(list) > MZ_FAULTS_MAX)
        return MZ_FAIL(MZ_ECONFIG, "a fault plan is a list of at most %d faults",
                       (int)MZ_FAULTS_MAX);
    const int n = (int)json_array_size(list);
    for (int i = 0; i < n; i++) MZ_TRY(read_fault(&f->fault[i], json_array_get(list, (size_t)i)));
    f->n = n;
    return MZ_OK;
}

mz_err mz_fault_read(mz_fault_device *f, const char *path)
{
    json_t *list = NULL;
    MZ_TRY(mz_json_read(&list, path, (size_t)1 << 20));
    const mz_err err = read_list(f, list);
    if (err != MZ_OK) mz_note_where(path, NULL, -1);
    json_decref(list);
    return err;
}

bool mz_fault_strikes(mz_fault_device *f, mz_fault_where where, mz_op_kind op, mz_fault *out)
{
    bool struck = false;
    pthread_mutex_lock(&f->lock);
    f->calls[where]++;
    for (int i = 0; i < f->n; i++) {
        const mz_fault *fault = &f->fault[i];
        if (fault->where != where || !(fault->any_op || fault->op == op)) continue;
        const int64_t now = ++f->seen[i];
        if (struck || (fault->for_good ? now < fault->at : now != fault->at)) continue;
        *out = *fault;
        struck = true;
        f->struck++;
    }
    pthread_mutex_unlock(&f->lock);
    return struck;
}
