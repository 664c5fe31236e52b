/* device.h: the template's device, and the two nodes that it runs itself. Replace device.c and kernels.c with yours. */
#ifndef TEMPLATE_DEVICE_H
#define TEMPLATE_DEVICE_H

#include "tenon/ops.h"

/* Bytes that the device claims to have; set from the plugin's option before any table is used. */
void device_set_memory(uint64_t bytes);

tn_status device_describe(uint32_t index, tn_devinfo *ret_info, tn_error *err);
tn_status device_open(const tn_open *request, tn_dev **ret_dev, tn_error *err);
void device_close(tn_dev *dev);
tn_status device_alloc(tn_dev *dev, uint64_t bytes, uint32_t usage, uint64_t *ret_handle, tn_error *err);
void device_free(tn_dev *dev, uint64_t handle);
tn_status device_put(tn_dev *dev, tn_buf dst, const void *src, uint64_t bytes, tn_error *err);
tn_status device_get(tn_dev *dev, void *dst, tn_buf src, uint64_t bytes, tn_error *err);
tn_status device_sync(tn_dev *dev, tn_error *err);
/* Where a kernel finds a buffer. Kernels run on the device; the host goes through put and get. */
float *device_floats(const tn_dev *dev, tn_buf buf);

/* tn_ops_table.run: LINEAR and RMS_NORM; TN_E_UNSUPPORTED for every other node. */
tn_status kernels_run(tn_dev *dev, const tn_ops_args *args, tn_error *err);

#endif
