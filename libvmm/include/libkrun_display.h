/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libkrun_display.h: what krun_set_display_backend() takes, compatible with libkrun 1.18.
 *
 * Declarations for programs that are built for it: this library has no GPU
 * (krun_has_feature(KRUN_FEATURE_GPU) is 0), and never calls what is declared here.
 *
 * A program fills a struct krun_display_backend, which is copied. @create makes the instance that
 * every other call is given; all calls come from one thread, which is not the program's. They
 * return 0, or what they say they return, or KRUN_DISPLAY_ERR_*.
 */
#ifndef KRUN_LIBKRUN_DISPLAY_H
#define KRUN_LIBKRUN_DISPLAY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KRUN_DISPLAY_ERR_INTERNAL	    (-1)
#define KRUN_DISPLAY_ERR_METHOD_UNSUPPORTED (-2)
#define KRUN_DISPLAY_ERR_INVALID_SCANOUT_ID (-3)
#define KRUN_DISPLAY_ERR_INVALID_PARAM	    (-4)
#define KRUN_DISPLAY_ERR_OUT_OF_BUFFERS	    (-5)

/* Bits of krun_display_backend.features. */
#define KRUN_DISPLAY_FEATURE_BASIC_FRAMEBUFFER 1

/* Formats of pixels, the numbers of virtio-gpu: bytes in the order of their addresses. */
#define KRUN_DISPLAY_FORMAT_B8G8R8A8_UNORM 1
#define KRUN_DISPLAY_FORMAT_B8G8R8X8_UNORM 2
#define KRUN_DISPLAY_FORMAT_A8R8G8B8_UNORM 3
#define KRUN_DISPLAY_FORMAT_X8R8G8B8_UNORM 4
#define KRUN_DISPLAY_FORMAT_R8G8B8A8_UNORM 67
#define KRUN_DISPLAY_FORMAT_X8B8G8R8_UNORM 68
#define KRUN_DISPLAY_FORMAT_A8B8G8R8_UNORM 121
#define KRUN_DISPLAY_FORMAT_R8G8B8X8_UNORM 134

struct krun_rect {
	uint32_t x, y, width, height; /* pixels */
};

/* Makes an instance: its pointer at @instance. @userdata as in the backend; @reserved is NULL. */
typedef int32_t (*krun_display_create_fn)(
	void **instance, const void *userdata, const void *reserved);
/* The last call. May be NULL in the table. */
typedef int32_t (*krun_display_destroy_fn)(void *instance);

typedef int32_t (*krun_display_disable_scanout_fn)(void *instance, uint32_t scanout_id);
/* The display's size, that of the frames to come, and their format (KRUN_DISPLAY_FORMAT_*). */
typedef int32_t (*krun_display_configure_scanout_fn)(void *instance, uint32_t scanout_id,
	uint32_t display_width, uint32_t display_height, uint32_t width, uint32_t height,
	uint32_t format);
/* Room for a frame: the number of the frame, its memory and how much it is. */
typedef int32_t (*krun_display_alloc_frame_fn)(
	void *instance, uint32_t scanout_id, uint8_t **buffer, size_t *buffer_size);
/* The frame is filled; @damage, or NULL for all of it, is what differs from the one before. */
typedef int32_t (*krun_display_present_frame_fn)(
	void *instance, uint32_t scanout_id, uint32_t frame_id, const struct krun_rect *damage);

/* KRUN_DISPLAY_FEATURE_BASIC_FRAMEBUFFER */
struct krun_display_basic_framebuffer_vtable {
	krun_display_destroy_fn destroy;
	krun_display_disable_scanout_fn disable_scanout;
	krun_display_configure_scanout_fn configure_scanout;
	krun_display_alloc_frame_fn alloc_frame;
	krun_display_present_frame_fn present_frame;
};

union krun_display_vtable {
	struct krun_display_basic_framebuffer_vtable basic_framebuffer;
};

struct krun_display_backend {
	uint64_t features;
	void *create_userdata;
	krun_display_create_fn create;
	union krun_display_vtable vtable;
};

#ifdef __cplusplus
}
#endif
#endif
