/* SPDX-License-Identifier: Apache-2.0 */
/* chips/far/device.c - the table: opening, profiles, and asking the chip that computes.
 *
 * Floor:  chips. */
#include "base/mem.h"
#include "base/str.h"
#include "chips/far/state.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *const VARIANTS[] = {"f16",  "matmul",  "nobwd", "slow=SEED",
                                       "lazy", "on=CHIP", NULL};

static mz_err no_profile(const char *word)
{
    const mz_err err = MZ_FAIL(MZ_ENOTSUP, "far has no profile \"%.80s\"", word);
    mz_note_fix("far:f16, matmul, nobwd, slow=SEED, lazy, on=CHIP, or several with commas between");
    return err;
}

/* One word of the argument. */
static mz_err parse_word(mz_far_profile *p, const char *word)
{
    int64_t seed = 0;
    if (strcmp(word, "f16") == 0) {
        p->f16 = true;
    } else if (strcmp(word, "matmul") == 0) {
        p->matmul = true;
    } else if (strcmp(word, "nobwd") == 0) {
        p->nobwd = true;
    } else if (strcmp(word, "lazy") == 0) {
        p->lazy = true;
    } else if (mz_str_starts(word, "slow=") && mz_str_to_i64(word + 5, &seed)) {
        p->slow = true;
        p->seed = (uint64_t)seed;
    } else if (mz_str_starts(word, "on=") && word[3] && strlen(word + 3) < sizeof p->inner) {
        memcpy(p->inner, word + 3, strlen(word + 3) + 1);
    } else {
        return no_profile(word);
    }
    return MZ_OK;
}

static mz_err parse(mz_far_profile *p, const char *arg)
{
    char word[80];
    while (*arg) {
        const size_t n = strcspn(arg, ",");
        if (n >= sizeof word) return no_profile(arg);
        memcpy(word, arg, n);
        word[n] = '\0';
        MZ_TRY(parse_word(p, word));
        arg += n + (arg[n] == ',');
    }
    if (!p->inner[0]) snprintf(p->inner, sizeof p->inner, "%s", p->f16 ? "ref" : "cpu");
    return MZ_OK;
}

static void describe(mz_device *device, const mz_far_device *far)
{
    const mz_device_info *in = &far->inner->info;
    mz_device_info *info = &device->info;
    snprintf(info->vendor, sizeof info->vendor, "nobody");
    snprintf(info->model, sizeof info->model, "test chip, computes on %.70s", in->name);
    snprintf(info->isa, sizeof info->isa, "%s", in->isa);
    info->dtypes = far->profile.f16 ? in->dtypes & 1u << MZ_F16 : in->dtypes;
    info->threads = in->threads;
}

static void free_far(mz_far_device *far)
{
    mz_far_memory_clear(far);
    if (far->memfd >= 0) close(far->memfd);
    pthread_mutex_destroy(&far->lock);
    mz_device_close(far->inner);
    mz_mem_free(far);
}

static mz_err open_far(mz_device *device, const char *arg)
{
    mz_far_device *far = NULL;
    mz_err err;
    MZ_TRY(mz_mem_new(&far, 1, sizeof *far));
    far->memfd = -1;
    far->kept_end = &far->kept;
    pthread_mutex_init(&far->lock, NULL);
    MZ_TRY_GOTO(err, parse(&far->profile, arg), fail);
    mz_chip_options options = device->options;
    options.fault_plan = NULL;
    options.sync_each = false;
    MZ_TRY_GOTO(err, mz_device_open(&far->inner, far->profile.inner, &options), fail);
    if (!far->inner->info.is_host) {
        err = MZ_FAIL(MZ_ENOTSUP, "far computes on host memory only, %s has its own",
                      far->profile.inner);
        goto fail;
    }
    far->memfd = memfd_create("far", MFD_CLOEXEC);
    if (far->memfd < 0) {
        err = MZ_FAIL(MZ_ENOTSUP, "this system has no memory files");
        goto fail;
    }
    far->nothing.device = far->inner;
    describe(device, far);
    device->state = far;
    return MZ_OK;
fail:
    free_far(far);
    return err;
}

static void close_far(mz_device *device)
{
    mz_far_device *far = device->state;
    for (int i = 0; i < FAR_QUEUES; i++)
        if (far->queue[i]) mz_far_misuse("a device was closed with an open queue");
    free_far(far);
}

/* Kinds that far:f16 also offers in f32: no matrix is multiplied and no activation normalised, and
 * losses, routing, optimizer and gradient sums need the width. */
static bool is_vector_kind(mz_op_kind kind)
{
    return kind == MZ_OP_ROUTER || kind == MZ_OP_BALANCE || kind == MZ_OP_XENT ||
           kind == MZ_OP_ADAMW || kind == MZ_OP_SUMSQ || kind == MZ_OP_FINITE ||
           kind == MZ_OP_CAST || kind == MZ_OP_ELEMENTWISE || kind == MZ_OP_REDUCE ||
           kind == MZ_OP_ROWS || kind == MZ_OP_SAMPLE;
}

static bool f16_allows(const mz_desc *desc, mz_dtype d)
{
    return d == MZ_F16 || (d == MZ_F32 && is_vector_kind(desc->kind)) ||
           (d == MZ_I32 && desc->kind == MZ_OP_ROWS);
}

/* What the profile takes away. */
static mz_err check_profile(const mz_far_profile *p, const mz_desc *desc)
{
    const mz_dtype d = mz_desc_dtype(desc);
    mz_dtype other = d; /* the second dtype of those that have one */
    if (desc->kind == MZ_OP_CAST) other = desc->u.cast.to;
    if (desc->kind == MZ_OP_ADAMW) other = desc->u.adamw.copy_dtype;
    if (p->matmul && desc->kind != MZ_OP_MATMUL)
        return MZ_FAIL(MZ_ENOTSUP, "profile matmul: the chip only multiplies matrices");
    if (mz_desc_stored(desc) != MZ_F64)
        return MZ_FAIL(MZ_ENOTSUP, "weights lie in the dtype that is computed in, not in %s",
                       mz_dtype_name(mz_desc_stored(desc)));
    if (p->nobwd && desc->kind == MZ_OP_ATTENTION && desc->u.attention.backward)
        return MZ_FAIL(MZ_ENOTSUP, "profile nobwd: attention has no backward pass");
    if (p->f16 && (!f16_allows(desc, d) || !f16_allows(desc, other)))
        return MZ_FAIL(MZ_ENOTSUP, "profile f16: %s is not offered in %s", mz_op_name(desc->kind),
                       mz_dtype_name(f16_allows(desc, d) ? other : d));
    return MZ_OK;
}

static int saved_index(const mz_desc *desc)
{
    const mz_op_signature *s = mz_op_signature_of(desc->kind);
    for (int i = 0; i < s->n_args; i++)
        if (strcmp(s->arg[i].name, "saved") == 0) return mz_desc_has_backward(desc) ? i : -1;
    return -1;
}

/* What the computing chip itself answers, without compositions: those are made of far's own
 * operators. */
static mz_err ask_inner(mz_far_queue *q, const mz_desc *desc, mz_support *support)
{
    const mz_slot *slot = &q->inner->chip->op[desc->kind];
    *support = (mz_support){.state = MZ_STATE_NATIVE};
    if (!slot->query) return MZ_FAIL(MZ_ENOTSUP, "the computing chip has no such operator");
    mz_far_wait_empty(q);
    MZ_TRY(slot->query(q->inner, desc, support));
    if (support->state == MZ_STATE_NONE) return MZ_FAIL(MZ_ENOTSUP, "%s", support->reason);
    if (mz_desc_has_backward(desc) && !slot->backward)
        return MZ_FAIL(MZ_ENOTSUP, "the computing chip has it forward only");
    return MZ_OK;
}

static mz_err query(const mz_queue *outer, const mz_desc *desc, mz_support *support)
{
    mz_far_queue *q = outer->state;
    mz_support inner;
    MZ_TRY(check_profile(&q->far->profile, desc));
    MZ_TRY(ask_inner(q, desc, &inner));
    inner.blocks_host = false; /* if anybody waits, it is the worker */
    if (saved_index(desc) >= 0) inner.saved_bytes = mz_far_sealed_bytes(inner.saved_bytes);
    inner.workspace_bytes = mz_far_fenced_bytes(inner.workspace_bytes);
    *support = inner;
    return MZ_OK;
}

static mz_err bind(mz_op *op)
{
    mz_far_queue *q = op->queue->state;
    mz_far_op *fo = NULL;
    mz_support support;
    MZ_TRY(ask_inner(q, &op->desc, &support));
    MZ_TRY(mz_mem_new(&fo, 1, sizeof *fo));
    fo->inner = (mz_op){.queue = q->inner,
                        .slot = &q->inner->chip->op[op->desc.kind],
                        .desc = op->desc,
                        .support = support};
    fo->saved = saved_index(&op->desc);
    fo->inner_saved = support.saved_bytes;
    const mz_err err = fo->inner.slot->bind ? fo->inner.slot->bind(&fo->inner) : MZ_OK;
    if (err != MZ_OK) {
        mz_mem_free(fo);
        return err;
    }
    pthread_mutex_lock(&q->far->lock);
    fo->id = ++q->far->ops;
    pthread_mutex_unlock(&q->far->lock);
    op->state = fo;
    return MZ_OK;
}

static void unbind(mz_op *op)
{
    mz_far_queue *q = op->queue->state;
    mz_far_op *fo = op->state;
    if (fo->last > q->synced)
        mz_far_fault(q, MZ_EINVAL, "%s was freed before the queue that ran it was synced",
                     mz_op_name(op->desc.kind));
    mz_far_wait_empty(q);
    if (fo->inner.slot->unbind) fo->inner.slot->unbind(&fo->inner);
    mz_mem_free(fo);
}

static mz_err pack_bytes(const mz_queue *outer, const mz_matmul_desc *desc, size_t *bytes)
{
    mz_far_queue *q = outer->state;
    if (!q->inner->chip->pack_bytes) return *bytes = 0, MZ_OK;
    mz_far_wait_empty(q);
    return q->inner->chip->pack_bytes(q->inner, desc, bytes);
}

#define SLOT(NAME, field)                                                                          \
    [MZ_OP_##NAME] = {.query = query,                                                              \
                      .bind = bind,                                                                \
                      .unbind = unbind,                                                            \
                      .forward = mz_far_run_forward,                                               \
                      .backward = mz_far_run_backward},

static const mz_chip CHIP = {
    .abi = MZ_CHIP_ABI,
    .bytes = sizeof(mz_chip),
    .name = "far",
    .summary = "test chip: opaque memory, asynchronous queue, late faults",
    .is_test = true,
    .variants = VARIANTS,
    .open = open_far,
    .close = close_far,
    .alloc = mz_far_alloc,
    .free = mz_far_free,
    .queue_open = mz_far_queue_open,
    .queue_close = mz_far_queue_close,
    .queue_sync = mz_far_queue_sync,
    .upload = mz_far_upload,
    .download = mz_far_download,
    .copy = mz_far_copy,
    .zero = mz_far_zero,
    .pack_bytes = pack_bytes,
    .pack = mz_far_pack,
    .unpack = mz_far_unpack,
    .op = {MZ_OP_LIST(SLOT)},
};

const mz_chip *mz_far_chip(void)
{
    return &CHIP;
}
