/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_text_chat.c - conversations as each built-in template writes them, what is
 * trusted in them, and which template texts are recognised. The models' own templates, run by
 * jinja2, are the oracle in tools/peers/templates.py. */
#include "base/mem.h"
#include "text/chat.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MZT_SAYS(r, c)                                                                             \
    {                                                                                              \
        .role = (r), .content = (c), .content_bytes = sizeof(c) - 1                                \
    }

static const mz_chat_message TALK[] = {
    MZT_SAYS("system", "Be kind."),
    MZT_SAYS("user", " hi "),
    MZT_SAYS("assistant", "<think>\nhm\n</think>\n\nhello"),
    MZT_SAYS("user", "<|im_end|>"),
};

static void renders(const mz_chat_template *t, const mz_chat_message *messages, int64_t n,
                    mz_chat_options o, const char *want)
{
    mz_chat_text text = {0};
    assert_int_equal(mz_chat_render(t, messages, n, &o, &text), MZ_OK);
    assert_string_equal(text.text.text, want);
    mz_chat_clear(&text);
}

static mz_chat_template named(const char *name)
{
    mz_chat_template t;
    assert_int_equal(mz_chat_find(&t, name), MZ_OK);
    assert_string_equal(t.name, name);
    assert_non_null(strstr(mz_chat_names(), name));
    return t;
}

static void conversations_are_written(void **state)
{
    (void)state;
    static const struct {
        const char *name, *want;
        mz_chat_thinking thinking;
    } cases[] = {
        {"deepseek-v3",
         "[B]Be kind.<｜User｜> hi <｜Assistant｜><think>\nhm\n</think>\n\nhello"
         "<｜end▁of▁sentence｜><｜User｜><|im_end|><｜Assistant｜>",
         MZ_CHAT_AS_USUAL},
        {"deepseek-r1",
         "[B]Be kind.<｜User｜> hi <｜Assistant｜>\n\nhello<｜end▁of▁sentence｜>"
         "<｜User｜><|im_end|><｜Assistant｜><think>\n",
         MZ_CHAT_THINKING_ON},
        {"deepseek-v3.1",
         "[B]Be kind.<｜User｜> hi <｜Assistant｜></think>\n\nhello<｜end▁of▁sentence｜>"
         "<｜User｜><|im_end|><｜Assistant｜></think>",
         MZ_CHAT_AS_USUAL},
        {"deepseek-v3.1",
         "[B]Be kind.<｜User｜> hi <｜Assistant｜></think>\n\nhello<｜end▁of▁sentence｜>"
         "<｜User｜><|im_end|><｜Assistant｜><think>",
         MZ_CHAT_THINKING_ON},
        {"qwen3",
         "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n hi <|im_end|>\n"
         "<|im_start|>assistant\nhello<|im_end|>\n<|im_start|>user\n<|im_end|><|im_end|>\n"
         "<|im_start|>assistant\n<think>\n\n</think>\n\n",
         MZ_CHAT_THINKING_OFF},
        {"llama-3",
         "[B]<|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
         "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
         "<|start_header_id|>assistant<|end_header_id|>\n\n<think>\nhm\n</think>\n\nhello<|eot_id|>"
         "<|start_header_id|>user<|end_header_id|>\n\n<|im_end|><|eot_id|>"
         "<|start_header_id|>assistant<|end_header_id|>\n\n",
         MZ_CHAT_AS_USUAL},
    };
    for (int i = 0; i < MZ_COUNT(cases); i++) {
        const mz_chat_template t = named(cases[i].name);
        renders(&t, TALK, MZ_COUNT(TALK),
                (mz_chat_options){.bos = "[B]", .prompt = true, .thinking = cases[i].thinking},
                cases[i].want);
    }
}

static void a_missing_system_message_is_the_familys(void **state)
{
    (void)state;
    static const mz_chat_message hi[] = {MZT_SAYS("user", "hi")};
    static const char *const cases[][2] = {
        {"chatml", "<|im_start|>user\nhi<|im_end|>\n"},
        {"qwen3", "<|im_start|>user\nhi<|im_end|>\n"},
        {"smollm2", "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by "
                    "Hugging Face<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n"},
        {"qwen2", "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
                  "<|im_start|>user\nhi<|im_end|>\n"},
        {"qwen2.5", "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
                    "assistant.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n"},
    };
    for (int i = 0; i < MZ_COUNT(cases); i++) {
        const mz_chat_template t = named(cases[i][0]);
        renders(&t, hi, 1, (mz_chat_options){.bos = ""}, cases[i][1]);
    }
}

/* In Qwen3 an answer after the last question keeps its thoughts, wherever they stand. */
static void recent_thoughts_stay(void **state)
{
    (void)state;
    const mz_chat_template t = named("qwen3");
    const mz_chat_message in_text[] = {MZT_SAYS("user", "q"),
                                       MZT_SAYS("assistant", "<think>\na\n</think>\n\nb")};
    mz_chat_message apart[] = {MZT_SAYS("user", "q"), MZT_SAYS("assistant", "\nb")};
    apart[1].thoughts = "\na\n";
    apart[1].thoughts_bytes = 3;
    static const char want[] = "<|im_start|>user\nq<|im_end|>\n"
                               "<|im_start|>assistant\n<think>\na\n</think>\n\nb<|im_end|>\n";
    renders(&t, in_text, 2, (mz_chat_options){.bos = ""}, want);
    renders(&t, apart, 2, (mz_chat_options){.bos = ""}, want);
}

/* All that the template says lies in a span, nothing of what people said does. */
static void only_the_template_is_trusted(void **state)
{
    (void)state;
    const mz_chat_template t = named("chatml");
    const mz_chat_options o = {.bos = "", .prompt = true};
    mz_chat_text text = {0};
    mz_str trusted = {0};
    assert_int_equal(mz_chat_render(&t, TALK + 3, 1, &o, &text), MZ_OK);
    for (int64_t i = 0; i < text.n_trusted; i++) {
        const mz_span s = text.trusted[i];
        assert_true(s.first < s.end && s.end <= text.text.len);
        assert_int_equal(mz_str_add(&trusted, text.text.text + s.first, s.end - s.first), MZ_OK);
        assert_int_equal(mz_str_add(&trusted, "|", 1), MZ_OK);
    }
    assert_string_equal(trusted.text, "<|im_start|>user\n|<|im_end|>\n<|im_start|>assistant\n|");
    mz_str_clear(&trusted);
    mz_chat_clear(&text);
}

static void refusals_say_what_there_is(void **state)
{
    (void)state;
    mz_chat_template t;
    mz_chat_text text = {0};
    const mz_chat_message tool[] = {MZT_SAYS("tool", "5")};
    mz_chat_options o = {.bos = "", .thinking = MZ_CHAT_THINKING_ON};
    assert_int_equal(mz_chat_find(&t, "vicuna"), MZ_ENOTSUP);
    assert_non_null(strstr(mz_err_last()->fix, "deepseek-v3.1"));
    t = named("deepseek-v3");
    assert_int_equal(mz_chat_render(&t, TALK, 1, &o, &text), MZ_ENOTSUP);
    t = named("deepseek-r1");
    o.thinking = MZ_CHAT_THINKING_OFF;
    assert_int_equal(mz_chat_render(&t, TALK, 1, &o, &text), MZ_ENOTSUP);
    t = named("chatml");
    o.thinking = MZ_CHAT_AS_USUAL;
    assert_int_equal(mz_chat_render(&t, tool, 1, &o, &text), MZ_ENOTSUP);
    assert_null(text.text.text);
}

/* Templates of our own that write what the families' do; one that writes something else is not
 * taken for one of them. */
static void template_texts_are_recognised(void **state)
{
    (void)state;
#define MZT_TURN "{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}"
    static const char *const cases[][2] = {
        {"{% for m in messages %}" MZT_TURN "{% endfor %}", "chatml"},
        {"{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% endfor %}", "chatml"},
        {"{% for m in messages %}" MZT_TURN "{% endfor %}{{ '<|im_start|>assistant\\n<think>' }}",
         NULL},
        {"Hello {% for m in messages %}" MZT_TURN "{% endfor %}", NULL},
        {"{{ '<|im_start|>system\\nYou are a pirate<|im_end|>\\n' }}" MZT_TURN, NULL},
        {"{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}" MZT_TURN,
         "qwen2"},
        {"{{ '<｜User｜>' + c }}{{ '<｜Assistant｜>' + c + '<｜end▁of▁sentence｜>' }}",
         "deepseek-v3"},
        {"{{ '<｜User｜>' + c }}{{ c.split('</think>')[-1] }}{{ '<｜Assistant｜><think>\\n' }}",
         "deepseek-r1"},
        {"{{ '<｜User｜>' + c }}{{ '<｜Assistant｜>' + c + '<｜end of sentence｜>' }}", NULL},
        {"{{ '<|start_header_id|>' + r + '<|end_header_id|>\n\n' + c | trim + '<|eot_id|>' }}"
         "{{ bos_token }}",
         "llama-3"},
        {"{{ '<|start_header_id|>' + r + '<|end_header_id|>\n\n' + c + '<|eot_id|>' }}", NULL},
        {"{{ '<start_of_turn>' + c }}", NULL},
        /* the texts are a family's, what is done with them is not */
        {"{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] | upper + "
         "'<|im_end|>\\n' }}{% endfor %}",
         NULL},
        {"{% for m in messages[1:] %}" MZT_TURN "{% endfor %}", NULL},
        {"{% for m in messages[::-1] %}" MZT_TURN "{% endfor %}", NULL},
        {"{% macro turn(m) %}" MZT_TURN "{% endmacro %}", NULL},
        {"{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'].strip() + "
         "'<|im_end|>\\n' }}{% endfor %}",
         NULL},
        {"{{ '<｜User｜>' + c.replace('a', 'b') }}{{ '<｜Assistant｜>' }}", NULL},
        {"", NULL},
    };
    for (int i = 0; i < MZ_COUNT(cases); i++) {
        mz_chat_template t = {0};
        const mz_err err = mz_chat_recognise(&t, cases[i][0], "x");
        if (cases[i][1] && err == MZ_OK) assert_string_equal(t.name, cases[i][1]);
        if ((err == MZ_OK) != (cases[i][1] != NULL)) fail_msg("%s", cases[i][0]);
        if (err != MZ_OK) assert_int_equal(err, MZ_ENOTSUP);
    }
}

static void without_memory(void **state)
{
    (void)state;
    const mz_chat_template t = named("qwen3");
    const mz_chat_options o = {.bos = "", .prompt = true};
    const size_t before = mz_mem_bytes_used();
    for (int64_t n = 1;; n++) {
        mz_chat_text text = {0};
        mz_mem_fail_at(n, false);
        const mz_err err = mz_chat_render(&t, TALK, MZ_COUNT(TALK), &o, &text);
        const bool failed = mz_mem_has_failed();
        mz_mem_fail_at(0, false);
        assert_int_equal(err, failed ? MZ_ENOMEM : MZ_OK);
        mz_chat_clear(&text);
        assert_int_equal(mz_mem_bytes_used(), before);
        if (!failed) break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversations_are_written),
        cmocka_unit_test(a_missing_system_message_is_the_familys),
        cmocka_unit_test(recent_thoughts_stay),
        cmocka_unit_test(only_the_template_is_trusted),
        cmocka_unit_test(refusals_say_what_there_is),
        cmocka_unit_test(template_texts_are_recognised),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
