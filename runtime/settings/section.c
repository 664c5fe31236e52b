/* runtime/settings/section.c: see section.h. All answers are scans of options.c, which has some hundred rows. */
#include "settings/section.h"

#include "base/edit_distance.h"
#include "settings/value.h"

#include <stdio.h>
#include <string.h>

enum { KINDS_MAX = 256, SECTION_NAME_MAX = 32 };

/* Bytes of "pool " in a row's section "pool NAME"; 0: the section stands once and has no name. */
static size_t kind_bytes(const char *row_section)
{
    const char *name = strstr(row_section, " NAME");
    return name ? (size_t)(name - row_section) + 1 : 0;
}

/* Whether a row of options.c is about a section. */
static bool covers(const char *row_section, const char *section)
{
    size_t kind = kind_bytes(row_section);
    return kind ? !strncmp(row_section, section, kind) : !strcmp(row_section, section);
}

/* A service takes the keys of its engines too: [service chat] max_model_len is [model] max_model_len there. */
static bool lends(const settings_option *row, const char *section)
{
    return !strncmp(section, "service ", 8) && (!strcmp(row->section, "model") || !strcmp(row->section, "engine")) &&
           strcmp(row->key, "path") != 0;
}

bool section_takes(const char *section, const settings_option *row)
{
    return covers(row->section, section) || lends(row, section);
}

const settings_option *section_find_option(const char *section, const char *key)
{
    const settings_option *lent = NULL;
    for (uint32_t i = 0; i < settings_option_count; i++) {
        const settings_option *row = &settings_options[i];
        if (strcmp(row->key, key) != 0)
            continue;
        if (covers(row->section, section))
            return row;
        if (lends(row, section))
            lent = row;
    }
    return lent;
}

bool section_is_core(const char *section)
{
    for (uint32_t i = 0; i < settings_option_count; i++) {
        if (covers(settings_options[i].section, section))
            return true;
    }
    return false;
}

/* Finds the kind of a section that should have a name: the row's section whose kind stands before the first blank, or
 * all by itself; NULL: neither. */
static const char *named_kind(const char *section)
{
    size_t n = strcspn(section, " ");
    for (uint32_t i = 0; i < settings_option_count; i++) {
        size_t kind = kind_bytes(settings_options[i].section);
        if (kind && n == kind - 1 && !strncmp(settings_options[i].section, section, n))
            return settings_options[i].section;
    }
    return NULL;
}

static tn_status fail_section(const char *section, const char *place, tn_error *err)
{
    const char *known[KINDS_MAX];
    char name[VALUE_SHOWN_BYTES], kinds[KINDS_MAX][SECTION_NAME_MAX], wanted[SECTION_NAME_MAX];
    size_t count = 0;
    for (uint32_t i = 0; i < settings_option_count && count < KINDS_MAX; i++) {
        size_t kind = kind_bytes(settings_options[i].section);
        if (!kind || kind > SECTION_NAME_MAX)
            continue;
        snprintf(kinds[count], sizeof kinds[count], "%.*s", (int)kind - 1, settings_options[i].section);
        known[count] = kinds[count];
        count++;
    }
    snprintf(wanted, sizeof wanted, "%.*s", (int)strcspn(section, " "), section);
    const char *nearest = nearest_name(wanted, known, count);
    const char *text = value_shown(section, name);
    if (nearest)
        return tn_fail(err, TN_E_ARGUMENT, "%s: there is no section [%s]; did you mean [%s NAME]?", place, text,
                       nearest);
    return tn_fail(err, TN_E_ARGUMENT,
                   "%s: there is no section [%s]; only pools, prices, services and targets have names", place, text);
}

tn_status section_check_name(const char *section, const char *place, tn_error *err)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    char name[VALUE_SHOWN_BYTES];
    const char *row = named_kind(section);
    if (!row && section_is_core(section))
        return TN_OK;
    if (!row)
        return strchr(section, ' ') ? fail_section(section, place, err) : TN_OK;
    size_t kind = kind_bytes(row), n = strlen(section) < kind ? 0 : strlen(section + kind);
    if (n == 0 || n > SECTION_NAME_MAX || section[kind + strspn(section + kind, letters)])
        return tn_fail(err, TN_E_ARGUMENT,
                       "%s: [%s] needs a name of 1 to %d letters, digits, '-' and '_', such as [%.*sa]", place,
                       value_shown(section, name), SECTION_NAME_MAX, (int)kind, row);
    return TN_OK;
}
