// SPDX-License-Identifier: Apache-2.0
/* The VMM's main loop, what it says and when; the agent is this test, the VM never starts. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake/fake_hv.h"
#include "oci/sync.h"
#include "oci/vmloop.h"
#include "test.h"
#include "util/log.h"
#include "util/util.h"
#include "vmm.h"

static const char config[] = "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"}}";
static struct vmproc p;
static struct vmloop *l;
static struct vmm *vm;
static struct error e;
static int starter = -1; /* the end of who has asked for the start */
static int heard;	 /* what that one had been told when the status was written */

static int kernel_file(void)
{
	struct {
		Elf64_Ehdr h;
		Elf64_Phdr p;
		uint8_t code[1024];
	} f = { .h = { .e_ident = ELFMAG,
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_entry = 0x1000000,
			.e_phoff = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 1 },
		.p = { .p_type = PT_LOAD,
			.p_offset = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr),
			.p_paddr = 0x1000000,
			.p_filesz = 64,
			.p_memsz = 4096 } };
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	f.h.e_ident[EI_CLASS] = ELFCLASS64;
	f.h.e_ident[EI_DATA] = ELFDATA2LSB;
	return write(fd, &f, sizeof(f)) == (ssize_t)sizeof(f) ? fd : -1;
}

/* It takes our stdin, stdout and stderr for the container's. */
static int new_loop(void)
{
	int own[3], r;

	(void)fflush(stdout);
	for (int fd = 0; fd < 3; fd++)
		own[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	r = vmloop_new(&p, vm, &l, &e);
	for (int fd = 0; fd < 3; fd++) {
		if (dup2(own[fd], fd) < 0 || close(own[fd]))
			r = -1;
	}
	return r;
}

/* A container that is created, and somebody who waits for its start. */
static int begin(int status_fd)
{
	struct vmm_config c = { .vcpus = 1,
		.ram_bytes = 64U << 20,
		.no_thp = true,
		.kernel_fd = kernel_file(),
		.cmdline = "quiet",
		.vsock = true };
	struct spec *s = NULL;
	int sv[2];

	e = (struct error){ 0 };
	fake_hv_set_opts(NULL);
	p = (struct vmproc){ .tty_fd = -1,
		.bundle_fd = -1,
		.status_fd = status_fd,
		.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC),
		.size = { .vcpus = 1 } };
	if (spec_parse(config, sizeof(config) - 1, &s, &e) || vmm_new(-1, &vm, &e) ||
		vmm_build(vm, &c, &e) ||
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv)) {
		printf("# %s\n", e.msg);
		return -1;
	}
	p.spec = s;
	if (new_loop()) {
		printf("# %s\n", e.msg);
		return -1;
	}
	l->phase = PHASE_CREATED;
	l->start_conn = sv[0];
	starter = sv[1];
	return 0;
}

static void end(void)
{
	agent_close(&l->agent);
	loop_free(l->loop);
	free(l);
	vmm_free(vm);
	CHECK(!fake_hv_last());
	spec_free((struct spec *)(uintptr_t)p.spec);
	CHECK(!close(p.null_fd) && !close(p.status_fd) && !close(starter));
}

/* The code of what was answered; -1: nothing yet. */
static int answered(int flags)
{
	struct ctl_reply r;

	return recv(starter, &r, sizeof(r), MSG_DONTWAIT | flags) == (ssize_t)sizeof(r) ? r.code
											: -1;
}

static void on_log(enum log_level level, const char *line)
{
	(void)level;
	if (strstr(line, "status"))
		heard = answered(MSG_PEEK);
}

/* Who hears that the start has failed finds a container that is stopped. The status goes to a pipe,
 * which has no place to write it to: the complaint about that shows when it would have been
 * written. */
static void failed_start_is_told_last(void)
{
	int pp[2];

	CHECK(!pipe2(pp, O_CLOEXEC));
	CHECK(!begin(pp[1]));
	heard = 0;
	log_set_sink(on_log, LOG_ERROR);
	l->agent.ops->lost(l, "it is gone");
	log_set_sink(NULL, LOG_ERROR);
	CHECK_EQ(heard, -1);
	CHECK_EQ(answered(0), EIO);
	CHECK_EQ(l->phase, PHASE_STOPPED);
	CHECK(l->quit && l->start_conn < 0);
	CHECK(!close(pp[0]));
	end();
}

static struct agent_reply reply_to(uint32_t seq)
{
	return (struct agent_reply){ .seq = seq, .text = "" };
}

/* What cannot be recorded has not happened: the container that is made is none, as nobody could
 * start it. */
static void made_and_not_recorded(void)
{
	struct agent_reply r;
	int sv[2];

	CHECK(!begin(open("/dev/full", O_WRONLY | O_CLOEXEC)));
	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv));
	l->phase = PHASE_CREATING;
	l->sync.fd = sv[0];
	l->create_seq = 7;
	r = reply_to(7);
	l->agent.ops->reply(l, &r);
	CHECK_EQ(sync_wait(sv[1], SYNC_READY, &e), -EIO);
	CHECK(strstr(e.msg, "status"));
	CHECK(l->quit);
	CHECK(!close(sv[0]) && !close(sv[1]));
	end();
}

static void started_and_not_recorded(void)
{
	struct agent_reply r;

	CHECK(!begin(open("/dev/full", O_WRONLY | O_CLOEXEC)));
	l->start_seq = 8;
	r = reply_to(8);
	l->agent.ops->reply(l, &r);
	CHECK_EQ(answered(0), EIO);
	CHECK(l->quit && l->phase == PHASE_STOPPED);
	end();
}

static const struct test_case cases[] = {
	TEST(made_and_not_recorded),
	TEST(started_and_not_recorded),
	TEST(failed_start_is_told_last),
};

TEST_MAIN(cases)
