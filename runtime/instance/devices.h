/* runtime/instance/devices.h: which devices of this machine the ranks of a model run on. */
#ifndef INSTANCE_DEVICES_H
#define INSTANCE_DEVICES_H

#include "instance/instance.h"

/* As many of the highest scores as this process has ranks; in->device becomes the smallest of them. Processes of one
 * group on one host take different ones, in order of their local rank, or, where a launcher has given each its own, all
 * that they see. A tensor_parallel_size that the processes do not divide is refused, naming those that they do. [ctl]
 */
tn_status devices_choose(instance *instance, tn_error *err);
/* Opens them. TN_E_NOT_FOUND: there are too few. [ctl] */
tn_status devices_open(instance *instance, tn_error *err);
/* For a process that has joined no group: TN_E_UNSUPPORTED if its settings name one, which must not be ignored in
 * silence. [ctl] */
tn_status devices_check_alone(const instance *instance, tn_error *err);

#endif
