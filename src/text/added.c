/* SPDX-License-Identifier: Apache-2.0 */
/* text/added.c - added tokens in two tries. Floor: text. */
#include "text/added.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum { IDS_MAX = 1 << 24, NODES_MAX = 1 << 19 };

static mz_err bad(const mz_vocab *v, int64_t i, const char *what)
{
    char field[64];
    const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s: added_tokens %lld: %s",
                               v->file ? v->file : "vocabulary", (long long)i, what);
    (void)snprintf(field, sizeof field, "added_tokens[%lld]", (long long)i);
    mz_note_where(v->file, field, -1);
    return err;
}

static mz_err new_node(mz_added_trie *trie, unsigned char byte, uint32_t *out)
{
    if (trie->count >= NODES_MAX)
        return MZ_FAIL(MZ_ECORRUPT, "the added tokens have more than %d letters", NODES_MAX);
    if (trie->count == trie->cap) {
        const uint32_t cap = trie->cap ? 2 * trie->cap : 256;
        MZ_TRY(mz_mem_grow(&trie->nodes, cap, sizeof *trie->nodes));
        trie->cap = cap;
        if (trie->count == 0) trie->nodes[trie->count++] = (mz_added_node){.token = -1};
    }
    *out = trie->count++;
    trie->nodes[*out] = (mz_added_node){.token = -1, .byte = byte};
    return MZ_OK;
}

static uint32_t child_of(const mz_added_trie *trie, uint32_t node, unsigned char byte)
{
    if (node == 0) return trie->first[byte];
    uint32_t child = trie->nodes[node].child;
    while (child && trie->nodes[child].byte != byte) child = trie->nodes[child].next;
    return child;
}

static mz_err insert(mz_added_trie *trie, const char *bytes, size_t n, int32_t token)
{
    uint32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        const unsigned char byte = (unsigned char)bytes[i];
        uint32_t child = child_of(trie, node, byte);
        if (!child) {
            MZ_TRY(new_node(trie, byte, &child));
            if (node == 0) {
                trie->first[byte] = child;
            } else {
                trie->nodes[child].next = trie->nodes[node].child;
                trie->nodes[node].child = child;
            }
        }
        node = child;
    }
    trie->nodes[node].token = token;
    return MZ_OK;
}

/* What is looked for: the token's text, normalised if it is looked for in normalised text. */
static mz_err insert_token(mz_added *a, const mz_unicode *u, const mz_vocab *v, int32_t i)
{
    const mz_added_token *t = &a->tokens[i];
    if (!t->normalized) return insert(&a->raw, a->bytes + t->start, t->length, i);
    mz_str text = {0};
    mz_err err = v->nfc ? mz_nfc(u, a->bytes + t->start, t->length, &text, NULL)
                        : mz_str_add(&text, a->bytes + t->start, t->length);
    if (err == MZ_OK) err = insert(&a->normalized, text.text, text.len, i);
    mz_str_clear(&text);
    return err;
}

static mz_err check(const mz_vocab *v, size_t *bytes, int64_t *ids)
{
    *bytes = 0, *ids = 0;
    for (int64_t i = 0; i < v->n_added; i++) {
        const mz_vocab_added *t = &v->added[i];
        if (t->id < 0 || t->id >= IDS_MAX) return bad(v, i, "an id that is out of range");
        if (t->bytes == 0) return bad(v, i, "an empty token");
        *bytes += t->bytes;
        if (*bytes > INT32_MAX / 4) return bad(v, i, "more than 512 MiB of added tokens");
        if (t->id >= *ids) *ids = t->id + 1;
    }
    return v->n_added > INT32_MAX ? bad(v, v->n_added, "too many") : MZ_OK;
}

static mz_err add(mz_added *a, const mz_unicode *u, const mz_vocab *v)
{
    size_t used = 0;
    for (int64_t i = 0; i < v->n_added; i++) {
        const mz_vocab_added *t = &v->added[i];
        if (a->by_id[t->id] >= 0) return bad(v, i, "its id is taken");
        a->tokens[i] = (mz_added_token){.start = used,
                                        .length = t->bytes,
                                        .id = (int32_t)t->id,
                                        .special = t->special,
                                        .normalized = t->normalized,
                                        .left = t->left,
                                        .right = t->right};
        memcpy(a->bytes + used, t->text, t->bytes);
        used += t->bytes;
        a->by_id[t->id] = (int32_t)i;
        const mz_err err = insert_token(a, u, v, (int32_t)i);
        if (err == MZ_ECORRUPT) mz_note_where(v->file, "added_tokens", -1);
        MZ_TRY(err);
    }
    return MZ_OK;
}

mz_err mz_added_init(mz_added *out, const mz_unicode *u, const mz_vocab *v)
{
    mz_added a = {.count = v->n_added};
    size_t bytes = 0;
    mz_err err;
    MZ_TRY(check(v, &bytes, &a.n_ids));
    MZ_TRY_GOTO(err, mz_mem_new(&a.tokens, a.count, sizeof *a.tokens), fail);
    MZ_TRY_GOTO(err, mz_mem_new(&a.bytes, (int64_t)bytes, 1), fail);
    MZ_TRY_GOTO(err, mz_mem_new(&a.by_id, a.n_ids, sizeof *a.by_id), fail);
    for (int64_t i = 0; i < a.n_ids; i++) a.by_id[i] = -1;
    MZ_TRY_GOTO(err, add(&a, u, v), fail);
    *out = a;
    return MZ_OK;
fail:
    mz_added_clear(&a);
    return err;
}

void mz_added_clear(mz_added *a)
{
    mz_mem_free(a->tokens);
    mz_mem_free(a->bytes);
    mz_mem_free(a->by_id);
    mz_mem_free(a->raw.nodes);
    mz_mem_free(a->normalized.nodes);
    *a = (mz_added){0};
}

/* ---- searching ---- */

/* The longest token that begins at `at`, -1 if none does. */
static int32_t longest(const mz_added_search *s, size_t at, size_t *end)
{
    int32_t found = -1;
    uint32_t node = s->trie->first[(unsigned char)s->text[at]];
    for (size_t i = at + 1; node; i++) {
        if (s->trie->nodes[node].token >= 0) {
            found = s->trie->nodes[node].token;
            *end = i;
        }
        if (i == s->bytes) break;
        node = child_of(s->trie, node, (unsigned char)s->text[i]);
    }
    return found;
}

static bool is_trusted(const mz_added_search *s, size_t first, size_t end)
{
    if (!s->spans) return true;
    for (int64_t i = 0; i < s->n_spans; i++)
        if (s->shift + first >= s->spans[i].first && s->shift + end <= s->spans[i].end) return true;
    return false;
}

static bool is_space(const mz_added_search *s, size_t at, size_t *n)
{
    uint32_t point;
    *n = mz_utf8_read((const unsigned char *)s->text + at, s->bytes - at, &point);
    return (mz_unicode_entry(s->unicode, point) & MZ_SPACE) != 0;
}

/* The start of the white space that ends at `at`, not before `least`. */
static size_t space_before(const mz_added_search *s, size_t least, size_t at)
{
    while (at > least) {
        size_t start = at - 1, n;
        while (start > least && ((unsigned char)s->text[start] & 0xc0) == 0x80) start--;
        if (!is_space(s, start, &n) || start + n != at) break;
        at = start;
    }
    return at;
}

bool mz_added_next(mz_added_search *s, const mz_added_token **token, size_t *first, size_t *end)
{
    for (size_t at = s->at; at < s->bytes; at++) {
        if (!s->trie->first[(unsigned char)s->text[at]]) continue;
        size_t stop = 0, n;
        const int32_t found = longest(s, at, &stop);
        if (found < 0 || !is_trusted(s, at, stop)) continue;
        const mz_added_token *t = &s->added->tokens[found];
        *first = t->left ? space_before(s, s->at, at) : at;
        while (t->right && stop < s->bytes && is_space(s, stop, &n)) stop += n;
        *token = t;
        *end = s->at = stop;
        return true;
    }
    return false;
}
