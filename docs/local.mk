# SPDX-License-Identifier: Apache-2.0
# Documents and the manual pages.

# list: docs/*.1 docs/*.5 docs/*.7 !docs/krun-oci-config.5
dist_man_MANS += \
	docs/krun-oci.1

# What config.json may say, as a manual page too; its date is the other page's.
man_MANS = docs/krun-oci-config.5
CLEANFILES += docs/krun-oci-config.5
EXTRA_DIST += docs/md2man
docs/krun-oci-config.5: docs/md2man docs/config.md docs/krun-oci.1 VERSION
	$(AM_V_GEN)mkdir -p docs && $(top_srcdir)/docs/md2man krun-oci-config 5 "what krun-oci honours of a bundle's config.json" \
		"`cat $(top_srcdir)/VERSION`" "`sed -n 's/^\.Dd //p' $(top_srcdir)/docs/krun-oci.1`" $(top_srcdir)/docs/config.md >$@.tmp && mv $@.tmp $@

# The API's reference is its header.
EXTRA_DIST += docs/h2man
if LIBKRUN
man_MANS += docs/libkrun.3
endif
CLEANFILES += docs/libkrun.3
docs/libkrun.3: docs/h2man libvmm/include/libkrun.h docs/krun-oci.1 VERSION
	$(AM_V_GEN)mkdir -p docs && $(top_srcdir)/docs/h2man libkrun 3 "a process as a KVM microVM" \
		"`cat $(top_srcdir)/VERSION`" "`sed -n 's/^\.Dd //p' $(top_srcdir)/docs/krun-oci.1`" $(top_srcdir)/libvmm/include/libkrun.h >$@.tmp && mv $@.tmp $@

# `man krun_create_ctx` finds the page that has it.
krun_functions = `sed -n 's/^	\(krun_[a-z0-9_]*\);$$/\1/p' $(top_srcdir)/libvmm/api/libkrun.map`
if LIBKRUN
install-man-links:
	$(MKDIR_P) "$(DESTDIR)$(man3dir)"
	for f in $(krun_functions); do echo '.so man3/libkrun.3' >"$(DESTDIR)$(man3dir)/$$f.3" || exit 1; done

uninstall-man-links:
	for f in $(krun_functions); do rm -f "$(DESTDIR)$(man3dir)/$$f.3"; done
else
install-man-links uninstall-man-links:
endif
.PHONY: install-man-links uninstall-man-links

# list: README.md docs/*.md docs/*.svg
doc_files = \
	README.md \
	docs/abi.md \
	docs/adding-a-device.md \
	docs/architecture.md \
	docs/clients.md \
	docs/config.md \
	docs/disks.md \
	docs/files.md \
	docs/networking.md \
	docs/performance.md \
	docs/soak.md \
	docs/style.md \
	docs/threat-model.md

# list: docs/completion/krun-oci.bash
completion_files = \
	docs/completion/krun-oci.bash

EXTRA_DIST += $(doc_files)
bashcompletiondir = $(datadir)/bash-completion/completions
EXTRA_DIST += $(completion_files)

install-completion:
	for f in $(completion_files); do \
		$(MKDIR_P) "$(DESTDIR)$(bashcompletiondir)" && \
		$(INSTALL_DATA) "$(srcdir)/$$f" "$(DESTDIR)$(bashcompletiondir)/krun-oci" || exit 1; \
	done

uninstall-completion:
	rm -f "$(DESTDIR)$(bashcompletiondir)/krun-oci"

.PHONY: install-completion uninstall-completion
