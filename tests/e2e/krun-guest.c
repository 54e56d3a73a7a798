// SPDX-License-Identifier: Apache-2.0
/* In the guest of tests/e2e/krun-api.sh: a line over vsock, either way; and what a named console
 * port says. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <unistd.h>

static int fail(const char *what)
{
	perror(what);
	return 1;
}

/* connect PORT: says "guest", and prints the answer. */
static int say(unsigned port)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_port = port, .svm_cid = 2 };
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
	char buf[64];
	ssize_t n;

	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return fail("connect");
	if (write(fd, "guest\n", 6) != 6 || shutdown(fd, SHUT_WR))
		return fail("write");
	n = read(fd, buf, sizeof(buf));
	return n > 0 && write(1, buf, (size_t)n) == n ? 0 : fail("read");
}

/* listen PORT FILE: prints what comes, and answers "served". FILE is made when it listens. */
static int serve(unsigned port, const char *file)
{
	struct sockaddr_vm a = {
		.svm_family = AF_VSOCK, .svm_port = port, .svm_cid = VMADDR_CID_ANY
	};
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0), c;
	char buf[64];
	ssize_t n;

	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 1))
		return fail("listen");
	if (close(open(file, O_CREAT | O_WRONLY, 0644)))
		return fail(file);
	c = accept(fd, NULL, NULL);
	n = c < 0 ? -1 : read(c, buf, sizeof(buf));
	if (n <= 0 || write(1, buf, (size_t)n) != n || write(c, "served\n", 7) != 7)
		return fail("serve");
	/* the other side has it when it has closed */
	return shutdown(c, SHUT_WR) || read(c, buf, sizeof(buf)) != 0 ? fail("end") : 0;
}

/* port NAME: copies a line from the port of that name to standard output, and answers. */
static int port(const char *name)
{
	static const char dir[] = "/sys/class/virtio-ports";
	DIR *d = opendir(dir);
	char path[512], is[64] = "";
	struct dirent *e;
	int fd = -1;
	ssize_t n;

	while (d && fd < 0 && (e = readdir(d))) {
		int f;

		(void)snprintf(path, sizeof(path), "%s/%s/name", dir, e->d_name);
		f = open(path, O_RDONLY);
		n = f < 0 ? -1 : read(f, is, sizeof(is) - 1);
		if (n <= 0)
			continue;
		is[n] = 0;
		is[strcspn(is, "\n")] = 0;
		if (strcmp(is, name) != 0)
			continue;
		(void)snprintf(path, sizeof(path), "/dev/%s", e->d_name);
		fd = open(path, O_RDWR);
	}
	if (fd < 0)
		return fail(name);
	n = read(fd, path, sizeof(path));
	if (n <= 0 || write(1, path, (size_t)n) != n || write(fd, "from the guest\n", 15) != 15)
		return fail("port");
	return 0;
}

/* As /init of an initramfs or of a share, where the kernel mounts devices first. */
static int init(int argc)
{
	printf("an init of its own, arguments: %d%s\n", argc - 1,
		access("/dev/null", W_OK) ? "" : ", devices");
	(void)fflush(stdout);
	return reboot(RB_AUTOBOOT);
}

int main(int argc, char **argv)
{
	if (!strcmp(argv[0], "/init"))
		return init(argc);
	if (argc == 3 && !strcmp(argv[1], "connect"))
		return say((unsigned)atoi(argv[2]));
	if (argc == 4 && !strcmp(argv[1], "listen"))
		return serve((unsigned)atoi(argv[2]), argv[3]);
	return argc == 3 && !strcmp(argv[1], "port") ? port(argv[2]) : 96;
}
