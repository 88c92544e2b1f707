/* SPDX-License-Identifier: Apache-2.0 */
/* lib/status.c - version, errors, the log, and structs that grow between versions. Floor: lib. */
#include "base/log.h"
#include "base/mem.h"
#include "lib/lib.h"

#include <string.h>

/* ---- the library ---- */

const char *mz_lm_version(void)
{
    return MIZAN_VERSION;
}

int mz_lm_abi(void)
{
    return MIZAN_ABI;
}

void mz_lm_free(void *memory)
{
    mz_mem_free(memory);
}

/* ---- errors ---- */

static _Thread_local mz_lm_status last;

/* By name on both sides: ours may be numbered anew, theirs never. */
static mz_lm_status status_of(mz_err err)
{
    switch (err) {
    case MZ_OK:
        return MZ_LM_OK;
    case MZ_ENOTSUP:
        return MZ_LM_ENOTSUP;
    case MZ_ENOMEM:
        return MZ_LM_ENOMEM;
    case MZ_EIO:
        return MZ_LM_EIO;
    case MZ_ECHIP:
        return MZ_LM_ECHIP;
    case MZ_ETIMEOUT:
        return MZ_LM_ETIMEOUT;
    case MZ_ECORRUPT:
        return MZ_LM_ECORRUPT;
    case MZ_EBUSY:
        return MZ_LM_EBUSY;
    case MZ_ENUMERIC:
        return MZ_LM_ENUMERIC;
    case MZ_ECONFIG:
        return MZ_LM_ECONFIG;
    case MZ_EUSAGE:
        return MZ_LM_EUSAGE;
    case MZ_EINVAL:
    case MZ_EINTR: /* only runs are interrupted */
    case MZ_ERR_COUNT:
        break;
    }
    return MZ_LM_EINTERNAL;
}

mz_lm_status mz_lib_status(mz_err err)
{
    const mz_lm_status status = status_of(err);
    if (status != MZ_LM_OK) last = status;
    return status;
}

mz_lm_status mz_lib_wrong(mz_err noted)
{
    (void)noted;
    return last = MZ_LM_EINVAL;
}

const char *mz_lm_status_name(mz_lm_status status)
{
    static const char *const names[] = {"OK",      "EINVAL",   "ENOTSUP",  "ENOMEM", "EIO",
                                        "ECHIP",   "ETIMEOUT", "ECORRUPT", "EBUSY",  "ENUMERIC",
                                        "ECONFIG", "EUSAGE",   "EINTERNAL"};
    return (unsigned)status < (unsigned)MZ_COUNT(names) ? names[status] : "?";
}

mz_lm_status mz_lm_error_status(void)
{
    return last;
}

const char *mz_lm_error_message(void)
{
    return mz_err_last()->message;
}

const char *mz_lm_error_file(void)
{
    return mz_err_last()->file;
}

const char *mz_lm_error_field(void)
{
    return mz_err_last()->field;
}

int64_t mz_lm_error_offset(void)
{
    return mz_err_last()->offset;
}

const char *mz_lm_error_advice(void)
{
    return mz_err_last()->fix;
}

/* ---- the log ---- */

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    mz_lm_log_fn *fn;
    void *user;
} listener; /* written only while no sink is set, so nobody reads it then */

static void hand_on(void *user, mz_log_level level, const char *line)
{
    (void)user;
    listener.fn(listener.user, (int)level, line);
}

void mz_lm_log_to(mz_lm_log_fn *fn, void *user)
{
    pthread_mutex_lock(&log_lock);
    mz_log_to(NULL, NULL);
    listener.fn = fn;
    listener.user = user;
    if (fn) mz_log_to(hand_on, NULL);
    pthread_mutex_unlock(&log_lock);
}

/* ---- structs that begin with their size ---- */

static size_t size_of(const void *theirs)
{
    size_t size;
    memcpy(&size, theirs, sizeof size);
    return size;
}

mz_lm_status mz_lib_take(void *ours, size_t known, const void *theirs, const char *what)
{
    enum { LARGEST = 4096 }; /* more is a struct whose size was never set */
    if (!theirs) return MZ_LM_OK;
    const size_t size = size_of(theirs);
    MZ_LIB_NEED(size >= sizeof size && size <= LARGEST, "%s: its size is %zu; set it to sizeof",
                what, size);
    for (size_t i = known; i < size; i++)
        MZ_LIB_NEED(((const unsigned char *)theirs)[i] == 0,
                    "%s: a field is set that this library, version %s, does not know", what,
                    MIZAN_VERSION);
    memcpy(ours, theirs, size < known ? size : known);
    return MZ_LM_OK;
}

mz_lm_status mz_lib_can_give(const void *theirs, const char *what)
{
    if (!theirs) return MZ_LM_OK;
    const size_t size = size_of(theirs);
    MZ_LIB_NEED(size >= sizeof size, "%s: its size is %zu; set it to sizeof", what, size);
    return MZ_LM_OK;
}

void mz_lib_give(void *theirs, const void *ours, size_t known)
{
    if (!theirs) return;
    const size_t size = size_of(theirs), skip = sizeof size;
    const size_t bytes = size < known ? size : known;
    memcpy((unsigned char *)theirs + skip, (const unsigned char *)ours + skip, bytes - skip);
}
