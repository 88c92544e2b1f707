/* SPDX-License-Identifier: Apache-2.0 */
/* base/err.h - the one error type: a code that is returned, and one note that says what happened.
 *
 * Floor:  base.
 * Time:   a note is thread-local; reading it never blocks.
 * Owner:  the note lives until the next note or mz_err_clear on the same thread.
 * Not here: printing. Only app/ prints. */
#ifndef MZ_BASE_ERR_H
#define MZ_BASE_ERR_H

#include <stdint.h>

/* X(name, exit code of cli.md, what it means) */
#define MZ_ERR_LIST(X)                                                                             \
    X(OK, 0, "done")                                                                               \
    X(EINVAL, 1, "a caller inside Mizan passed something wrong")                                   \
    X(ENOTSUP, 69, "this chip, build or format cannot; another may")                               \
    X(ENOMEM, 69, "not enough memory on the host or the chip")                                     \
    X(EIO, 74, "a file or the network failed")                                                     \
    X(ECHIP, 75, "the chip or its driver failed")                                                  \
    X(ETIMEOUT, 75, "something did not answer in time")                                            \
    X(ECORRUPT, 76, "a damaged or hostile file")                                                   \
    X(EBUSY, 75, "in use by another process")                                                      \
    X(ENUMERIC, 77, "NaN, divergence, or a verdict that failed")                                   \
    X(ECONFIG, 78, "a configuration is unknown or contradicts itself")                             \
    X(EUSAGE, 2, "the command line is wrong")                                                      \
    X(EINTR, 75, "interrupted; the state is saved")

typedef enum mz_err {
#define MZ_ERR_ENUM(name, exit_code, text) MZ_##name,
    MZ_ERR_LIST(MZ_ERR_ENUM)
#undef MZ_ERR_ENUM
        MZ_ERR_COUNT
} mz_err;

typedef struct mz_err_info {
    mz_err code;
    int line;           /* of the origin in our source */
    const char *source; /* file of the origin in our source, static storage */
    int64_t offset;     /* byte offset in `file`, -1 where unknown */
    char message[512];
    char file[256];  /* the user's file, "" where unknown */
    char field[128]; /* the field, tensor or key in it, "" where unknown */
    char fix[256];   /* what to do, "" where unknown */
} mz_err_info;

#if defined(__GNUC__)
#define MZ_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define MZ_PRINTF(fmt, args)
#endif

/* Records the origin of an error, replacing the thread's last note. */
void mz_note(mz_err code, const char *source, int line, const char *fmt, ...) MZ_PRINTF(4, 5);

/* Adds where and what to do to the note just made. NULL or "" keeps what is there; offset -1 too.
 */
void mz_note_where(const char *file, const char *field, int64_t offset);
void mz_note_fix(const char *fmt, ...) MZ_PRINTF(1, 2);

/* Never NULL; code is MZ_OK if nothing was noted since mz_err_clear. Borrowed. */
const mz_err_info *mz_err_last(void);
void mz_err_clear(void);
/* Makes `info` (a copy of another thread's note, say) this thread's note. */
void mz_err_restore(const mz_err_info *info);

const char *mz_err_name(mz_err code); /* "ECORRUPT" */
const char *mz_err_text(mz_err code);
int mz_err_exit(mz_err code); /* the process exit code of cli.md */

/* The cast lets `cond ? MZ_FAIL(...) : err` pass -Wsign-conversion. */
#define MZ_FAIL(e, ...) (mz_note((e), __FILE__, __LINE__, __VA_ARGS__), (mz_err)(e))
#define MZ_NEED(cond, ...)                                                                         \
    do {                                                                                           \
        if (!(cond)) return MZ_FAIL(MZ_EINVAL, __VA_ARGS__);                                       \
    } while (0)
#define MZ_TRY(call)                                                                               \
    do {                                                                                           \
        const mz_err try_ = (call);                                                                \
        if (try_ != MZ_OK) return try_;                                                            \
    } while (0)
#define MZ_TRY_GOTO(err, call, label)                                                              \
    do {                                                                                           \
        (err) = (call);                                                                            \
        if ((err) != MZ_OK) goto label;                                                            \
    } while (0)

#define MZ_COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

#endif
