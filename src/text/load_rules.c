/* SPDX-License-Identifier: Apache-2.0 */
/* text/load_rules.c - recognises the rules of a tokenizer.json. No expression is interpreted: those
 * of the known families are known by heart, another one is refused. Floor: text. */
#include "base/mem.h"
#include "text/load.h"

#include <stdio.h>
#include <string.h>

#define MZ_TAIL "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define MZ_HEAD "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"

enum { STEPS_MAX = 8 };

#define MZ_HAN "[一-龥ࠀ-一가-\xed\x9f\xbf]+"
/* Letters that have another case. Normal forms would change some of them, which stand as bytes. */
static const char CASED[] =
    "\\s?["
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ"
    "-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-"
    "ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗ"
    "ὙὛὝὟ-\xe1\xbd\xbdᾀ-ᾴᾶ-ᾼ\xe1\xbe\xbe"
    "ῂ-ῄῆ-ῌῐ-\xe1\xbf\x93ῖ-\xe1\xbf\x9b"
    "ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\xe2\x84\xa6"
    "ℨ\xe2\x84\xaa-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻ"
    "Ȿ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-"
    "ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
    "]+";

static const struct {
    mz_split_kind kind;
    const char *steps[STEPS_MAX + 1];
} KNOWN[] = {
    {MZ_SPLIT_GPT2, {MZ_STEP_BYTES_GPT2}},
    {MZ_SPLIT_SMOLLM, {MZ_STEP_DIGITS, MZ_STEP_BYTES_GPT2}},
    {MZ_SPLIT_QWEN2, {MZ_HEAD "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" MZ_TAIL, MZ_STEP_BYTES}},
    {MZ_SPLIT_LLAMA3,
     {MZ_HEAD "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" MZ_TAIL, MZ_STEP_BYTES}},
    {MZ_SPLIT_DEEPSEEK3,
     {"\\p{N}{1,3}", "[一-龥\xe3\x81\x80-ゟ゠-ヿ]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"
      "[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|"
      "\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
      MZ_STEP_BYTES}},
    {MZ_SPLIT_DEEPSEEK_LLM,
     {"[\r\n]", CASED, "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$", MZ_HAN, MZ_STEP_DIGITS,
      MZ_STEP_BYTES}},
    {MZ_SPLIT_DEEPSEEK_CODER,
     {"[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", MZ_HAN, MZ_STEP_DIGITS, MZ_STEP_BYTES}},
};

const char *const *mz_load_steps(mz_split_kind kind)
{
    int i = 0;
    while (i + 1 < MZ_COUNT(KNOWN) && KNOWN[i].kind != kind) i++;
    return KNOWN[i].steps;
}

static const char *type_of(const json_t *o)
{
    const char *type = json_string_value(json_object_get(o, "type"));
    return type ? type : "?";
}

static mz_err unknown(const mz_load *load, const char *field, const json_t *o)
{
    char what[160];
    (void)snprintf(what, sizeof what, "the %s \"%.60s\"", field, type_of(o));
    return mz_split_unknown(what, load->path, field);
}

/* ---- pre_tokenizer ---- */

typedef struct steps {
    const char *at[STEPS_MAX];
    int count;
} steps;

/* The step's name in KNOWN, NULL if it has none. */
static const char *step_of(const json_t *o)
{
    const char *type = type_of(o);
    if (strcmp(type, "ByteLevel") == 0) {
        if (json_is_true(json_object_get(o, "add_prefix_space"))) return NULL;
        return json_is_false(json_object_get(o, "use_regex")) ? MZ_STEP_BYTES : MZ_STEP_BYTES_GPT2;
    }
    if (strcmp(type, "Digits") == 0)
        return json_is_true(json_object_get(o, "individual_digits")) ? MZ_STEP_DIGITS : NULL;
    if (strcmp(type, "Split") != 0 || json_is_true(json_object_get(o, "invert"))) return NULL;
    const char *behavior = json_string_value(json_object_get(o, "behavior"));
    if (!behavior || strcmp(behavior, "Isolated") != 0) return NULL;
    return json_string_value(json_object_get(json_object_get(o, "pattern"), "Regex"));
}

static mz_err add_step(const mz_load *load, steps *s, const json_t *o)
{
    const char *step = json_is_object(o) ? step_of(o) : NULL;
    if (!step || s->count == STEPS_MAX) return unknown(load, "pre_tokenizer", o);
    s->at[s->count++] = step;
    return MZ_OK;
}

static bool same_steps(const steps *s, const char *const *known)
{
    for (int i = 0; i < STEPS_MAX; i++) {
        const char *have = i < s->count ? s->at[i] : NULL;
        if (!have || !known[i]) return !have && !known[i];
        if (strcmp(have, known[i]) != 0) return false;
    }
    return true;
}

static mz_err pre_tokenizer(mz_load *load)
{
    const json_t *o = json_object_get(load->rules, "pre_tokenizer");
    const json_t *list = json_object_get(o, "pretokenizers");
    steps s = {0};
    if (strcmp(type_of(o), "Sequence") == 0) {
        for (size_t i = 0; i < json_array_size(list); i++)
            MZ_TRY(add_step(load, &s, json_array_get(list, i)));
    } else {
        MZ_TRY(add_step(load, &s, o));
    }
    for (int i = 0; i < MZ_COUNT(KNOWN); i++)
        if (same_steps(&s, KNOWN[i].steps)) {
            load->vocab.split = mz_split_name(KNOWN[i].kind);
            return MZ_OK;
        }
    return mz_split_unknown("the pre_tokenizer's expressions", load->path, "pre_tokenizer");
}

/* ---- the rest ---- */

static mz_err normalizer(mz_load *load)
{
    const json_t *o = json_object_get(load->rules, "normalizer");
    if (!o || json_is_null(o)) return MZ_OK;
    const json_t *list = json_object_get(o, "normalizers");
    const bool sequence = strcmp(type_of(o), "Sequence") == 0 && json_is_array(list);
    if (sequence && json_array_size(list) == 0) return MZ_OK;
    const json_t *one = sequence && json_array_size(list) == 1 ? json_array_get(list, 0) : o;
    if (strcmp(type_of(one), "NFC") != 0) return unknown(load, "normalizer", one);
    load->vocab.nfc = true;
    return MZ_OK;
}

static mz_err decoder(const mz_load *load)
{
    const json_t *o = json_object_get(load->rules, "decoder");
    if (!o || json_is_null(o) || strcmp(type_of(o), "ByteLevel") == 0) return MZ_OK;
    return unknown(load, "decoder", o);
}

static bool is_empty(const json_t *o)
{
    return !o || json_is_null(o) || json_is_false(o) ||
           (json_is_string(o) && json_string_length(o) == 0) ||
           (json_is_number(o) && !(json_number_value(o) > 0.0));
}

static mz_err model(mz_load *load)
{
    static const char *const off[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix",
                                      "byte_fallback", "fuse_unk"};
    const json_t *m = load->model, *type = json_object_get(m, "type");
    if (type && strcmp(type_of(m), "BPE") != 0) return unknown(load, "model", m);
    for (int i = 0; i < MZ_COUNT(off); i++)
        if (!is_empty(json_object_get(m, off[i]))) {
            char what[64];
            (void)snprintf(what, sizeof what, "model.%s", off[i]);
            return mz_split_unknown(what, load->path, off[i]);
        }
    load->vocab.ignore_merges = json_is_true(json_object_get(m, "ignore_merges"));
    return MZ_OK;
}

static mz_err added_token(mz_load *load, const json_t *o)
{
    const json_t *id = json_object_get(o, "id"), *text = json_object_get(o, "content");
    if (!json_is_integer(id) || !json_is_string(text))
        return mz_load_bad(load, "added_tokens", "a token without id or content");
    if (json_is_true(json_object_get(o, "single_word")))
        return mz_split_unknown("an added token with single_word", load->path, "added_tokens");
    if (json_string_length(text) == 0) return MZ_OK; /* can stand nowhere */
    load->added[load->vocab.n_added++] = (mz_vocab_added){
        .text = json_string_value(text),
        .bytes = json_string_length(text),
        .id = json_integer_value(id),
        .special = json_is_true(json_object_get(o, "special")),
        .normalized = json_is_true(json_object_get(o, "normalized")),
        .left = json_is_true(json_object_get(o, "lstrip")),
        .right = json_is_true(json_object_get(o, "rstrip")),
    };
    return MZ_OK;
}

static mz_err added_tokens(mz_load *load)
{
    const json_t *list = json_object_get(load->rules, "added_tokens");
    if (list && !json_is_array(list)) return mz_load_bad(load, "added_tokens", "is no array");
    const int64_t n = (int64_t)json_array_size(list);
    MZ_TRY(mz_mem_new(&load->added, n, sizeof *load->added));
    for (int64_t i = 0; i < n; i++) MZ_TRY(added_token(load, json_array_get(list, (size_t)i)));
    load->vocab.added = load->added;
    return MZ_OK;
}

mz_err mz_load_rules(mz_load *load)
{
    MZ_TRY(normalizer(load));
    MZ_TRY(pre_tokenizer(load));
    MZ_TRY(decoder(load));
    MZ_TRY(model(load));
    MZ_TRY(added_tokens(load));
    const char *unk = json_string_value(json_object_get(load->model, "unk_token"));
    if (unk && unk[0]) load->vocab.unknown = mz_load_id(load, unk);
    return MZ_OK;
}
