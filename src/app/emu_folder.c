/* SPDX-License-Identifier: Apache-2.0 */
/* app/emu_folder.c - a folder of the driver's libraries that lacks some, or some of their
 * functions.
 *
 * All functions lie in one library. One that is to be missing gets another first letter in a copy's
 * table of names, so that whoever looks it up finds none, as in a library of an older release; the
 * library itself does not look its own functions up (-Bsymbolic-functions).
 * Floor: app. */
#include "app/emu.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LIBRARY_MAX = 1 << 28, WORD = 96 };

/* The value of "KIND KEY=VALUE" at line n, if it is of that beginning; moves *line to the next. */
static bool next_of(const char **line, const char *beginning, char value[WORD])
{
    while (**line) {
        const char *at = *line;
        const size_t length = strcspn(at, "\n"), n = strlen(beginning);
        *line += length + (at[length] == '\n');
        if (strncmp(at, beginning, n) != 0) continue;
        (void)snprintf(value, WORD, "%.*s", (int)(length - n), at + n);
        return true;
    }
    return false;
}

static const char LIBRARY[] = "missing_library library=", SYMBOL[] = "missing_symbol symbol=";

bool mz_emu_folder_is_needed(const char *lines)
{
    char word[WORD];
    const char *a = lines, *b = lines;
    return next_of(&a, LIBRARY, word) || next_of(&b, SYMBOL, word);
}

static bool is_left_out(const char *lines, const char *name)
{
    char word[WORD];
    while (next_of(&lines, LIBRARY, word))
        if (strcmp(word, name) == 0) return true;
    return false;
}

/* ---- a function less ---- */

static bool lies_in(size_t at, size_t bytes, size_t size)
{
    return at <= size && bytes <= size - at;
}

/* Gives the name in the table of names that others look in; NULL: there is none. */
static char *find_name(char *file, size_t size, const char *name)
{
    Elf64_Ehdr head;
    if (size < sizeof head) return NULL;
    memcpy(&head, file, sizeof head);
    if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
        !lies_in(head.e_shoff, (size_t)head.e_shnum * sizeof(Elf64_Shdr), size))
        return NULL;
    for (size_t i = 0; i < head.e_shnum; i++) {
        Elf64_Shdr part, text;
        memcpy(&part, file + head.e_shoff + i * sizeof part, sizeof part);
        if (part.sh_type != SHT_DYNSYM || part.sh_link >= head.e_shnum) continue;
        memcpy(&text, file + head.e_shoff + part.sh_link * sizeof text, sizeof text);
        if (!lies_in(part.sh_offset, part.sh_size, size) ||
            !lies_in(text.sh_offset, text.sh_size, size))
            return NULL;
        for (size_t at = 0; at + sizeof(Elf64_Sym) <= part.sh_size; at += sizeof(Elf64_Sym)) {
            Elf64_Sym symbol;
            memcpy(&symbol, file + part.sh_offset + at, sizeof symbol);
            if (symbol.st_shndx == SHN_UNDEF || symbol.st_name >= text.sh_size) continue;
            char *found = file + text.sh_offset + symbol.st_name;
            if (strncmp(found, name, text.sh_size - symbol.st_name) == 0) return found;
        }
    }
    return NULL;
}

static mz_err copy_without(const char *from, const char *to, const char *lines)
{
    char *file = NULL, word[WORD];
    size_t size = 0;
    mz_err err = mz_file_read(from, LIBRARY_MAX, &file, &size);
    while (err == MZ_OK && next_of(&lines, SYMBOL, word)) {
        char *name = find_name(file, size, word);
        if (name)
            *name = '_';
        else
            err =
                MZ_FAIL(MZ_ECONFIG, "missing_symbol: the emulated driver has no function %s", word);
    }
    if (err == MZ_OK) err = mz_file_write(to, file, size);
    mz_mem_free(file);
    return err;
}

/* ---- the folder ---- */

static mz_err check_libraries(const char *lines, const mz_emu_driver *driver)
{
    char word[WORD], path[PATH_MAX];
    while (next_of(&lines, LIBRARY, word)) {
        MZ_TRY(mz_path_join(path, sizeof path, driver->folder, word));
        if (!mz_file_exists(path))
            return MZ_FAIL(MZ_ECONFIG, "missing_library: the emulated driver has no %s", word);
    }
    return MZ_OK;
}

mz_err mz_emu_folder_make(const char *into, const char *lines, const mz_emu_driver *driver)
{
    static const char core[] = "libmizan_emu_ascend.so";
    char word[WORD];
    const char *at = lines;
    mz_names names = {0};
    const bool copies = next_of(&at, SYMBOL, word);
    MZ_TRY(check_libraries(lines, driver));
    MZ_TRY(mz_file_mkdirs(into));
    mz_err err = mz_folder_list(&names, driver->folder);
    for (int64_t i = 0; i < names.n && err == MZ_OK; i++) {
        char from[PATH_MAX], to[PATH_MAX];
        if (is_left_out(lines, names.list[i])) continue;
        err = mz_path_join(from, sizeof from, driver->folder, names.list[i]);
        if (err == MZ_OK) err = mz_path_join(to, sizeof to, into, names.list[i]);
        if (err != MZ_OK) break;
        if (copies && strcmp(names.list[i], core) == 0)
            err = copy_without(from, to, lines);
        else if (symlink(from, to) != 0)
            err = MZ_FAIL(MZ_EIO, "%s: %s", to, strerror(errno));
    }
    mz_names_clear(&names);
    return err;
}
