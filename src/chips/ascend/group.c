/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/group.c - sums over several NPUs through HCCL, which is opened when the first group
 * of this process is formed.
 *
 * A communicator belongs to a queue and works on its stream. HCCL's deterministic mode is on, as
 * CANN's is. A collective whose other ranks do not come ends with the queue's wait; what HCCL knows
 * of the reason is asked then.
 *
 * Floor:  chips.   Time: joining waits for the others (HCCL_CONNECT_TIMEOUT, 120 s). */
#include "chips/ascend/group.h"

#include "chips/ascend/calls.h"
#include "chips/ascend/hccl.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static struct {
#define MEMBER(name) __typeof__(name) *name;
    MZ_HCCL_LIST(MEMBER)
#undef MEMBER
    bool is_ready;
} hccl;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of it until it is ready */

_Static_assert(sizeof(HcclRootInfo) <= MZ_COLLECTIVE_ROOT, "a root has its room");

static mz_ascend_queue *queue_of(const mz_queue *q)
{
    return q->state;
}

/* ---- codes ---- */

/* X(code, what it means): HCCL has numbers of its own, and hands on those of the runtime. */
#define CODE_LIST(X)                                                                               \
    X(1, "a wrong argument, or a library of another version")                                      \
    X(2, "an argument is missing")                                                                 \
    X(3, "out of memory")                                                                          \
    X(4, "an internal error")                                                                      \
    X(5, "not supported here")                                                                     \
    X(6, "something was not found")                                                                \
    X(7, "not available")                                                                          \
    X(8, "a system call failed")                                                                   \
    X(9, "out of time")                                                                            \
    X(10, "a file cannot be opened")                                                               \
    X(11, "no TCP connection")                                                                     \
    X(12, "no RoCE connection")                                                                    \
    X(13, "a TCP transfer failed")                                                                 \
    X(14, "a RoCE transfer failed")                                                                \
    X(15, "the runtime failed")                                                                    \
    X(16, "the driver failed")                                                                     \
    X(18, "an operator of HCCL failed")                                                            \
    X(19, "the network failed")                                                                    \
    X(20, "try again")                                                                             \
    X(21, "a rank on the other side failed")                                                       \
    X(22, "the communicator is suspended")                                                         \
    X(23, "a retry failed")                                                                        \
    X(24, "out of memory")                                                                         \
    X(1041, "the communicator is in an error")

static const char *name_of(int code)
{
    switch (code) {
#define CASE(number, text)                                                                         \
    case number:                                                                                   \
        return text;
        CODE_LIST(CASE)
#undef CASE
    default:
        return mz_acl_name(code);
    }
}

static mz_err fail(const mz_acl *acl, int code, const char *call)
{
    const char *text = acl->aclGetRecentErrMsg();
    const mz_err err = MZ_FAIL(MZ_ECHIP, "%s: %s (HCCL code %d)%s%.240s", call, name_of(code), code,
                               text ? ": " : "", text ? text : "");
    if (code == 9 || code == 11 || code == 12)
        mz_note_fix("every rank has to come: see HCCL_CONNECT_TIMEOUT and HCCL_IF_IP in CANN's "
                    "documentation");
    return err;
}

mz_err mz_ascend_group_fail(const mz_ascend_queue *q, mz_err err)
{
    HcclResult error = 0;
    if (!q->comm || hccl.HcclGetCommAsyncError(q->comm, &error) != 0 || error == 0) return err;
    mz_err_info was = *mz_err_last();
    if (err == MZ_OK) was.message[0] = was.fix[0] = '\0';
    (void)MZ_FAIL(MZ_ECHIP, "%.360s%sHCCL's communicator says: %s (HCCL code %d)", was.message,
                  was.message[0] ? "; " : "", name_of(error), error);
    if (was.fix[0]) mz_note_fix("%s", was.fix);
    return MZ_ECHIP;
}

/* ---- the library ---- */

static mz_err find(void *library, const char *name, void *out)
{
    *(void **)out = dlsym(library, name);
    if (*(void **)out) return MZ_OK;
    const mz_err err = MZ_FAIL(MZ_ENOTSUP, "libhccl.so here has no function %s", name);
    mz_note_fix("install CANN 8.1 or newer, with its HCCL");
    return err;
}

/* The same bits on every run: also the first call, which a library without a driver answers with
 * its own code. */
static mz_err set_up(const mz_acl *acl)
{
    const int code = hccl.HcclSetConfig(HCCL_DETERMINISTIC, (union HcclConfigValue){.value = 1});
    if (code == 0) return MZ_OK;
    if (code != ACL_ERROR_COMPILING_STUB_MODE) {
        (void)fail(acl, code, "HcclSetConfig");
        return MZ_FAIL(MZ_ENOTSUP, "HCCL does not start: %.300s", mz_err_last()->message);
    }
    const mz_err err = MZ_FAIL(MZ_ENOTSUP,
                               "libhccl.so here is the one to link against, which answers every "
                               "call with %d",
                               code);
    mz_note_fix("install CANN's HCCL, then load set_env.sh again");
    return err;
}

static mz_err load(const mz_acl *acl, const char *driver_path)
{
    if (hccl.is_ready) return MZ_OK;
    void *library = mz_acl_open_library(driver_path, "libhccl.so");
    if (!library) {
        const char *why = dlerror();
        const mz_err err =
            MZ_FAIL(MZ_ENOTSUP, "no HCCL, Huawei's collectives: %.300s", why ? why : "libhccl.so");
        mz_note_fix("install CANN 8.1 or newer, with its HCCL, and load its set_env.sh");
        return err;
    }
#define FIND(name) MZ_TRY(find(library, #name, (void *)&hccl.name));
    MZ_HCCL_LIST(FIND)
#undef FIND
    MZ_TRY(set_up(acl));
    hccl.is_ready = true;
    return MZ_OK;
}

/* ---- the table ---- */

static mz_err ready(mz_queue *outer)
{
    const mz_ascend *chip = queue_of(outer)->chip;
    MZ_TRY(mz_ascend_here(queue_of(outer)->chip));
    pthread_mutex_lock(&lock);
    const mz_err err = load(chip->acl, outer->device->options.driver_path);
    pthread_mutex_unlock(&lock);
    return err;
}

static mz_err root(mz_queue *outer, void *out)
{
    mz_ascend *chip = queue_of(outer)->chip;
    HcclRootInfo info = {{0}};
    MZ_TRY(mz_ascend_here(chip));
    const int code = hccl.HcclGetRootInfo(&info);
    if (code != 0) return fail(chip->acl, code, "HcclGetRootInfo");
    memcpy(out, &info, sizeof info);
    return MZ_OK;
}

static mz_err join(mz_queue *outer, const void *root, int rank, int size)
{
    mz_ascend_queue *q = queue_of(outer);
    HcclRootInfo info;
    MZ_NEED(!q->comm, "the queue is in a group already");
    MZ_TRY(mz_ascend_here(q->chip));
    memcpy(&info, root, sizeof info);
    const int code = hccl.HcclCommInitRootInfo((uint32_t)size, &info, (uint32_t)rank, &q->comm);
    if (code == 0) return MZ_OK;
    q->comm = NULL;
    return fail(q->chip->acl, code, "HcclCommInitRootInfo");
}

static mz_err enqueued(mz_ascend_queue *q, int code, const char *call, size_t bytes)
{
    if (code != 0) return fail(q->chip->acl, code, call);
    q->has_collective = true;
    q->counts.bytes_group += (int64_t)bytes;
    return MZ_OK;
}

static mz_err sum(mz_queue *outer, mz_buffer *buf, size_t offset, int64_t n)
{
    mz_ascend_queue *q = queue_of(outer);
    MZ_NEED(q->comm, "the queue is in no group");
    MZ_TRY(mz_ascend_here(q->chip));
    unsigned char *at = (unsigned char *)buf->handle + offset;
    const int code = hccl.HcclAllReduce(at, at, (uint64_t)n, HCCL_DATA_TYPE_FP32, HCCL_REDUCE_SUM,
                                        q->comm, q->stream);
    return enqueued(q, code, "HcclAllReduce", (size_t)n * sizeof(float));
}

static mz_err give(mz_queue *outer, mz_buffer *buf, size_t offset, size_t bytes, int from)
{
    mz_ascend_queue *q = queue_of(outer);
    MZ_NEED(q->comm, "the queue is in no group");
    MZ_TRY(mz_ascend_here(q->chip));
    const int code = hccl.HcclBroadcast((unsigned char *)buf->handle + offset, bytes,
                                        HCCL_DATA_TYPE_UINT8, (uint32_t)from, q->comm, q->stream);
    return enqueued(q, code, "HcclBroadcast", bytes);
}

void mz_ascend_group_leave(mz_ascend_queue *q)
{
    /* One that a rank did not come to would wait for it: it goes with the process. */
    if (q->comm && !q->is_stuck) (void)hccl.HcclCommDestroy(q->comm);
    q->comm = NULL;
}

static void leave(mz_queue *outer)
{
    mz_ascend_queue *q = queue_of(outer);
    if (mz_ascend_here(q->chip) == MZ_OK) mz_ascend_group_leave(q);
    q->comm = NULL;
}

const mz_collective mz_ascend_collective = {.name = "HCCL",
                                            .ready = ready,
                                            .root = root,
                                            .join = join,
                                            .sum = sum,
                                            .give = give,
                                            .leave = leave};
