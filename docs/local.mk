# SPDX-License-Identifier: Apache-2.0
# Documents and the manual pages.

# list: docs/*.1 docs/*.5 docs/*.7
dist_man_MANS += \
	docs/krun-oci.1

# list: README.md docs/*.md docs/*.svg
doc_files = \
	README.md \
	docs/adding-a-device.md \
	docs/architecture.md \
	docs/clients.md \
	docs/config.md \
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
