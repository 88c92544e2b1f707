/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_chat.c - `mizan chat`: a conversation in the terminal, or line by line through a pipe.
 *
 * Answers go to stdout, everything else to stderr. Ctrl-C ends the answer that is being written,
 * and the program only where nothing is. Floor: app. */
#include "app/commands.h"
#include "app/placed.h"
#include "app/sampling.h"
#include "app/source.h"
#include "base/mem.h"
#include "base/str.h"
#include "infer/dialog.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 16 << 20 };

static const mz_option OPTIONS[] = {
    {.name = "system",
     .kind = MZ_OPTION_TEXT,
     .value = "TEXT",
     .help = "what rules the conversation (default: what the template brings)"},
    {.name = "context",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "tokens to remember (default: what the model was made for, at most 4096)",
     .least = 16,
     .most = 1e8},
    {.name = "thinking",
     .kind = MZ_OPTION_TEXT,
     .value = "on|off",
     .choices = "on|off",
     .help = "whether answers are to begin with thoughts"},
    {.name = "chat-template",
     .kind = MZ_OPTION_TEXT,
     .value = "NAME",
     .help = "a built-in template instead of the model's own"},
    {.name = "adapter",
     .kind = MZ_OPTION_TEXT,
     .value = "DIR",
     .help = "a LoRA adapter in peft's files, added to the weights"},
    {0}};

static const char HELP[] =
    "/help            this\n"
    "/system [TEXT]   another system message (none: without one); starts over\n"
    "/reset           forget the conversation\n"
    "/retry           another answer to the last message\n"
    "/undo            forget the last message and its answer\n"
    "/think on|off    whether answers are to begin with thoughts\n"
    "/tokens          how much of the context is used\n"
    "/quit            leave (or Ctrl-D)\n"
    "A line that ends with \\ goes on in the next. Ctrl-C ends an answer.\n"
    "//text says /text.\n";

static volatile sig_atomic_t interrupts;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupts++;
}

typedef struct chat {
    mz_dialog *dialog;
    bool json, is_terminal, said, refused;
} chat;

static bool is_halted(void *user)
{
    (void)user;
    return interrupts > 0;
}

static int stream(void *user, const char *text, size_t bytes)
{
    chat *c = user;
    if (c->json) return 0;
    (void)fwrite(text, 1, bytes, stdout);
    (void)fflush(stdout);
    c->said = true;
    return ferror(stdout);
}

/* ---- what came out ---- */

static double rate(int64_t tokens, double seconds)
{
    return tokens > 0 && seconds > 0.0 ? (double)tokens / seconds : (double)NAN;
}

static mz_err print_json(const mz_dialog_turn *t)
{
    const mz_answer *a = &t->answer;
    const int64_t fresh = t->prompt_tokens - t->kept_tokens;
    json_t *o = mz_cli_document();
    int bad =
        json_object_set_new(o, "text", json_stringn(a->text.text ? a->text.text : "", a->text.len));
    bad |= json_object_set_new(o, "stop", json_string(a->stop));
    bad |= json_object_set_new(o, "prompt_tokens", json_integer(t->prompt_tokens));
    bad |= json_object_set_new(o, "kept_tokens", json_integer(t->kept_tokens));
    bad |= json_object_set_new(o, "left_out", json_integer(t->left_out));
    bad |= json_object_set_new(o, "prefill_tokens_per_s",
                               mz_json_number(rate(fresh, t->prefill_seconds)));
    bad |= json_object_set_new(o, "tokens", json_integer((json_int_t)a->ids.count));
    bad |= json_object_set_new(o, "decode_tokens_per_s", mz_json_number(rate(a->fed, a->seconds)));
    if (bad != 0 || json_dumpf(o, stdout, JSON_COMPACT) != 0) {
        json_decref(o);
        return mz_cli_json_failed();
    }
    json_decref(o);
    (void)putchar('\n');
    return MZ_OK;
}

static void print_speed(const chat *c, const mz_dialog_turn *t)
{
    const mz_answer *a = &t->answer;
    const int64_t fresh = t->prompt_tokens - t->kept_tokens;
    const double prefill = rate(fresh, t->prefill_seconds), decode = rate(a->fed, a->seconds);
    if (t->left_out > 0)
        fprintf(
            stderr,
            "(the %lld oldest messages no longer fit in the context of %lld tokens: left out)\n",
            (long long)t->left_out, (long long)mz_dialog_context(c->dialog));
    fprintf(stderr, "[prefill %lld tokens", (long long)fresh);
    if (isfinite(prefill)) fprintf(stderr, " at %.1f/s", prefill);
    if (t->kept_tokens > 0) fprintf(stderr, ", %lld kept", (long long)t->kept_tokens);
    fprintf(stderr, "; decode %zu tokens", a->ids.count);
    if (isfinite(decode)) fprintf(stderr, " at %.1f/s", decode);
    if (strcmp(a->stop, "interrupted") == 0) fprintf(stderr, "; interrupted");
    if (t->is_full)
        fprintf(stderr, "; the context of %lld tokens is full",
                (long long)mz_dialog_context(c->dialog));
    else if (strcmp(a->stop, "length") == 0)
        fprintf(stderr, "; cut at --max-tokens");
    fprintf(stderr, "]\n");
}

static mz_err finish(chat *c, mz_err err, mz_dialog_turn *turn)
{
    if (err == MZ_EUSAGE) { /* a message that cannot be taken; the conversation goes on */
        const mz_err_info *why = mz_err_last();
        fprintf(stderr, "%s%s%s\n", why->message, why->fix[0] ? ": " : "", why->fix);
        c->refused = true;
        return MZ_OK;
    }
    MZ_TRY(err);
    if (c->json)
        err = print_json(turn);
    else
        (void)putchar('\n');
    (void)fflush(stdout);
    if (!ferror(stdout)) print_speed(c, turn);
    mz_answer_clear(&turn->answer);
    if (err == MZ_OK && ferror(stdout)) err = MZ_FAIL(MZ_EIO, "stdout: a write failed");
    return err;
}

/* ---- what is typed ---- */

typedef enum got { GOT_LINE, GOT_END, GOT_NOTHING } got;

/* One line without its end. GOT_NOTHING: interrupted. */
static mz_err read_line(mz_str *line, got *what)
{
    *what = GOT_LINE;
    for (;;) {
        errno = 0;
        const int c = getchar();
        if (c == '\n') return MZ_OK;
        if (c == EOF) {
            const bool broken = ferror(stdin) != 0, interrupted = broken && errno == EINTR;
            clearerr(stdin);
            if (broken && !interrupted) return MZ_FAIL(MZ_EIO, "stdin: %s", strerror(errno));
            if (interrupted) line->len = 0;
            *what = interrupted ? GOT_NOTHING : line->len > 0 ? GOT_LINE : GOT_END;
            return MZ_OK;
        }
        if (line->len >= LINE_MAX_BYTES) return MZ_FAIL(MZ_EUSAGE, "a line of more than 16 MiB");
        const char byte = (char)c;
        MZ_TRY(mz_str_add(line, &byte, 1));
    }
}

/* A message: a line, and those after it while they end with a backslash. */
static mz_err read_message(const chat *c, mz_str *text, got *what)
{
    text->len = 0;
    for (bool more = false;; more = true) {
        if (c->is_terminal) fprintf(stderr, more ? "... " : "> ");
        MZ_TRY(read_line(text, what));
        if (*what != GOT_LINE) break;
        if (text->len > 0 && text->text[text->len - 1] == '\r') text->len--;
        if (text->len == 0 || text->text[text->len - 1] != '\\') break;
        text->text[text->len - 1] = '\n';
    }
    return mz_str_add(text, "", 0);
}

/* What follows the command's name, NULL if it is another one. */
static const char *argument_of(const char *text, const char *name)
{
    const size_t n = strlen(name);
    if (strncmp(text, name, n) != 0 || (text[n] != '\0' && text[n] != ' ')) return NULL;
    text += n;
    while (*text == ' ') text++;
    return text;
}

static mz_err think(chat *c, const char *how)
{
    if (strcmp(how, "on") != 0 && strcmp(how, "off") != 0) {
        fprintf(stderr, "/think on, or /think off\n");
        return MZ_OK;
    }
    mz_dialog_think(c->dialog, strcmp(how, "on") == 0 ? MZ_CHAT_THINKING_ON : MZ_CHAT_THINKING_OFF);
    return MZ_OK;
}

static mz_err retry(chat *c)
{
    mz_dialog_turn turn;
    return finish(c, mz_dialog_retry(c->dialog, &turn), &turn);
}

/* *leave is set by /quit. */
static mz_err command(chat *c, const char *text, bool *leave)
{
    const char *rest;
    if (argument_of(text, "/quit") || argument_of(text, "/exit"))
        *leave = true;
    else if (argument_of(text, "/help"))
        fprintf(stderr, "%s", HELP);
    else if (argument_of(text, "/reset"))
        mz_dialog_forget(c->dialog);
    else if (argument_of(text, "/undo"))
        fprintf(stderr, mz_dialog_undo(c->dialog) ? "(forgotten)\n" : "nothing was said yet\n");
    else if (argument_of(text, "/tokens"))
        fprintf(stderr, "%lld of %lld tokens, %lld messages\n",
                (long long)mz_dialog_tokens(c->dialog), (long long)mz_dialog_context(c->dialog),
                (long long)mz_dialog_messages(c->dialog));
    else if ((rest = argument_of(text, "/think")))
        return think(c, rest);
    else if ((rest = argument_of(text, "/system")))
        return mz_dialog_system(c->dialog, rest, strlen(rest));
    else if (argument_of(text, "/retry"))
        return retry(c);
    else
        fprintf(stderr, "there is no such command; /help lists them\n");
    return MZ_OK;
}

static mz_err say(chat *c, const mz_str *text, bool *leave)
{
    mz_dialog_turn turn;
    const bool escaped = text->len > 1 && text->text[0] == '/' && text->text[1] == '/';
    if (text->len == 0) return MZ_OK;
    if (text->text[0] == '/' && !escaped) return command(c, text->text, leave);
    const size_t skip = escaped ? 1 : 0;
    return finish(c, mz_dialog_ask(c->dialog, text->text + skip, text->len - skip, &turn), &turn);
}

static mz_err converse(chat *c)
{
    mz_str text = {0};
    mz_err err = MZ_OK;
    bool leave = false, warned = false;
    if (c->is_terminal) fprintf(stderr, "/help shows the commands\n");
    while (err == MZ_OK && !leave) {
        got what = GOT_END;
        interrupts = 0;
        err = read_message(c, &text, &what);
        if (err != MZ_OK || what == GOT_END) break;
        if (what == GOT_NOTHING) { /* Ctrl-C at the prompt: once is a slip */
            fprintf(stderr, warned ? "\n" : "\n(Ctrl-C again, /quit or Ctrl-D leaves)\n");
            leave = warned || !c->is_terminal;
            warned = true;
            continue;
        }
        warned = false;
        err = say(c, &text, &leave);
    }
    if (c->is_terminal && !leave) fprintf(stderr, "\n");
    mz_str_clear(&text);
    return err;
}

/* ---- */

static mz_err options_of(const mz_cli *cli, chat *c, const char *stops[MZ_STOPS_MAX],
                         mz_dialog_options *o)
{
    static const mz_sampling own = {.temperature = (double)NAN,
                                    .top_p = (double)NAN,
                                    .min_p = (double)NAN,
                                    .repeat_penalty = (double)NAN,
                                    .top_k = -1,
                                    .repeat_last = 64};
    const char *thinking = mz_cli_text(cli, "thinking", "");
    const char *name = mz_cli_text(cli, "chat-template", NULL);
    *o = (mz_dialog_options){.context = mz_cli_int(cli, "context", 0),
                             .adapter = mz_cli_text(cli, "adapter", NULL),
                             .sampling = mz_cli_sampling(cli, &own),
                             .thinking = strcmp(thinking, "on") == 0    ? MZ_CHAT_THINKING_ON
                                         : strcmp(thinking, "off") == 0 ? MZ_CHAT_THINKING_OFF
                                                                        : MZ_CHAT_AS_USUAL,
                             .answer = {.max_tokens = mz_cli_int(cli, "max-tokens", 1024),
                                        .stops = stops,
                                        .on_text = stream,
                                        .is_halted = is_halted,
                                        .user = c}};
    MZ_TRY(mz_cli_stops(cli, stops, &o->answer.n_stops));
    MZ_TRY(mz_cli_dtype(cli, MZ_F32, &o->dtype));
    o->as_stored = !mz_cli_text(cli, "dtype", NULL);
    return name ? mz_chat_find(&o->chat, name)
                : mz_app_open_chat(&o->chat, mz_cli_argument(cli, 0));
}

static void catch_interrupts(void)
{
    struct sigaction act;
    memset(&act, 0, sizeof act);
    act.sa_handler = on_interrupt; /* without SA_RESTART: it also ends a wait for a line */
    (void)sigemptyset(&act.sa_mask);
    (void)sigaction(SIGINT, &act, NULL);
}

static mz_err run(const mz_cli *cli)
{
    mz_tokenizer *t = NULL;
    mz_chips chips = {0};
    mz_dialog_options o;
    const char *stops[MZ_STOPS_MAX], *system = mz_cli_text(cli, "system", NULL);
    chat c = {.json = mz_cli_flag(cli, "json"), .is_terminal = isatty(STDIN_FILENO) == 1};
    MZ_TRY(
        mz_app_open_tokenizer(&t, mz_cli_argument(cli, 0))); /* first: is there a model at all? */
    mz_err err = options_of(cli, &c, stops, &o);
    if (err == MZ_OK) err = mz_app_open_chips(cli, &chips);
    if (err == MZ_OK) err = mz_dialog_open(&c.dialog, &chips, mz_cli_argument(cli, 0), t, &o);
    if (err == MZ_OK && system) err = mz_dialog_system(c.dialog, system, strlen(system));
    if (err == MZ_OK) {
        catch_interrupts();
        err = converse(&c);
    }
    mz_dialog_free(c.dialog);
    mz_app_close_chips(&chips);
    mz_tokenizer_free(t);
    if (err == MZ_OK && c.refused && !c.is_terminal)
        err = MZ_FAIL(MZ_EUSAGE, "at least one message was refused");
    return err;
}

const mz_command mz_cmd_chat = {
    .name = "chat",
    .arguments = "MODEL",
    .least = 1,
    .most = 1,
    .summary = "talk with a model",
    .description =
        "MODEL is a Hugging Face folder or a GGUF file. Each line is a message; /help shows the\n"
        "commands. Sampling is what the model's generation_config.json says unless an option\n"
        "says otherwise. With --json each answer is one line of JSON.",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON | MZ_COMMON_CHIP | MZ_COMMON_RANKS | MZ_COMMON_SEED | MZ_COMMON_DTYPE |
              MZ_COMMON_SAMPLING,
    .examples = "mizan chat MODEL\n"
                "mizan chat model.gguf --temperature 0.7 --system \"Answer briefly.\"",
    .run = run,
};
