/* SPDX-License-Identifier: Apache-2.0 */
/* chip/queue.c - opening, closing and waiting; and what a fault's report says.
 *
 * Floor:  chip. May use tensor, base. */
#include "chip/queue.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

mz_err mz_queue_open(mz_queue **q, mz_device *device)
{
    MZ_NEED(q && device, "queue or device is NULL");
    mz_queue *n = NULL;
    MZ_TRY(mz_mem_new(&n, 1, sizeof *n));
    n->chip = device->chip;
    n->device = device;
    const mz_err err = device->chip->queue_open ? device->chip->queue_open(n) : MZ_OK;
    if (err != MZ_OK) {
        mz_mem_free(n);
        return mz_device_report(device, err, "opening a queue", NULL);
    }
    *q = n;
    return MZ_OK;
}

void mz_queue_close(mz_queue *q)
{
    if (!q) return;
    if (q->n_ops)
        mz_log(MZ_LOG_LOUD, "a queue of chip %s is closed with %d operators still bound",
               q->device->info.name, q->n_ops);
    /* Work in flight may still use the workspace. Nobody is left to hear of a fault but the log:
     * what failed before is what is told. */
    const mz_err_info why = *mz_err_last();
    if (q->chip->queue_sync(q) != MZ_OK)
        mz_log(MZ_LOG_LOUD, "closing a queue of chip %s: %s", q->device->info.name,
               mz_err_last()->message);
    mz_buffer_free(q->workspace);
    if (q->chip->queue_close) q->chip->queue_close(q);
    if (why.code != MZ_OK) mz_err_restore(&why);
    mz_mem_free(q);
}

static const char *pass_name(mz_pass pass)
{
    return pass == MZ_FORWARD ? "forward" : "backward";
}

mz_err mz_queue_report(const mz_queue *q, mz_err err)
{
    const mz_err_info was = *mz_err_last(); /* the chip's own words, made where it failed */
    const mz_trace *t = &q->trace;
    if (t->first_seq == 0)
        mz_note(err, was.source, was.line,
                "%s, rank %d, chip %s: %.280s; no operator since the last good sync",
                mz_err_name(err), q->rank, q->device->info.name, was.message);
    else
        mz_note(
            err, was.source, was.line,
            "%s, rank %d, chip %s: %.280s; operators since the last good sync: first %s %s (%lld), "
            "last %s %s (%lld)",
            mz_err_name(err), q->rank, q->device->info.name, was.message, t->first_op,
            pass_name(t->first_pass), (long long)t->first_seq, t->last_op, pass_name(t->last_pass),
            (long long)t->last_seq);
    mz_note_where(was.file, was.field, was.offset);
    if (was.fix[0]) mz_note_fix("%s", was.fix);
    return err;
}

mz_err mz_device_report(const mz_device *device, mz_err err, const char *doing, const char *what)
{
    const mz_err_info was = *mz_err_last();
    const bool is_chips = err == MZ_ECHIP || err == MZ_ENOMEM;
    if (!is_chips || strncmp(was.message, "chip ", 5) == 0 || strstr(was.message, ", chip "))
        return err;
    mz_note(err, was.source, was.line, "chip %s, %s%s%s: %.300s", device->info.name, doing,
            what ? " " : "", what ? what : "", was.message);
    mz_note_where(was.file, was.field, was.offset);
    if (was.fix[0]) mz_note_fix("%s", was.fix);
    return err;
}

mz_err mz_queue_sync(mz_queue *q)
{
    MZ_NEED(q, "queue is NULL");
    const mz_err err = q->chip->queue_sync(q);
    if (err != MZ_OK) return mz_queue_report(q, err);
    q->trace = (mz_trace){0};
    q->syncs++;
    return MZ_OK;
}

void mz_queue_note(mz_queue *q, const char *what, mz_pass pass)
{
    mz_trace *t = &q->trace;
    t->last_seq = ++q->seq;
    t->last_op = what;
    t->last_pass = pass;
    if (t->first_seq) return;
    t->first_seq = t->last_seq;
    t->first_op = what;
    t->first_pass = pass;
}

_Static_assert(MZ_OP_COUNT <= 32, "a bit for each operator");

/* Names of the operators of `kinds`, as a list. */
static void name_kinds(char *text, size_t bytes, uint32_t kinds)
{
    size_t at = 0;
    text[0] = '\0';
    for (int i = 0; i < MZ_OP_COUNT && at + 16 < bytes; i++)
        if (kinds & 1u << i)
            at += (size_t)snprintf(text + at, bytes - at, "%s%s", at ? ", " : "",
                                   mz_op_name((mz_op_kind)i));
}

void mz_queue_tell(mz_queue *q)
{
    char names[320];
    const uint32_t composed = q->composed & ~q->told_composed, hosted = q->hosted & ~q->told_hosted;
    const char *chip = q->device->info.name;
    name_kinds(names, sizeof names, composed);
    if (composed) mz_log(MZ_LOG_INFO, "chip %s makes of its other operators: %s", chip, names);
    name_kinds(names, sizeof names, hosted);
    if (hosted) mz_log(MZ_LOG_WARN, "chip %s leaves to the host: %s", chip, names);
    q->told_composed |= composed;
    q->told_hosted |= hosted;
}
