# SPDX-License-Identifier: Apache-2.0
# What a package holds beside `make install`.

EXTRA_DIST += packaging/deb packaging/containers.conf packaging/containerd.toml packaging/docker.json packaging/copyright

deb:
	$(top_srcdir)/packaging/deb

.PHONY: deb
