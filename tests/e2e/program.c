/* SPDX-License-Identifier: Apache-2.0 */
/* tests/e2e/program.c - see program.h. */
#include "tests/e2e/program.h"

#include "base/file.h"
#include "base/folder.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[512], program[PATH_MAX], root[PATH_MAX], input[PATH_MAX];
static int output = -1;

int program_set_up(void **state)
{
    (void)state;
    const char *name = getenv("MIZAN_PROGRAM"), *tmp = getenv("TMPDIR");
    const char *fast = mz_file_is_dir("/dev/shm") ? "/dev/shm" : "/tmp"; /* fsync costs nothing */
    if (!name || !*name || access(name, X_OK) != 0) {
        print_message("MIZAN_PROGRAM names no program: skipped\n");
        exit(77);
    }
    (void)snprintf(program, sizeof program, "%s", name);
    (void)snprintf(folder, sizeof folder, "%s/mz-e2e-XXXXXX", tmp && *tmp ? tmp : fast);
    if (!mkdtemp(folder) || !getcwd(root, sizeof root)) return -1;
    /* its runs are no runs of the user's, nor of another test's */
    return setenv("XDG_STATE_HOME", program_path(".state"), 1);
}

int program_tear_down(void **state)
{
    (void)state;
    return mz_folder_remove(folder) == MZ_OK ? 0 : -1;
}

const char *program_path(const char *name)
{
    static char path[8][PATH_BYTES];
    static unsigned turn;
    char *p = path[turn++ % 8];
    assert_int_equal(mz_path_join(p, sizeof path[0], folder, name), MZ_OK);
    return p;
}

const char *program_root(void)
{
    return root;
}

void program_output(int file)
{
    output = file;
}

void program_input(const char *path)
{
    (void)snprintf(input, sizeof input, "%s", path ? path : "");
}

/* In the child: only what is safe after a fork. */
static void become(const char *const *words, const char *out, const char *err, long file_bytes)
{
    union { /* execv wants what it does not write to */
        const char *in[WORDS_MAX + 2];
        char *out[WORDS_MAX + 2];
    } argv = {.in = {program}};
    int n = 0;
    while (words[n] && n < WORDS_MAX) n++;
    memcpy(argv.in + 1, words, (size_t)n * sizeof *words);
    argv.in[n + 1] = NULL;
    const int o = output >= 0 ? output : open(out, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    const int e = open(err, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    const int i = input[0] ? open(input, O_RDONLY) : STDIN_FILENO;
    if (i < 0 || dup2(i, STDIN_FILENO) < 0) _exit(126);
    if (o < 0 || e < 0 || dup2(o, STDOUT_FILENO) < 0 || dup2(e, STDERR_FILENO) < 0) _exit(126);
    if (file_bytes > 0) {
        const struct rlimit limit = {(rlim_t)file_bytes, (rlim_t)file_bytes};
        (void)signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(126);
    }
    (void)execv(program, argv.out);
    _exit(127);
}

pid_t program_start(const char *const *words, long file_bytes)
{
    const char *out = program_path("out"), *err = program_path("err");
    (void)fflush(NULL);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) become(words, out, err, file_bytes);
    return pid;
}

int program_wait(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int program_run(const char *const *words)
{
    return program_wait(program_start(words, 0));
}

char *program_text(const char *name)
{
    static char text[1 << 16];
    FILE *f = fopen(program_path(name), "rb");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    assert_int_equal(fclose(f), 0);
    return text;
}

json_t *program_json(void)
{
    json_error_t why;
    json_t *o = json_loads(program_text("out"), 0, &why);
    if (!o) fail_msg("not JSON: %s in %s", why.text, program_text("out"));
    return o;
}

bool program_has_chip(const char *name)
{
    static const char *const words[] = {"chips", "--json", NULL};
    bool is_there = false;
    size_t i;
    json_t *chip;
    assert_int_equal(program_run(words), 0);
    json_t *o = program_json();
    json_array_foreach(json_object_get(o, "chips"), i,
                       chip) if (strcmp(json_string_value(json_object_get(chip, "name")), name) ==
                                 0) is_there = json_is_true(json_object_get(chip, "usable"));
    json_decref(o);
    return is_there;
}
