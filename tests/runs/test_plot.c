/* SPDX-License-Identifier: Apache-2.0 */
/* tests/runs/test_plot.c - axes, thinned curves, the SVG and the picture of characters. */
#include "runs/axis.h"
#include "runs/panel.h"
#include "runs/plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* n steps, of which step i has loss[i], or i where loss is NULL; the rest is NaN. */
static mz_series series_of(const double *loss, int64_t n)
{
    mz_series s = {.n = n, .cap = n, .list = calloc((size_t)n, sizeof *s.list)};
    assert_non_null(s.list);
    for (int64_t i = 0; i < n; i++) {
        s.list[i] = (mz_record){.step = i + 1};
        for (int m = 0; m < MZ_METRIC_COUNT; m++) s.list[i].value[m] = (double)NAN;
        s.list[i].value[MZ_METRIC_LOSS] = loss ? loss[i] : (double)i;
    }
    return s;
}

static int count(const char *text, const char *word)
{
    int n = 0;
    for (; (text = strstr(text, word)); text += strlen(word)) n++;
    return n;
}

/* ---- axes ---- */

static void check_axis(double low, double high, bool is_log, const char *want)
{
    mz_axis a;
    char text[256] = "", label[32];
    mz_axis_set(&a, low, high, is_log, 5);
    assert_true(a.low < a.high && a.n >= 2);
    for (int i = 0; i < a.n; i++) {
        assert_true(a.tick[i] >= a.low * (1 - 1e-9) - 1e-12 && a.tick[i] <= a.high * (1 + 1e-9));
        const size_t n = strlen(text);
        (void)snprintf(text + n, sizeof text - n, "%s%s", n ? " " : "",
                       mz_axis_label(&a, a.tick[i], label));
    }
    assert_string_equal(text, want);
    if (isfinite(low) && low < high) {
        assert_true(mz_axis_at(&a, low) >= 0.0 && mz_axis_at(&a, high) <= 1.0);
        assert_true(mz_axis_at(&a, low) < 0.1 && mz_axis_at(&a, high) > 0.9);
    }
}

static void ticks_are_where_people_put_them(void **state)
{
    (void)state;
    check_axis(0, 10, false, "0 2 4 6 8 10");
    check_axis(1.97, 8.01, false, "2 4 6 8");
    check_axis(0, 4e-3, false, "0 0.001 0.002 0.003 0.004");
    check_axis(0, 4e-4, false, "0 1e-4 2e-4 3e-4 4e-4");
    check_axis(11800, 16100, false, "12k 13k 14k 15k 16k");
    check_axis(0, 1e6, false, "0 0.2M 0.4M 0.6M 0.8M 1M");
    check_axis(-3, 3, false, "-2 0 2");
    check_axis(5, 5, false, "4.6 4.8 5.0 5.2 5.4");
    check_axis(0, 0, false, "0 0.2 0.4 0.6 0.8 1.0");
    check_axis((double)NAN, (double)NAN, false, "0 0.2 0.4 0.6 0.8 1.0");
    check_axis(HUGE_VAL, -HUGE_VAL, false, "0 0.2 0.4 0.6 0.8 1.0");
    check_axis(0.001, 1000, true, "0.01 1 100");
    check_axis(1.9, 8.2, true, "2 3 4 5 7");
    check_axis(1e-300, 1e300, true, "1e-248 1e-124 1 1e124 1e248");
    check_axis(-1, 10, true, "0 2 4 6 8 10"); /* no logarithm of it */
}

static void steps_are_whole(void **state)
{
    (void)state;
    mz_axis a;
    mz_axis_set_steps(&a, 1, 1, 5);
    assert_true(a.n == 3 && fabs(a.tick[0]) < 1e-9 && fabs(a.tick[1] - 1.0) < 1e-9);
    mz_axis_set_steps(&a, 1, 3, 10);
    assert_true(a.n == 3 && fabs(a.tick[2] - 3.0) < 1e-9);
    mz_axis_set_steps(&a, 1, 1000000, 5);
    assert_true(a.n == 5 && fabs(a.tick[0] - 200000.0) < 1e-6);
}

/* ---- curves ---- */

static void thin_curves_keep_extremes_and_gaps(void **state)
{
    (void)state;
    enum { N = 100000, COLUMNS = 100 };
    mz_series s = series_of(NULL, N);
    mz_points t;
    for (int64_t i = 0; i < N; i++) s.list[i].value[MZ_METRIC_LOSS] = sin((double)i * 0.37);
    s.list[54321].value[MZ_METRIC_LOSS] = 50.0;
    s.list[777].value[MZ_METRIC_LOSS] = -50.0;
    for (int64_t i = 80000; i < 83000; i++) s.list[i].value[MZ_METRIC_LOSS] = (double)NAN;
    const mz_thin how = {.metric = MZ_METRIC_LOSS, .columns = COLUMNS, .low = 1, .high = N};
    assert_int_equal(mz_points_make(&t, &s, &how), MZ_OK);
    assert_true(t.n <= 4 * COLUMNS);
    double low = 0.0, high = 0.0;
    int gaps = 0;
    for (int64_t i = 0; i < t.n; i++) {
        if (i > 0) assert_true(t.x[i] >= t.x[i - 1]);
        if (isnan(t.y[i])) {
            gaps++;
            assert_true(t.x[i] >= 79000.0 && t.x[i] <= 84001.0);
            continue;
        }
        assert_true(t.x[i] <= 80000.0 || t.x[i] > 83000.0);
        low = fmin(low, t.y[i]), high = fmax(high, t.y[i]);
    }
    assert_true(fabs(low + 50.0) < 1e-12 && fabs(high - 50.0) < 1e-12 && gaps >= 1);
    mz_points_clear(&t);
    free(s.list);
}

static void means_leave_out_what_is_no_number(void **state)
{
    (void)state;
    const double loss[] = {1.0, 2.0, (double)NAN, 4.0, 9.0};
    const double want[] = {1.5, 1.5, (double)NAN, 6.5, 6.5};
    mz_series s = series_of(loss, 5);
    mz_points t;
    const mz_thin how = {.metric = MZ_METRIC_LOSS, .smooth = 3, .columns = 9, .low = 1, .high = 5};
    assert_int_equal(mz_points_make(&t, &s, &how), MZ_OK);
    assert_int_equal(t.n, 5);
    for (int i = 0; i < 5; i++)
        assert_true(isnan(want[i]) ? isnan(t.y[i]) : fabs(t.y[i] - want[i]) < 1e-12);
    mz_points_clear(&t);
    free(s.list);
}

/* ---- SVG ---- */

static void draw(mz_str *out, const mz_series *s, const char *name, unsigned log)
{
    const mz_plot_run run = {name, s};
    const mz_plot plot = {
        .runs = &run, .n = 1, .metrics = MZ_METRIC_BIT(MZ_METRIC_LOSS), .log = log};
    mz_str_clear(out);
    assert_int_equal(mz_plot_svg(out, &plot), MZ_OK);
}

static void gaps_are_gaps(void **state)
{
    (void)state;
    const double loss[] = {3.0, 2.0, (double)NAN, 1.5, (double)NAN, 2.5, 2.0, -1.0};
    mz_series s = series_of(loss, 8);
    mz_str svg = {0};
    draw(&svg, &s, "run", 0);
    const char *curve = strstr(svg.text, "<path class=\"c s0 d0\"");
    assert_non_null(curve);
    char path[400];
    (void)snprintf(path, sizeof path, "%.*s", (int)strcspn(curve, ">"), curve);
    assert_int_equal(count(path, "M"), 2); /* two curves ... */
    assert_int_equal(count(path, "L"), 3);
    assert_int_equal(count(svg.text, "class=\"o s0\""), 1); /* ... and a point alone */
    assert_null(strstr(svg.text, "nan"));
    draw(&svg, &s, "run", MZ_METRIC_BIT(MZ_METRIC_LOSS)); /* -1 has no logarithm */
    assert_non_null(strstr(svg.text, "(logarithmic)"));
    assert_null(strstr(svg.text, "nan"));
    assert_null(strstr(svg.text, "inf"));
    mz_str_clear(&svg);
    free(s.list);
}

static void names_are_text(void **state)
{
    (void)state;
    mz_series s = series_of(NULL, 3);
    mz_str svg = {0};
    draw(&svg, &s, "<a href=\"x\">&\x01\xff\xe9'm\xc3\xa9", 0);
    assert_null(strstr(svg.text, "<a"));
    assert_int_equal(count(svg.text, "&lt;a href=&quot;x&quot;&gt;&amp;?"
                                     "?"
                                     "?'m\xc3\xa9"),
                     3);
    char name[20];
    assert_string_equal(mz_plot_name("0123456789012345678901234", name, sizeof name),
                        "0123456789012345\xe2\x80\xa6");
    mz_str_clear(&svg);
    free(s.list);
}

static void what_happened_is_marked(void **state)
{
    (void)state;
    mz_series s = series_of(NULL, 100);
    mz_str svg = {0};
    draw(&svg, &s, "run", 0);
    assert_null(strstr(svg.text, "skipped step"));
    assert_null(strstr(svg.text, "restart"));
    assert_null(strstr(svg.text, "validation"));
    for (int i = 40; i < 100; i++) s.list[i].skipped = i < 60 ? 1 : 2;
    s.list[70].is_resumed = true;
    s.list[9].value[MZ_METRIC_EVAL] = 5.0;
    s.list[19].value[MZ_METRIC_EVAL] = 6.0;
    draw(&svg, &s, "run", 0);
    assert_int_equal(count(svg.text, "skipped step"), 1);
    assert_int_equal(count(svg.text, "v-7.0"), 2);
    assert_int_equal(count(svg.text, ">restart<"), 1);
    assert_int_equal(count(svg.text, "validation loss"), 1);
    assert_int_equal(count(svg.text, "class=\"e s0\""), 3); /* one of them in the legend */
    mz_str_clear(&svg);
    free(s.list);
}

static void a_long_run_is_a_small_file(void **state)
{
    (void)state;
    enum { N = 300000 };
    mz_series s = series_of(NULL, N);
    mz_str svg = {0};
    for (int i = 0; i < N; i++) {
        for (int m = 0; m < MZ_METRIC_COUNT; m++) s.list[i].value[m] = (double)(i % 1009);
        s.list[i].skipped = i;
    }
    const mz_plot_run run = {"long", &s};
    assert_int_equal(mz_plot_svg(&svg, &(mz_plot){.runs = &run, .n = 1}), MZ_OK);
    assert_true(svg.len < 300000);
    assert_int_equal(count(svg.text, "<title>"), 1);
    assert_int_equal(count(svg.text, "<desc>"), 1);
    assert_non_null(strstr(svg.text, "prefers-color-scheme:dark"));
    mz_str_clear(&svg);
    free(s.list);
}

static void many_runs_differ(void **state)
{
    (void)state;
    enum { N = 40 };
    mz_series s[N];
    mz_plot_run runs[N];
    char names[N][16];
    mz_str svg = {0};
    for (int i = 0; i < N; i++) {
        s[i] = series_of(NULL, 4);
        (void)snprintf(names[i], sizeof names[i], "run %d", i);
        runs[i] = (mz_plot_run){names[i], &s[i]};
    }
    assert_int_equal(mz_plot_svg(&svg, &(mz_plot){.runs = runs, .n = N}), MZ_OK);
    for (int i = 0; i < N; i++) { /* colour and dashes of each are its own: 8 x 5 */
        char want[40];
        (void)snprintf(want, sizeof want, "class=\"c s%d d%d\"", i % 8, i % 5);
        assert_int_equal(count(svg.text, want), 1 + 4); /* the legend and four panels */
        free(s[i].list);
    }
    mz_str_clear(&svg);
}

/* ---- characters ---- */

static void letters_in_a_plain_terminal(void **state)
{
    (void)state;
    const double loss[] = {4.0, 3.0, 2.0, 1.0};
    mz_series s = series_of(loss, 4);
    const mz_plot_run run = {"run", &s};
    const mz_plot_screen screen = {.columns = 25, .rows = 4};
    mz_str text = {0};
    const mz_plot plot = {.runs = &run, .n = 1, .metrics = MZ_METRIC_BIT(MZ_METRIC_LOSS)};
    assert_int_equal(mz_plot_text(&text, &plot, &screen), MZ_OK);
    assert_string_equal(text.text, "         loss\n"
                                   "      4 +***\n"
                                   "        |   *****\n"
                                   "      2 +        *****\n"
                                   "        |             ***\n"
                                   "        +----------------\n"
                                   "              2         4\n");
    s.list[2].value[MZ_METRIC_EVAL] = 3.5;
    s.list[1].value[MZ_METRIC_LOSS] = (double)NAN;
    mz_str_clear(&text);
    assert_int_equal(mz_plot_text(&text, &plot, &screen), MZ_OK);
    assert_non_null(strstr(text.text, "         o\n"));
    assert_non_null(strstr(text.text, "o validation\n"));
    mz_str_clear(&text);
    free(s.list);
}

static void braille_and_colours(void **state)
{
    (void)state;
    mz_series s = series_of(NULL, 50);
    const mz_plot_run runs[] = {{"one", &s}, {"tw\xc3\xb6", &s}};
    mz_plot_screen screen = {.columns = 80, .rows = 6, .unicode = true};
    mz_plot plot = {.runs = runs, .n = 1, .metrics = MZ_METRIC_BIT(MZ_METRIC_LOSS)};
    mz_str text = {0};
    assert_int_equal(mz_plot_text(&text, &plot, &screen), MZ_OK);
    assert_non_null(strstr(text.text, "\xe2\xa0"));
    assert_null(strstr(text.text, "\033["));
    for (const char *at = text.text; *at;) { /* no line is wider than was asked for */
        int wide = 0;
        for (; *at && *at != '\n'; at++) wide += ((unsigned char)*at & 0xc0u) != 0x80u;
        assert_true(wide <= 80);
        at += *at == '\n';
    }
    plot.n = 2;
    mz_str_clear(&text);
    assert_int_equal(mz_plot_text(&text, &plot, &screen),
                     MZ_OK); /* dots alone would not say whose */
    assert_non_null(strstr(text.text, "a one   b tw\xc3\xb6\n"));
    screen.colour = true;
    mz_str_clear(&text);
    assert_int_equal(mz_plot_text(&text, &plot, &screen), MZ_OK);
    assert_non_null(strstr(text.text, "\033[33m"));
    screen = (mz_plot_screen){.columns = 40, .rows = 3};
    mz_str_clear(&text);
    assert_int_equal(mz_plot_text(&text, &plot, &screen), MZ_OK);
    for (const char *at = text.text; *at; at++) assert_true((signed char)*at > 0);
    mz_str_clear(&text);
    free(s.list);
}

static void nothing_is_said_to_be_nothing(void **state)
{
    (void)state;
    mz_series none = {0};
    const mz_plot_run run = {"run", &none};
    const mz_plot plot = {.runs = &run, .n = 1};
    mz_str text = {0};
    assert_int_equal(mz_plot_text(&text, &plot, &(mz_plot_screen){.columns = 80, .rows = 5}),
                     MZ_OK);
    assert_int_equal(count(text.text, "nothing to show yet"), 4);
    mz_str_clear(&text);
    assert_int_equal(mz_plot_svg(&text, &plot), MZ_OK);
    assert_int_equal(count(text.text, "nothing to show yet"), 4);
    assert_null(strstr(text.text, "nan"));
    mz_str_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ticks_are_where_people_put_them),
        cmocka_unit_test(steps_are_whole),
        cmocka_unit_test(thin_curves_keep_extremes_and_gaps),
        cmocka_unit_test(means_leave_out_what_is_no_number),
        cmocka_unit_test(gaps_are_gaps),
        cmocka_unit_test(names_are_text),
        cmocka_unit_test(what_happened_is_marked),
        cmocka_unit_test(a_long_run_is_a_small_file),
        cmocka_unit_test(many_runs_differ),
        cmocka_unit_test(letters_in_a_plain_terminal),
        cmocka_unit_test(braille_and_colours),
        cmocka_unit_test(nothing_is_said_to_be_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
