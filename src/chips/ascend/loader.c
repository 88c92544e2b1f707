/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/loader.c - finds CANN's libraries and their functions; names of the driver's codes.
 *
 * Operators lie in one library up to CANN 8.3 and in one for each family from 8.5 on; both may be
 * installed, and the newer ones go first.
 *
 * Floor:  chips.   Time: the first call opens the libraries; where there are none it takes
 *                  milliseconds. */
#include "base/file.h"
#include "chips/ascend/api.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

enum { LIBRARIES_MAX = 16 };

static const char *const OPERATORS[] = {
    "libopapi_math.so",        "libopapi_nn.so",     "libopapi_cv.so",
    "libopapi_transformer.so", "libopapi_legacy.so", "libaclnn_ops_train.so",
    "libaclnn_math.so",        "libopapi.so",        "libaclnn_ops_infer.so",
};

static const char *const ROOTS[] = {"/usr/local/Ascend/cann/lib64",
                                    "/usr/local/Ascend/ascend-toolkit/latest/lib64"};

typedef struct opened {
    void *runtime, *base;
    void *op[LIBRARIES_MAX]; /* newest first */
    int n_ops;
} opened;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static mz_acl table;
static pid_t opened_by; /* 0: nobody yet */

/* ---- libraries ---- */

/* In the folder that was named, then by the system's own search, then where CANN is installed. */
void *mz_acl_open_library(const char *driver_path, const char *name)
{
    char path[PATH_MAX];
    void *library = NULL;
    if (driver_path && mz_path_join(path, sizeof path, driver_path, name) == MZ_OK &&
        mz_file_exists(path))
        return dlopen(path, RTLD_LAZY | RTLD_GLOBAL);
    library = dlopen(name, RTLD_LAZY | RTLD_GLOBAL);
    for (int i = 0; i < MZ_COUNT(ROOTS) && !library; i++)
        if (mz_path_join(path, sizeof path, ROOTS[i], name) == MZ_OK && mz_file_exists(path))
            library = dlopen(path, RTLD_LAZY | RTLD_GLOBAL);
    return library;
}

static mz_err missing(const char *name)
{
    const char *why = dlerror();
    const mz_err err =
        MZ_FAIL(MZ_ENOTSUP, "no CANN, Huawei's software for Ascend: %.300s", why ? why : name);
    mz_note_fix("install CANN 8.1 or newer and the driver of your NPU, and load its set_env.sh");
    return err;
}

static mz_err open_all(const char *driver_path, opened *o)
{
    o->runtime = mz_acl_open_library(driver_path, "libascendcl.so");
    if (!o->runtime) return missing("libascendcl.so");
    o->base = mz_acl_open_library(driver_path, "libnnopbase.so");
    if (!o->base) return missing("libnnopbase.so");
    for (int i = 0; i < MZ_COUNT(OPERATORS); i++) {
        void *library = mz_acl_open_library(driver_path, OPERATORS[i]);
        if (library) o->op[o->n_ops++] = library;
    }
    return o->n_ops ? MZ_OK : missing("libopapi.so");
}

/* ---- functions ---- */

static mz_err find(void *library, const char *name, void *out)
{
    *(void **)out = dlsym(library, name);
    if (*(void **)out) return MZ_OK;
    const mz_err err = MZ_FAIL(MZ_ENOTSUP, "CANN has no function %s: it is older than 8.1", name);
    mz_note_fix("install CANN 8.1 or newer");
    return err;
}

/* Both phases of an operator from one library; NULL where none has both. */
static void find_operator(const opened *o, const char *size_name, const char *run_name, void *size,
                          void *run)
{
    for (int i = 0; i < o->n_ops; i++) {
        void *first = dlsym(o->op[i], size_name), *second = dlsym(o->op[i], run_name);
        if (!first || !second) continue;
        *(void **)size = first;
        *(void **)run = second;
        return;
    }
}

static mz_err bind_runtime(const opened *o, mz_acl *acl)
{
#define FIND(name) MZ_TRY(find(o->runtime, #name, (void *)&acl->name));
    MZ_ACL_LIST(FIND)
#undef FIND
    return MZ_OK;
}

static mz_err bind_base(const opened *o, mz_acl *acl)
{
#define FIND(name) MZ_TRY(find(o->base, #name, (void *)&acl->name));
    MZ_ACL_BASE_LIST(FIND)
#undef FIND
    return MZ_OK;
}

static void bind_operators(const opened *o, mz_acl *acl)
{
#define FIND(name)                                                                                 \
    find_operator(o, "aclnn" #name "GetWorkspaceSize", "aclnn" #name, (void *)&acl->nn.name.size,  \
                  (void *)&acl->nn.name.run);
    MZ_ACLNN_LIST(FIND)
#undef FIND
}

/* CANN 8.1 has ACL 1.13. */
static mz_err check_version(const mz_acl *acl)
{
    int32_t major = 0, minor = 0, patch = 0;
    if (acl->aclrtGetVersion(&major, &minor, &patch) != 0) return MZ_OK; /* aclInit says why */
    if (major > 1 || (major == 1 && minor >= 13)) return MZ_OK;
    const mz_err err =
        MZ_FAIL(MZ_ENOTSUP, "CANN here is older than 8.1: its ACL is %d.%d.%d, not 1.13 or newer",
                major, minor, patch);
    mz_note_fix("install CANN 8.1 or newer");
    return err;
}

static mz_err start(mz_acl *acl)
{
    const int code = acl->aclInit(NULL);
    if (code == 0 || code == ACL_ERROR_REPEAT_INITIALIZE) return MZ_OK;
    if (code != ACL_ERROR_COMPILING_STUB_MODE) {
        (void)mz_acl_fail(acl, code, "aclInit");
        return MZ_FAIL(MZ_ENOTSUP, "CANN does not start: %.300s", mz_err_last()->message);
    }
    const mz_err err = MZ_FAIL(MZ_ENOTSUP,
                               "the driver of the NPU is not installed: CANN's libraries here are "
                               "those to link against, which answer every call with %d",
                               code);
    mz_note_fix("install the driver (its libascend_hal.so), then load set_env.sh again");
    return err;
}

static mz_err load(const char *driver_path)
{
    opened o = {.runtime = NULL};
    if (opened_by == getpid()) return MZ_OK;
    if (opened_by) /* its threads did not come along */
        return MZ_FAIL(MZ_ENOTSUP, "ACL was opened before this process was forked");
    MZ_TRY(open_all(driver_path, &o));
    MZ_TRY(bind_runtime(&o, &table));
    MZ_TRY(bind_base(&o, &table));
    bind_operators(&o, &table);
    table.is_emulated = dlsym(o.runtime, "mizan_emulated_ascend") != NULL;
    MZ_TRY(start(&table));
    MZ_TRY(check_version(&table));
    opened_by = getpid();
    return MZ_OK;
}

mz_err mz_acl_load(const mz_acl **acl, const char *driver_path)
{
    pthread_mutex_lock(&lock);
    const mz_err err = load(driver_path);
    pthread_mutex_unlock(&lock);
    if (err == MZ_OK) *acl = &table;
    return err;
}

/* ---- codes ---- */

/* X(code, what it means): those that users meet. */
#define CODE_LIST(X)                                                                               \
    X(100039, "libraries to link against only")                                                    \
    X(107002, "no device was set in this thread")                                                  \
    X(107003, "the stream belongs to another context")                                             \
    X(107020, "a task ran out of time")                                                            \
    X(107022, "the device's tasks were aborted")                                                   \
    X(107023, "the stream was aborted")                                                            \
    X(161001, "an argument is missing")                                                            \
    X(161002, "an argument is not supported")                                                      \
    X(200000, "out of memory")                                                                     \
    X(207001, "out of device memory")                                                              \
    X(207005, "out of a resource")                                                                 \
    X(207008, "out of streams")                                                                    \
    X(207018, "out of device memory")                                                              \
    X(361001, "the runtime failed inside an operator")                                             \
    X(507010, "the device's heartbeat is lost")                                                    \
    X(507011, "a model failed")                                                                    \
    X(507014, "an AI core ran out of time")                                                        \
    X(507015, "an exception in an AI core")                                                        \
    X(507018, "an exception in an AI CPU")                                                         \
    X(507034, "a vector core ran out of time")                                                     \
    X(507035, "an exception in a vector core")                                                     \
    X(507046, "the stream did not finish in time")                                                 \
    X(507047, "the stream did not come to an event in time")                                       \
    X(507048, "a collective did not finish in time: another rank died or fell behind")             \
    X(507053, "an uncorrectable memory error")                                                     \
    X(507054, "a multi-bit ECC error of the HBM")                                                  \
    X(561003, "no kernel for this operator")                                                       \
    X(561103, "the operator package is not there")                                                 \
    X(561112, "the operator package of this chip is not installed")

const char *mz_acl_name(int code)
{
    switch (code) {
#define CASE(number, text)                                                                         \
    case number:                                                                                   \
        return text;
        CODE_LIST(CASE)
#undef CASE
    default:
        return "an error";
    }
}

mz_err mz_acl_fail(const mz_acl *acl, int code, const char *call)
{
    const bool memory = code == 200000 || code == 207001 || code == 207018;
    const char *text = acl->aclGetRecentErrMsg ? acl->aclGetRecentErrMsg() : NULL;
    return MZ_FAIL(memory ? MZ_ENOMEM : MZ_ECHIP, "%s: %s (%d)%s%.240s", call, mz_acl_name(code),
                   code, text ? ": " : "", text ? text : "");
}
