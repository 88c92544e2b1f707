/* SPDX-License-Identifier: Apache-2.0 */
/* chips/opencl/program.c - compiles a kernel text for a device, or finds what was compiled before.
 *
 * A file of the cache is named by the SHA-256 of all that the result hangs on (platform, device,
 * driver, options, text) and begins with the SHA-256 of the rest. One that is damaged, or that the
 * driver no longer takes, is compiled again and replaced; one that cannot be written is done
 * without: the cache never makes anything fail.
 *
 * Floor:  chips.   Time: compiling takes seconds on some drivers; only while operators are bound.
 */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "base/str.h"
#include "chips/opencl/state.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { DIGITS = MZ_SHA256_HEX - 1 };
static const size_t FILE_MAX_BYTES = (size_t)256 << 20;

/* ---- the cache ---- */

static mz_err file_name(char path[PATH_MAX], const mz_opencl *chip, const mz_opencl_program *p)
{
    char hex[MZ_SHA256_HEX], name[sizeof "opencl/" + MZ_SHA256_HEX];
    char *key = NULL;
    const size_t head = strlen(chip->identity) + strlen(p->options) + 3;
    MZ_TRY(mz_mem_new(&key, (int64_t)(head + p->text->bytes), 1));
    const int n = snprintf(key, head, "%s\n%s\n", chip->identity, p->options);
    memcpy(key + n, p->text->text, p->text->bytes);
    const mz_err err = mz_sha256(hex, key, (size_t)n + p->text->bytes);
    mz_mem_free(key);
    MZ_TRY(err);
    snprintf(name, sizeof name, "opencl/%s", hex);
    return mz_path_join(path, PATH_MAX, chip->cache_path, name);
}

static mz_err load_binary(mz_opencl *chip, mz_opencl_program *p, const char *binary, size_t bytes)
{
    const unsigned char *data = (const unsigned char *)binary;
    int32_t status = CL_SUCCESS, code = CL_SUCCESS;
    cl_program program = chip->cl->CreateProgramWithBinary(chip->context, 1, &chip->device, &bytes,
                                                           &data, &status, &code);
    if (!program) return mz_cl_fail(code, "clCreateProgramWithBinary");
    if (status == CL_SUCCESS)
        status = chip->cl->BuildProgram(program, 1, &chip->device, p->options, NULL, NULL);
    if (status != CL_SUCCESS) {
        (void)chip->cl->ReleaseProgram(program);
        return mz_cl_fail(status, "clBuildProgram of a binary");
    }
    p->program = program;
    return MZ_OK;
}

static mz_err read_cache(mz_opencl *chip, mz_opencl_program *p, const char *path)
{
    char hex[MZ_SHA256_HEX], *file = NULL;
    size_t bytes = 0;
    MZ_TRY(mz_file_read(path, FILE_MAX_BYTES, &file, &bytes));
    mz_err err = MZ_OK;
    if (bytes <= DIGITS) err = MZ_FAIL(MZ_ECORRUPT, "%zu bytes are no program", bytes);
    if (err == MZ_OK) err = mz_sha256(hex, file + DIGITS, bytes - DIGITS);
    if (err == MZ_OK && memcmp(hex, file, DIGITS) != 0)
        err = MZ_FAIL(MZ_ECORRUPT, "its checksum is another");
    if (err == MZ_OK) err = load_binary(chip, p, file + DIGITS, bytes - DIGITS);
    mz_mem_free(file);
    return err;
}

static mz_err write_cache(const mz_opencl *chip, const mz_opencl_program *p, const char *path)
{
    char hex[MZ_SHA256_HEX], *file = NULL, folder[PATH_MAX];
    size_t bytes = 0;
    MZ_CL_TRY(chip->cl, GetProgramInfo,
              (p->program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL));
    if (bytes == 0 || bytes > FILE_MAX_BYTES)
        return MZ_FAIL(MZ_ENOTSUP, "the driver gives no binary");
    MZ_TRY(mz_mem_new(&file, (int64_t)(DIGITS + bytes), 1));
    char *binary = file + DIGITS;
    const int32_t code =
        chip->cl->GetProgramInfo(p->program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL);
    mz_err err =
        code == CL_SUCCESS ? mz_sha256(hex, binary, bytes) : mz_cl_fail(code, "clGetProgramInfo");
    if (err == MZ_OK) err = mz_path_join(folder, sizeof folder, chip->cache_path, "opencl");
    if (err == MZ_OK) err = mz_file_mkdirs(folder);
    if (err == MZ_OK) memcpy(file, hex, DIGITS);
    if (err == MZ_OK) err = mz_file_write(path, file, DIGITS + bytes);
    mz_mem_free(file);
    return err;
}

/* ---- the compiler ---- */

/* What the compiler says, in short, for the note; all of it in the log. */
static mz_err build_failed(const mz_opencl *chip, const mz_opencl_program *p, cl_program program,
                           int32_t code)
{
    char *log = NULL;
    size_t bytes = 0;
    if (chip->cl->GetProgramBuildInfo(program, chip->device, CL_PROGRAM_BUILD_LOG, 0, NULL,
                                      &bytes) != CL_SUCCESS ||
        mz_mem_new(&log, (int64_t)bytes + 1, 1) != MZ_OK)
        return mz_cl_fail(code, "clBuildProgram");
    if (bytes && chip->cl->GetProgramBuildInfo(program, chip->device, CL_PROGRAM_BUILD_LOG, bytes,
                                               log, NULL) != CL_SUCCESS)
        log[0] = '\0';
    mz_log(MZ_LOG_WARN, "%s.cl with %s:\n%s", p->text->name, p->options, log);
    const mz_err err = MZ_FAIL(MZ_ECHIP, "the driver does not compile %s.cl: %s (%d): %.200s",
                               p->text->name, mz_cl_name(code), (int)code, log);
    mz_mem_free(log);
    return err;
}

static mz_err compile(mz_opencl *chip, mz_opencl_program *p)
{
    const char *text = p->text->text;
    int32_t code = CL_SUCCESS;
    cl_program program =
        chip->cl->CreateProgramWithSource(chip->context, 1, &text, &p->text->bytes, &code);
    if (!program) return mz_opencl_fail(chip, code, "clCreateProgramWithSource");
    code = chip->cl->BuildProgram(program, 1, &chip->device, p->options, NULL, NULL);
    if (code != CL_SUCCESS) {
        const mz_err err = build_failed(chip, p, program, code);
        (void)chip->cl->ReleaseProgram(program);
        return err;
    }
    p->program = program;
    return MZ_OK;
}

/* Device locked. */
static mz_err build(mz_opencl *chip, mz_opencl_program *p)
{
    char path[PATH_MAX];
    const bool caches = chip->cache_path && file_name(path, chip, p) == MZ_OK;
    if (caches && mz_file_exists(path)) {
        if (read_cache(chip, p, path) == MZ_OK) return chip->counts.from_cache++, MZ_OK;
        mz_log(MZ_LOG_LOUD, "%s is compiled again: %s", path, mz_err_last()->message);
    }
    MZ_TRY(compile(chip, p));
    chip->counts.built++;
    if (caches && write_cache(chip, p, path) != MZ_OK)
        mz_log(MZ_LOG_LOUD, "%s.cl is compiled anew each time: %s", p->text->name,
               mz_err_last()->message);
    mz_err_clear();
    return MZ_OK;
}

static mz_err options_of(char out[MZ_OPENCL_OPTIONS], const mz_opencl *chip,
                         const mz_kernel_spec *spec)
{
    const int dtype = mz_kernel_dtype(spec->dtype);
    const int out_dtype = spec->out_dtype ? mz_kernel_dtype(spec->out_dtype) : dtype;
    MZ_NEED(dtype && out_dtype, "kernel %s has no dtype", spec->name);
    const int n =
        snprintf(out, MZ_OPENCL_OPTIONS, "-cl-std=CL1.2 -DDTYPE=%d -DOUT_DTYPE=%d%s%s%s", dtype,
                 out_dtype, spec->options ? " " : "", spec->options ? spec->options : "",
                 chip->rounds_division ? " -cl-fp32-correctly-rounded-divide-sqrt" : "");
    MZ_NEED(n > 0 && n < MZ_OPENCL_OPTIONS, "the options of kernel %s are too long", spec->name);
    return MZ_OK;
}

/* Device locked. */
static mz_err find_or_build(mz_opencl *chip, const mz_kernel_text *text, const char *options,
                            const mz_opencl_program **program)
{
    mz_opencl_program *p = chip->programs;
    while (p && (p->text != text || strcmp(p->options, options) != 0)) p = p->next;
    if (p) return *program = p, MZ_OK;
    MZ_TRY(mz_mem_new(&p, 1, sizeof *p));
    p->text = text;
    memcpy(p->options, options, strlen(options) + 1);
    const mz_err err = build(chip, p);
    if (err != MZ_OK) {
        mz_mem_free(p);
        return err;
    }
    p->next = chip->programs;
    chip->programs = p;
    *program = p;
    return MZ_OK;
}

mz_err mz_opencl_program_get(mz_opencl *chip, const mz_kernel_spec *spec,
                             const mz_opencl_program **program)
{
    char options[MZ_OPENCL_OPTIONS];
    const mz_kernel_text *text = mz_kernel_find(spec->text);
    MZ_NEED(text, "there is no kernel text %s", spec->text);
    MZ_TRY(options_of(options, chip, spec));
    pthread_mutex_lock(&chip->compiling);
    const mz_err err = find_or_build(chip, text, options, program);
    pthread_mutex_unlock(&chip->compiling);
    return err;
}

void mz_opencl_programs_free(mz_opencl *chip)
{
    for (mz_opencl_program *p = chip->programs, *next; p; p = next) {
        next = p->next;
        (void)chip->cl->ReleaseProgram(p->program);
        mz_mem_free(p);
    }
}
