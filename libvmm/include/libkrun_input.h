/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libkrun_input.h: what krun_add_input_device() takes, compatible with libkrun 1.18.
 *
 * Declarations for programs that are built for it: this library has no input devices
 * (krun_has_feature(KRUN_FEATURE_INPUT) is 0), and never calls what is declared here.
 *
 * A program fills one struct that answers what the device is and one that gives its events; both
 * are copied. @create makes the instance that every other call of its table is given. Calls return
 * 0, or what they say they return, or KRUN_INPUT_ERR_*. Numbers are those of <linux/input.h>.
 */
#ifndef KRUN_LIBKRUN_INPUT_H
#define KRUN_LIBKRUN_INPUT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KRUN_INPUT_ERR_INTERNAL		  (-1)
#define KRUN_INPUT_ERR_EAGAIN		  (-2)
#define KRUN_INPUT_ERR_METHOD_UNSUPPORTED (-3)
#define KRUN_INPUT_ERR_INVALID_PARAM	  (-4)

/* Bits of .features */
#define KRUN_INPUT_CONFIG_FEATURE_QUERY		1
#define KRUN_INPUT_EVENT_PROVIDER_FEATURE_QUEUE 1

struct krun_input_device_ids {
	uint16_t bustype, vendor, product, version;
};

struct krun_input_absinfo {
	uint32_t min, max, fuzz, flat, res;
};

struct krun_input_event {
	uint16_t type, code;
	uint32_t value;
};

typedef int32_t (*krun_input_create_fn)(
	void **instance, const void *userdata, const void *reserved);
typedef int32_t (*krun_input_destroy_fn)(void *instance); /* may be NULL in a table */

/* Text without a NUL, or a bitmap, at @buf: how many bytes, 0 for none. */
typedef int32_t (*krun_input_query_bytes_fn)(void *instance, uint8_t *buf, size_t len);
typedef int32_t (*krun_input_query_device_ids_fn)(
	void *instance, struct krun_input_device_ids *ids);
/* The codes of @event_type as a bitmap. */
typedef int32_t (*krun_input_query_event_capabilities_fn)(
	void *instance, uint8_t event_type, uint8_t *bitmap, size_t len);
typedef int32_t (*krun_input_query_abs_info_fn)(
	void *instance, uint8_t axis, struct krun_input_absinfo *info);

struct krun_input_config_vtable {
	krun_input_destroy_fn destroy;
	krun_input_query_bytes_fn query_device_name;
	krun_input_query_bytes_fn query_serial_name;
	krun_input_query_device_ids_fn query_device_ids;
	krun_input_query_event_capabilities_fn query_event_capabilities;
	krun_input_query_abs_info_fn query_abs_info;
	krun_input_query_bytes_fn query_properties;
};

struct krun_input_config {
	uint64_t features;
	void *create_userdata;
	krun_input_create_fn create;
	struct krun_input_config_vtable vtable;
};

/* A descriptor that is readable when there are events. */
typedef int32_t (*krun_input_get_ready_efd_fn)(void *instance);
/* 1 and an event, 0 when there is none. */
typedef int32_t (*krun_input_next_event_fn)(void *instance, struct krun_input_event *event);

struct krun_input_event_provider_vtable {
	krun_input_destroy_fn destroy;
	krun_input_get_ready_efd_fn get_ready_efd;
	krun_input_next_event_fn next_event;
};

struct krun_input_event_provider {
	uint64_t features;
	void *create_userdata;
	krun_input_create_fn create;
	struct krun_input_event_provider_vtable vtable;
};

#ifdef __cplusplus
}
#endif
#endif
