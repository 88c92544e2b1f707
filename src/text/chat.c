/* SPDX-License-Identifier: Apache-2.0 */
/* text/chat.c - writes conversations as each family was trained on them. Floor: text.
 *
 * The rules are those of the models' published templates for system, user and assistant messages;
 * tools are refused. */
#include "text/chat.h"
#include "base/mem.h"
#include "text/unicode.h"

#include <string.h>

/* A piece of text that is looked at, not owned. */
typedef struct slice {
    const char *at;
    size_t n;
} slice;

typedef struct writer {
    const mz_chat_message *messages;
    int64_t n;
    const mz_chat_options *o;
    mz_chat_text out;
    mz_err err; /* the first; later writes do nothing */
} writer;

static void put(writer *w, slice s, bool trusted)
{
    mz_chat_text *out = &w->out;
    const size_t first = out->text.len;
    if (w->err == MZ_OK) w->err = mz_str_add(&out->text, s.at, s.n);
    if (w->err != MZ_OK || !trusted || s.n == 0) return;
    if (out->n_trusted > 0 && out->trusted[out->n_trusted - 1].end == first) {
        out->trusted[out->n_trusted - 1].end += s.n;
        return;
    }
    if (out->n_trusted == out->cap) {
        const int64_t cap = out->cap ? 2 * out->cap : 16;
        w->err = mz_mem_grow(&out->trusted, cap, sizeof *out->trusted);
        if (w->err != MZ_OK) return;
        out->cap = cap;
    }
    out->trusted[out->n_trusted++] = (mz_span){first, first + s.n};
}

static void say(writer *w, const char *text) /* the template's words */
{
    put(w, (slice){text, strlen(text)}, true);
}

static void quote(writer *w, slice s) /* someone else's */
{
    put(w, s, false);
}

/* Between the two stands what an answering model writes itself, its end token included. */
static void open_answer(writer *w)
{
    mz_chat_text *out = &w->out;
    if (w->err == MZ_OK && out->n_answers == out->answers_cap) {
        const int64_t cap = out->answers_cap ? 2 * out->answers_cap : 8;
        w->err = mz_mem_grow(&out->answers, cap, sizeof *out->answers);
        if (w->err == MZ_OK) out->answers_cap = cap;
    }
    if (w->err == MZ_OK) out->answers[out->n_answers++].first = out->text.len;
}

static void close_answer(writer *w)
{
    if (w->err == MZ_OK) w->out.answers[w->out.n_answers - 1].end = w->out.text.len;
}

static slice content(const mz_chat_message *m)
{
    return (slice){m->content, m->content_bytes};
}

static bool is(const mz_chat_message *m, const char *role)
{
    return strcmp(m->role, role) == 0;
}

/* The first (or last) place of `what` in s, NULL if there is none. */
static const char *find(slice s, const char *what, bool last)
{
    const size_t n = strlen(what);
    const char *found = NULL;
    for (size_t i = 0; i + n <= s.n; i++) {
        if (memcmp(s.at + i, what, n) != 0) continue;
        found = s.at + i;
        if (!last) break;
    }
    return found;
}

/* What follows the first (or last) `what`; all of s if there is none. */
static slice after(slice s, const char *what, bool last)
{
    const char *place = find(s, what, last);
    if (!place) return s;
    const char *rest = place + strlen(what);
    return (slice){rest, (size_t)(s.at + s.n - rest)};
}

static slice strip_lines(slice s, bool left, bool right)
{
    while (left && s.n > 0 && s.at[0] == '\n') s.at++, s.n--;
    while (right && s.n > 0 && s.at[s.n - 1] == '\n') s.n--;
    return s;
}

/* Bytes of the white space at p, 0 if none stands there: White_Space and the four separators
 * U+001C..1F, as Python's strip() has it. */
static size_t space_at(const char *p, size_t left)
{
    uint32_t c;
    const size_t n = mz_utf8_read((const unsigned char *)p, left, &c);
    const bool space = (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
                       c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
                       c == 0x202f || c == 0x205f || c == 0x3000;
    return space ? n : 0;
}

static slice strip(slice s)
{
    size_t n;
    while (s.n > 0 && (n = space_at(s.at, s.n)) > 0) s.at += n, s.n -= n;
    while (s.n > 0) {
        size_t back = 1;
        while (back < s.n && back < 4 && ((unsigned char)s.at[s.n - back] & 0xc0) == 0x80) back++;
        if (space_at(s.at + s.n - back, back) != back) break;
        s.n -= back;
    }
    return s;
}

/* ---- DeepSeek ---- */

#define MZ_USER "<｜User｜>"
#define MZ_ASSISTANT "<｜Assistant｜>"
#define MZ_END "<｜end▁of▁sentence｜>"

static void deepseek_system(writer *w, bool joins)
{
    const mz_chat_message *last = NULL;
    say(w, w->o->bos);
    for (int64_t i = 0; i < w->n; i++) {
        if (!is(&w->messages[i], "system")) continue;
        if (joins && last) quote(w, (slice){"\n\n", 2});
        if (joins) quote(w, content(&w->messages[i]));
        last = &w->messages[i];
    }
    if (!joins && last) quote(w, content(last));
}

static void deepseek(const mz_chat_template *t, writer *w)
{
    deepseek_system(w, t->joins_system);
    for (int64_t i = 0; i < w->n; i++) {
        const mz_chat_message *m = &w->messages[i];
        if (is(m, "user")) {
            say(w, MZ_USER);
            quote(w, content(m));
        } else if (is(m, "assistant")) {
            say(w, MZ_ASSISTANT);
            open_answer(w);
            quote(w, t->drops_thoughts ? after(content(m), "</think>", true) : content(m));
            say(w, MZ_END);
            close_answer(w);
        }
    }
    if (w->o->prompt) say(w, t->always_thinks ? MZ_ASSISTANT "<think>\n" : MZ_ASSISTANT);
}

static void deepseek_v31(writer *w)
{
    bool after_user = false;
    deepseek_system(w, true);
    for (int64_t i = 0; i < w->n; i++) {
        const mz_chat_message *m = &w->messages[i];
        if (is(m, "user")) {
            say(w, MZ_USER);
            quote(w, content(m));
            after_user = true;
        } else if (is(m, "assistant")) {
            if (after_user) say(w, MZ_ASSISTANT "</think>");
            open_answer(w);
            quote(w, after(content(m), "</think>", false));
            say(w, MZ_END);
            close_answer(w);
            after_user = false;
        }
    }
    if (w->o->prompt && after_user)
        say(w, w->o->thinking == MZ_CHAT_THINKING_ON ? MZ_ASSISTANT "<think>"
                                                     : MZ_ASSISTANT "</think>");
}

/* ---- ChatML ---- */

static void turn(writer *w, const char *role, slice text)
{
    const bool answers = strcmp(role, "assistant") == 0;
    say(w, "<|im_start|>");
    say(w, role);
    say(w, "\n");
    if (answers) open_answer(w);
    quote(w, text);
    say(w, "<|im_end|>");
    if (answers) close_answer(w);
    say(w, "\n");
}

static void chatml(const mz_chat_template *t, writer *w)
{
    if (t->system && w->n > 0 && !is(&w->messages[0], "system")) {
        say(w, "<|im_start|>system\n");
        say(w, t->system);
        say(w, "<|im_end|>\n");
    }
    for (int64_t i = 0; i < w->n; i++) turn(w, w->messages[i].role, content(&w->messages[i]));
    if (w->o->prompt) say(w, "<|im_start|>assistant\n");
}

/* An answer after the last question keeps its thoughts. */
static void qwen3_answer(writer *w, const mz_chat_message *m, bool recent, bool last)
{
    slice text = content(m), thoughts = {m->thoughts, m->thoughts ? m->thoughts_bytes : 0};
    const char *end = find(text, "</think>", false);
    if (!m->thoughts && end) {
        const slice before = {text.at, (size_t)(end - text.at)};
        thoughts =
            strip_lines(after(strip_lines(before, false, true), "<think>", true), true, false);
        text = strip_lines(after(text, "</think>", true), true, false);
    }
    if (!recent || (!last && thoughts.n == 0)) {
        turn(w, m->role, text);
        return;
    }
    say(w, "<|im_start|>assistant\n");
    open_answer(w);
    say(w, "<think>\n");
    quote(w, strip_lines(thoughts, true, true));
    say(w, "\n</think>\n\n");
    quote(w, strip_lines(text, true, false));
    say(w, "<|im_end|>");
    close_answer(w);
    say(w, "\n");
}

static bool is_tool_response(const mz_chat_message *m)
{
    static const char open[] = "<tool_response>", close[] = "</tool_response>";
    const size_t n = m->content_bytes;
    return n >= sizeof close - 1 && memcmp(m->content, open, sizeof open - 1) == 0 &&
           memcmp(m->content + n - (sizeof close - 1), close, sizeof close - 1) == 0;
}

static void qwen3(writer *w)
{
    int64_t question = w->n - 1;
    for (int64_t i = w->n - 1; i >= 0; i--)
        if (is(&w->messages[i], "user") && !is_tool_response(&w->messages[i])) {
            question = i;
            break;
        }
    for (int64_t i = 0; i < w->n; i++) {
        const mz_chat_message *m = &w->messages[i];
        if (is(m, "assistant"))
            qwen3_answer(w, m, i > question, i == w->n - 1);
        else
            turn(w, m->role, content(m));
    }
    if (w->o->prompt) say(w, "<|im_start|>assistant\n");
    if (w->o->prompt && w->o->thinking == MZ_CHAT_THINKING_OFF) say(w, "<think>\n\n</think>\n\n");
}

/* ---- Llama-3 ---- */

static void llama3(const mz_chat_template *t, writer *w)
{
    for (int64_t i = 0; i < w->n; i++) {
        if (i == 0) say(w, w->o->bos);
        say(w, "<|start_header_id|>");
        say(w, w->messages[i].role);
        say(w, "<|end_header_id|>\n\n");
        const bool answers = is(&w->messages[i], "assistant");
        if (answers) open_answer(w);
        quote(w, strip(content(&w->messages[i])));
        say(w, "<|eot_id|>");
        if (answers) close_answer(w);
    }
    if (w->o->prompt || t->always_prompts)
        say(w, "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

/* ---- */

static mz_err check(const mz_chat_template *t, const mz_chat_message *messages, int64_t n,
                    mz_chat_thinking thinking)
{
    for (int64_t i = 0; i < n; i++) {
        const mz_chat_message *m = &messages[i];
        MZ_NEED(m->role && m->content, "a message without role or content");
        if (is(m, "system") || is(m, "user") || is(m, "assistant")) continue;
        const mz_err err =
            MZ_FAIL(MZ_ENOTSUP, "message %lld: the role \"%.40s\"", (long long)i, m->role);
        mz_note_fix("roles are system, user and assistant");
        return err;
    }
    const bool chooses = t->kind == MZ_CHAT_DEEPSEEK_V31 || t->kind == MZ_CHAT_QWEN3;
    const bool thinks = t->always_thinks;
    if (!chooses && ((thinking == MZ_CHAT_THINKING_ON && !thinks) ||
                     (thinking == MZ_CHAT_THINKING_OFF && thinks)))
        return MZ_FAIL(MZ_ENOTSUP, "the chat template %s %s", t->name,
                       thinks ? "always thinks" : "has no thinking mode");
    return MZ_OK;
}

mz_err mz_chat_render(const mz_chat_template *t, const mz_chat_message *messages, int64_t n,
                      const mz_chat_options *o, mz_chat_text *out)
{
    MZ_NEED(t && o && o->bos && out && n >= 0 && (messages || n == 0), "an argument is NULL");
    MZ_TRY(check(t, messages, n, o->thinking));
    writer w = {.messages = messages, .n = n, .o = o};
    w.err = mz_str_add(&w.out.text, "", 0);
    switch (t->kind) {
    case MZ_CHAT_DEEPSEEK_V31:
        deepseek_v31(&w);
        break;
    case MZ_CHAT_CHATML:
        chatml(t, &w);
        break;
    case MZ_CHAT_QWEN3:
        qwen3(&w);
        break;
    case MZ_CHAT_LLAMA3:
        llama3(t, &w);
        break;
    case MZ_CHAT_DEEPSEEK:
    default:
        deepseek(t, &w);
        break;
    }
    if (w.err != MZ_OK) {
        mz_chat_clear(&w.out);
        return w.err;
    }
    *out = w.out;
    return MZ_OK;
}

void mz_chat_clear(mz_chat_text *out)
{
    mz_str_clear(&out->text);
    mz_mem_free(out->trusted);
    mz_mem_free(out->answers);
    *out = (mz_chat_text){0};
}
