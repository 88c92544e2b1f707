/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_tokenizer.c - `mizan tokenizer encode|decode`: text to ids and back, one line each way.
 * Lines are read and written without a JSON tree, so that a file of gigabytes passes at the speed
 * of the tokenizer. Floor: app. */
#include "app/base64.h"
#include "app/commands.h"
#include "app/source.h"
#include "base/mem.h"
#include "base/scan.h"
#include "text/unicode.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 64, KEY_BYTES = 16, BLOCK_BYTES = 1 << 16, PIPE_BYTES = 1 << 20 };

static const mz_option ENCODE_OPTIONS[] = {
    {.name = "jsonl",
     .help = "{\"text\":...} or {\"b64\":...} a line in, {\"ids\":[...]} a line out; else stdin is "
             "one text"},
    {.name = "special", .help = "special tokens in the text are special; else text is only text"},
    {.name = "bos", .help = "begin with the beginning-of-sequence token"},
    {0}};

static const mz_option DECODE_OPTIONS[] = {
    {.name = "jsonl",
     .help = "{\"ids\":[...]} a line in, {\"text\":...} a line out ({\"b64\":...} where it is not "
             "UTF-8); else stdin is ids and stdout the bytes"},
    {0}};

/* What one run works with. */
typedef struct work {
    mz_tokenizer *tokenizer;
    mz_encoder *encoder;
    mz_ids ids;
    mz_str out;
    char *block; /* what was read of stdin: [at,end) is not yet used */
    size_t at, end, block_cap;
    char *room; /* texts with escapes, unescaped */
    size_t room_cap;
    unsigned flags;
} work;

/* Says in which line it was. */
static mz_err in_line(int64_t number)
{
    const mz_err_info info = *mz_err_last();
    char field[32];
    const mz_err err = MZ_FAIL(info.code, "line %" PRId64 ": %.400s", number, info.message);
    (void)snprintf(field, sizeof field, "line %" PRId64, number);
    mz_note_where("stdin", field, info.offset);
    return err;
}

enum { NUMBER_BYTES = 12 }; /* of an id, and what separates it from the next */

/* Writes x and returns the end. Two digits at a time: there are as many ids as words. */
static char *put_number(char *at, uint32_t x)
{
    static const char pairs[] =
        "0001020304050607080910111213141516171819202122232425262728293031323334"
        "3536373839404142434445464748495051525354555657585960616263646566676869"
        "707172737475767778798081828384858687888990919293949596979899";
    const int n = 1 + (x > 9) + (x > 99) + (x > 999) + (x > 9999) + (x > 99999) + (x > 999999) +
                  (x > 9999999) + (x > 99999999) + (x > 999999999);
    int left = n;
    for (; left > 1; x /= 100) memcpy(at + (left -= 2), pairs + 2 * (x % 100), 2);
    if (left == 1) *at = (char)('0' + x);
    return at + n;
}

/* `open`, the ids with `separator` between, `close`. */
static mz_err put_ids(work *w, const char *open, char separator, const char *close)
{
    mz_str *out = &w->out;
    MZ_TRY(mz_str_add(out, open, strlen(open)));
    MZ_TRY(mz_str_reserve(out, w->ids.count * NUMBER_BYTES));
    char *at = out->text + out->len;
    for (size_t i = 0; i < w->ids.count; i++) {
        if (i > 0) *at++ = separator;
        at = put_number(at, (uint32_t)w->ids.at[i]);
    }
    out->len = (size_t)(at - out->text);
    return mz_str_add(out, close, strlen(close));
}

static mz_err flush(mz_str *out)
{
    if (out->len > 0 && fwrite(out->text, 1, out->len, stdout) != out->len)
        return MZ_FAIL(MZ_EIO, "stdout: %s", errno ? strerror(errno) : "a write failed");
    out->len = 0;
    return MZ_OK;
}

/* ---- one line in ---- */

/* The value of "text" or "b64": *text points into the line or, if it had to be changed, w->room. */
static mz_err read_text(work *w, mz_scan *s, bool binary, const char **text, size_t *bytes)
{
    const size_t most = s->end - s->at;
    if (most > w->room_cap) {
        MZ_TRY(mz_mem_grow(&w->room, (int64_t)(2 * most), 1));
        w->room_cap = 2 * most;
    }
    char *room = w->room;
    MZ_TRY(mz_scan_text(s, &room, text, bytes));
    if (!binary) return MZ_OK;
    memmove(w->room, *text, *bytes);
    *text = w->room;
    return mz_base64_read(w->room, *bytes, bytes)
               ? MZ_OK
               : mz_scan_bad(s, s->at, "text that is not base64");
}

static mz_err read_ids(work *w, mz_scan *s)
{
    MZ_TRY(mz_scan_take(s, '[', "expected an array"));
    if (mz_scan_have(s, ']')) return MZ_OK;
    do {
        uint64_t id = 0;
        MZ_TRY(mz_scan_uint(s, &id));
        if (id >= (uint64_t)mz_tokenizer_count(w->tokenizer))
            return mz_scan_bad(s, s->at, "an id that is no token");
        MZ_TRY(mz_ids_add(&w->ids, (int32_t)id));
    } while (mz_scan_have(s, ','));
    return mz_scan_take(s, ']', "expected , or ]");
}

/* An object with one of `keys`; others are skipped. */
static mz_err read_line(work *w, mz_scan *s, bool ids, const char **text, size_t *bytes)
{
    char key[KEY_BYTES];
    size_t skipped;
    bool found = false;
    MZ_TRY(mz_scan_take(s, '{', "expected an object"));
    if (!mz_scan_have(s, '}')) {
        do {
            MZ_TRY(mz_scan_peek(s, key, sizeof key));
            MZ_TRY(mz_scan_string(s, NULL, &skipped));
            MZ_TRY(mz_scan_take(s, ':', "expected a colon"));
            const bool binary = strcmp(key, "b64") == 0;
            const bool wanted = ids ? strcmp(key, "ids") == 0 : binary || strcmp(key, "text") == 0;
            if (wanted && found) return mz_scan_bad(s, s->at, "a second value");
            found = found || wanted;
            if (!wanted)
                MZ_TRY(mz_scan_skip(s, DEPTH));
            else
                MZ_TRY(ids ? read_ids(w, s) : read_text(w, s, binary, text, bytes));
        } while (mz_scan_have(s, ','));
        MZ_TRY(mz_scan_take(s, '}', "expected , or }"));
    }
    if (!mz_scan_done(s)) return mz_scan_bad(s, s->at, "more than one value");
    return found ? MZ_OK : mz_scan_bad(s, 0, ids ? "no \"ids\"" : "neither \"text\" nor \"b64\"");
}

/* ---- one line out ---- */

static mz_err write_string(mz_str *out, const char *text, size_t n)
{
    size_t done = 0;
    MZ_TRY(mz_str_add(out, "\"", 1));
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        MZ_TRY(mz_str_add(out, text + done, i - done));
        MZ_TRY(c < 0x20 ? mz_str_addf(out, "\\u%04x", c) : mz_str_addf(out, "\\%c", c));
        done = i + 1;
    }
    MZ_TRY(mz_str_add(out, text + done, n - done));
    return mz_str_add(out, "\"", 1);
}

static mz_err write_text(work *w)
{
    mz_str text = {0};
    mz_err err = mz_decode(w->tokenizer, w->ids.at, w->ids.count, false, &text);
    if (err == MZ_OK && mz_utf8_valid(text.text, text.len)) {
        err = mz_str_add(&w->out, "{\"text\":", 8);
        if (err == MZ_OK) err = write_string(&w->out, text.text, text.len);
        if (err == MZ_OK) err = mz_str_add(&w->out, "}\n", 2);
    } else if (err == MZ_OK) {
        err = mz_str_add(&w->out, "{\"b64\":\"", 8);
        if (err == MZ_OK) err = mz_base64_write(&w->out, text.text, text.len);
        if (err == MZ_OK) err = mz_str_add(&w->out, "\"}\n", 3);
    }
    mz_str_clear(&text);
    return err;
}

/* ---- the loops ---- */

/* Makes room and reads on. *more: something came. */
static mz_err read_more(work *w, bool *more)
{
    if (w->at > 0) memmove(w->block, w->block + w->at, w->end - w->at);
    w->end -= w->at;
    w->at = 0;
    if (w->end == w->block_cap) {
        const size_t cap = w->block_cap ? 2 * w->block_cap : BLOCK_BYTES;
        MZ_TRY(mz_mem_grow(&w->block, (int64_t)cap, 1));
        w->block_cap = cap;
    }
    errno = 0;
    const size_t n = fread(w->block + w->end, 1, w->block_cap - w->end, stdin);
    if (n == 0 && ferror(stdin))
        return MZ_FAIL(MZ_EIO, "stdin: %s", errno ? strerror(errno) : "a read failed");
    w->end += n;
    *more = n > 0;
    return MZ_OK;
}

/* The next line without its end; *line NULL after the last. */
static mz_err next_line(work *w, const char **line, size_t *bytes)
{
    size_t looked = 0; /* of what is unused */
    for (bool more = true;;) {
        const size_t have = w->end - w->at;
        const char *start = w->block + w->at;
        const char *stop = have > looked ? memchr(start + looked, '\n', have - looked) : NULL;
        if (stop || !more) {
            *line = stop || have > 0 ? start : NULL;
            *bytes = stop ? (size_t)(stop - start) : have;
            w->at += *bytes + (stop ? 1 : 0);
            return MZ_OK;
        }
        looked = have;
        MZ_TRY(read_more(w, &more));
    }
}

static mz_err do_line(work *w, const char *line, size_t bytes, bool decode)
{
    mz_scan s = {.text = (const unsigned char *)line,
                 .end = bytes,
                 .path = "stdin",
                 .field = "",
                 .nul = true};
    const char *text = NULL;
    size_t n = 0;
    w->ids.count = 0;
    MZ_TRY(read_line(w, &s, decode, &text, &n));
    if (decode) return write_text(w);
    MZ_TRY(mz_encode(w->encoder, text, n, w->flags, &w->ids));
    return put_ids(w, "{\"ids\":[", ',', "]}\n");
}

/* Reader, program and writer of a pipe wait for each other less often the more it holds. */
static void widen(FILE *file)
{
#ifdef F_SETPIPE_SZ
    (void)fcntl(fileno(file), F_SETPIPE_SZ, PIPE_BYTES); /* not a pipe, or not allowed: as it is */
#else
    (void)file;
#endif
}

static mz_err lines(work *w, bool decode)
{
    mz_err err = MZ_OK;
    widen(stdin);
    widen(stdout);
    for (int64_t number = 1; err == MZ_OK; number++) {
        const char *line;
        size_t bytes;
        err = next_line(w, &line, &bytes);
        if (err != MZ_OK || !line) break;
        err = do_line(w, line, bytes, decode);
        if (err == MZ_ECORRUPT) err = in_line(number);
        if (err == MZ_OK && w->out.len >= BLOCK_BYTES) err = flush(&w->out);
    }
    const mz_err flushed = flush(&w->out); /* what was done before a failure too */
    return err == MZ_OK ? flushed : err;
}

static mz_err read_all(mz_str *text)
{
    char block[BLOCK_BYTES];
    size_t n;
    while ((n = fread(block, 1, sizeof block, stdin)) > 0) MZ_TRY(mz_str_add(text, block, n));
    return ferror(stdin) ? MZ_FAIL(MZ_EIO, "stdin: a read failed") : MZ_OK;
}

/* stdin is one text; ids go out with spaces between. */
static mz_err encode_all(work *w, const mz_str *text)
{
    MZ_TRY(mz_encode(w->encoder, text->text, text->len, w->flags, &w->ids));
    MZ_TRY(put_ids(w, "", ' ', "\n"));
    return flush(&w->out);
}

static mz_err decode_all(work *w, const mz_str *text)
{
    char *at = text->text;
    for (int64_t number = 1; at; number++) {
        at += strspn(at, " \t\r\n");
        if (!*at) break;
        char *end;
        errno = 0;
        const long long id = strtoll(at, &end, 10);
        if (end == at || errno || id < 0 || id >= mz_tokenizer_count(w->tokenizer))
            return MZ_FAIL(MZ_ECORRUPT, "stdin: id %" PRId64 " is no token", number);
        MZ_TRY(mz_ids_add(&w->ids, (int32_t)id));
        at = end;
    }
    MZ_TRY(mz_decode(w->tokenizer, w->ids.at, w->ids.count, false, &w->out));
    return flush(&w->out);
}

static mz_err whole(work *w, bool decode)
{
    mz_str text = {0};
    mz_err err = read_all(&text);
    if (err == MZ_OK) err = decode ? decode_all(w, &text) : encode_all(w, &text);
    mz_str_clear(&text);
    return err;
}

static mz_err run(const mz_cli *cli, bool decode)
{
    work w = {0};
    mz_err err = mz_app_open_tokenizer(&w.tokenizer, mz_cli_argument(cli, 0));
    if (err == MZ_OK) err = mz_encoder_new(&w.encoder, w.tokenizer);
    if (err == MZ_OK && !decode)
        w.flags = (mz_cli_flag(cli, "special") ? MZ_ENCODE_SPECIAL : 0u) |
                  (mz_cli_flag(cli, "bos") ? MZ_ENCODE_BOS : 0u);
    if (err == MZ_OK) err = mz_cli_flag(cli, "jsonl") ? lines(&w, decode) : whole(&w, decode);
    mz_encoder_free(w.encoder);
    mz_tokenizer_free(w.tokenizer);
    mz_ids_clear(&w.ids);
    mz_str_clear(&w.out);
    mz_mem_free(w.room);
    mz_mem_free(w.block);
    return err;
}

static mz_err run_encode(const mz_cli *cli)
{
    return run(cli, false);
}

static mz_err run_decode(const mz_cli *cli)
{
    return run(cli, true);
}

const mz_command mz_cmd_tokenizer_encode = {
    .name = "tokenizer encode",
    .arguments = "SRC",
    .least = 1,
    .most = 1,
    .summary = "text from stdin to token ids",
    .description = "SRC is a model folder, a tokenizer.json or a GGUF file.",
    .options = ENCODE_OPTIONS,
    .common = MZ_COMMON_JSON,
    .examples = "mizan tokenizer encode MODEL --jsonl < texts.jsonl",
    .run = run_encode,
};

const mz_command mz_cmd_tokenizer_decode = {
    .name = "tokenizer decode",
    .arguments = "SRC",
    .least = 1,
    .most = 1,
    .summary = "token ids from stdin to text",
    .description = "SRC is a model folder, a tokenizer.json or a GGUF file.",
    .options = DECODE_OPTIONS,
    .common = MZ_COMMON_JSON,
    .examples = "mizan tokenizer decode MODEL --jsonl < ids.jsonl",
    .run = run_decode,
};
