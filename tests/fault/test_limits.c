/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fault/test_limits.c - files made to cost much: whether they are accepted or refused,
 * reading takes at most 50 ms and 30 ms a MB of metadata, and at most 16 MiB and 12 times the
 * metadata.
 *
 * Time is the processor's, and three times as much is granted where nothing is optimised. Memory is
 * how far the process grows, measured in a process of its own: that counts what libraries take too.
 */
#include "tests/fault/bad.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "file/gguf.h"
#include "file/hub.h"
#include "model/config.h"
#include "port/gguf.h"
#include "port/gguf_text.h"
#include "port/source.h"
#include "text/chat.h"
#include "train/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOW 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SLOW 1
#endif
#endif
#ifdef SLOW
enum { HAS_LIMITS = 0, TIMES = 1 };
#elif defined(NDEBUG)
enum { HAS_LIMITS = 1, TIMES = 1 };
#else
enum { HAS_LIMITS = 1, TIMES = 3 };
#endif

/* What is repeated `n` times between `head` and `tail`; %d in it counts. */
typedef struct cost {
    const char *name, *head, *part, *tail;
    int64_t n;
} cost;

/* The text with every %d as i. */
static void add_counted(mz_str *s, const char *text, int64_t i)
{
    for (const char *place; (place = strstr(text, "%d")) != NULL; text = place + 2) {
        assert_int_equal(mz_str_add(s, text, (size_t)(place - text)), MZ_OK);
        assert_int_equal(mz_str_addf(s, "%lld", (long long)i), MZ_OK);
    }
    assert_int_equal(mz_str_add(s, text, strlen(text)), MZ_OK);
}

static char *make(const cost *c, size_t *bytes)
{
    mz_str s = {0};
    assert_int_equal(mz_str_add(&s, c->head, strlen(c->head)), MZ_OK);
    const int64_t n = HAS_LIMITS ? c->n : c->n / 16; /* a sanitizer looks, nobody measures */
    for (int64_t i = 0; i < n; i++) add_counted(&s, c->part, i);
    assert_int_equal(mz_str_add(&s, c->tail, strlen(c->tail)), MZ_OK);
    for (char *p = s.text; *p; p++)
        if (*p == '\'') *p = '"';
    *bytes = s.len;
    return s.text;
}

/* Bytes of a line "NAME:   123 kB" of /proc/self/status. */
static size_t status(const char *name)
{
    char line[256];
    size_t kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, name, strlen(name)) == 0)
            kb = strtoull(line + strlen(name) + 1, NULL, 10);
    if (f) (void)fclose(f);
    return kb * 1024;
}

typedef struct spent {
    mz_err err;
    double ms;
    size_t bytes;
} spent;

static void work(mz_err (*open)(const char *), int out)
{
    spent s = {0};
    FILE *f = fopen("/proc/self/clear_refs", "w"); /* 5: the peak starts here */
    if (f) {
        (void)fputs("5", f);
        (void)fclose(f);
    }
    const size_t before = status("VmRSS:");
    const double start = mz_clock_cpu_s();
    s.err = open(bad_folder());
    s.ms = 1e3 * (mz_clock_cpu_s() - start);
    const size_t peak = status("VmHWM:");
    s.bytes = peak > before ? peak - before : 0;
    _exit(write(out, &s, sizeof s) == (ssize_t)sizeof s ? 0 : 1);
}

static spent measure(mz_err (*open)(const char *))
{
    int ends[2], state = 0;
    spent s = {0};
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) work(open, ends[1]);
    (void)close(ends[1]);
    assert_int_equal(read(ends[0], &s, sizeof s), sizeof s);
    (void)close(ends[0]);
    assert_int_equal(waitpid(child, &state, 0), child);
    return s;
}

/* bytes: of the metadata */
static bool is_cheap(const char *name, size_t bytes, mz_err (*open)(const char *))
{
    const double mb = (double)bytes / 1e6;
    const double ms = TIMES * (50.0 + 30.0 * mb), most = 16.0 * 1048576 + 12.0 * (double)bytes;
    spent s = measure(open);
    for (int i = 0; i < 2 && s.ms > ms; i++) s = measure(open); /* others may have had the caches */
    const bool known = s.err == MZ_OK || s.err == MZ_ECORRUPT || s.err == MZ_ENOTSUP ||
                       s.err == MZ_ECONFIG || s.err == MZ_EIO;
    const bool good = known && s.ms <= ms && (double)s.bytes <= most;
    if (getenv("MIZAN_SHOW_LIMITS"))
        print_message("%-44s %6.2f MB  %6.1f of %6.1f ms  %6.1f of %6.1f MiB  %s\n", name, mb, s.ms,
                      ms, (double)s.bytes / 1048576, most / 1048576, mz_err_name(s.err));
    if (!good && HAS_LIMITS)
        print_error("%s, %.2f MB: %.1f of %.1f ms, %.1f of %.1f MiB, %s\n", name, mb, s.ms, ms,
                    (double)s.bytes / 1048576, most / 1048576, mz_err_name(s.err));
    return good || (!HAS_LIMITS && known);
}

static void run(const char *file, const cost *rows, int n, mz_err (*open)(const char *))
{
    int wrong = 0;
    for (int i = 0; i < n; i++) {
        size_t bytes = 0;
        char *text = make(&rows[i], &bytes);
        bad_put_bytes(file, text, bytes);
        mz_mem_free(text);
        wrong += !is_cheap(rows[i].name, bytes, open);
    }
    bad_remove(file);
    assert_int_equal(wrong, 0);
}

/* ---- JSON ---- */

static mz_err open_config(const char *folder)
{
    mz_config c;
    char path[256];
    MZ_TRY(mz_path_join(path, sizeof path, folder, "config.json"));
    return mz_config_read(&c, path);
}

static const cost CONFIGS[] = {
    {"nested lists", "", "[", "", 2000000},
    {"nested objects", "", "{'a':", "", 400000},
    {"empty lists", "[", "[],", "0]", 700000},
    {"empty objects", "[", "{},", "0]", 700000},
    {"numbers", "[", "0,", "0]", 1000000},
    {"keys", "{", "'%d':0,", "'':0}", 200000},
    {"long keys", "{", "'0123456789%d':0,", "'':0}", 100000},
    {"few keys", "{", "'%d':0,", "'':0}", 9900},
    {"keys twice", "{", "'a':0,", "'':0}", 300000},
    {"texts", "[", "'',", "0]", 700000},
    {"a long text", "'", "0123456789abcdef", "'", 150000},
    {"escapes", "'", "\\u00e9", "'", 400000},
    {"numbers past 64 bits", "[", "99999999999999999999,", "0]", 100000},
    {"a long number", "", "1234567890", "", 200000},
    {"white space", "[", "          ", "]", 300000},
    {"quotes", "[", "'", "]", 2000001},
};

static void configs(void **state)
{
    (void)state;
    run("config.json", CONFIGS, MZ_COUNT(CONFIGS), open_config);
}

static mz_err open_hub(const char *folder)
{
    mz_hub *hub = NULL;
    const mz_err err = mz_hub_open(&hub, folder);
    mz_hub_close(hub);
    return err;
}

static const cost INDICES[] = {
    {"names in one file", "{'weight_map':{", "'t.%d':'s',", "'a':'s'}}", 120000},
    {"missing files", "{'weight_map':{", "'t.%d':'s%d',", "'a':'s'}}", 120000},
    {"the same name", "{'weight_map':{", "'a':'s',", "'a':'s'}}", 200000},
};

static void indices(void **state)
{
    (void)state;
    bad_put("config.json", "{}");
    bad_put_safetensors("s", "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}}", 8);
    run("model.safetensors.index.json", INDICES, MZ_COUNT(INDICES), open_hub);
    bad_remove("config.json");
}

/* ---- safetensors: eight bytes of length before the text ---- */

static mz_err open_weights(const char *folder)
{
    mz_st_file *f = NULL;
    char path[256];
    MZ_TRY(mz_path_join(path, sizeof path, folder, "w"));
    const mz_err err = mz_st_open(&f, path);
    mz_st_close(f);
    return err;
}

#define NONE "{'dtype':'F32','shape':[0],'data_offsets':[0,0]}"
static const cost WEIGHTS[] = {
    {"tensors", "{", "'%d':" NONE ",", "'a':" NONE "}", 40000},
    {"tensors of one name", "{", "'a':" NONE ",", "'a':" NONE "}", 40000},
    {"metadata", "{'__metadata__':{", "'%d':'',", "'a':''}}", 200000},
    {"sizes", "{'a':{'dtype':'F32','data_offsets':[0,0],'shape':[0", ",1", "]}}", 1000000},
    {"nested lists", "{'a':{'x':", "[", "", 2000000},
    {"unknown fields", "{'a':{", "'x':0,", "'dtype':'F32','shape':[0],'data_offsets':[0,0]}}",
     300000},
    {"a long name", "{'", "0123456789abcdef", "':" NONE "}", 150000},
    {"names that differ at their end", "{",
     "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa%d':" NONE ",",
     "'a':" NONE "}", 20000},
};

static void weights(void **state)
{
    (void)state;
    int wrong = 0;
    for (int i = 0; i < MZ_COUNT(WEIGHTS); i++) {
        size_t bytes = 0;
        char *text = make(&WEIGHTS[i], &bytes);
        bad_put_safetensors("w", text, 0);
        mz_mem_free(text);
        wrong += !is_cheap(WEIGHTS[i].name, bytes, open_weights);
    }
    assert_int_equal(wrong, 0);
}

/* ---- tokenizers ---- */

static mz_err open_tokenizer(const char *folder)
{
    mz_tokenizer *t = NULL;
    const mz_err err = mz_tokenizer_open(&t, folder);
    mz_tokenizer_free(t);
    return err;
}

#define HEAD "{'pre_tokenizer':{'type':'ByteLevel'},'added_tokens':["
#define VOCAB "],'model':{'vocab':{'a':0,'b':1,'ab':2"
#define MERGES "},'merges':['a b'"
static const cost TOKENIZERS[] = {
    {"tokens", HEAD VOCAB, ",'x%d':1%d", MERGES "]}}", 100000},
    {"ids far out", HEAD VOCAB, ",'%d':16777215", MERGES "]}}", 100000},
    {"merges", HEAD VOCAB MERGES, ",'a b'", "]}}", 300000},
    {"fewer merges", HEAD VOCAB MERGES, ",'a b'", "]}}", 60000},
    {"merges as lists", HEAD VOCAB MERGES, ",['a','b']", "]}}", 200000},
    {"added tokens", HEAD "{'id':16000000,'content':'x'}", ",{'id':1%d,'content':'%d'}",
     VOCAB MERGES "]}}", 60000},
    {"one long added token", HEAD "{'id':9,'content':'", "0123456789abcdef",
     "'}" VOCAB MERGES "]}}", 150000},
    {"one long token", HEAD VOCAB ",'", "0123456789abcdef", "':3" MERGES "]}}", 150000},
    {"tokens with escapes", HEAD VOCAB, ",'\\u0041%d':1%d", MERGES "]}}", 80000},
    {"rules of no meaning", HEAD VOCAB MERGES "]}", ",'r%d':[]", "}", 100000},
};

static void tokenizers(void **state)
{
    (void)state;
    run("tokenizer.json", TOKENIZERS, MZ_COUNT(TOKENIZERS), open_tokenizer);
}

static mz_err open_chat(const char *folder)
{
    mz_chat_template t;
    return mz_chat_open(&t, folder);
}

static const cost CHATS[] = {
    {"special tokens", "", "<|im_start|>", "<|im_end|>\n", 200000},
    {"beginnings of them", "<|im_start|>", "<|im_st", "", 300000},
    {"braces", "", "{{", "<|im_start|><|im_end|>\n", 1000000},
};

static void chats(void **state)
{
    (void)state;
    run("chat_template.jinja", CHATS, MZ_COUNT(CHATS), open_chat);
}

/* ---- YAML ---- */

static mz_err open_run(const char *folder)
{
    static mz_train_config c;
    char path[256];
    MZ_TRY(mz_path_join(path, sizeof path, folder, "c.yaml"));
    return mz_config_load(&c, path, NULL, 0);
}

static const cost RUNS[] = {
    {"too long", "a: ", "0123456789abcdef", "\n", 100000},
    {"nested lists", "", "[", "", 16000},
    {"empty lists", "a: [", "[],", "0]\n", 5400},
    {"lines", "", "a: b\n", "", 3200},
    {"keys", "", "k%d: 1\n", "", 1800},
    {"anchors", "a: [", "&a%d x, *a%d,", "0]\n", 1000},
    {"many keys", "", "k%d: 1\n", "", 6000},
    {"keys in a line", "{", "k%d: 1,", "}\n", 2000},
    {"colons in a line", "a: \"", "::::::::", "\"\n", 2000},
    {"aliases of aliases", "a: &a0 [x]\n", "b%d: [*a0,*a0,*a0,*a0]\n", "", 600},
};

static void runs(void **state)
{
    (void)state;
    run("c.yaml", RUNS, MZ_COUNT(RUNS), open_run);
}

/* ---- GGUF ---- */

static void number(mz_str *s, uint64_t x, size_t bytes)
{
    char raw[8];
    for (size_t i = 0; i < bytes; i++) raw[i] = (char)(x >> 8 * i & 0xff);
    assert_int_equal(mz_str_add(s, raw, bytes), MZ_OK);
}

static void text(mz_str *s, const char *t)
{
    number(s, strlen(t), 8);
    assert_int_equal(mz_str_add(s, t, strlen(t)), MZ_OK);
}

static void head(mz_str *s, uint64_t tensors, uint64_t keys)
{
    assert_int_equal(mz_str_add(s, "GGUF", 4), MZ_OK);
    number(s, 3, 4), number(s, tensors, 8), number(s, keys, 8);
}

/* An array of n texts, %d of `part` counted. */
static void texts(mz_str *s, const char *key, int64_t n, const char *part)
{
    mz_str one = {0};
    text(s, key);
    number(s, 9, 4), number(s, 8, 4), number(s, (uint64_t)n, 8);
    for (int64_t i = 0; i < n; i++) {
        one.len = 0;
        add_counted(&one, part, i);
        text(s, one.text);
    }
    mz_str_clear(&one);
}

static void vocabulary(mz_str *s, int64_t tokens, const char *token, int32_t type, int64_t merges)
{
    head(s, 0, 5);
    text(s, "tokenizer.ggml.model"), number(s, 8, 4), text(s, "gpt2");
    text(s, "tokenizer.ggml.pre"), number(s, 8, 4), text(s, "smollm");
    texts(s, "tokenizer.ggml.tokens", tokens, token);
    text(s, "tokenizer.ggml.token_type");
    number(s, 9, 4), number(s, 5, 4), number(s, (uint64_t)tokens, 8);
    for (int64_t i = 0; i < tokens; i++) number(s, (uint64_t)type, 4);
    texts(s, "tokenizer.ggml.merges", merges, "a b");
}

static mz_err open_gguf(const char *folder)
{
    mz_gguf *f = NULL;
    mz_tokenizer *t = NULL;
    mz_config c;
    char path[256];
    MZ_TRY(mz_path_join(path, sizeof path, folder, "g"));
    MZ_TRY(mz_gguf_open(&f, path));
    const mz_err config = mz_gguf_to_config(&c, f), err = mz_gguf_to_tokenizer(&t, f);
    mz_tokenizer_free(t);
    mz_gguf_close(f);
    return err != MZ_OK ? err : config;
}

static bool gguf_is_cheap(const char *name, mz_str *s)
{
    const size_t bytes = s->len;
    bad_put_bytes("g", s->text, s->len);
    mz_str_clear(s);
    return is_cheap(name, bytes, open_gguf);
}

static void ggufs(void **state)
{
    (void)state;
    mz_str s = {0};
    int wrong = 0;
    char name[24];
    head(&s, 0, 100000);
    for (int i = 0; i < 100000; i++) {
        (void)snprintf(name, sizeof name, "%d", i);
        text(&s, name), number(&s, 0, 4), number(&s, 1, 1);
    }
    wrong += !gguf_is_cheap("keys", &s);
    head(&s, 0, 1);
    texts(&s, "tokenizer.ggml.tokens", 300000, "");
    wrong += !gguf_is_cheap("empty texts", &s);
    vocabulary(&s, 100000, "%d", 1, 1);
    wrong += !gguf_is_cheap("tokens", &s);
    vocabulary(&s, 100000, "%d", 3, 1);
    wrong += !gguf_is_cheap("control tokens", &s);
    vocabulary(&s, 100000, "", 3, 1);
    wrong += !gguf_is_cheap("empty control tokens", &s);
    vocabulary(&s, 3, "%d", 1, 200000);
    wrong += !gguf_is_cheap("merges", &s);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configs),    cmocka_unit_test(indices), cmocka_unit_test(weights),
        cmocka_unit_test(tokenizers), cmocka_unit_test(chats),   cmocka_unit_test(runs),
        cmocka_unit_test(ggufs),
    };
    return cmocka_run_group_tests(tests, bad_make_folder, bad_drop_folder);
}
