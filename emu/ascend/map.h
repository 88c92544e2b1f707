/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/map.h - operators that make each element of the output from one of each input; inputs
 * of fewer or shorter axes are spread as the documentation says.
 *
 * A piece of a row at a time, as doubles, rounded once at the end: in f32 that is what one rounding
 * of the exact result gives. Where inputs, numbers and output are all integers an operator may
 * compute with integers, which wrap as those of the device do. */
#ifndef MZ_EMU_ASCEND_MAP_H
#define MZ_EMU_ASCEND_MAP_H

#include "ascend/ops.h"

#include <math.h>

enum { EMU_PIECE = 256, EMU_INPUTS = 5 };
enum { EMU_MAP_ASKS = 1, EMU_MAP_CURVE = 2 }; /* BOOL comes out; all are of one float type */

/* Where the inputs and the output of one operator stand among its arguments. */
typedef struct emu_mapping {
    int out, in[EMU_INPUTS + 1]; /* -1 ends them */
    int optional;                /* an input that may be absent: then it is not looked at; or -1 */
    int flags;
    void (*fn)(const emu_call *c, int64_t n, double *y, double (*x)[EMU_PIECE]);
    void (*whole)(const emu_call *c, int64_t n, int64_t *y, int64_t (*x)[EMU_PIECE]); /* or NULL */
} emu_mapping;

aclnnStatus emu_map_check(const emu_call *c, const emu_mapping *m);
void emu_map_run(emu_call *c, const emu_mapping *m);

/* A function of inputs A B C E F (of the inputs' order) and of the numbers S[0] .. S[5], which are
 * those of the arguments at these places. */
#define EMU_MAP_LOOP(T, field, expression)                                                         \
    const T S[] = {c->arg[0].field, c->arg[1].field, c->arg[2].field,                              \
                   c->arg[3].field, c->arg[4].field, c->arg[5].field};                             \
    (void)x, (void)S;                                                                              \
    for (int64_t i = 0; i < n; i++) y[i] = (T)(expression)
#define EMU_REAL(name, expression)                                                                 \
    static void fn_##name(const emu_call *c, int64_t n, double *y, double(*x)[EMU_PIECE])          \
    {                                                                                              \
        EMU_MAP_LOOP(double, d, expression);                                                       \
    }
#define EMU_WHOLE(name, expression)                                                                \
    static void whole_##name(const emu_call *c, int64_t n, int64_t *y, int64_t(*x)[EMU_PIECE])     \
    {                                                                                              \
        EMU_MAP_LOOP(int64_t, i, expression);                                                      \
    }
#define EMU_BOTH(name, expression) EMU_REAL(name, expression) EMU_WHOLE(name, expression)
#define whole_none NULL

/* X(name, where the output stands, flags, function, its form for integers or none, inputs...) */
#define EMU_MAP_DEFINE_(name, out_, may, flags_, f, w, ...)                                        \
    static const emu_mapping map_##name = {.out = out_,                                            \
                                           .in = {__VA_ARGS__, -1},                                \
                                           .optional = may,                                        \
                                           .flags = flags_,                                        \
                                           .fn = fn_##f,                                           \
                                           .whole = whole_##w};                                    \
    static aclnnStatus check_##name(emu_call *c)                                                   \
    {                                                                                              \
        return emu_map_check(c, &map_##name);                                                      \
    }                                                                                              \
    static void run_##name(emu_call *c)                                                            \
    {                                                                                              \
        emu_map_run(c, &map_##name);                                                               \
    }
#define EMU_MAP_DEFINE(name, out, flags, f, w, ...)                                                \
    EMU_MAP_DEFINE_(name, out, -1, flags, f, w, __VA_ARGS__)
#define EMU_MAP_ROW(name, ...) {#name, check_##name, run_##name},

#endif
