/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_chat.c - a model's own template text, and conversations through every template.
 *
 * Input: one byte of settings, then messages, each a byte for the role and a text that ends at
 * 0xff. The same bytes are shown to the recogniser. */
#include "tests/fuzz/fuzz.h"

#include "base/mem.h"
#include "text/chat.h"

#include <string.h>

enum { MESSAGES_MAX = 16 };

static const char *const NAMES[] = {"deepseek-v3", "deepseek-r1", "deepseek-v3.1",
                                    "chatml",      "smollm2",     "qwen2",
                                    "qwen2.5",     "qwen3",       "llama-3"};

static void recognise(const uint8_t *data, size_t size)
{
    char *text = NULL;
    mz_chat_template t = {0};
    MZF_CHECK(mz_mem_new(&text, (int64_t)size + 1, 1) == MZ_OK);
    if (size > 0) memcpy(text, data, size);
    const mz_err err = mz_chat_recognise(&t, text, "input");
    mzf_answer(err, MZ_ENOTSUP);
    MZF_CHECK(err != MZ_OK || strstr(mz_chat_names(), t.name));
    mz_mem_free(text);
}

static int64_t split(const uint8_t *data, size_t size, mz_chat_message *out)
{
    static const char *const roles[] = {"user", "assistant", "system", "tool"};
    int64_t n = 0;
    for (size_t at = 0; at < size && n < MESSAGES_MAX;) {
        const uint8_t role = data[at++];
        const uint8_t *end = at < size ? memchr(data + at, 0xff, size - at) : NULL;
        const size_t bytes = end ? (size_t)(end - (data + at)) : size - at;
        const char *text = bytes > 0 ? (const char *)data + at : "";
        out[n++] =
            (mz_chat_message){.role = roles[role % 4], .content = text, .content_bytes = bytes};
        if (role & 0x40) out[n - 1].thoughts = text, out[n - 1].thoughts_bytes = bytes / 2;
        at += bytes + 1;
    }
    return n;
}

static void render(const uint8_t *data, size_t size)
{
    mz_chat_message messages[MESSAGES_MAX];
    const uint8_t how = size > 0 ? data[0] : 0;
    const int64_t n = size > 0 ? split(data + 1, size - 1, messages) : 0;
    mz_chat_template t = {0};
    mz_chat_text out = {0};
    MZF_CHECK(mz_chat_find(&t, NAMES[how % MZ_COUNT(NAMES)]) == MZ_OK);
    const mz_chat_options o = {.bos = how & 0x10 ? "<s>" : "",
                               .prompt = (how & 0x20) != 0,
                               .thinking = how & 0x40 ? MZ_CHAT_THINKING_ON : MZ_CHAT_AS_USUAL};
    const mz_err err = mz_chat_render(&t, messages, n, &o, &out);
    MZF_CHECK(err == MZ_OK || err == MZ_ENOTSUP);
    size_t end = 0;
    for (int64_t i = 0; i < out.n_trusted; i++) {
        const mz_span s = out.trusted[i];
        MZF_CHECK(s.first < s.end && s.end <= out.text.len && (i == 0 || s.first > end));
        end = s.end;
    }
    mz_chat_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mzf_begin();
    recognise(data, size);
    render(data, size);
    mzf_end();
    return 0;
}
