# SPDX-License-Identifier: Apache-2.0
# The guest's agent: static, built by musl's compiler; and the protocol that both halves compile.

noinst_LIBRARIES += libproto.a

# list: init/proto/*.c init/proto/*.h
libproto_a_SOURCES = \
	init/proto/blob_read.c \
	init/proto/blob_write.c \
	init/proto/msg.c \
	init/proto/blob.h \
	init/proto/blob_tags.h \
	init/proto/msg.h \
	init/proto/tsi.h

# list: init/*.c init/*.h
agent_sources = \
	init/agent.c \
	init/cgroup.c \
	init/child.c \
	init/copyup.c \
	init/ctrl.c \
	init/devices.c \
	init/dhcp.c \
	init/fds.c \
	init/home.c \
	init/hooks.c \
	init/main.c \
	init/mounts.c \
	init/netif.c \
	init/netlink.c \
	init/nic.c \
	init/notify.c \
	init/proc.c \
	init/process.c \
	init/ps.c \
	init/root.c \
	init/stream.c \
	init/sysctl.c \
	init/agent.h \
	init/child.h \
	init/netlink.h \
	init/sys.h

EXTRA_DIST += $(agent_sources)

# The host's linux/ headers come after musl's own; nothing of the host's C library is used.
agent_cflags = -std=gnu11 -Os -g0 -static -D_GNU_SOURCE $(WARN_CFLAGS) -fno-strict-overflow -fstack-protector-strong \
	-fcf-protection=none -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables \
	-idirafter /usr/include -idirafter /usr/include/$(ARCH)-linux-gnu -I$(top_srcdir) -I$(top_srcdir)/init
agent_linkflags = -Wl,--gc-sections -Wl,-z,relro,-z,now,-z,noexecstack -s

# One command for all of it: the whole agent takes a few seconds.
init/agent: $(agent_sources) $(libproto_a_SOURCES) config.status
	$(AM_V_CCLD)$(MKDIR_P) init && list= && \
	for f in $(filter %.c,$^); do list="$$list $$f"; done && \
	$(MUSL_CC) $(agent_cflags) $(agent_linkflags) -o $@.tmp $$list && mv -f $@.tmp $@

CLEANFILES += init/agent init/agent.tmp
