// SPDX-License-Identifier: Apache-2.0
/* The annotations of disks: what they mean, every wrong one by its name, and what is opened. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "oci/spec_disk.h"
#include "tests/unit/test.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/util.h"

static char dir[] = "/tmp/krun-disk-XXXXXX";

/* @annotations: as JSON. */
static int read_disks(
	const char *annotations, int bundle, struct vmm_disk *d, unsigned *n, struct error *e)
{
	CLEAN_FREE char *text = NULL;
	CLEAN(spec_freep) struct spec *s = NULL;

	if (asprintf(&text,
		    "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"annotations\":{%s}}",
		    annotations) < 0 ||
		spec_parse(text, strlen(text), &s, e))
		abort();
	return spec_disks(s, bundle, d, n, e);
}

static void meant(void)
{
	struct vmm_disk d[VMM_MAX_DISKS];
	unsigned n;

	CHECK_EQ(read_disks("\"a\":\"b\"", -1, d, &n, NULL), 0);
	CHECK_EQ(n, 0);
	CHECK_EQ(read_disks(
			 "\"krun-oci.disk.1\":\"/y\",\"krun-oci.disk.0\":\"x\","
			 "\"krun-oci.disk.1.options\":\"format=qcow2,ro,sync=none,direct,threads\"",
			 -1, d, &n, NULL),
		0);
	CHECK_EQ(n, 2);
	CHECK(d[0].format == VMM_DISK_RAW && d[0].sync == VMM_DISK_SYNC_FULL && !d[0].readonly);
	CHECK(!d[0].direct && !d[0].threads && !d[0].open_backing);
	CHECK_STR(d[0].serial, "disk0");
	CHECK(d[1].format == VMM_DISK_QCOW2 && d[1].sync == VMM_DISK_SYNC_NONE && d[1].readonly);
	CHECK(d[1].direct && d[1].threads);
	CHECK_EQ(
		read_disks(
			"\"krun-oci.disk.0\":\"x\",\"krun-oci.disk.0.options\":\"format=raw,sync=full\"",
			-1, d, &n, NULL),
		0);
	CHECK(d[0].format == VMM_DISK_RAW && !d[0].readonly);
}

static void wrong(void)
{
	static const char *const bad[] = {
		"\"krun-oci.disk.1\":\"x\"",
		"\"krun-oci.disk.8\":\"x\"",
		"\"krun-oci.disk.00\":\"x\"",
		"\"krun-oci.disk.\":\"x\"",
		"\"krun-oci.disk.a\":\"x\"",
		"\"krun-oci.disk.0\":\"\"",
		"\"krun-oci.disk.0.options\":\"ro\"",
		"\"krun-oci.disk.0\":\"x\",\"krun-oci.disk.0.option\":\"ro\"",
		"\"krun-oci.disk.0\":\"x\",\"krun-oci.disk.0.options\":\"\"",
		"\"krun-oci.disk.0\":\"x\",\"krun-oci.disk.0.options\":\"rw\"",
		"\"krun-oci.disk.0\":\"x\",\"krun-oci.disk.0.options\":\"ro,\"",
		"\"krun-oci.disk.0\":\"x\",\"krun-oci.disk.0.options\":\"ro,ro\"",
		"\"krun-oci.disk.0\":\"x\",\"krun-oci.disk.0.options\":\"format=raw,format=qcow2\"",
		"\"krun-oci.disk.0\":\"x\",\"krun-oci.disk.0.options\":\"format=vmdk\"",
		"\"krun-oci.disk.0\":\"x\",\"krun-oci.disk.0.options\":\"r\"",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vmm_disk d[VMM_MAX_DISKS];
		struct error e = { 0 };
		unsigned n;
		int r = read_disks(bad[i], -1, d, &n, &e);

		if (r != -EINVAL)
			printf("# %s\n", bad[i]);
		CHECK_EQ(r, -EINVAL);
		CHECK(strstr(e.msg, "krun-oci.disk."));
	}
}

static void opened(void)
{
	static const struct {
		const char *path, *options;
		int r;
	} t[] = {
		{ "img", "", 0 }, { "sub/img", "", 0 }, { "none", "", -ENOENT },
		{ "link", "", -ELOOP }, { "linkdir/img", "", -ELOOP }, { "../img", "", -EXDEV },
		{ "read", "", -EACCES }, { "read", ",\"krun-oci.disk.0.options\":\"ro\"", 0 },
		{ "/proc/self/exe", ",\"krun-oci.disk.0.options\":\"ro\"", -ELOOP },
		{ "fifo", ",\"krun-oci.disk.0.options\":\"ro\"", -EINVAL }, { "node", "", -EINVAL },
		{ "sub", ",\"krun-oci.disk.0.options\":\"ro\"", -EINVAL },
		{ "/dev/null", "", 0 }, /* the device refuses it */
	};
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK(!mkdirat(fd, "sub", 0700));
	(void)close(openat(fd, "img", O_CREAT | O_RDWR | O_CLOEXEC, 0600));
	(void)close(openat(fd, "sub/img", O_CREAT | O_RDWR | O_CLOEXEC, 0600));
	(void)close(openat(fd, "read", O_CREAT | O_RDWR | O_CLOEXEC, 0400));
	CHECK(!symlinkat("img", fd, "link"));
	CHECK(!symlinkat("sub", fd, "linkdir"));
	CHECK(!mkfifoat(fd, "fifo", 0600));
	/* where that is forbidden, another file that is no regular one */
	if (mknodat(fd, "node", S_IFBLK | 0600, makedev(7, 250)))
		CHECK(!mknodat(fd, "node", S_IFSOCK | 0600, 0));
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		struct vmm_disk d[VMM_MAX_DISKS];
		struct error e = { 0 };
		char text[256];
		unsigned n;
		int r;

		(void)snprintf(text, sizeof(text), "\"krun-oci.disk.0\":\"%s\"%s", t[i].path,
			t[i].options);
		r = read_disks(text, fd, d, &n, &e);
		/* root may write to what it may only read */
		if (t[i].r == -EACCES && !geteuid())
			CHECK_EQ(r, 0);
		else
			CHECK_EQ(r, t[i].r);
		if (r)
			CHECK(strstr(e.msg, "krun-oci.disk.0"));
		else
			(void)close(d[0].fd);
	}
	(void)close(fd);
}

static const struct test_case cases[] = {
	TEST(meant),
	TEST(wrong),
	TEST(opened),
};

int main(int argc, char **argv)
{
	char cmd[64];
	int r;

	if (!mkdtemp(dir))
		return 1;
	r = test_run_(cases, ARRAY_SIZE(cases), argc, argv);
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	(void)!system(cmd);
	return r;
}
