/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fault/test_bad_texts.c - tokenizers with one thing wrong: tokenizer.json, what stands
 * beside it, and chat templates. */
#include "tests/fault/bad.h"

#include "base/file.h"
#include "base/mem.h"
#include "text/chat.h"
#include "text/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static mz_err open_tokenizer(const char *folder)
{
    mz_tokenizer *t = NULL;
    const mz_err err = mz_tokenizer_open(&t, folder);
    mz_tokenizer_free(t);
    return err;
}

#define TOKENIZER                                                                                  \
    "{'version':'1.0','added_tokens':[{'id':5,'content':'<s>','special':true}],"                   \
    "'normalizer':null,'pre_tokenizer':{'type':'ByteLevel','add_prefix_space':false},"             \
    "'decoder':{'type':'ByteLevel'},'model':{'type':'BPE','dropout':null,"                         \
    "'vocab':{'a':0,'b':1,'c':2,'ab':3,'abc':4},'merges':['a b',['ab','c']]}}"

static const bad TOKENIZERS[] = {
    {"nothing", NULL, "", MZ_ECORRUPT, "", "expected an object", ""},
    {"no JSON", NULL, "tokenizer", MZ_ECORRUPT, "", "expected an object", "tokenizer"},
    {"a list", NULL, "[]", MZ_ECORRUPT, "", "expected an object", "[]"},
    {"no model", "'model'", "'modell'", MZ_ECORRUPT, "model.vocab", "missing", NULL},
    {"a model that is a list", "{'type':'BPE'", "[{'type':'BPE'", MZ_ECORRUPT, "model", "object",
     "[{'type'"},
    {"no vocab", "'vocab'", "'vocabb'", MZ_ECORRUPT, "model.vocab", "missing", ""},
    {"no merges", "'merges'", "'mergess'", MZ_ECORRUPT, "model.merges", "missing", ""},
    {"a second model", "'decoder'", "'model':{},'decoder'", MZ_ECORRUPT, "model", "second", ""},
    {"a second vocab", "'merges'", "'vocab':{},'merges'", MZ_ECORRUPT, "model.vocab", "second", ""},
    {"second merges", "'merges'", "'merges':[],'merges'", MZ_ECORRUPT, "model.merges", "second",
     ""},
    {"a rule twice", "'decoder'", "'normalizer':null,'decoder'", MZ_ECORRUPT, "normalizer", "twice",
     ""},
    {"text behind the end", "'c']]}}", "'c']]}}x", MZ_ECORRUPT, "", "after the end", "x"},
    {"cut off", ",'merges':['a b',['ab','c']]}}", ",", MZ_ECORRUPT, "model.vocab",
     "expected a string", ""},
    {"a vocab that is a list", "{'a':0", "[{'a':0", MZ_ECORRUPT, "model.vocab", "object", "[{'a'"},
    {"an id that is a text", "'b':1", "'b':'1'", MZ_ECORRUPT, "model.vocab", "whole number",
     "'1',"},
    {"an id that is negative", "'b':1", "'b':-1", MZ_ECORRUPT, "model.vocab", "whole number", "-1"},
    {"an id that is a real", "'b':1", "'b':1.0", MZ_ECORRUPT, "model.vocab", "whole number",
     "1.0,"},
    {"an id of 2^31", "'b':1", "'b':2147483648", MZ_ECORRUPT, "vocab[1]", "out of range",
     "2147483648"},
    {"an id of 2^63", "'b':1", "'b':9223372036854775808", MZ_ECORRUPT, "model.vocab", "63 bits",
     "9223372036854775808"},
    {"an id far out", "'b':1", "'b':100000000", MZ_ECORRUPT, "vocab[4]", "far beyond", ""},
    {"an id twice", "'b':1", "'b':0", MZ_ECORRUPT, "vocab[1]", "its id is taken", "0,'c'"},
    {"a token twice", "'b':1", "'a':1", MZ_ECORRUPT, "vocab[1]", "stands twice", "1,'c'"},
    {"a token twice, by an escape", "'b':1", "'\\u0061':1", MZ_ECORRUPT, "vocab[1]", "stands twice",
     "1,'c'"},
    {"no UTF-8", "'b':1", "'\xff':1", MZ_ECORRUPT, "model.vocab", "not UTF-8", "\xff"},
    {"half a surrogate", "'b':1", "'\\ud800':1", MZ_ECORRUPT, "model.vocab", "surrogate",
     "\\ud800"},
    {"a NUL", "'b':1", "'\\u0000':1", MZ_ECORRUPT, "model.vocab", "NUL", "\\u0000"},
    {"a control character", "'b':1", "'\n':1", MZ_ECORRUPT, "model.vocab", "control character",
     "\n"},
    {"merges that are an object", "['a b',['ab','c']]", "{}", MZ_ECORRUPT, "model.merges", "array",
     "{}}}"},
    {"a merge that is a number", "'a b'", "1", MZ_ECORRUPT, "model.merges", "string", "1,['ab'"},
    {"a merge without a space", "'a b'", "'ab'", MZ_ECORRUPT, "model.merges", "without a space",
     "'ab',['"},
    {"a merge of three", "'a b'", "'a b c'", MZ_ECORRUPT, "model.merges", "more than one space",
     "'a b c'"},
    {"a list of one", "['ab','c']", "['ab']", MZ_ECORRUPT, "model.merges", "two texts", "]]}}"},
    {"a list of three", "['ab','c']", "['ab','c','d']", MZ_ECORRUPT, "model.merges", "two texts",
     ",'d'"},
    {"a merge of nothing", "'a b'", "'x b'", MZ_ECORRUPT, "merges[0]", "no token", "'x b'"},
    {"a merge to nothing", "'a b'", "'b a'", MZ_ECORRUPT, "merges[0]", "no token", "'b a'"},
    {"a merge of no letters", "'a b'", "'a \\u4e00'", MZ_ECORRUPT, "merges[0]", "alphabet",
     "'a \\u4e00'"},
    {"another model", "'BPE'", "'Unigram'", MZ_ENOTSUP, "model", "Unigram", ""},
    {"dropout", "'dropout':null", "'dropout':0.1", MZ_ENOTSUP, "dropout", "not built in", "0.1"},
    {"another normalizer", "'normalizer':null", "'normalizer':{'type':'NFKC'}", MZ_ENOTSUP,
     "normalizer", "NFKC", "{'type':'NFKC'"},
    {"another decoder", "'decoder':{'type':'ByteLevel'}", "'decoder':{'type':'Metaspace'}",
     MZ_ENOTSUP, "decoder", "Metaspace", "{'type':'Meta"},
    {"no pre_tokenizer", "'pre_tokenizer'", "'pre_token'", MZ_ENOTSUP, "pre_tokenizer", "", NULL},
    {"an expression of its own", "{'type':'ByteLevel','add_prefix_space':false}",
     "{'type':'Split','pattern':{'Regex':'(a*)*b'},'behavior':'Isolated'}", MZ_ENOTSUP,
     "pre_tokenizer", "not built in", "{'type':'Split"},
    {"a prefix space", "'add_prefix_space':false", "'add_prefix_space':true", MZ_ENOTSUP,
     "pre_tokenizer", "not built in", "{'type':'ByteLevel','add"},
    {"added_tokens an object", "[{'id':5,'content':'<s>','special':true}]", "{}", MZ_ECORRUPT,
     "added_tokens", "no array", "{},'norm"},
    {"an added token without id", "'id':5,", "", MZ_ECORRUPT, "added_tokens", "without id",
     "[{'content'"},
    {"an added token without text", "'content':'<s>'", "'content':7", MZ_ECORRUPT, "added_tokens",
     "without id or content", "[{'id'"},
    {"an added id that is negative", "'id':5", "'id':-5", MZ_ECORRUPT, "added_tokens[0]",
     "out of range", "{'id':-5"},
    {"an added id of 2^24", "'id':5", "'id':16777216", MZ_ECORRUPT, "added_tokens[0]",
     "out of range", "{'id':167"},
    {"an added id twice", "{'id':5", "{'id':5,'content':'<t>'},{'id':5", MZ_ECORRUPT,
     "added_tokens[1]", "taken", "{'id':5,'content':'<s>'"},
    {"an added token as a word alone", "'special':true", "'single_word':true", MZ_ENOTSUP,
     "added_tokens", "single_word", "[{'id'"},
};

static const bad BESIDE[] = {
    {"no JSON", NULL, "{'bos_token':", MZ_ECORRUPT, "", "line 1", ""},
    {"a list", NULL, "[]", MZ_ECORRUPT, "", "JSON object", ""},
    {"bos a number", "'bos_token':'<s>'", "'bos_token':1", MZ_ECORRUPT, "bos_token", "token's text",
     "1,'eos"},
    {"bos an object without text", "'bos_token':'<s>'", "'bos_token':{}", MZ_ECORRUPT, "bos_token",
     "token's text", "{},'eos"},
    {"eos a list", "'eos_token':null", "'eos_token':['<s>']", MZ_ECORRUPT, "eos_token",
     "token's text", "['<s>']"},
    {"add_bos_token a text", "'add_bos_token':true", "'add_bos_token':'yes'", MZ_ECORRUPT,
     "add_bos_token", "true or false", "'yes'"},
    {"a key twice", "'eos_token':null", "'eos_token':null,'eos_token':null", MZ_ECORRUPT, "",
     "duplicate", ""},
};

static const bad GENERATION[] = {
    {"no JSON", NULL, "no", MZ_ECORRUPT, "", "line 1", ""},
    {"a text", NULL, "'eos'", MZ_ECORRUPT, "", "JSON object", ""},
    {"bos a text", "'bos_token_id':5", "'bos_token_id':'5'", MZ_ECORRUPT, "bos_token_id", "an id",
     "'5'"},
    {"eos a real", "'eos_token_id':[4,5]", "'eos_token_id':4.5", MZ_ECORRUPT, "eos_token_id",
     "list of ids", "4.5"},
    {"eos a list with a text", "[4,5]", "[4,'5']", MZ_ECORRUPT, "eos_token_id", "list of ids",
     "[4,'5']"},
    {"eos past the vocabulary", "[4,5]", "[4,6]", MZ_ECORRUPT, "special tokens", "no token", NULL},
};

static void tokenizers(void **state)
{
    (void)state;
    const bad_table t = {.file = "tokenizer.json", .good = TOKENIZER, .open = open_tokenizer};
    bad_run(&t, TOKENIZERS, MZ_COUNT(TOKENIZERS));
}

static void beside(void **state)
{
    (void)state;
    bad_table t = {.file = "tokenizer_config.json",
                   .good = "{'bos_token':'<s>','eos_token':null,'add_bos_token':true}",
                   .open = open_tokenizer};
    bad_put("tokenizer.json", TOKENIZER);
    bad_run(&t, BESIDE, MZ_COUNT(BESIDE));
    bad_remove("tokenizer_config.json");
    t.file = "generation_config.json";
    t.good = "{'bos_token_id':5,'eos_token_id':[4,5]}";
    bad_run(&t, GENERATION, MZ_COUNT(GENERATION));
    bad_remove("generation_config.json");
}

/* ---- chat templates (T5): what is not recognised is refused, nothing is executed ---- */

static mz_err open_chat(const char *folder)
{
    mz_chat_template t;
    return mz_chat_open(&t, folder);
}

static const bad CHATS[] = {
    {"no template", "'chat_template'", "'template'", MZ_ENOTSUP, "chat_template", "no chat", NULL},
    {"a number", NULL, "{'chat_template':5}", MZ_ENOTSUP, "chat_template", "no chat", "5}"},
    {"another program's", NULL, "{'chat_template':'{{ messages }}'}", MZ_ENOTSUP, "chat_template",
     "none that is built in", "'{{ mess"},
    {"words of its own", "<|im_start|>", "<|im_start|>system\\n{{ x }} evil<|im_end|><|im_start|>",
     MZ_ENOTSUP, "chat_template", "none that is built in", "'{% for"},
    {"not even JSON", NULL, "{{ messages }}", MZ_ECORRUPT, "", "line 1", ""},
};

static void chats(void **state)
{
    (void)state;
    const bad_table t = {
        .file = "tokenizer_config.json",
        .good = "{'chat_template':'{% for m in messages %}{{\\'<|im_start|>\\' + m.role + "
                "\\'\\\\n\\' + m.content + \\'<|im_end|>\\' + \\'\\\\n\\'}}{% endfor %}'}",
        .open = open_chat};
    bad_run(&t, CHATS, MZ_COUNT(CHATS));
    bad_remove("tokenizer_config.json");
}

/* ---- links (P2) ---- */

static void links_out_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json",
                                        "generation_config.json", "chat_template.jinja"};
    for (int i = 0; i < MZ_COUNT(names); i++) {
        char path[256];
        bad_put("tokenizer.json", TOKENIZER);
        bad_remove(names[i]);
        assert_int_equal(mz_path_join(path, sizeof path, bad_folder(), names[i]), MZ_OK);
        assert_int_equal(symlink("/etc/passwd", path), 0);
        const mz_err err = i < 3 ? open_tokenizer(bad_folder()) : open_chat(bad_folder());
        assert_int_equal(err, MZ_ECORRUPT);
        assert_non_null(strstr(mz_err_last()->message, "a link that leaves the folder"));
        assert_string_equal(mz_err_last()->field, names[i]);
        assert_int_equal(unlink(path), 0);
    }
}

/* ---- memory ---- */

static void no_memory_at(mz_err (*open)(const char *), mz_err usual)
{
    int64_t n = 1;
    for (;; n++) {
        const size_t before = mz_mem_bytes_used();
        mz_mem_fail_at(n, false);
        const mz_err err = open(bad_folder());
        const bool failed = mz_mem_has_failed();
        mz_mem_fail_at(0, false);
        assert_int_equal(mz_mem_bytes_used(), before);
        if (!failed) assert_int_equal(err, usual);
        if (!failed) break;
        if (err != MZ_ENOMEM) fail_msg("allocation %lld: %s", (long long)n, mz_err_name(err));
        assert_true(n < 2000);
    }
    assert_true(n > 10);
}

/* Each allocation fails in turn, of a good folder and of one whose error takes looking up. */
static void without_memory(void **state)
{
    (void)state;
    bad_put("tokenizer.json", TOKENIZER);
    bad_put("tokenizer_config.json", "{'bos_token':'<s>','add_bos_token':true,'chat_template':"
                                     "'<|im_start|>x'}");
    bad_put("generation_config.json", "{'eos_token_id':[4,5]}");
    no_memory_at(open_tokenizer, MZ_OK);
    no_memory_at(open_chat, MZ_ENOTSUP);
    bad_put("generation_config.json", "{'eos_token_id':'5'}");
    no_memory_at(open_tokenizer, MZ_ECORRUPT);
    bad_remove("generation_config.json");
    bad_remove("tokenizer_config.json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokenizers),     cmocka_unit_test(beside),
        cmocka_unit_test(chats),          cmocka_unit_test(links_out_are_refused),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, bad_make_folder, bad_drop_folder);
}
