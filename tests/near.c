/* SPDX-License-Identifier: Apache-2.0 */
/* tests/near.c - see near.h. */
#include "tests/near.h"

#include "base/mem.h"
#include "base/rng.h"
#include "chips/ref/ref.h"

#include <stdlib.h>
#include <string.h>

enum { MARGIN = 64, PATTERN = 0xa5, QUEUES_MAX = 16 };

typedef struct made {
    mz_tensor tensor;
    struct made *next;
} made;

static made *all_made;
static struct {
    char spec[64];
    mz_queue *queue;
} queues[QUEUES_MAX];

int mzt_cases(int full)
{
    const char *text = getenv("MIZAN_TEST_SHARE");
    char *end = NULL;
    const long share = text && *text ? strtol(text, &end, 10) : 100;
    if (end && (*end || share < 1 || share > 100)) fail_msg("MIZAN_TEST_SHARE is %s", text);
    const int cases = (int)((long)full * share / 100);
    return cases > 0 ? cases : 1;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { IS_SANITIZED = 1 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { IS_SANITIZED = 1 };
#else
enum { IS_SANITIZED = 0 };
#endif
#else
enum { IS_SANITIZED = 0 };
#endif
#if defined(NDEBUG) && defined(__x86_64__)
enum { IS_RELEASED = 1 };
#else
enum { IS_RELEASED = 0 };
#endif

bool mzt_is_sanitized(void)
{
    return IS_SANITIZED;
}

double mzt_slowness(void)
{
    return IS_SANITIZED ? 30.0 : IS_RELEASED ? 1.0 : 20.0;
}

void mzt_clear(void)
{
    while (all_made) {
        made *next = all_made->next;
        mz_buffer_free(all_made->tensor.buf);
        mz_mem_free(all_made);
        all_made = next;
    }
}

int mzt_teardown(void **state)
{
    int leaks = 0;
    (void)state;
    mzt_clear();
    for (int i = 0; i < QUEUES_MAX && queues[i].queue; i++) {
        mz_device *device = queues[i].queue->device;
        if (queues[i].queue->n_ops) {
            print_error("%s: %d operators not freed\n", queues[i].spec, queues[i].queue->n_ops);
            leaks++;
        }
        mz_queue_close(queues[i].queue);
        mz_device_close(device);
        queues[i].queue = NULL;
    }
    return leaks;
}

mz_queue *mzt_queue(const mz_chip *chip, const char *spec)
{
    int i = 0;
    while (i < QUEUES_MAX && queues[i].queue && strcmp(queues[i].spec, spec) != 0) i++;
    assert_true(i < QUEUES_MAX && strlen(spec) < sizeof queues[i].spec);
    if (queues[i].queue) return queues[i].queue;
    mz_device *device = NULL;
    if (!mz_chip_find(chip->name)) assert_int_equal(mz_chip_register(chip), MZ_OK);
    assert_int_equal(mz_device_open(&device, spec, NULL), MZ_OK);
    assert_int_equal(mz_queue_open(&queues[i].queue, device), MZ_OK);
    strcpy(queues[i].spec, spec);
    return queues[i].queue;
}

mz_queue *mzt_reference(void)
{
    return mzt_queue(&mz_chip_ref, "ref");
}

mz_op *mzt_bind(mz_queue *q, const mz_desc *desc)
{
    mz_op *op = NULL;
    const mz_err err = mz_bind(&op, q, desc);
    if (err == MZ_ENOTSUP) return NULL;
    if (err != MZ_OK) print_error("bind: %s\n", mz_err_last()->message);
    assert_int_equal(err, MZ_OK);
    return op;
}

/* ---- tensors ---- */

static made *keep(mz_device *device, size_t bytes)
{
    made *m = NULL;
    assert_int_equal(mz_mem_new(&m, 1, sizeof *m), MZ_OK);
    assert_int_equal(mz_buffer_new(&m->tensor.buf, device, bytes), MZ_OK);
    m->next = all_made;
    all_made = m;
    return m;
}

mz_tensor *mzt_strided(mz_dtype dtype, int rank, const int64_t *dim, const int64_t *stride,
                       int64_t skip)
{
    mz_tensor t = mz_view(NULL, MARGIN + (size_t)skip * mz_dtype_bytes(dtype), dtype, rank, dim);
    for (int i = 0; i < rank && stride; i++) t.stride[i] = stride[i];
    const size_t end = mz_extent_bytes(&t);
    made *m = keep(mzt_reference()->device, (end > t.offset_bytes ? end : t.offset_bytes) + MARGIN);
    t.buf = m->tensor.buf;
    m->tensor = t;
    mzt_poison(&m->tensor);
    for (int64_t i = 0; i < mz_count(&t); i++) mz_put_int(&t, i, 0);
    return &m->tensor;
}

mz_tensor *mzt_new(mz_dtype dtype, int rank, const int64_t *dim)
{
    return mzt_strided(dtype, rank, dim, NULL, 0);
}

void mzt_fill(mz_tensor *t, uint64_t seed)
{
    mz_rng rng;
    mz_rng_init(&rng, seed, 0);
    for (int64_t i = 0; i < mz_count(t); i++) mz_put(t, i, mz_rng_normal(&rng));
}

mz_tensor *mzt_random(mz_dtype dtype, int rank, const int64_t *dim, uint64_t seed)
{
    mz_tensor *t = mzt_new(dtype, rank, dim);
    mzt_fill(t, seed);
    return t;
}

mz_tensor *mzt_values(mz_dtype dtype, int rank, const int64_t *dim, const double *values)
{
    mz_tensor *t = mzt_new(dtype, rank, dim);
    for (int64_t i = 0; i < mz_count(t); i++) mz_put(t, i, values[i]);
    return t;
}

mz_tensor *mzt_ints(int rank, const int64_t *dim, const int *values)
{
    mz_tensor *t = mzt_new(MZ_I32, rank, dim);
    for (int64_t i = 0; i < mz_count(t); i++) mz_put_int(t, i, values[i]);
    return t;
}

mz_tensor *mzt_like(const mz_tensor *t)
{
    return mzt_new(t->dtype, t->rank, t->dim);
}

/* The whole buffer behind a view, as bytes. */
static mz_tensor all_bytes(const mz_tensor *t)
{
    return mz_view(t->buf, 0, MZ_U8, 1, MZT_DIMS((int64_t)t->buf->bytes));
}

static mz_tensor *moved(const mz_tensor *t, mz_device *device)
{
    made *m = keep(device, t->buf->bytes);
    mz_buffer *buf = m->tensor.buf;
    m->tensor = *t;
    m->tensor.buf = buf;
    return &m->tensor;
}

mz_tensor *mzt_on(mz_queue *q, const mz_tensor *host)
{
    mz_tensor *t = moved(host, q->device);
    const mz_tensor bytes = all_bytes(t);
    assert_int_equal(mz_upload(q, &bytes, host->buf->host), MZ_OK);
    assert_int_equal(mz_queue_sync(q), MZ_OK);
    return t;
}

mz_tensor *mzt_back(mz_queue *q, const mz_tensor *t)
{
    mz_tensor *host = moved(t, mzt_reference()->device);
    const mz_tensor bytes = all_bytes(t);
    assert_int_equal(mz_download(q, host->buf->host, &bytes), MZ_OK);
    assert_int_equal(mz_queue_sync(q), MZ_OK);
    return host;
}

mz_tensor *mzt_copy(const mz_tensor *t)
{
    return mzt_on(mzt_reference(), t);
}

mz_tensor *mzt_saved(const mz_op *op)
{
    const int64_t bytes = (int64_t)mz_op_saved(op);
    if (bytes == 0) return NULL;
    made *m = keep(op->queue->device, (size_t)bytes + MARGIN);
    m->tensor = mz_view(m->tensor.buf, 0, MZ_U8, 1, &bytes);
    return &m->tensor;
}

void mzt_poison(mz_tensor *t)
{
    memset(t->buf->host, PATTERN, t->buf->bytes);
}

static bool is_pattern(const mz_tensor *t)
{
    const unsigned char *bytes = t->buf->host;
    for (size_t i = 0; i < t->buf->bytes; i++) {
        if (bytes[i] == PATTERN) continue;
        print_error("byte %zu of %zu was written; the view starts at %zu\n", i, t->buf->bytes,
                    t->offset_bytes);
        return false;
    }
    return true;
}

bool mzt_untouched(const mz_tensor *t)
{
    return is_pattern(t);
}

bool mzt_margins_untouched(const mz_tensor *t)
{
    const mz_tensor *rest = mzt_copy(t);
    const int64_t size = (int64_t)mz_dtype_bytes(t->dtype);
    for (int64_t i = 0; i < mz_count(rest); i++) {
        int64_t left = i, at = 0;
        for (int axis = rest->rank - 1; axis >= 0; axis--) {
            at += left % rest->dim[axis] * rest->stride[axis];
            left /= rest->dim[axis];
        }
        memset((unsigned char *)mz_host(rest) + at * size, PATTERN, (size_t)size);
    }
    return is_pattern(rest);
}

bool mzt_same_bits(const mz_tensor *a, const mz_tensor *b)
{
    return a->buf->bytes == b->buf->bytes && memcmp(a->buf->host, b->buf->host, a->buf->bytes) == 0;
}

/* ---- nearness ---- */

bool mzt_near(double got, double want, double limit)
{
    if (fabs(got - want) <= limit * (1.0 + fabs(want))) return true;
    print_error("got %.17g, want %.17g, off by %.3g, limit %.3g\n", got, want, got - want,
                limit * (1.0 + fabs(want)));
    return false;
}

bool mzt_all_near(const mz_tensor *got, const mz_tensor *want, double limit)
{
    if (mz_count(got) != mz_count(want)) return false;
    for (int64_t i = 0; i < mz_count(got); i++) {
        if (mzt_near(mz_at(got, i), mz_at(want, i), limit)) continue;
        print_error("at element %lld\n", (long long)i);
        return false;
    }
    return true;
}

bool mzt_is(const mz_tensor *got, double limit, const double *want)
{
    return mzt_all_near(got, mzt_values(MZ_F64, got->rank, got->dim, want), limit);
}

double mzt_unit(mz_dtype dtype)
{
    if (dtype == MZ_F64) return 0x1p-53;
    if (dtype == MZ_F32) return 0x1p-24;
    return dtype == MZ_F16 ? 0x1p-11 : 0x1p-8;
}

double mzt_limit(const mzt_bound *bound, double want)
{
    const double out = mzt_unit(bound->out), acc = mzt_unit(mz_dtype_acc(bound->out));
    if (bound->n == 0) return 4.0 * out * (1.0 + fabs(want));
    return 2.0 * out * fabs(want) + acc * sqrt((double)bound->n) * bound->norms;
}

/* One element: near, or the same thing that is no number. */
static bool agrees(double got, double want, const mzt_bound *bound)
{
    if (isnan(want)) return isnan(got);
    if (isinf(want)) return isinf(got) && (got > 0.0) == (want > 0.0);
    return fabs(got - want) <= mzt_limit(bound, want);
}

bool mzt_agree(const mz_tensor *got, const mz_tensor *want, const mzt_bound *bound)
{
    const int64_t n = mz_count(want);
    double errors = 0.0, limits = 0.0;
    int64_t zeros = 0;
    if (mz_count(got) != n) return false;
    for (int64_t i = 0; i < n; i++) {
        const double g = mz_at(got, i), w = mz_at(want, i);
        if (!agrees(g, w, bound)) {
            print_error("element %lld: got %.9g, the oracle has %.9g, off by %.3g, limit %.3g\n",
                        (long long)i, g, w, g - w, mzt_limit(bound, w));
            return false;
        }
        if (!isfinite(w)) continue;
        errors += (g - w) * (g - w);
        limits += mzt_limit(bound, w) * mzt_limit(bound, w);
        zeros += fabs(g) <= 0.0 && fabs(w) > mzt_unit(bound->out);
    }
    if (!(errors <= 0.25 * limits) || (n >= 16 && zeros > n / 16)) {
        print_error("as a whole: error %.3g of limits %.3g, %lld zeros of %lld\n", sqrt(errors),
                    sqrt(limits), (long long)zeros, (long long)n);
        return false;
    }
    return true;
}
