// SPDX-License-Identifier: Apache-2.0
/*
 * The frames of a stream for who does not put them together from any pieces, as passt's source of
 * 2022 does not: such a reader takes what there is, waits for the rest of the last frame by one
 * call, and takes one to four bytes behind it for nothing. NET_FRAMES (200000).
 *
 * How it works: the reader is a process, so that it may come at any moment between two pieces. It
 * ends with an error where a frame is not whole, and tells how many there were.
 */

#include <sys/wait.h>

#include "unit/net_rig.h"

#define BURST 100

static uint8_t buf[8 << 20];

static uint32_t length_of(uint32_t seq)
{
	return seq % 97 ? 60 + seq * 131 % 1455 : 40000 + seq * 137 % 25000;
}

/* What there is of @n bytes is whole frames, when the end of the last one has been waited for. */
static bool take(int fd, uint8_t *p, ssize_t n, uint32_t *frames)
{
	while (n > 4) {
		ssize_t len = (ssize_t)((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
			(uint32_t)p[2] << 8 | p[3]);

		p += 4;
		n -= 4;
		if (len != (ssize_t)length_of(*frames))
			return false;
		if (len > n) {
			n += recv(fd, p + n, (size_t)(len - n), 0);
			if (n != len)
				return false;
		}
		(*frames)++;
		p += len;
		n -= len;
	}
	return !n;
}

static _Noreturn void reader(int fd, uint32_t want)
{
	uint32_t frames = 0;
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf) - FRAME_MAX, 0)) > 0) {
		if (!take(fd, buf, n, &frames))
			_exit(1);
	}
	_exit(frames == want ? 0 : 2);
}

static void whole_frames(void)
{
	static uint8_t frame[FRAME_MAX];
	const char *env = getenv("NET_FRAMES");
	uint32_t n = env ? (uint32_t)strtoul(env, NULL, 10) : 200000, sent = 0, done = 0;
	uint64_t used;
	struct rig r;
	int status;
	pid_t pid;

	CHECK_EQ(rig_up(&r, NET_STREAM, ALL_FEATURES), 0);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		/* the other end is this process's as well */
		hostfd_close(&net_of(r.v)->pair[0].be->fd);
		reader(r.peer, n);
	}
	(void)close(r.peer);
	r.peer = -1;
	used = r.g.used;
	while (sent < n) {
		/* all at once, so that many are gathered */
		for (r.g.used = used; sent < n && sent - done < BURST; sent++) {
			uint32_t len = length_of(sent);
			uint64_t at = fake_alloc(&r.g, NET_HDR + len, 8).v;
			struct fake_seg s = { at, NET_HDR + len };

			memset(fake_ptr(&r.g, GPA(at), NET_HDR), 0, NET_HDR);
			make_frame(frame, guest_mac, len, sent);
			memcpy(fake_ptr(&r.g, GPA(at + NET_HDR), len), frame, len);
			CHECK(fake_add(&r.d, NET_TX, &s, 1, NULL, 0) >= 0);
		}
		(void)fake_kick(&r.d, NET_TX);
		while (done < sent) {
			int got = tx_done(&r);

			CHECK(got >= 0 && link_status(&r) == NET_S_LINK_UP);
			done += (uint32_t)got;
		}
	}
	/* what the socket has not taken yet */
	while (net_of(r.v)->pair[0].blocked)
		fake_poll(&r.d);
	rig_down(&r);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 0);
}

static const struct test_case cases[] = { TEST(whole_frames) };

TEST_MAIN(cases)
