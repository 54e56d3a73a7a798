# SPDX-License-Identifier: Apache-2.0
# The command line.

bin_PROGRAMS += krun-oci
noinst_LIBRARIES += libmain.a

# main.c has its own library, since it alone is compiled anew when the commit changes.
libmain_a_SOURCES = src/main.c
libmain_a_CPPFLAGS = $(AM_CPPFLAGS) -include src/commit.h

# list: src/*.c src/*.h !src/main.c !src/commit.h
krun_oci_SOURCES = \
	src/cmd_create.c \
	src/cmd_events.c \
	src/cmd_exec.c \
	src/cmd_life.c \
	src/cmd_misc.c \
	src/cmd_pause.c \
	src/cmd_ps.c \
	src/cmd_update.c \
	src/opt.c \
	src/cli.h

# The core calls the hypervisor and the hypervisor the core.
krun_oci_LDADD = libmain.a liboci.a libvmmcore.a libhvkvm.a libvmmcore.a libproto.a libutil.a $(RUNTIME_LIBS)

src/libmain_a-main.$(OBJEXT): src/commit.h

# Written only when it changes. A tarball holds the commit it was made from.
src/commit.h: FORCE
	@$(MKDIR_P) src; \
	c=`$(GIT_COMMIT_CMD)`; test -n "$$c" || c=`cat $(srcdir)/.commit 2>/dev/null` || c=unknown; \
	printf '/* SPDX-License-Identifier: Apache-2.0 */\n/* Made by make. */\n#define GIT_COMMIT "%s"\n' "$$c" >$@.tmp; \
	if cmp -s $@.tmp $@; then rm -f $@.tmp; else mv -f $@.tmp $@; fi

GIT_COMMIT_CMD = test -e $(srcdir)/.git && git -C $(srcdir) describe --always --abbrev=12 --exclude='*' --dirty 2>/dev/null

FORCE:
.PHONY: FORCE

CLEANFILES += src/commit.h
