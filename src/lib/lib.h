/* SPDX-License-Identifier: Apache-2.0 */
/* lib/lib.h - what the files behind mizan.h share: handles, the way from our errors to its
 * statuses, and structs that may be shorter or longer than ours. Inside lib/.
 *
 * Floor:  lib. */
#ifndef MZ_LIB_LIB_H
#define MZ_LIB_LIB_H

#include "infer/served.h"
#include "mizan.h"
#include "text/chat.h"
#include "text/tokenizer.h"

#include <pthread.h>
#include <stdatomic.h>

struct mz_lm_vocab {
    mz_tokenizer *tokenizer;
    mz_str bos; /* the begin token's text */
    mz_chat_template chat;
    mz_err chat_status; /* why there is none */
    mz_err_info chat_error;
};

struct mz_lm {
    atomic_int holders; /* the caller, and each session */
    /* One at a time books and frees on the device, whose books are not atomic. Computing needs no
     * lock: each session has a queue of its own. */
    pthread_mutex_t lock;
    mz_device *device;
    mz_queue *queue; /* of loading */
    mz_source *source;
    mz_generation generation;
    mz_params weights;
    mz_dtype dtype;
    mz_lm_vocab *vocab; /* NULL: vocab_error says why */
    mz_err vocab_status;
    mz_err_info vocab_error;
};

/* ---- errors (status.c) ---- */

/* The status of an error whose note was just made, which it keeps for mz_lm_error_status. MZ_EINVAL
 * is a mistake of ours here: what callers do wrong is caught by MZ_LIB_NEED before. */
mz_lm_status mz_lib_status(mz_err err);
/* Of a note that was just made with MZ_EINVAL about what the caller passed. */
mz_lm_status mz_lib_wrong(mz_err noted);
#define MZ_LIB_NEED(cond, ...)                                                                     \
    do {                                                                                           \
        if (!(cond)) return mz_lib_wrong(MZ_FAIL(MZ_EINVAL, __VA_ARGS__));                         \
    } while (0)
#define MZ_LIB_TRY(call)                                                                           \
    do {                                                                                           \
        const mz_lm_status try_ = (call);                                                          \
        if (try_ != MZ_LM_OK) return try_;                                                         \
    } while (0)

/* ---- structs that begin with their size (status.c) ---- */

/* Copies the caller's options (NULL: none) over ours, which hold the defaults and have `known`
 * bytes. MZ_LM_EINVAL for a size that cannot be, or a field that this library does not know and
 * that is not 0. */
mz_lm_status mz_lib_take(void *ours, size_t known, const void *theirs, const char *what);
/* Whether results of so many bytes can be given there; NULL is nowhere. */
mz_lm_status mz_lib_can_give(const void *theirs, const char *what);
/* As much of ours as the caller's struct has room for; its size stays. NULL: nothing. */
void mz_lib_give(void *theirs, const void *ours, size_t known);

/* ---- chips and numbers (chip.c) ---- */

/* Registers the chips, once a process. */
mz_err mz_lib_start(void);
typedef struct mz_lib_where { /* what options say of the chip */
    const char *chip, *isa, *driver_path, *dtype;
    int32_t threads;
} mz_lib_where;
mz_err mz_lib_open_device(mz_device **device, const mz_lib_where *w);
/* NULL: f32. */
mz_err mz_lib_dtype(const char *name, mz_dtype *out);

/* ---- models (lm.c) ---- */

/* Ids that a model of so many tokens has; labels may also be -100. MZ_ECORRUPT with the first that
 * is not. */
mz_err mz_lib_check_ids(const int32_t *ids, int64_t n, int64_t vocab, bool may_skip);
void mz_lib_release(mz_lm *lm); /* one holder less; the last one frees it */
mz_lm_vocab *mz_lib_vocab_new(const char *source, mz_err *err);

#endif
