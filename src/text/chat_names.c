/* SPDX-License-Identifier: Apache-2.0 */
/* text/chat_names.c - which built-in template a name or a model's own template text means.
 *
 * A text is recognised by what only its family has, and refused if it has anything that would make
 * it write something else (dates, another default system message, another prompt). Floor: text. */
#include "base/file.h"
#include "base/inside.h"
#include "base/json.h"
#include "base/mem.h"
#include "text/chat.h"

#include <stdio.h>
#include <string.h>

#define MZ_SMOLLM_SYSTEM "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
#define MZ_QWEN_SYSTEM "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
#define MZ_QWEN2_SYSTEM "You are a helpful assistant."
#define MZ_QWEN_TOOLS                                                                              \
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments " \
    "within <tool_call></tool_call> XML tags:\n<tool_call>\n{\\\"name\\\": <function-name>, "      \
    "\\\"arguments\\\": <args-json-object>}\n</tool_call><|im_end|>\n"

enum { PATH_BYTES = MZ_INSIDE_BYTES };

static const size_t CONFIG_MAX = (size_t)16 << 20;

static const mz_chat_template BUILT_IN[] = {
    {.name = "deepseek-v3", .kind = MZ_CHAT_DEEPSEEK, .joins_system = true},
    {.name = "deepseek-r1",
     .kind = MZ_CHAT_DEEPSEEK,
     .joins_system = true,
     .drops_thoughts = true,
     .always_thinks = true},
    {.name = "deepseek-v3.1", .kind = MZ_CHAT_DEEPSEEK_V31},
    {.name = "chatml", .kind = MZ_CHAT_CHATML},
    {.name = "smollm2", .kind = MZ_CHAT_CHATML, .system = MZ_SMOLLM_SYSTEM},
    {.name = "qwen2", .kind = MZ_CHAT_CHATML, .system = MZ_QWEN2_SYSTEM},
    {.name = "qwen2.5", .kind = MZ_CHAT_CHATML, .system = MZ_QWEN_SYSTEM},
    {.name = "qwen3", .kind = MZ_CHAT_QWEN3},
    {.name = "llama-3", .kind = MZ_CHAT_LLAMA3},
};

const char *mz_chat_names(void)
{
    return "deepseek-v3, deepseek-r1, deepseek-v3.1, chatml, smollm2, qwen2, qwen2.5, qwen3, "
           "llama-3";
}

static mz_err refuse(const char *what, const char *file)
{
    const mz_err err = MZ_FAIL(MZ_ENOTSUP, "%s", what);
    mz_note_where(file, "chat_template", -1);
    mz_note_fix("--chat-template NAME, one of %s", mz_chat_names());
    return err;
}

mz_err mz_chat_find(mz_chat_template *t, const char *name)
{
    MZ_NEED(t && name, "template or name is NULL");
    for (int i = 0; i < MZ_COUNT(BUILT_IN); i++)
        if (strcmp(BUILT_IN[i].name, name) == 0) {
            *t = BUILT_IN[i];
            return MZ_OK;
        }
    char what[128];
    (void)snprintf(what, sizeof what, "no chat template is called \"%.60s\"", name);
    return refuse(what, NULL);
}

/* ---- recognising ---- */

static bool has(const char *text, const char *what)
{
    return strstr(text, what) != NULL;
}

/* What each family's published templates write that holds a special token, newlines as such. Ends
 * with NULL. */
static const char *const DEEPSEEK[] = {"<｜User｜>",
                                       "<｜Assistant｜>",
                                       "<｜end▁of▁sentence｜>",
                                       "<｜Assistant｜><think>\n",
                                       "<｜Assistant｜></think>",
                                       "<think>",
                                       "</think>",
                                       "<｜Assistant｜><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>",
                                       "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>",
                                       "<｜tool▁calls▁end｜><｜end▁of▁sentence｜>",
                                       "<｜tool▁call▁begin｜>",
                                       "<｜tool▁call▁end｜>",
                                       "<｜tool▁sep｜>",
                                       "<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>",
                                       "<｜tool▁outputs▁end｜>",
                                       "<｜tool▁output▁begin｜>",
                                       "<｜tool▁output▁end｜>",
                                       "\n<｜tool▁output▁begin｜>",
                                       NULL};

static const char *const CHATML[] = {"<|im_start|>",
                                     "<|im_end|>",
                                     "<|im_end|>\n",
                                     "<|im_start|>assistant\n",
                                     "<|im_start|>system\n",
                                     "<|im_start|>user",
                                     "<|im_start|>assistant",
                                     "<|im_start|>system\n" MZ_SMOLLM_SYSTEM "<|im_end|>\n",
                                     "<|im_start|>system\n" MZ_QWEN_SYSTEM "<|im_end|>\n",
                                     "<|im_start|>system\n" MZ_QWEN2_SYSTEM "<|im_end|>\n",
                                     "<|im_start|>system\n" MZ_QWEN_SYSTEM,
                                     MZ_QWEN_TOOLS,
                                     NULL};

static const char *const QWEN3[] = {"<|im_start|>",
                                    "<|im_end|>",
                                    "<|im_end|>\n",
                                    "<|im_start|>assistant\n",
                                    "<|im_start|>system\n",
                                    "<|im_start|>user",
                                    "<think>",
                                    "</think>",
                                    "\n<think>\n",
                                    "\n</think>\n\n",
                                    "<think>\n\n</think>\n\n",
                                    MZ_QWEN_TOOLS,
                                    NULL};

static const char *const LLAMA3[] = {"<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>",
                                     "<|start_header_id|>assistant<|end_header_id|>\n\n", NULL};

static bool is_allowed(const char *at, size_t n, const char *const *allowed)
{
    bool special = false;
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 3; k++) {
            static const char *const marks[] = {"<|", "<｜", "think>"};
            const size_t m = strlen(marks[k]);
            special = special || (n - i >= m && memcmp(at + i, marks[k], m) == 0);
        }
    for (; special && *allowed; allowed++)
        if (strlen(*allowed) == n && memcmp(*allowed, at, n) == 0) return true;
    return !special;
}

/* Every word that the families' published templates have between their tags, outside of texts. One
 * that is not here (upper, replace, a macro's name) may make something else of the same texts. */
static const char *const WORDS[] = {"for",
                                    "in",
                                    "endfor",
                                    "if",
                                    "elif",
                                    "else",
                                    "endif",
                                    "set",
                                    "and",
                                    "or",
                                    "not",
                                    "is",
                                    "none",
                                    "None",
                                    "defined",
                                    "string",
                                    "true",
                                    "false",
                                    "True",
                                    "False",
                                    "loop",
                                    "first",
                                    "last",
                                    "index",
                                    "index0",
                                    "length",
                                    "namespace",
                                    "ns",
                                    "message",
                                    "messages",
                                    "m",
                                    "c",
                                    "r",
                                    "loop_messages",
                                    "role",
                                    "content",
                                    "reasoning_content",
                                    "system_message",
                                    "system_prompt",
                                    "bos_token",
                                    "eos_token",
                                    "add_generation_prompt",
                                    "raise_exception",
                                    "tojson",
                                    "tools",
                                    "tool",
                                    "tool_call",
                                    "tool_calls",
                                    "function",
                                    "name",
                                    "arguments",
                                    "type",
                                    "trim",
                                    "split",
                                    "startswith",
                                    "endswith",
                                    "multi_step_tool",
                                    "last_query_index",
                                    "enable_thinking",
                                    "thinking",
                                    "is_first",
                                    "is_tool",
                                    "is_output_first",
                                    "is_first_sp",
                                    "is_last_user",
                                    "is_prefix",
                                    "is_only_sys",
                                    "prefix",
                                    "mapping",
                                    "iterable"};
/* In the two families whose models think. */
static const char *const STRIPS[] = {"strip", "lstrip", "rstrip"};

static bool is_one_of(const char *at, size_t n, const char *const *words, int count)
{
    for (int i = 0; i < count; i++)
        if (strlen(words[i]) == n && memcmp(words[i], at, n) == 0) return true;
    return false;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* What stands at p between tags, outside of texts: a word, or one character of anything else. Its
 * length, 0 where no template of a family has it. */
static size_t known_step(const char *p, bool thinks)
{
    size_t n = 0;
    if (strncmp(p, "[::-1]", 6) == 0) return thinks ? 6 : 0; /* the last question is looked for */
    if (!is_letter(*p)) return strchr(":^*/~`$&", *p) ? 0 : 1;
    while (is_letter(p[n]) || (p[n] >= '0' && p[n] <= '9')) n++;
    if (is_one_of(p, n, WORDS, MZ_COUNT(WORDS))) return n;
    return thinks && is_one_of(p, n, STRIPS, MZ_COUNT(STRIPS)) ? n : 0;
}

/* Whether all that the template writes with special tokens in it is allowed, nothing is written
 * outside of its tags, and every word between them is known. */
static bool writes_only(const char *text, const char *const *allowed)
{
    const bool thinks = allowed == QWEN3 || allowed == DEEPSEEK;
    bool inside = false;
    for (const char *p = text; *p; p++) {
        if (!inside && p[0] == '{' && (p[1] == '{' || p[1] == '%')) {
            inside = true;
            p++;
        } else if (!inside) {
            if (!strchr(" \t\r\n", *p)) return false;
        } else if ((p[0] == '}' || p[0] == '%') && p[1] == '}') {
            inside = false;
            p++;
        } else if (*p == '\'' || *p == '"') {
            const char quote = *p, *first = ++p;
            while (*p && *p != quote) p += p[0] == '\\' && p[1] ? 2 : 1;
            if (!*p || !is_allowed(first, (size_t)(p - first), allowed)) return false;
        } else {
            const size_t n = known_step(p, thinks);
            if (n == 0) return false;
            p += n - 1;
        }
    }
    return !inside;
}

static bool recognise_deepseek(mz_chat_template *t, const char *text)
{
    if (!has(text, "<｜Assistant｜>") || !writes_only(text, DEEPSEEK)) return false;
    const bool drops = has(text, "split('</think>')[-1]");
    if (has(text, "split('</think>', 1)[1]") || has(text, "split('</think>',1)[1]"))
        return has(text, "thinking") && has(text, "is_last_user") &&
               mz_chat_find(t, "deepseek-v3.1") == MZ_OK;
    if (has(text, "think") && !drops) return false;
    if (mz_chat_find(t, drops ? "deepseek-r1" : "deepseek-v3") != MZ_OK) return false;
    t->always_thinks = has(text, "<｜Assistant｜><think>\n");
    t->joins_system = has(text, "is_first_sp");
    return true;
}

static bool recognise_chatml(mz_chat_template *t, const char *text)
{
    if (!has(text, "<|im_start|>")) return false;
    if (has(text, "enable_thinking"))
        return has(text, "last_query_index") && has(text, "enable_thinking is false") &&
               writes_only(text, QWEN3) && mz_chat_find(t, "qwen3") == MZ_OK;
    if (!writes_only(text, CHATML) || has(text, "trim") || has(text, "not loop.last")) return false;
    const char *name = has(text, MZ_SMOLLM_SYSTEM)  ? "smollm2"
                       : has(text, MZ_QWEN_SYSTEM)  ? "qwen2.5"
                       : has(text, MZ_QWEN2_SYSTEM) ? "qwen2"
                                                    : "chatml";
    return mz_chat_find(t, name) == MZ_OK;
}

static bool recognise_llama3(mz_chat_template *t, const char *text)
{
    if (!has(text, "<|start_header_id|>") || !writes_only(text, LLAMA3)) return false;
    if (!has(text, "trim") || !has(text, "bos_token") || has(text, "date_string")) return false;
    if (mz_chat_find(t, "llama-3") != MZ_OK) return false;
    t->always_prompts = !has(text, "add_generation_prompt");
    return true;
}

mz_err mz_chat_recognise(mz_chat_template *t, const char *text, const char *file)
{
    MZ_NEED(t && text, "template or text is NULL");
    mz_str plain = {0}; /* "\n" is written as such or as an escape */
    mz_err err = mz_str_add(&plain, "", 0);
    for (const char *p = text; err == MZ_OK && *p; p++) {
        const bool escape = p[0] == '\\' && p[1] == 'n';
        err = mz_str_add(&plain, escape ? "\n" : p, 1);
        if (escape) p++;
    }
    const bool known =
        err == MZ_OK && (recognise_deepseek(t, plain.text) || recognise_chatml(t, plain.text) ||
                         recognise_llama3(t, plain.text));
    mz_str_clear(&plain);
    if (err != MZ_OK) return err;
    return known ? MZ_OK : refuse("the model's chat template is none that is built in", file);
}

/* ---- a model's folder ---- */

/* chat_template of tokenizer_config.json: a text, or a list of {"name", "template"}. */
static const char *config_template(const json_t *config)
{
    const json_t *value = json_object_get(config, "chat_template");
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *one = json_array_get(value, i);
        const char *name = json_string_value(json_object_get(one, "name"));
        if (name && strcmp(name, "default") == 0)
            return json_string_value(json_object_get(one, "template"));
    }
    return json_string_value(value);
}

static mz_err open_config(mz_chat_template *t, const char *path)
{
    json_t *config = NULL;
    MZ_TRY(mz_json_read(&config, path, CONFIG_MAX));
    const char *text = config_template(config);
    static const char *const steps[] = {"chat_template"};
    const mz_err err =
        text ? mz_chat_recognise(t, text, path) : refuse("the model brings no chat template", path);
    if (err == MZ_ENOTSUP) mz_note_where(NULL, NULL, mz_json_offset(path, steps, 1));
    json_decref(config);
    return err;
}

mz_err mz_chat_open(mz_chat_template *t, const char *folder)
{
    char own[PATH_BYTES], path[PATH_BYTES];
    MZ_NEED(t && folder, "template or folder is NULL");
    if (!mz_file_exists(folder)) {
        mz_note(MZ_EIO, __FILE__, __LINE__, "there is no %s", folder);
        mz_note_where(folder, NULL, -1);
        return MZ_EIO;
    }
    if (!mz_file_is_dir(folder)) {
        const char *slash = strrchr(folder, '/');
        const size_t n = slash ? (size_t)(slash - folder) : 1;
        if (n + 1 >= sizeof own) return MZ_FAIL(MZ_EIO, "the path is too long");
        memcpy(own, slash ? folder : ".", n);
        own[n] = '\0';
        folder = n > 0 ? own : "/";
    }
    MZ_TRY(mz_path_join(path, sizeof path, folder, "chat_template.jinja"));
    if (mz_file_exists(path)) {
        char *text = NULL;
        size_t bytes = 0;
        MZ_TRY(mz_inside(path, folder, "chat_template.jinja", folder));
        MZ_TRY(mz_file_read(path, CONFIG_MAX, &text, &bytes));
        const mz_err err = mz_chat_recognise(t, text, path);
        mz_mem_free(text);
        return err;
    }
    MZ_TRY(mz_path_join(path, sizeof path, folder, "tokenizer_config.json"));
    if (!mz_file_exists(path)) return refuse("the model brings no chat template", path);
    MZ_TRY(mz_inside(path, folder, "tokenizer_config.json", folder));
    return open_config(t, path);
}
