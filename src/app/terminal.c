/* SPDX-License-Identifier: Apache-2.0 */
/* app/terminal.c - see terminal.h. */
#include "app/terminal.h"

#include "base/options.h"

#include <langinfo.h>
#include <locale.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { COLUMNS = 80, COLUMNS_MOST = 200, ROWS = 24 };

/* The locale is the system's for a moment only: numbers are read and written in that of C. */
static bool is_utf8(void)
{
    (void)setlocale(LC_CTYPE, "");
    const bool is = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    (void)setlocale(LC_CTYPE, "C");
    return is;
}

mz_terminal mz_terminal_of_stdout(void)
{
    mz_options environment;
    struct winsize size = {0};
    mz_options_init(&environment);
    mz_terminal t = {.columns = COLUMNS, .rows = ROWS, .unicode = is_utf8()};
    t.is_terminal = isatty(STDOUT_FILENO) == 1;
    t.colour = t.is_terminal && !environment.no_color;
    if (t.is_terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        t.columns = size.ws_col < COLUMNS_MOST ? size.ws_col : COLUMNS_MOST;
        t.rows = size.ws_row > 0 ? size.ws_row : ROWS;
    }
    return t;
}
