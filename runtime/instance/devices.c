/* devices.c: see devices.h. */
#include "instance/devices.h"

#include "group/identity.h"

#include <string.h>

/* Puts the device among those found, the highest scores first. */
static void rank_device(tn_devinfo *found, uint32_t count, const tn_devinfo *info)
{
    uint32_t at = count;

    for (; at > 0 && found[at - 1].score < info->score; at--)
        found[at] = found[at - 1];
    found[at] = *info;
}

static tn_status find_devices(const instance *in, tn_devinfo *found, uint32_t *ret_count, tn_error *err)
{
    tn_error reason = TN_ERROR_INIT;

    for (*ret_count = 0; *ret_count < INSTANCE_DEVICES_MAX; ++*ret_count) {
        tn_devinfo info = {.struct_size = sizeof info};
        tn_status status = in->backend->device(*ret_count, &info, &reason);
        if (status == TN_E_NOT_FOUND)
            break;
        if (status != TN_OK)
            return tn_fail(err, status, "%s", reason.msg);
        rank_device(found, *ret_count, &info);
    }
    if (*ret_count > 0)
        return TN_OK;
    return tn_fail(err, TN_E_NOT_FOUND, "backend %s finds no device: %s",
                   settings_string(in->settings, "backend", "plugin"), reason.msg);
}

static uint32_t ranks_of(const instance *in)
{
    return (uint32_t)settings_integer(in->settings, "backend", "tensor_parallel_size");
}

/* Processes of the model. */
static uint32_t processes_of(const instance *in)
{
    return in->workers ? workers_group(in->workers)->world : 1;
}

static tn_status check_split(const instance *in, tn_error *err)
{
    const uint32_t world = ranks_of(in), processes = processes_of(in);

    if (world % processes == 0)
        return TN_OK;
    return tn_fail(err, TN_E_ARGUMENT,
                   "backend.tensor_parallel_size = %u counts the devices of all %u processes of the group, which share "
                   "them evenly: set it to %u, %u or another multiple of %u",
                   world, processes, processes, 2 * processes, processes);
}

/* The first of this process's devices among those found. */
static tn_status find_first(const instance *in, uint32_t found, uint32_t own, uint32_t *ret_first, tn_error *err)
{
    const tn_group *group = in->workers ? workers_group(in->workers) : NULL;

    *ret_first = 0;
    if (!group || group->local_world <= 1 || found == own) /* own: the launcher shows each process its share */
        return TN_OK;
    *ret_first = group->local_rank * own;
    if (*ret_first + own <= found && (uint64_t)group->local_world * own <= found)
        return TN_OK;
    return tn_fail(err, TN_E_NOT_FOUND,
                   "%u processes of the group on this machine need %u devices each, but %u are here: start fewer, or "
                   "lower backend.tensor_parallel_size",
                   group->local_world, own, found);
}

tn_status devices_choose(instance *in, tn_error *err)
{
    tn_devinfo found[INSTANCE_DEVICES_MAX];
    uint32_t count, first;

    if (in->described) {
        in->device = *in->described;
        return TN_OK;
    }
    tn_status status = check_split(in, err);
    if (status == TN_OK)
        status = find_devices(in, found, &count, err);
    const uint32_t own = ranks_of(in) / processes_of(in);
    if (status == TN_OK)
        status = find_first(in, count, own, &first, err);
    if (status != TN_OK)
        return status;
    in->devices_found = count;
    in->device_count = count < own ? count : own;
    in->device = found[first];
    for (uint32_t i = 0; i < in->device_count; i++) {
        in->ordinals[i] = found[first + i].ordinal;
        if (found[first + i].mem_total < in->device.mem_total)
            in->device = found[first + i];
    }
    return TN_OK;
}

tn_status devices_open(instance *in, tn_error *err)
{
    const uint32_t world = ranks_of(in), own = world / processes_of(in);
    const tn_group *group = in->workers ? workers_group(in->workers) : NULL;
    const tn_open open = {.struct_size = sizeof open,
                          .device_count = in->device_count,
                          .world = world,
                          .rank = group ? group->rank * own : 0,
                          .ordinal = in->ordinals,
                          .group_id = group ? group->name : NULL};

    if (in->device_count < own)
        return tn_fail(err, TN_E_NOT_FOUND, "backend.tensor_parallel_size=%u needs %s%u devices, but %u are here",
                       world, group ? "of each process " : "", own, in->device_count);
    tn_status status = in->backend->open(&open, &in->dev, err);
    if (status != TN_OK)
        return status;
    in->opened = in->backend;
    if (in->workers)
        workers_set_device(in->workers, in->backend, in->dev);
    return TN_OK;
}

tn_status devices_check_alone(const instance *in, tn_error *err)
{
    group_identity identity;
    tn_status status = group_identity_find(in->settings, group_environment, &identity, err);
    if (status != TN_OK || identity.world <= 1)
        return status;
    return tn_fail(err, TN_E_UNSUPPORTED,
                   "%s says that this is one of %u processes, but this command runs in one: `tenon serve` runs a model "
                   "in several; remove [group], or start one process",
                   identity.source, identity.world);
}
