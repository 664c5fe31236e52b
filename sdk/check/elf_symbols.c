/* sdk/check/elf_symbols.c: reads section headers .dynsym and .dynamic with their string tables. The file is mapped;
 * every table is checked against its size first, for a vendor's stripped or post-processed file may be odd. Source:
 * System V ABI, "Object Files" and "Dynamic Linking"; <elf.h>.
 */
#include "check/elf_symbols.h"

#include "base/size.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct elf_view {
    const char *bytes;
    uint64_t size;
    const Elf64_Shdr *sections;
    uint32_t section_count;
} elf_view;

static const void *table_at(const elf_view *view, uint64_t offset, uint64_t bytes)
{
    return size_within(offset, bytes, view->size) && offset % 8 == 0 ? view->bytes + offset : NULL;
}

static bool find_sections(elf_view *view)
{
    if (view->size < sizeof(Elf64_Ehdr))
        return false;
    const Elf64_Ehdr *header = (const void *)view->bytes;
    if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64 ||
        header->e_ident[EI_DATA] != ELFDATA2LSB || header->e_shentsize != sizeof(Elf64_Shdr))
        return false;
    view->section_count = header->e_shnum;
    view->sections = table_at(view, header->e_shoff, (uint64_t)header->e_shnum * sizeof(Elf64_Shdr));
    return view->sections != NULL;
}

/* Entries of `section`, entry_bytes each, and the terminated string table it links to. */
static const void *entries_of(const elf_view *view, const Elf64_Shdr *section, const char **ret_strings,
                              uint64_t *ret_string_bytes)
{
    if (section->sh_link >= view->section_count)
        return NULL;
    const Elf64_Shdr *strings = &view->sections[section->sh_link];
    if (!size_within(strings->sh_offset, strings->sh_size, view->size) || strings->sh_size == 0 ||
        view->bytes[strings->sh_offset + strings->sh_size - 1])
        return NULL;
    *ret_strings = view->bytes + strings->sh_offset;
    *ret_string_bytes = strings->sh_size;
    return table_at(view, section->sh_offset, section->sh_size);
}

static bool is_exported(const Elf64_Sym *symbol)
{
    uint32_t binding = ELF64_ST_BIND(symbol->st_info), visibility = ELF64_ST_VISIBILITY(symbol->st_other);
    return symbol->st_shndx != SHN_UNDEF && symbol->st_shndx != SHN_ABS && binding != STB_LOCAL &&
           (visibility == STV_DEFAULT || visibility == STV_PROTECTED);
}

static bool visit_section(const elf_view *view, const Elf64_Shdr *section, elf_visitor exported, elf_visitor needed,
                          void *ctx)
{
    const char *strings;
    uint64_t string_bytes;
    const void *entries = entries_of(view, section, &strings, &string_bytes);
    if (!entries)
        return false;
    const Elf64_Sym *symbols = entries;
    const Elf64_Dyn *dynamic = entries;
    for (uint64_t i = 0; exported && section->sh_type == SHT_DYNSYM && i < section->sh_size / sizeof *symbols; i++) {
        if (is_exported(&symbols[i]) && symbols[i].st_name < string_bytes)
            exported(ctx, strings + symbols[i].st_name);
    }
    for (uint64_t i = 0; needed && section->sh_type == SHT_DYNAMIC && i < section->sh_size / sizeof *dynamic; i++) {
        if (dynamic[i].d_tag == DT_NEEDED && dynamic[i].d_un.d_val < string_bytes)
            needed(ctx, strings + dynamic[i].d_un.d_val);
    }
    return true;
}

static bool visit_view(elf_view *view, elf_visitor exported, elf_visitor needed, void *ctx)
{
    if (!find_sections(view))
        return false;
    for (uint32_t i = 0; i < view->section_count; i++) {
        uint32_t type = view->sections[i].sh_type;
        if ((type == SHT_DYNSYM || type == SHT_DYNAMIC) &&
            !visit_section(view, &view->sections[i], exported, needed, ctx))
            return false;
    }
    return true;
}

tn_status elf_symbols_visit(const char *path, elf_visitor exported, elf_visitor needed, void *ctx, tn_error *err)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info)) {
        if (fd >= 0)
            close(fd);
        return tn_fail(err, TN_E_IO, "%s cannot be read: %s", path, strerror(errno));
    }
    void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED)
        return tn_fail(err, TN_E_IO, "%s cannot be mapped: %s", path, strerror(errno));
    elf_view view = {.bytes = bytes, .size = (uint64_t)info.st_size};
    bool good = visit_view(&view, exported, needed, ctx);
    munmap(bytes, (size_t)info.st_size);
    return good ? TN_OK : tn_fail(err, TN_E_CORRUPT, "%s: its section headers are damaged or missing", path);
}
