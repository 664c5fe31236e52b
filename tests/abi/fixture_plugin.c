/* fixture_plugin.c: one small plugin, built once per fault: the build sets FIXTURE_* (see meson.build).
 *
 * It provides tn.quant with members that are never called, and "acme.probe/1", through which a test sees what the
 * plugin got from its host.
 */
#include "tenon/quant.h"
#include "tests/abi/fixture_probe.h"

#ifndef FIXTURE_MAGIC
#define FIXTURE_MAGIC TN_PLUGIN_MAGIC
#endif
#ifndef FIXTURE_SIZE
#define FIXTURE_SIZE sizeof(tn_plugin)
#endif
#ifndef FIXTURE_MAJOR
#define FIXTURE_MAJOR TN_ABI_MAJOR
#endif
#ifndef FIXTURE_BUILT
#define FIXTURE_BUILT TN_ABI_MINOR
#endif
#ifndef FIXTURE_MIN
#define FIXTURE_MIN 1
#endif
#ifndef FIXTURE_FLAGS
#define FIXTURE_FLAGS 0
#endif
#ifndef FIXTURE_ID
#define FIXTURE_ID FIXTURE_NAME
#endif
#ifndef FIXTURE_VENDOR
#define FIXTURE_VENDOR "Tenon's tests"
#endif
#ifndef FIXTURE_PROVIDES
#define FIXTURE_PROVIDES TN_QUANT_ID
#endif
#ifndef FIXTURE_TABLE_SIZE
#define FIXTURE_TABLE_SIZE sizeof(tn_quant_table)
#endif
#ifndef FIXTURE_PRODUCES
#define FIXTURE_PRODUCES never_called
#endif
#ifndef FIXTURE_STRIDE
#define FIXTURE_STRIDE sizeof(tn_option)
#endif
#ifndef FIXTURE_INIT
#define FIXTURE_INIT fixture_init
#endif

static const tn_host *held_host;
static uint32_t inits;

static const tn_host *probe_host(void)
{
    return held_host;
}

static uint32_t probe_inits(void)
{
    return inits;
}

static const fixture_probe probe = {probe_host, probe_inits};

static void never_called(void)
{
    abort();
}

/* tn_quant_table, with members of one type. */
static const struct {
    uint32_t struct_size, flags;
    void (*member[7])(void);
} table = {(uint32_t)FIXTURE_TABLE_SIZE,
           0,
           {never_called, never_called, never_called, FIXTURE_PRODUCES, never_called, never_called, never_called}};
_Static_assert(sizeof table == sizeof(tn_quant_table), "the fixture's table is tn_quant_table");

#ifdef FIXTURE_UNDEFINED
void fixture_symbol_that_nobody_defines(void);
#endif

static tn_status fixture_init(const tn_host *host, tn_error *err)
{
    held_host = host;
    inits++;
#ifdef FIXTURE_UNDEFINED
    fixture_symbol_that_nobody_defines();
#endif
#ifdef FIXTURE_INIT_FAILS
    return tn_fail(err, TN_E_UNSUPPORTED, "no licence dongle in slot 3");
#else
    (void)err;
    return TN_OK;
#endif
}

static const void *fixture_get_interface(const char *id)
{
#ifdef FIXTURE_NO_TABLE
    (void)id;
    return NULL;
#else
    return id[0] == 'a' ? (const void *)&probe : (const void *)&table;
#endif
}

static const tn_option options[] = {
    {sizeof(tn_option), 0, "threads", "auto|integer", "auto", "Threads to use."},
    {sizeof(tn_option), 0, "table", "path", NULL, "A file."},
};
static const char *const provides[] = {FIXTURE_PROVIDES, "acme.probe/1", NULL};

static const tn_plugin descriptor = {
    .magic = FIXTURE_MAGIC,
    .struct_size = FIXTURE_SIZE,
    .abi_major = FIXTURE_MAJOR,
    .abi_built = FIXTURE_BUILT,
    .abi_min = FIXTURE_MIN,
    .flags = FIXTURE_FLAGS,
    .id = FIXTURE_ID,
    .version = "1.2.3",
    .vendor = FIXTURE_VENDOR,
    .license = "Apache-2.0",
    .provides = provides,
    .init = FIXTURE_INIT,
    .get_interface = fixture_get_interface,
    .options = options,
    .option_count = 2,
    .option_stride = FIXTURE_STRIDE,
};

#ifdef FIXTURE_NO_ENTRY
#define tn_plugin_entry misspelt_plugin_entry
TN_EXPORT const tn_plugin *misspelt_plugin_entry(void);
#endif

const tn_plugin *tn_plugin_entry(void)
{
#ifdef FIXTURE_NO_DESCRIPTOR
    (void)descriptor;
    return NULL;
#else
    return &descriptor;
#endif
}
