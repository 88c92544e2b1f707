/* SPDX-License-Identifier: Apache-2.0 */
/* chips/far/seal.c - behind the opaque bytes that forward saves for backward stands a seal: which
 * operator wrote them, what they were, and which inputs they belong to. chip.h asks that backward
 * gets exactly what forward read and wrote; here somebody looks.
 *
 * Floor:  chips.   Time: on the worker. */
#include "chips/far/state.h"

#include <string.h>

typedef struct seal {
    uint64_t magic, op, saved, inputs;
} seal;

static const uint64_t MAGIC = 0x6d7a206661722031u;

_Static_assert(sizeof(seal) == FAR_SEAL_BYTES, "the seal's size is part of saved_bytes");

static size_t seal_at(size_t inner_saved)
{
    return (inner_saved + 15) / 16 * 16;
}

size_t mz_far_sealed_bytes(size_t inner_saved)
{
    return seal_at(inner_saved) + FAR_SEAL_BYTES;
}

static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

uint64_t mz_far_hash(uint64_t seed, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint64_t h = mix(seed, n), word;
    for (; n >= sizeof word; n -= sizeof word, p += sizeof word) {
        memcpy(&word, p, sizeof word);
        h = mix(h, word);
    }
    word = 0;
    if (n) memcpy(&word, p, n);
    return mix(h, word);
}

/* The pieces of axes `axis`.. of a view from element `at` on. */
static void pieces(const mz_tensor *v, int axis, int64_t at, mz_far_piece_fn *fn, void *user)
{
    const size_t size = mz_dtype_bytes(v->dtype);
    unsigned char *base = (unsigned char *)v->buf->host + v->offset_bytes;
    if (axis == v->rank) {
        fn(user, base + (size_t)at * size, size);
        return;
    }
    if (axis == v->rank - 1 && v->stride[axis] == 1) {
        fn(user, base + (size_t)at * size, (size_t)v->dim[axis] * size);
        return;
    }
    for (int64_t i = 0; i < v->dim[axis]; i++)
        pieces(v, axis + 1, at + i * v->stride[axis], fn, user);
}

void mz_far_each_piece(const mz_tensor *view, mz_far_piece_fn *fn, void *user)
{
    if (mz_count(view) == 0) return;
    pieces(view, 0, 0, fn, user);
}

static void hash_piece(void *user, unsigned char *piece, size_t bytes)
{
    uint64_t *h = user;
    *h = mz_far_hash(*h, piece, bytes);
}

/* What forward read or wrote and backward reads again. */
static uint64_t hash_inputs(const mz_far_command *c)
{
    const mz_desc *desc = &c->op->inner.desc;
    uint64_t h = MAGIC;
    for (int i = 0; i < MZ_ARGS_MAX; i++) {
        const unsigned first = mz_arg_role(desc, MZ_FORWARD, i) & MZ_ARG_INOUT;
        const unsigned then = mz_arg_role(desc, MZ_BACKWARD, i) & MZ_ARG_IN;
        if (!first || !then || i == c->op->saved || !c->present[i]) continue;
        for (int axis = 0; axis < c->view[i].rank; axis++)
            h = mix(h, (uint64_t)c->view[i].dim[axis]);
        mz_far_each_piece(&c->view[i], hash_piece, &h);
    }
    return h;
}

static unsigned char *saved_bytes(const mz_far_command *c)
{
    const mz_tensor *v = &c->view[c->op->saved];
    return (unsigned char *)v->buf->host + v->offset_bytes;
}

void mz_far_seal(const mz_far_command *c)
{
    unsigned char *p = saved_bytes(c);
    const seal s = {.magic = MAGIC,
                    .op = c->op->id,
                    .saved = mz_far_hash(MAGIC, p, c->op->inner_saved),
                    .inputs = hash_inputs(c)};
    memcpy(p + seal_at(c->op->inner_saved), &s, sizeof s);
}

const char *mz_far_check_seal(const mz_far_command *c)
{
    const unsigned char *p = saved_bytes(c);
    seal s;
    memcpy(&s, p + seal_at(c->op->inner_saved), sizeof s);
    if (s.magic != MAGIC) return "saved was not written by a forward call";
    if (s.op != c->op->id) return "saved was written by another operator";
    if (s.saved != mz_far_hash(MAGIC, p, c->op->inner_saved))
        return "saved was overwritten between forward and backward";
    if (s.inputs != hash_inputs(c)) return "an input of forward changed before backward";
    return NULL;
}
