/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_train.c - `mizan train`: reads the configuration, runs it, and shows how it goes. Floor:
 * app. */
#include "app/commands.h"
#include "app/gauge.h"
#include "app/progress.h"
#include "app/run_entry.h"
#include "app/work.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/options.h"
#include "base/str.h"
#include "train/placement.h"
#include "train/ranks.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const mz_option OPTIONS[] = {
    {.name = "dry-run", .help = "say what it would take in memory, and end"},
    {.name = "profile",
     .kind = MZ_OPTION_TEXT,
     .value = "FILE",
     .help = "write the time of each of the last 131072 operators, for a trace viewer "
             "(chrome://tracing, "
             "Perfetto); rank N > 0 writes FILE.rankN"},
    {0},
};

enum { GAUGE_NS = 20000000 };

static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
    stop_signal = number;
    (void)signal(number, SIG_DFL); /* a second one ends the process at once */
}

/* ---- progress ---- */

typedef struct view {
    bool in_place, is_open; /* is_open: a line without its end stands on the terminal */
    int64_t first_step, begun_ns, shown_ns;
    double gemm; /* of the chip, measured before the first step; 0: unknown */
    mz_step_record last;
    mz_work work; /* of a run without ranks, and what its formula says */
    double formula;
    mz_run_entry entry; /* of the registry; in the process that holds the folder */
    const mz_train_config *config;
    char chip[128]; /* of the one rank, where no ranks are given */
    bool may_move;  /* not under MPI, where somebody else has started the ranks */
    bool moved;     /* stopping, to begin anew on other chips */
    bool trying;    /* moved, and no step has been made there yet */
} view;

/* What there is to say besides: share of the chip's matrix products, memory, validation, skips. */
static void add_rest(const view *v, const mz_step_record *r, char *line, size_t bytes)
{
    char text[32];
    size_t at = strlen(line);
    if (v->gemm > 0.0 && at < bytes)
        at += (size_t)snprintf(line + at, bytes - at, "  %.0f %% of GEMM",
                               100.0 * r->flops_per_s / v->gemm);
    if (r->peak_bytes > 0 && at < bytes)
        at += (size_t)snprintf(line + at, bytes - at, "  %s",
                               mz_str_bytes(text, (double)r->peak_bytes));
    if (r->best_step > 0 && at < bytes)
        at += (size_t)snprintf(line + at, bytes - at, "  best validation %.4f (step %lld)",
                               r->best_loss, (long long)r->best_step);
    if (r->skipped > 0 && at < bytes)
        (void)snprintf(line + at, bytes - at, "  %lld skipped", (long long)r->skipped);
}

/* Lines that stay: a validation, a text. */
static void show_looks(view *v, const mz_step_record *r)
{
    if (isnan(r->eval_loss) && !r->text) return;
    if (v->is_open) fputc('\n', stderr);
    v->is_open = false;
    if (!isnan(r->eval_loss))
        fprintf(stderr, "step %lld: validation loss %.4f%s\n", (long long)r->step, r->eval_loss,
                r->best_step == r->step ? ", the best so far" : "");
    if (!r->text) return;
    fprintf(stderr, "step %lld: ", (long long)r->step);
    for (const char *c = r->text; *c; c++) /* a model may write what moves the cursor */
        fputc((unsigned char)*c < 0x20 || *c == 0x7f ? ' ' : *c, stderr);
    fputc('\n', stderr);
}

/* The first step on other chips: whoever asked for them hears of it. */
static void settle_move(view *v)
{
    if (!v->trying) return;
    v->trying = false;
    if (mz_placement_prove(v->config->run_dir) != MZ_OK)
        fprintf(stderr, "mizan: %s\n", mz_err_last()->message);
}

/* One line a step in place on a terminal; where the output is kept, at most one a second. */
static void show(void *user, const mz_step_record *r)
{
    view *v = user;
    char left[32], line[400];
    const int64_t now = mz_clock_ns();
    v->last = *r;
    v->last.text = NULL; /* it is the run's */
    settle_move(v);
    v->formula += r->flop;
    show_looks(v, r);
    const bool is_last = r->step == r->steps;
    const bool is_due = now - v->shown_ns >= (v->in_place ? 100000000 : 1000000000);
    if (v->first_step < 0) v->first_step = r->step - 1;
    if (!is_last && !is_due && !r->why_skipped) return;
    v->shown_ns = now;
    const double each = (double)(now - v->begun_ns) * 1e-9 / (double)(r->step - v->first_step);
    (void)snprintf(
        line, sizeof line,
        "%5.1f %%  step %lld/%lld  %s left  loss %.4f  lr %.3g  norm %.3g  %.0f tokens/s",
        100.0 * (double)r->step / (double)r->steps, (long long)r->step, (long long)r->steps,
        mz_progress_time(left, each * (double)(r->steps - r->step)), r->loss, r->lr, r->grad_norm,
        r->tokens_per_s);
    add_rest(v, r, line, sizeof line);
    fprintf(stderr, "%s%s", v->in_place ? "\r\033[K" : "", line);
    v->is_open = v->in_place && !is_last;
    if (!v->is_open) fputc('\n', stderr);
    fflush(stderr);
}

static void begun(void *user)
{
    view *v = user;
    /* somebody may have moved it after we had read where to begin, and before it was ours */
    if (v->may_move && mz_placement_is_newer(v->config)) v->moved = true;
    mz_run_begun(&v->entry, v->config, v->chip);
}

static int mpi_rank(void)
{
    mz_options environment;
    mz_options_init(&environment);
    return environment.mpi_rank;
}

static bool stops(void *user)
{
    view *v = user;
    const bool is_asked =
        stop_signal == 0 && !v->trying && mz_placement_is_asked(v->config->run_dir);
    if (is_asked && v->may_move) v->moved = true;
    if (is_asked && mpi_rank() == 0 &&
        mz_placement_refuse(v->config->run_dir, "its ranks were started by mpirun or srun, which "
                                                "alone can start others: stop it, and start it "
                                                "with other ranks") != MZ_OK)
        fprintf(stderr, "mizan: %s\n", mz_err_last()->message);
    return stop_signal != 0 || v->moved;
}

/* Chips that fail before they made a step are not tried again: the run has others to go back to. */
static bool gives_up(void *user)
{
    const view *v = user;
    return v->trying;
}

/* ---- the dry run ---- */

static const struct {
    const char *name;
    size_t offset;
} PARTS[] = {
    {"weights", offsetof(mz_train_bytes, weights)},
    {"gradients", offsetof(mz_train_bytes, gradients)},
    {"optimizer", offsetof(mz_train_bytes, optimizer)},
    {"activations", offsetof(mz_train_bytes, activations)},
    {"workspace", offsetof(mz_train_bytes, workspace)},
    {"staging", offsetof(mz_train_bytes, staging)},
    {"snapshot", offsetof(mz_train_bytes, snapshot)},
    {"sum", offsetof(mz_train_bytes, sum)},
};

static size_t bytes_of(const mz_train_bytes *b, int i)
{
    return *(const size_t *)(const void *)((const char *)b + PARTS[i].offset);
}

static void print_plan(const mz_train_bytes *b, int64_t rank, const char *chip)
{
    printf("rank %lld on %s\n", (long long)rank, chip);
    for (int i = 0; i < MZ_COUNT(PARTS); i++) {
        char text[32];
        printf("  %-12s %s\n", PARTS[i].name, mz_str_bytes(text, (double)bytes_of(b, i)));
    }
}

static json_t *plan_json(const mz_train_bytes *b, int64_t rank, const char *chip)
{
    json_t *o = json_object();
    int bad = json_object_set_new(o, "rank", json_integer(rank));
    bad |= json_object_set_new(o, "chip", json_string(chip));
    for (int i = 0; i < MZ_COUNT(PARTS); i++)
        bad |= json_object_set_new(o, PARTS[i].name, json_integer((json_int_t)bytes_of(b, i)));
    if (bad == 0) return o;
    json_decref(o);
    return NULL;
}

typedef struct printing {
    const mz_train_config *config;
    const char *chip; /* of the one rank, where no ranks are given */
    bool as_json;
} printing;

static mz_err print_plans(void *user, const mz_train_bytes *plans)
{
    const printing *p = user;
    const int64_t n = p->config->n_ranks > 0 ? p->config->n_ranks : 1;
    json_t *ranks = json_array();
    size_t sum = 0;
    int bad = 0;
    for (int64_t i = 0; i < n; i++) {
        const char *chip = p->config->n_ranks > 0 ? p->config->ranks[i].chip : p->chip;
        sum += plans[i].sum;
        if (p->as_json)
            bad |= json_array_append_new(ranks, plan_json(&plans[i], i, chip));
        else
            print_plan(&plans[i], i, chip);
    }
    if (!p->as_json) {
        json_decref(ranks);
        return fflush(stdout) == 0 ? MZ_OK : MZ_FAIL(MZ_EIO, "stdout: a write failed");
    }
    json_t *o = mz_cli_document();
    bad |= json_object_set_new(o, "ranks", ranks);
    bad |= json_object_set_new(o, "sum", json_integer((json_int_t)sum));
    if (bad != 0) {
        json_decref(o);
        return mz_cli_json_failed();
    }
    MZ_TRY(mz_cli_print(o));
    return fflush(stdout) == 0 ? MZ_OK : MZ_FAIL(MZ_EIO, "stdout: a write failed");
}

static mz_err print_end(const mz_train_config *c, const view *v)
{
    json_t *o = mz_cli_document();
    const bool ran = v->first_step >= 0;
    int bad = json_object_set_new(o, "run", json_string(c->run_dir));
    bad |= json_object_set_new(o, "step", json_integer(c->run_steps));
    bad |= json_object_set_new(o, "loss", ran ? mz_json_number(v->last.loss) : json_null());
    bad |= json_object_set_new(o, "done", json_true());
    if (ran && c->n_ranks == 0)
        bad |= json_object_set_new(o, "work", mz_work_json(&v->work, v->formula));
    if (bad != 0) {
        json_decref(o);
        return mz_cli_json_failed();
    }
    return mz_cli_print(o);
}

/* ---- the command ---- */

/* In a moment, and freed before the run books its own memory. Without it the share is not shown. */
static void gauge(mz_device *device, const mz_train_config *c, view *v)
{
    mz_queue *q = NULL;
    if (mz_queue_open(&q, device) != MZ_OK) return;
    if (mz_gauge_gemm(q, c->dtype == 1 ? MZ_BF16 : MZ_F32, GAUGE_NS, &v->gemm) != MZ_OK)
        v->gemm = 0.0;
    mz_queue_close(q);
    mz_device_restart_peak(
        device); /* the run's own, which does not depend on how fast it is here */
    mz_err_clear();
}

static mz_err train_alone(const mz_cli *cli, const mz_train_config *c, const mz_train_hooks *hooks)
{
    mz_device *device = NULL;
    view *v = hooks->user;
    MZ_TRY(mz_cli_open_chip(cli, &device));
    (void)snprintf(v->chip, sizeof v->chip, "%s", device->info.name);
    gauge(device, c, v);
    const mz_err err = mz_train_run(c, device, hooks);
    mz_device_close(device);
    return err;
}

static mz_err train_ranks(const mz_cli *cli, const mz_train_config *c, const mz_train_hooks *hooks)
{
    const mz_ranks_options o = {.chip = mz_cli_chip_options(cli), .hooks = hooks};
    return mpi_rank() >= 0 ? mz_train_in_mpi(c, &o) : mz_train_ranks(c, &o);
}

static mz_err dry_run(const mz_cli *cli, const mz_train_config *c)
{
    printing p = {.config = c, .as_json = mz_cli_flag(cli, "json")};
    if (mpi_rank() > 0) return MZ_OK; /* one of them says it for all */
    if (c->n_ranks > 0) {
        const mz_chip_options o = mz_cli_chip_options(cli);
        return mz_train_plan_ranks(c, &o, print_plans, &p);
    }
    mz_device *device = NULL;
    mz_train_bytes bytes;
    MZ_TRY(mz_cli_open_chip(cli, &device));
    mz_err err = mz_train_plan(&bytes, c, device, 0);
    p.chip = device->info.name;
    if (err == MZ_OK) err = print_plans(&p, &bytes);
    mz_device_close(device);
    return err;
}

/* The same command in this process's place: drivers cannot be opened anew in one that had them
 * open. Comes back only where that failed. */
static mz_err begin_anew(const char *says)
{
    enum { WORDS_MAX = 4096 };
    static char text[1 << 18];
    char *words[WORDS_MAX];
    size_t n = 0;
    FILE *own = fopen("/proc/self/cmdline", "rb");
    const size_t bytes = own ? fread(text, 1, sizeof text - 1, own) : 0;
    if (own) (void)fclose(own);
    for (size_t at = 0; at < bytes && n < WORDS_MAX - 1; at += strlen(text + at) + 1)
        words[n++] = text + at;
    words[n] = NULL;
    fprintf(stderr, "mizan: %s\n", says);
    fflush(stderr);
    if (n > 0 && bytes < sizeof text - 1) (void)execv("/proc/self/exe", words);
    return MZ_FAIL(MZ_EIO, "it cannot be started anew (%s); the same command goes on",
                   strerror(errno));
}

/* The chips that it was moved to did not make one step: on with those that it had. */
static mz_err go_back(const char *run, mz_err err)
{
    const mz_err_info why = *mz_err_last();
    if (mz_placement_refuse(run, why.message) == MZ_OK) {
        fprintf(stderr, "mizan: %s\n", why.message);
        (void)begin_anew("not one step was made where the run was moved to; going on with the "
                         "ranks that it had");
    }
    mz_err_restore(&why);
    return err;
}

static mz_err train(const mz_cli *cli, const mz_train_config *c, view *v, bool unproven)
{
    *v = (view){.in_place = isatty(STDERR_FILENO) == 1,
                .first_step = -1,
                .begun_ns = mz_clock_ns(),
                .may_move = mpi_rank() < 0,
                .trying = unproven,
                .config = c};
    const mz_train_hooks hooks = {.user = v,
                                  .begun = begun,
                                  .stops = stops,
                                  .gives_up = gives_up,
                                  .step = show,
                                  .profile = mz_cli_text(cli, "profile", NULL),
                                  .work = &v->work};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    const mz_err err = c->n_ranks > 0 ? train_ranks(cli, c, &hooks) : train_alone(cli, c, &hooks);
    if (v->is_open) fputc('\n', stderr);
    mz_work_tell(&v->work);
    mz_run_ended(&v->entry, err);
    if (err == MZ_EINTR && stop_signal == 0 && v->moved)
        return begin_anew("saved; going on where the run was moved to");
    if (err == MZ_OK) settle_move(v);
    if (v->trying && err != MZ_EINTR && err != MZ_EBUSY && stop_signal == 0)
        return go_back(c->run_dir, err);
    if (err != MZ_OK) return err;
    return mz_cli_flag(cli, "json") && mpi_rank() <= 0 ? print_end(c, v) : MZ_OK;
}

/* What the configuration says, and what `runs move` said since. */
static mz_err read_config(const mz_cli *cli, mz_train_config *c, bool *unproven)
{
    bool moved = false;
    mz_placement state = {.unproven = false};
    *unproven = false;
    MZ_TRY(mz_cli_train_config(cli, 0, c));
    if (c->n_ranks > 0 && mz_cli_text(cli, "chip", NULL))
        return MZ_FAIL(MZ_EUSAGE, "--chip is given, and the configuration has ranks");
    if (mpi_rank() >= 0) return MZ_OK;
    MZ_TRY(mz_placement_use(c, &moved));
    MZ_TRY(mz_placement_state(c->run_dir, &state));
    *unproven = state.unproven;
    if (!*unproven && !mz_cli_flag(cli, "dry-run")) MZ_TRY(mz_placement_answer(c->run_dir));
    if (!moved) return MZ_OK;
    mz_str ranks = {0};
    const mz_err err = mz_key_write(mz_key_find("ranks"), c, &ranks);
    if (err == MZ_OK) fprintf(stderr, "mizan: this run was moved: ranks are %s\n", ranks.text);
    mz_str_clear(&ranks);
    return err;
}

static mz_err run(const mz_cli *cli)
{
    mz_train_config *c = NULL;
    MZ_TRY(mz_mem_new(&c, 1, sizeof *c));
    bool unproven = false;
    mz_err err = read_config(cli, c, &unproven);
    if (err == MZ_OK && mz_cli_flag(cli, "dry-run")) {
        err = dry_run(cli, c);
    } else if (err == MZ_OK) {
        /* rank 0 is another process and shows how it goes */
        view *v = mmap(NULL, sizeof *v, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        err = v != MAP_FAILED ? train(cli, c, v, unproven)
                              : MZ_FAIL(MZ_ENOMEM, "no memory to show progress");
        if (v != MAP_FAILED) (void)munmap(v, sizeof *v);
    }
    mz_mem_free(c);
    return err;
}

const mz_command mz_cmd_train = {
    .name = "train",
    .arguments = "CONFIG.yaml [KEY=VALUE...]",
    .least = 1,
    .most = -1,
    .summary = "train a model, or go on with a run",
    .description = "`mizan config schema` lists the keys. A run folder that holds a run is gone on "
                   "with. SIGTERM and SIGINT save and end with 75.\n"
                   "--json ends with the operations that ran, by operator, on the chip and on the "
                   "host (without ranks).",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON | MZ_COMMON_CHIP,
    .examples = "mizan train train.yaml\n"
                "mizan train train.yaml run.dir=runs/second optim.lr=3e-4\n"
                "mizan train train.yaml --dry-run",
    .run = run,
};
