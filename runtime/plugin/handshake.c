/* runtime/plugin/handshake.c: see handshake.h. Nothing of the plugin runs here; only static data is read. */
#include "plugin/handshake.h"

#include "tenon/backend.h"
#include "tenon/frontend.h"
#include "tenon/ops.h"
#include "tenon/quant.h"
#include "tenon/tokenizer.h"

#include <string.h>

const char *const plugin_known_ids[] = {TN_BACKEND_ID, TN_OPS_ID, TN_QUANT_ID, TN_TOKENIZER_ID, TN_FRONTEND_ID, NULL};

/* Everything up to get_interface never moves. */
#define PREFIX_BYTES TN_END(tn_plugin, get_interface)

static tn_status check_magic(const char *path, const tn_plugin *theirs, tn_error *err)
{
    if (!theirs)
        return tn_fail(err, TN_E_ARGUMENT, "plugin %.200s: tn_plugin_entry returned NULL instead of its descriptor",
                       path);
    if (theirs->magic != TN_PLUGIN_MAGIC)
        return tn_fail(
            err, TN_E_ARGUMENT,
            "plugin %.200s: its descriptor begins with 0x%08x, not with TN_PLUGIN_MAGIC (0x%08x): this is not a "
            "Tenon plugin",
            path, theirs->magic, TN_PLUGIN_MAGIC);
    return TN_OK;
}

static tn_status check_versions(const char *path, const tn_plugin *theirs, tn_error *err)
{
    if (theirs->abi_major != TN_ABI_MAJOR)
        return tn_fail(
            err, TN_E_UNSUPPORTED,
            "plugin %.200s: built for ABI major %u (%u.%u to %u.%u), this core has major %d (%d.%d, plugins from "
            "%d.%d on): rebuild it against the installed SDK",
            path, theirs->abi_major, theirs->abi_major, theirs->abi_min, theirs->abi_major, theirs->abi_built,
            TN_ABI_MAJOR, TN_ABI_MAJOR, TN_ABI_MINOR, TN_ABI_MAJOR, PLUGIN_ABI_OLDEST);
    if (theirs->abi_min > TN_ABI_MINOR)
        return tn_fail(
            err, TN_E_UNSUPPORTED,
            "plugin %.200s: needs a core of ABI %d.%u or newer (built with %d.%u), this core is %d.%d and takes "
            "plugins from %d.%d on: upgrade Tenon, or get an older build of the plugin",
            path, TN_ABI_MAJOR, theirs->abi_min, TN_ABI_MAJOR, theirs->abi_built, TN_ABI_MAJOR, TN_ABI_MINOR,
            TN_ABI_MAJOR, PLUGIN_ABI_OLDEST);
    if (theirs->abi_built < PLUGIN_ABI_OLDEST)
        return tn_fail(
            err, TN_E_UNSUPPORTED,
            "plugin %.200s: built with ABI %d.%u (for cores from %d.%u on), this core is %d.%d and takes plugins "
            "from %d.%d on: rebuild it against the installed SDK",
            path, TN_ABI_MAJOR, theirs->abi_built, TN_ABI_MAJOR, theirs->abi_min, TN_ABI_MAJOR, TN_ABI_MINOR,
            TN_ABI_MAJOR, PLUGIN_ABI_OLDEST);
    if (theirs->abi_min > theirs->abi_built)
        return tn_fail(
            err, TN_E_ARGUMENT,
            "plugin %.200s: its descriptor says abi_min %u, which is above its own abi_built %u: correct abi_min", path,
            theirs->abi_min, theirs->abi_built);
    return TN_OK;
}

static tn_status fail_prefix(const char *path, const char *what, tn_error *err)
{
    return tn_fail(err, TN_E_ARGUMENT, "plugin %.200s: its descriptor %s", path, what);
}

static tn_status check_prefix(const char *path, const tn_plugin *theirs, tn_error *err)
{
    if (theirs->struct_size < PREFIX_BYTES)
        return tn_fail(
            err, TN_E_ARGUMENT,
            "plugin %.200s: its descriptor has struct_size %u, less than the %zu bytes every plugin has: set it "
            "to sizeof(tn_plugin)",
            path, theirs->struct_size, PREFIX_BYTES);
    if (theirs->reserved0 || theirs->reserved1 || theirs->flags)
        return fail_prefix(path, "sets flags or reserved members: they must be 0", err);
    if (!theirs->id || !theirs->version || !theirs->vendor || !theirs->license)
        return fail_prefix(path, "lacks id, version, vendor or license: all four are mandatory strings", err);
    if (!*theirs->id || theirs->id[strspn(theirs->id, "abcdefghijklmnopqrstuvwxyz0123456789_")])
        return tn_fail(err, TN_E_ARGUMENT, "plugin %.200s: its id \"%.80s\" must consist of a-z, 0-9 and _", path,
                       theirs->id);
    if (!theirs->get_interface)
        return fail_prefix(path, "lacks get_interface", err);
    uint32_t count = 0;
    while (theirs->provides && count <= PLUGIN_PROVIDES_MAX && theirs->provides[count])
        count++;
    if (count == 0 || count > PLUGIN_PROVIDES_MAX)
        return fail_prefix(path, "must list 1 to 64 interface ids in `provides`, NULL-terminated", err);
    return TN_OK;
}

static tn_status check_options(const char *path, const tn_plugin *descriptor, tn_error *err)
{
    if (descriptor->option_count == 0)
        return TN_OK;
    if (descriptor->option_count > PLUGIN_OPTIONS_MAX || !descriptor->options)
        return fail_prefix(path, "must point `options` at option_count entries, at most 256", err);
    if (descriptor->option_stride < TN_END(tn_option, help))
        return fail_prefix(path, "has an option_stride below sizeof(tn_option)", err);
    for (uint32_t i = 0; i < descriptor->option_count; i++) {
        const tn_option *option =
            (const void *)((const char *)descriptor->options + (size_t)i * descriptor->option_stride);
        if (!option->key || !*option->key || !option->type || !*option->type || !option->help)
            return tn_fail(err, TN_E_ARGUMENT, "plugin %.200s: option %u of its descriptor lacks key, type or help",
                           path, i);
    }
    return TN_OK;
}

/* Whether the known id is name/major and the offered one name/0:hash, which came before it. */
static bool is_draft_of(const char *offered, const char *known)
{
    size_t n = strcspn(known, "/");
    return n == strcspn(offered, "/") && !memcmp(offered, known, n) && !strncmp(offered + n, "/0:", 3);
}

static tn_status check_draft(const char *path, const char *offered, tn_error *err)
{
    for (const char *const *known = plugin_known_ids; *known; known++) {
        if (is_draft_of(offered, *known))
            return tn_fail(err, TN_E_UNSUPPORTED,
                           "plugin %.200s: its %.60s is a draft of what is %s since: rebuild it against the installed "
                           "SDK",
                           path, offered, *known);
    }
    return TN_OK;
}

tn_status handshake_check(const char *path, const tn_plugin *theirs, tn_plugin *ret_descriptor, tn_error *err)
{
    tn_status status = check_magic(path, theirs, err);
    if (status == TN_OK)
        status = check_versions(path, theirs, err);
    if (status == TN_OK)
        status = check_prefix(path, theirs, err);
    if (status != TN_OK)
        return status;
    tn_plugin descriptor = {0};
    memcpy(&descriptor, theirs, theirs->struct_size < sizeof descriptor ? theirs->struct_size : sizeof descriptor);
    /* A struct that ends inside the option members has none. */
    if (!TN_HAS(theirs, tn_plugin, option_stride))
        descriptor.options = NULL, descriptor.option_count = 0, descriptor.option_stride = 0;
    descriptor.struct_size = sizeof descriptor;
    status = check_options(path, &descriptor, err);
    for (const char *const *id = descriptor.provides; status == TN_OK && *id; id++)
        status = check_draft(path, *id, err);
    if (status == TN_OK)
        *ret_descriptor = descriptor;
    return status;
}

bool handshake_provides(const tn_plugin *descriptor, const char *id)
{
    for (const char *const *offered = descriptor->provides; *offered; offered++) {
        if (!strcmp(*offered, id))
            return true;
    }
    return false;
}

void handshake_describe_provides(const tn_plugin *descriptor, char *out, size_t cap)
{
    size_t used = 0;
    *out = 0;
    for (const char *const *id = descriptor->provides; *id && used < cap; id++)
        used += (size_t)snprintf(out + used, cap - used, "%s%s", used ? ", " : "", *id);
}
