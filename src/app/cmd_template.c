/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_template.c - `mizan template`: the exact text that a model would see of a conversation.
 * Floor: app. */
#include "app/commands.h"
#include "app/source.h"
#include "base/json.h"
#include "base/mem.h"
#include "infer/prompt.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const size_t MESSAGES_MAX = (size_t)64 << 20;

static const mz_option OPTIONS[] = {
    {.name = "messages",
     .kind = MZ_OPTION_TEXT,
     .value = "FILE",
     .help = "a JSON list of {\"role\", \"content\"}, or {\"messages\": [...]}"},
    {.name = "no-generation-prompt", .help = "do not end with the beginning of an answer"},
    {.name = "thinking",
     .kind = MZ_OPTION_TEXT,
     .value = "on|off",
     .choices = "on|off",
     .help = "whether the answer is to begin with thoughts"},
    {.name = "chat-template",
     .kind = MZ_OPTION_TEXT,
     .value = "NAME",
     .help = "a built-in template instead of the model's own"},
    {0}};

static mz_err bad(const char *path, int64_t i, const char *what)
{
    char field[48];
    const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s: message %" PRId64 ": %s", path, i, what);
    (void)snprintf(field, sizeof field, "messages[%" PRId64 "]", i);
    mz_note_where(path, field, -1);
    return err;
}

/* Texts are borrowed from the JSON. */
static mz_err read_messages(const json_t *list, const char *path, mz_chat_message *out)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        const json_t *role = json_object_get(one, "role"), *text = json_object_get(one, "content");
        const json_t *thoughts = json_object_get(one, "reasoning_content");
        if (!json_is_string(role)) return bad(path, (int64_t)i, "no role");
        if (!json_is_string(text)) return bad(path, (int64_t)i, "no content, or not a text");
        if (json_object_get(one, "tool_calls"))
            return MZ_FAIL(MZ_ENOTSUP, "message %zu calls tools, which no template here writes", i);
        out[i] = (mz_chat_message){.role = json_string_value(role),
                                   .content = json_string_value(text),
                                   .content_bytes = json_string_length(text),
                                   .thoughts = json_string_value(thoughts),
                                   .thoughts_bytes = json_string_length(thoughts)};
    }
    return MZ_OK;
}

static mz_err print(const mz_cli *cli, const mz_chat_template *t, const mz_chat_text *text)
{
    if (!mz_cli_flag(cli, "json")) {
        fwrite(text->text.text, 1, text->text.len, stdout);
        return MZ_OK;
    }
    json_t *o = mz_cli_document();
    int bad_set = json_object_set_new(o, "template", json_string(t->name));
    bad_set |= json_object_set_new(o, "text", json_stringn(text->text.text, text->text.len));
    if (bad_set != 0) {
        json_decref(o);
        return mz_cli_json_failed();
    }
    return mz_cli_print(o);
}

/* The bos token's text; "" if there is none. */
static mz_err bos_text(const char *model, mz_str *out)
{
    mz_tokenizer *t = NULL;
    MZ_TRY(mz_app_open_tokenizer(&t, model));
    const mz_err err = mz_prompt_bos(t, out);
    mz_tokenizer_free(t);
    return err;
}

static mz_err render(const mz_cli *cli, const mz_chat_template *t, const json_t *list)
{
    const char *thinking = mz_cli_text(cli, "thinking", "");
    mz_chat_message *messages = NULL;
    mz_chat_text text = {0};
    mz_str bos = {0};
    const int64_t n = (int64_t)json_array_size(list);
    mz_err err;
    MZ_TRY_GOTO(err, mz_mem_new(&messages, n, sizeof *messages), done);
    MZ_TRY_GOTO(err, read_messages(list, mz_cli_text(cli, "messages", ""), messages), done);
    MZ_TRY_GOTO(err, bos_text(mz_cli_argument(cli, 0), &bos), done);
    const mz_chat_options o = {.bos = bos.text,
                               .prompt = !mz_cli_flag(cli, "no-generation-prompt"),
                               .thinking = strcmp(thinking, "on") == 0    ? MZ_CHAT_THINKING_ON
                                           : strcmp(thinking, "off") == 0 ? MZ_CHAT_THINKING_OFF
                                                                          : MZ_CHAT_AS_USUAL};
    MZ_TRY_GOTO(err, mz_chat_render(t, messages, n, &o, &text), done);
    err = print(cli, t, &text);
done:
    mz_chat_clear(&text);
    mz_str_clear(&bos);
    mz_mem_free(messages);
    return err;
}

static mz_err run(const mz_cli *cli)
{
    const char *path = mz_cli_text(cli, "messages", NULL);
    const char *name = mz_cli_text(cli, "chat-template", NULL);
    mz_chat_template t;
    json_t *value = NULL;
    if (!path) return MZ_FAIL(MZ_EUSAGE, "--messages FILE is missing");
    MZ_TRY(name ? mz_chat_find(&t, name) : mz_app_open_chat(&t, mz_cli_argument(cli, 0)));
    MZ_TRY(mz_json_read(&value, path, MESSAGES_MAX));
    const json_t *list = json_is_object(value) ? json_object_get(value, "messages") : value;
    const mz_err err = json_is_array(list) ? render(cli, &t, list) : bad(path, 0, "no list");
    json_decref(value);
    return err;
}

const mz_command mz_cmd_template = {
    .name = "template",
    .arguments = "MODEL",
    .least = 1,
    .most = 1,
    .summary = "show the text that a model would see of a conversation",
    .description = "MODEL is a model folder or a GGUF file. Its own template is recognised, not "
                   "run; one that is "
                   "not built in is refused.",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON,
    .examples = "mizan template MODEL --messages talk.json",
    .run = run,
};
