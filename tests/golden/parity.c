/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/parity.c - see parity.h. */
#include "tests/golden/parity.h"

#include "base/file.h"
#include "base/json.h"
#include "file/safetensors.h"
#include "infer/probe.h"
#include "tests/near.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char FOLDER[] = "tests/golden";

typedef struct outcome {
    double logits_max, logits_l2, hidden, loss, grad_worst, grads_l2, decode, weights;
    char worst[160];
    int compared, wrong_ids;
} outcome;

typedef struct distance {
    double max, l2, largest, norm; /* of the difference; of what is wanted */
} distance;

static float value(const mz_st_tensor *t, int64_t i)
{
    float x;
    memcpy(&x, (const char *)t->data + i * 4, 4);
    return x;
}

static distance between(const mz_st_tensor *got, const mz_st_tensor *want)
{
    distance d = {0};
    double square = 0.0, wanted = 0.0;
    assert_int_equal(got->dtype, MZ_F32);
    assert_int_equal(got->count, want->count);
    for (int64_t i = 0; i < want->count; i++) {
        const double w = (double)value(want, i), x = (double)value(got, i) - w;
        if (!(fabs(x) <= d.max)) d.max = fabs(x); /* NaN comes through */
        if (fabs(w) > d.largest) d.largest = fabs(w);
        square += x * x;
        wanted += w * w;
    }
    d.l2 = sqrt(square);
    d.norm = sqrt(wanted);
    return d;
}

static double share(double part, double whole)
{
    return whole > 0.0 ? part / whole : part;
}

static void worse(double *worst, double x)
{
    if (!(x <= *worst)) *worst = x;
}

static void compare_one(outcome *o, const mz_st_tensor *got, const mz_st_tensor *want,
                        double *grads, double *grads_norm)
{
    if (want->dtype == MZ_I64) {
        assert_int_equal(got->bytes, want->bytes);
        o->wrong_ids += memcmp(got->data, want->data, want->bytes) != 0;
        return;
    }
    const distance d = between(got, want);
    if (strcmp(want->name, "logits") == 0) {
        o->logits_max = share(d.max, d.largest);
        o->logits_l2 = share(d.l2, d.norm);
    } else if (strcmp(want->name, "loss") == 0) {
        o->loss = d.max;
    } else if (strncmp(want->name, "grad.", 5) == 0) {
        const double e = share(d.l2, d.norm);
        if (!(e <= o->grad_worst)) snprintf(o->worst, sizeof o->worst, "%s", want->name);
        worse(&o->grad_worst, e);
        *grads += d.l2 * d.l2;
        *grads_norm += d.norm * d.norm;
    } else {
        worse(strncmp(want->name, "hidden.", 7) == 0 ? &o->hidden : &o->weights,
              share(d.max, d.largest));
    }
}

static outcome compare(const char *out, const char *want_path, bool with_greedy)
{
    mz_st_file *got = NULL, *want = NULL;
    outcome o = {0};
    double grads = 0.0, norm = 0.0;
    assert_int_equal(mz_st_open(&got, out), MZ_OK);
    assert_int_equal(mz_st_open(&want, want_path), MZ_OK);
    for (int64_t i = 0; i < mz_st_count(want); i++) {
        const mz_st_tensor *w = mz_st_at(want, i), *g = mz_st_find(got, w->name);
        if (!with_greedy && strcmp(w->name, "greedy.ids") == 0) continue;
        if (strncmp(w->name, "mtp.", 4) == 0) continue; /* tests/model/test_golden.c */
        if (!g) print_error("%s is missing\n", w->name);
        assert_non_null(g);
        compare_one(&o, g, w, &grads, &norm);
        o.compared++;
    }
    o.grads_l2 = sqrt(share(grads, norm));
    const mz_st_tensor *decode = mz_st_find(got, "decode.logits");
    assert_non_null(decode);
    const distance d = between(decode, mz_st_find(want, "logits"));
    o.decode = share(d.max, d.largest);
    mz_st_close(got);
    mz_st_close(want);
    return o;
}

static outcome probe(const mzt_parity_chip *chip, const char *name, mz_dtype dtype)
{
    char model[256], in[300], want[300], out[64];
    const bool forced = dtype == MZ_BF16;
    mz_device *device = NULL;
    snprintf(model, sizeof model, "%s/%s", FOLDER, name);
    snprintf(in, sizeof in, "%s/in.safetensors", model);
    snprintf(want, sizeof want, "%s/want.safetensors", model);
    snprintf(out, sizeof out, "/tmp/mz-parity-%ld.safetensors", (long)getpid());
    const mz_chip_options options = {
        .threads = 2, .isa = chip->isa, .driver_path = chip->driver_path};
    const mz_probe_options o = {.dtype = dtype,
                                .hidden = true,
                                .router_out = true,
                                .gradients = true,
                                .decode = true,
                                .greedy = forced ? 0 : 24,
                                .forced =
                                    forced && strncmp(name, "deepseek", 8) == 0 ? want : NULL};
    assert_int_equal(mz_device_open(&device, chip->spec, &options), MZ_OK);
    const mz_err err = mz_probe(device, model, in, out, &o);
    if (err != MZ_OK) print_error("%s on %s: %s\n", name, chip->spec, mz_err_last()->message);
    assert_int_equal(err, MZ_OK);
    mz_device_close(device);
    const outcome result = compare(out, want, !forced);
    unlink(out);
    return result;
}

static void show(const char *chip, const char *name, const outcome *o)
{
    if (!getenv("MIZAN_PARITY_SHOW")) return;
    print_message("%-8s %-20s logits %.1e (l2 %.1e) hidden %.1e loss %.1e grad %.1e (all %.1e) "
                  "decode %.1e weights %.1e, %d tensors, %d wrong ids\n",
                  chip, name, o->logits_max, o->logits_l2, o->hidden, o->loss, o->grad_worst,
                  o->grads_l2, o->decode, o->weights, o->compared, o->wrong_ids);
}

static int check_f32(const mzt_parity_chip *chip, const char *name, mz_dtype dtype)
{
    const outcome o = probe(chip, name, dtype);
    show(chip->spec, name, &o);
    const bool good = o.logits_max <= 3e-6 && o.hidden <= 3e-6 && o.loss <= 1e-6 &&
                      o.grad_worst <= 1e-5 && o.decode <= 3e-6 && o.weights <= 3e-6 &&
                      o.wrong_ids == 0 && o.compared > 10;
    if (!good)
        print_error("%s on %s: logits %.2e hidden %.2e loss %.2e gradient %.2e (%s) decode %.2e "
                    "weights %.2e, %d wrong ids\n",
                    name, chip->spec, o.logits_max, o.hidden, o.loss, o.grad_worst, o.worst,
                    o.decode, o.weights, o.wrong_ids);
    return good ? 0 : 1;
}

static double own_error(const json_t *errors, const char *key)
{
    const json_t *x = json_object_get(json_object_get(errors, "bfloat16"), key);
    assert_non_null(x);
    return json_number_value(x);
}

static int check_bf16(const mzt_parity_chip *chip, const char *name)
{
    char path[300];
    json_t *errors = NULL;
    snprintf(path, sizeof path, "%s/%s/errors.json", FOLDER, name);
    assert_int_equal(mz_json_read(&errors, path, 1 << 20), MZ_OK);
    const outcome o = probe(chip, name, MZ_BF16);
    show("bf16", name, &o);
    const double l2 = own_error(errors, "logits_l2"), max = own_error(errors, "logits_max");
    const double grads = own_error(errors, "gradients_l2");
    json_decref(errors);
    const bool good = o.logits_l2 <= 1.25 * l2 && o.logits_max <= 1.25 * max &&
                      o.grads_l2 <= 1.25 * grads && o.wrong_ids == 0;
    if (!good)
        print_error("%s in bf16 on %s: logits %.2e of %.2e (max %.2e of %.2e), gradients %.2e of "
                    "%.2e, %d wrong ids\n",
                    name, chip->spec, o.logits_l2, l2, o.logits_max, max, o.grads_l2, grads,
                    o.wrong_ids);
    return good ? 0 : 1;
}

static int is_model(const struct dirent *entry)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s/config.json", FOLDER, entry->d_name);
    return entry->d_name[0] != '.' && access(path, R_OK) == 0;
}

void mzt_parity_all(const mzt_parity_chip *chip, mz_dtype dtype)
{
    struct dirent **entry = NULL;
    const int n = scandir(FOLDER, &entry, is_model, alphasort);
    int bad = 0;
    assert_true(n >= 20);
    for (int i = 0; i < n; i++) {
        bad += dtype == MZ_BF16 ? check_bf16(chip, entry[i]->d_name)
                                : check_f32(chip, entry[i]->d_name, dtype);
        free(entry[i]);
    }
    free(entry);
    assert_int_equal(bad, 0);
}
