/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_matmul.c - products of matrices as the cube unit makes them: factors of f16, bf16
 * or f32, sums in f32, BLOCK products of a column of blocks at a time and block after block. */
#include "ascend/ops.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = 16 };

/* C[M,N] = A[M,K] B[K,N], dense; c is overwritten. */
static void multiply(float *c, const float *a, const float *b, const int64_t mnk[3])
{
    const int64_t m = mnk[0], n = mnk[1], k = mnk[2];
    float *block = malloc((size_t)n * sizeof *block);
    memset(c, 0, (size_t)(m * n) * sizeof *c);
    for (int64_t i = 0; block && i < m; i++) {
        for (int64_t start = 0; start < k; start += BLOCK) {
            const int64_t end = start + BLOCK < k ? start + BLOCK : k;
            memset(block, 0, (size_t)n * sizeof *block);
            for (int64_t p = start; p < end; p++) {
                const float x = a[i * k + p];
                for (int64_t j = 0; j < n; j++) block[j] += x * b[p * n + j];
            }
            for (int64_t j = 0; j < n; j++) c[i * n + j] += block[j];
        }
    }
    free(block);
}

/* The last two axes of a tensor at one place of the batch, dense, as floats. */
static void take(float *to, const emu_tensor *t, int64_t at)
{
    const int64_t rows = t->dim[t->rank - 2], columns = t->dim[t->rank - 1];
    const size_t size = emu_size_of(t->type);
    double row[BLOCK];
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c += BLOCK) {
            const int64_t n = columns - c < BLOCK ? columns - c : BLOCK;
            const int64_t first = at + r * t->stride[t->rank - 2] + c * t->stride[t->rank - 1];
            emu_load(row, t->type, t->at + (size_t)first * size, t->stride[t->rank - 1], n);
            for (int64_t i = 0; i < n; i++) to[r * columns + c + i] = (float)row[i];
        }
    }
}

/* y = alpha c + beta y; beta 0 reads no y. */
static void give(const emu_call *call, const emu_tensor *y, int64_t at, const float *c,
                 const double scale[2])
{
    const int64_t rows = y->dim[y->rank - 2], columns = y->dim[y->rank - 1];
    const int64_t step = y->stride[y->rank - 1];
    const size_t size = emu_size_of(y->type);
    double row[BLOCK], old[BLOCK] = {0};
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t k = 0; k < columns; k += BLOCK) {
            const int64_t n = columns - k < BLOCK ? columns - k : BLOCK;
            unsigned char *p = y->at + (size_t)(at + r * y->stride[y->rank - 2] + k * step) * size;
            if (scale[1] < 0 || scale[1] > 0) emu_load(old, y->type, p, step, n);
            for (int64_t i = 0; i < n; i++)
                row[i] = scale[0] * (double)c[r * columns + k + i] + scale[1] * old[i];
            emu_store(y->type, p, step, row, n, call->device->overflow);
        }
    }
}

/* Where matrix i of y's batch stands in t, whose axes of one spread. */
static int64_t matrix_place(const emu_tensor *t, const emu_tensor *y, int64_t i)
{
    int64_t at = 0;
    for (int d = y->rank - 3; d >= 0; d--) {
        const int own = d + t->rank - y->rank;
        if (own >= 0 && t->dim[own] > 1) at += i % y->dim[d] * t->stride[own];
        i /= y->dim[d];
    }
    return at;
}

static void run_product(emu_call *call, const emu_tensor *a, const emu_tensor *b,
                        const emu_tensor *y, const double scale[2])
{
    const int64_t mnk[3] = {y->dim[y->rank - 2], y->dim[y->rank - 1], a->dim[a->rank - 1]};
    int64_t batch = 1;
    for (int d = 0; d < y->rank - 2; d++) batch *= y->dim[d];
    float *fa = malloc((size_t)(mnk[0] * mnk[2] + 1) * sizeof *fa);
    float *fb = malloc((size_t)(mnk[2] * mnk[1] + 1) * sizeof *fb);
    float *fc = malloc((size_t)(mnk[0] * mnk[1] + 1) * sizeof *fc);
    if (!fa || !fb || !fc)
        emu_stream_fault(call->stream, EMU_RT_AICORE_EXCEPTION, "aclnn%s: no host memory",
                         call->op->name);
    for (int64_t i = 0; fa && fb && fc && i < batch && emu_count(y) > 0; i++) {
        take(fa, a, matrix_place(a, y, i));
        take(fb, b, matrix_place(b, y, i));
        multiply(fc, fa, fb, mnk);
        give(call, y, matrix_place(y, y, i), fc, scale);
    }
    free(fa);
    free(fb);
    free(fc);
}

static bool is_factor(int type)
{
    return type == EMU_FLOAT || type == EMU_FLOAT16 || type == EMU_BF16;
}

static bool batch_fits(const emu_tensor *t, const emu_tensor *y)
{
    for (int d = 0; d < t->rank - 2; d++)
        if (t->dim[d] != 1 && t->dim[d] != y->dim[d + y->rank - t->rank]) return false;
    return true;
}

static aclnnStatus check_product(const emu_call *c, const emu_tensor *a, const emu_tensor *b,
                                 const emu_tensor *y, int64_t cube)
{
    const char *name = c->op->name;
    if (!a || !b || !y) return emu_fail(EMU_NN_NULLPTR, "aclnn%s: a matrix is NULL", name);
    if (!is_factor(a->type) || a->type != b->type)
        return emu_fail(EMU_NN_INVALID, "aclnn%s: factors %s and %s", name, emu_type_name(a->type),
                        emu_type_name(b->type));
    if (y->type != a->type)
        return emu_fail(EMU_NN_INVALID, "aclnn%s: %s from factors %s", name, emu_type_name(y->type),
                        emu_type_name(a->type));
    if (cube < 0 || cube > 4 || (cube == 2 && a->type == EMU_BF16) ||
        (cube == 3 && a->type != EMU_FLOAT))
        return emu_fail(EMU_NN_INVALID, "aclnn%s: cubeMathType %d for %s", name, (int)cube,
                        emu_type_name(a->type));
    if (!emu_soc_here()->has_infnan && a->type == EMU_FLOAT && cube == 0)
        return emu_fail(EMU_NN_INVALID, "aclnn%s: %s does not multiply FLOAT without rounding",
                        name, emu_soc_here()->name);
    const int rank = y->rank, ra = a->rank, rb = b->rank;
    /* Matmul alone takes any number of axes, and factors with fewer than the product has */
    const bool is_wide = strcmp(name, "Matmul") == 0;
    bool is_good = is_wide ? ra >= 2 && rb >= 2 && rank == (ra > rb ? ra : rb)
                           : rank >= 2 && rank <= 3 && ra == rank && rb == rank;
    is_good = is_good && a->dim[ra - 1] == b->dim[rb - 2] && a->dim[ra - 2] == y->dim[rank - 2] &&
              b->dim[rb - 1] == y->dim[rank - 1];
    is_good = is_good && batch_fits(a, y) && batch_fits(b, y);
    return is_good ? 0 : emu_fail(EMU_NN_INVALID, "aclnn%s: the shapes do not fit together", name);
}

/* A vector beside matrices is a row on the left and a column on the right; the output has an axis
 * less. */
typedef struct factors {
    emu_tensor a, b, y;
} factors;

static emu_tensor with_axis(const emu_tensor *t, int at)
{
    emu_tensor m = *t;
    m.rank++;
    for (int i = m.rank - 1; i > at; i--) m.dim[i] = t->dim[i - 1], m.stride[i] = t->stride[i - 1];
    m.dim[at] = m.stride[at] = 1;
    return m;
}

static factors factors_of(emu_call *c)
{
    const emu_tensor *a = emu_t(c, 0), *b = emu_t(c, 1), *y = emu_t(c, 2);
    factors f = {*a, *b, *y};
    if (a->rank == 1) f.a = with_axis(a, 0), f.y = with_axis(&f.y, b->rank == 1 ? 0 : f.y.rank - 1);
    if (b->rank == 1) f.b = with_axis(b, 1), f.y = with_axis(&f.y, f.y.rank);
    return f;
}

static aclnnStatus check_mm(emu_call *c)
{
    static const int args[] = {0, 1, 2};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    if (emu_t(c, 2)->rank + 2 > EMU_RANK) return emu_refuse(c, "more axes than it takes");
    const factors f = factors_of(c);
    return check_product(c, &f.a, &f.b, &f.y, c->arg[3].i);
}

static void run_mm(emu_call *c)
{
    static const double plain[2] = {1.0, 0.0};
    const factors f = factors_of(c);
    run_product(c, &f.a, &f.b, &f.y, plain);
}

/* y = beta y + alpha a b */
static aclnnStatus check_addmm(emu_call *c)
{
    if (!c->arg[3].n || !c->arg[4].n) return emu_fail(EMU_NN_NULLPTR, "aclnnInplaceAddmm: NULL");
    return check_product(c, emu_t(c, 1), emu_t(c, 2), emu_t(c, 0), c->arg[5].i);
}

static void run_addmm(emu_call *c)
{
    const double scale[2] = {c->arg[4].d, c->arg[3].d};
    run_product(c, emu_t(c, 1), emu_t(c, 2), emu_t(c, 0), scale);
}

/* out = beta self + alpha a b: self, which spreads, is copied there first. */
static aclnnStatus check_addmm_to(emu_call *c)
{
    static const int args[] = {0, 1, 2, 3, 4, 5};
    const aclnnStatus code = emu_want(c, args, 6);
    if (code != 0) return code;
    const emu_tensor *self = emu_t(c, 0), *y = emu_t(c, 5);
    int64_t stride[EMU_RANK];
    if (self->type != y->type || !emu_spread(self, y, stride))
        return emu_refuse(c, "self is of another type, or does not spread to the output's shape");
    return check_product(c, emu_t(c, 1), emu_t(c, 2), y, c->arg[6].i);
}

/* self, spread, into y. */
static void spread_into(const emu_call *c, const emu_tensor *self, const emu_tensor *y)
{
    for (int64_t e = 0, n = emu_count(y); e < n; e++)
        emu_move(c, y, emu_place(y, 0, e), self, emu_spread_place(self, y, e));
}

static void run_addmm_to(emu_call *c)
{
    const emu_tensor *y = emu_t(c, 5);
    const double scale[2] = {c->arg[4].d, c->arg[3].d};
    spread_into(c, emu_t(c, 0), y);
    run_product(c, emu_t(c, 1), emu_t(c, 2), y, scale);
}

/* ---- vectors as matrices: Mv(self, vector, out), Addmv(self, matrix, vector, alpha, beta, out),
 *      Dot(self, other, out), Addr(self, column, row, beta, alpha, out) ---- */

/* A vector as a column, or a row; a single number has an axis for each. */
static emu_tensor stood(const emu_tensor *v, bool is_row)
{
    emu_tensor m = *v;
    m.rank = 2;
    m.dim[is_row] = v->rank ? v->dim[0] : 1, m.dim[!is_row] = 1;
    m.stride[is_row] = v->rank ? v->stride[0] : 1, m.stride[!is_row] = 1;
    return m;
}

typedef struct vectors {
    emu_tensor a, b, y;
    const emu_tensor *self;
    double scale[2];
} vectors;

static vectors vectors_of(emu_call *c)
{
    const char *name = c->op->name;
    const bool is_sum = name[0] == 'A', is_dot = name[0] == 'D';
    const emu_tensor *a = emu_t(c, is_sum), *b = emu_t(c, 1 + is_sum),
                     *y = emu_t(c, is_sum ? 5 : 2);
    vectors v = {.scale = {1.0, 0.0}, .self = is_sum ? emu_t(c, 0) : NULL};
    const bool is_outer = strcmp(name, "Addr") == 0;
    v.a = is_dot || is_outer ? stood(a, is_dot) : *a;
    v.b = stood(b, is_outer);
    v.y = is_outer ? *y : stood(y, false);
    if (is_sum) v.scale[0] = c->arg[is_outer ? 4 : 3].d, v.scale[1] = c->arg[is_outer ? 3 : 4].d;
    return v;
}

static aclnnStatus check_vectors(emu_call *c)
{
    const int n = c->op->name[0] == 'A' ? 6 : 3;
    static const int args[] = {0, 1, 2, 3, 4, 5};
    const aclnnStatus code = emu_want(c, args, n);
    if (code != 0) return code;
    const bool is_outer = strcmp(c->op->name, "Addr") == 0;
    if (emu_t(c, n == 6 ? 2 : 1)->rank != 1 ||
        emu_t(c, n - 1)->rank != (is_outer ? 2 : c->op->name[0] != 'D'))
        return emu_refuse(c, "the vector or the output has other axes");
    const vectors v = vectors_of(c);
    int64_t stride[EMU_RANK];
    if (v.self && (v.self->type != v.y.type || !emu_spread(v.self, emu_t(c, 5), stride)))
        return emu_refuse(c, "self is of another type, or does not spread to the output's shape");
    return check_product(c, &v.a, &v.b, &v.y, 0);
}

static void run_vectors(emu_call *c)
{
    const vectors v = vectors_of(c);
    if (v.self) spread_into(c, v.self, emu_t(c, 5));
    run_product(c, &v.a, &v.b, &v.y, v.scale);
}

/* ---- Addbmm(self, batch1, batch2, beta, alpha, out): the products of all matrices, added up ----
 */

static emu_tensor matrix_of(const emu_tensor *t, int64_t i);

static aclnnStatus check_addbmm(emu_call *c)
{
    static const int args[] = {0, 1, 2, 3, 4, 5};
    const aclnnStatus code = emu_want(c, args, 6);
    if (code != 0) return code;
    const emu_tensor *a = emu_t(c, 1), *b = emu_t(c, 2), *y = emu_t(c, 5), *self = emu_t(c, 0);
    int64_t stride[EMU_RANK];
    if (a->rank != 3 || b->rank != 3 || a->dim[0] != b->dim[0])
        return emu_refuse(c, "there are not as many matrices on both sides");
    if (self->type != y->type || !emu_spread(self, y, stride))
        return emu_refuse(c, "self is of another type, or does not spread to the output's shape");
    const emu_tensor first = matrix_of(a, 0), second = matrix_of(b, 0);
    return check_product(c, &first, &second, y, c->arg[6].i);
}

static void run_addbmm(emu_call *c)
{
    const emu_tensor *y = emu_t(c, 5);
    spread_into(c, emu_t(c, 0), y);
    for (int64_t i = 0, n = emu_t(c, 1)->dim[0]; i < n; i++) {
        const emu_tensor a = matrix_of(emu_t(c, 1), i), b = matrix_of(emu_t(c, 2), i);
        const double scale[2] = {c->arg[4].d, i == 0 ? c->arg[3].d : 1.0};
        run_product(c, &a, &b, y, scale);
    }
}

/* ---- GroupedMatmulV4: one tensor in each list, rows of one x beside matrices of one weight ----
 */

enum {
    X = 0,
    WEIGHT = 1,
    LIST = 8,
    SPLIT_ITEM = 12,
    GROUP_TYPE = 13,
    LIST_TYPE = 14,
    ACTIVATION = 15,
    OUT = 16
};
enum { SPLIT_ROWS = 0, SPLIT_SUMS = 2, GROUPS_MAX = 1024, INNER_MAX = 65536 };

/* The last two axes of a matrix as they lie: in rows, or in columns. */
static bool lies_in(const emu_tensor *t, bool in_columns)
{
    const int last = t->rank - 1, fast = in_columns ? last - 1 : last;
    return t->dim[fast] <= 1 || t->stride[fast] == 1;
}

static aclnnStatus check_group_shapes(const emu_call *c, const emu_tensor *x, const emu_tensor *w,
                                      const emu_tensor *y, int64_t groups)
{
    const bool is_rows = c->arg[GROUP_TYPE].i == SPLIT_ROWS;
    const int inner = is_rows ? 1 : 0;
    bool fits = x->rank == 2 && w->rank == (is_rows ? 3 : 2) && y->rank == (is_rows ? 2 : 3);
    if (fits && is_rows)
        fits = w->dim[0] == groups && w->dim[1] == x->dim[1] && y->dim[0] == x->dim[0] &&
               y->dim[1] == w->dim[2];
    else if (fits)
        fits = y->dim[0] == groups && y->dim[1] == x->dim[0] && y->dim[2] == w->dim[1] &&
               w->dim[0] == x->dim[1];
    if (!fits) return emu_refuse(c, "the shapes do not fit together");
    if (x->dim[inner] >= INNER_MAX || w->dim[w->rank - 1] >= INNER_MAX)
        return emu_refuse(c, "an axis within of 65536 or more");
    if (!lies_in(x, !is_rows) || (!is_rows && !lies_in(w, false)))
        return emu_refuse(c, is_rows ? "x is transposed" : "x is not transposed, or weight is");
    if (is_rows && !lies_in(w, false) && !lies_in(w, true))
        return emu_refuse(c, "the weight lies neither in rows nor in columns");
    return emu_is_dense(y) ? 0 : emu_refuse(c, "the output is not dense");
}

static aclnnStatus check_grouped(emu_call *c)
{
    static const int args[] = {X, WEIGHT, LIST, OUT};
    const aclnnStatus code = emu_want(c, args, 4);
    if (code != 0) return code;
    for (int i = 0; i < c->n; i++)
        if (strchr("LM", c->arg[i].kind) && c->arg[i].n != (i == X || i == WEIGHT || i == OUT))
            return emu_refuse(c, "the emulated driver takes one x, one weight, one output and "
                                 "no other list");
    const emu_tensor *x = emu_t(c, X), *w = emu_t(c, WEIGHT), *y = emu_t(c, OUT);
    const emu_tensor *list = emu_t(c, LIST);
    if (c->arg[SPLIT_ITEM].i != 2 && c->arg[SPLIT_ITEM].i != 3)
        return emu_refuse(c, "splitItem of one output is 2 or 3");
    if (c->arg[GROUP_TYPE].i != SPLIT_ROWS && c->arg[GROUP_TYPE].i != SPLIT_SUMS)
        return emu_refuse(c, "groupType is neither 0 nor 2");
    if (c->arg[LIST_TYPE].i != 0 && c->arg[LIST_TYPE].i != 1)
        return emu_refuse(c, "groupListType is neither 0 nor 1");
    if (c->arg[ACTIVATION].i != 0) return emu_refuse(c, "an activation without quantised factors");
    if (!is_factor(x->type) || w->type != x->type || y->type != x->type)
        return emu_refuse(c, "x, weight and output are not of one type");
    if (list->rank != 1 || list->type != EMU_INT64 || list->dim[0] < 1 || list->dim[0] > GROUPS_MAX)
        return emu_refuse(c, "groupList is not INT64 of 1 to 1024 groups");
    return check_group_shapes(c, x, w, y, list->dim[0]);
}

/* Where group g ends, from where it begins; -1 with a fault where that is nowhere. */
static int64_t group_end(const emu_call *c, int64_t g, int64_t begin, int64_t rows)
{
    const emu_tensor *list = c->arg[LIST].tensor;
    const int64_t n = (int64_t)emu_get(list, g * list->stride[0]);
    const int64_t end = c->arg[LIST_TYPE].i == 0 ? n : begin + n;
    if (end >= begin && end <= rows) return end;
    emu_stream_fault(c->stream, EMU_RT_AICORE_EXCEPTION, "aclnn%s: group %lld ends at %lld of %lld",
                     c->op->name, (long long)g, (long long)end, (long long)rows);
    return -1;
}

static emu_tensor cut(const emu_tensor *t, int axis, int64_t begin, int64_t end)
{
    emu_tensor part = *t;
    part.at += (size_t)(begin * t->stride[axis]) * emu_size_of(t->type);
    part.dim[axis] = end - begin;
    return part;
}

/* Matrix i of three axes, as one of two. */
static emu_tensor matrix_of(const emu_tensor *t, int64_t i)
{
    emu_tensor m = cut(t, 0, i, i + 1);
    for (int d = 0; d < 2; d++) m.dim[d] = t->dim[d + 1], m.stride[d] = t->stride[d + 1];
    m.rank = 2;
    return m;
}

/* Rows behind the last group, and matrices of empty groups, are left as they are. */
static void run_grouped(emu_call *c)
{
    static const double plain[2] = {1.0, 0.0};
    const emu_tensor *x = emu_t(c, X), *w = emu_t(c, WEIGHT), *y = emu_t(c, OUT);
    const bool is_rows = c->arg[GROUP_TYPE].i == SPLIT_ROWS;
    const int64_t rows = x->dim[is_rows ? 0 : 1];
    for (int64_t g = 0, begin = 0, end; g < emu_t(c, LIST)->dim[0]; g++, begin = end) {
        end = group_end(c, g, begin, rows);
        if (end < 0) return;
        if (end == begin) continue;
        const emu_tensor a = cut(x, is_rows ? 0 : 1, begin, end);
        const emu_tensor b = is_rows ? matrix_of(w, g) : cut(w, 0, begin, end);
        const emu_tensor out = is_rows ? cut(y, 0, begin, end) : matrix_of(y, g);
        run_product(c, &a, &b, &out, plain);
    }
}

const emu_op emu_ops_matmul[] = {
    {"Matmul", check_mm, run_mm},
    {"Mm", check_mm, run_mm},
    {"BatchMatMul", check_mm, run_mm},
    {"InplaceAddmm", check_addmm, run_addmm},
    {"Addmm", check_addmm_to, run_addmm_to},
    {"Baddbmm", check_addmm_to, run_addmm_to},
    {"Mv", check_vectors, run_vectors},
    {"Addmv", check_vectors, run_vectors},
    {"Dot", check_vectors, run_vectors},
    {"Addr", check_vectors, run_vectors},
    {"Addbmm", check_addbmm, run_addbmm},
    {"GroupedMatmulV4", check_grouped, run_grouped},
    {NULL, NULL, NULL},
};
