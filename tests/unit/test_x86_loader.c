// SPDX-License-Identifier: Apache-2.0
/* Kernel files good and hostile, and what boot_setup leaves in memory for the kernel. */
#include <elf.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/x86_64/x86.h"
#include "tests/unit/test.h"
#include "util/bytes.h"
#include "util/util.h"

#define RAM	(64ULL << 20)
#define ENTRY	0x200040ULL
#define SEG1	0x200000ULL
#define SEG2	0x300000ULL
#define NOTE_AT 0x200

struct image {
	Elf64_Ehdr h;
	Elf64_Phdr ph[3];
	uint8_t pad[0x1000 - sizeof(Elf64_Ehdr) - 3 * sizeof(Elf64_Phdr)];
	uint8_t seg1[0x1000];
	uint8_t seg2[0x100];
};

static struct image img;
static struct mem m;
static struct arch_kernel k;
static struct error e;

static int begin(uint64_t bytes)
{
	const struct mem_ram_opts o = { 0 };

	mem_init(&m);
	e = (struct error){ 0 };
	return arch_add_ram(&m, bytes, &o, &e);
}

static int load_bytes_as_kernel(const void *p, size_t n, bool pvh)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC), r;

	if (fd < 0 || write(fd, p, n) != (ssize_t)n)
		return -EIO;
	e = (struct error){ 0 };
	r = arch_load_kernel(&m, fd, pvh, &k, &e);
	(void)close(fd);
	return r;
}

static void good_elf(void)
{
	uint8_t *note = img.seg1 + NOTE_AT;

	memset(&img, 0, sizeof(img));
	memcpy(img.h.e_ident, ELFMAG, SELFMAG);
	img.h.e_ident[EI_CLASS] = ELFCLASS64;
	img.h.e_ident[EI_DATA] = ELFDATA2LSB;
	img.h.e_type = ET_EXEC;
	img.h.e_machine = EM_X86_64;
	img.h.e_entry = ENTRY;
	img.h.e_phoff = offsetof(struct image, ph);
	img.h.e_phentsize = sizeof(Elf64_Phdr);
	img.h.e_phnum = 3;
	img.ph[0] = (Elf64_Phdr){ .p_type = PT_LOAD,
		.p_offset = offsetof(struct image, seg1),
		.p_paddr = SEG1,
		.p_filesz = 0x1000,
		.p_memsz = 0x1000 };
	img.ph[1] = (Elf64_Phdr){ .p_type = PT_LOAD,
		.p_offset = offsetof(struct image, seg2),
		.p_paddr = SEG2,
		.p_filesz = 0x100,
		.p_memsz = 0x5100 };
	img.ph[2] = (Elf64_Phdr){ .p_type = PT_NOTE,
		.p_offset = offsetof(struct image, seg1) + NOTE_AT,
		.p_filesz = 20 };
	memset(img.seg1, 0x11, NOTE_AT);
	memset(img.seg2, 0x22, sizeof(img.seg2));
	put_le32(note, 4);
	put_le32(note + 4, 4);
	put_le32(note + 8, 18);
	memcpy(note + 12, "Xen", 4);
	put_le32(note + 16, SEG1 + 0x80);
}

static void elf_loads(void)
{
	uint8_t b[2];

	CHECK_EQ(begin(RAM), 0);
	good_elf();
	CHECK_EQ(load_bytes_as_kernel(&img, sizeof(img), false), 0);
	CHECK_EQ(k.boot, ARCH_BOOT_LINUX64);
	CHECK_EQ(k.entry, ENTRY);
	CHECK_EQ(k.start, SEG1);
	CHECK_EQ(k.end, SEG2 + 0x5100); /* bss included */
	CHECK_EQ(mem_read(&m, b, GPA(SEG1), 1), 0);
	CHECK_EQ(b[0], 0x11);
	CHECK_EQ(mem_read(&m, b, GPA(SEG2 + 0xff), 2), 0);
	CHECK_EQ(b[0], 0x22);
	CHECK_EQ(b[1], 0);
	CHECK_EQ(load_bytes_as_kernel(&img, sizeof(img), true), 0);
	CHECK_EQ(k.boot, ARCH_BOOT_PVH);
	CHECK_EQ(k.entry, SEG1 + 0x80);
	mem_destroy(&m);
}

/* Where the plain entry is not a physical address, PVH is taken unasked. */
static void elf_falls_back_to_pvh(void)
{
	CHECK_EQ(begin(RAM), 0);
	good_elf();
	img.h.e_entry = 0xffffffff81000000;
	CHECK_EQ(load_bytes_as_kernel(&img, sizeof(img), false), 0);
	CHECK_EQ(k.boot, ARCH_BOOT_PVH);
	img.seg1[NOTE_AT + 12] = 'x'; /* no such note any more */
	CHECK_EQ(load_bytes_as_kernel(&img, sizeof(img), false), -ENOEXEC);
	mem_destroy(&m);
}

static bool refused(void)
{
	int r = load_bytes_as_kernel(&img, sizeof(img), false);
	bool yes = r == -ENOEXEC && e.msg[0];

	if (!yes)
		printf("# got %d (%s)\n", r, e.msg);
	good_elf();
	return yes;
}

static void elf_hostile(void)
{
	CHECK_EQ(begin(RAM), 0);
	good_elf();
	img.h.e_phoff = UINT64_MAX - 8;
	CHECK(refused());
	img.h.e_phoff = sizeof(img) - 8;
	CHECK(refused());
	img.h.e_phnum = 0xffff;
	CHECK(refused());
	img.h.e_phnum = 0;
	CHECK(refused());
	img.h.e_phentsize = 1;
	CHECK(refused());
	img.h.e_machine = EM_AARCH64;
	CHECK(refused());
	img.h.e_ident[EI_CLASS] = ELFCLASS32;
	CHECK(refused());
	img.h.e_entry = SEG1 + 0x1000; /* one past */
	img.ph[2].p_type = PT_NULL;
	CHECK(refused());
	img.ph[0].p_offset = UINT64_MAX;
	CHECK(refused());
	img.ph[0].p_offset = sizeof(img) - 0xfff;
	CHECK(refused());
	img.ph[0].p_filesz = 0x1001; /* more than in memory */
	CHECK(refused());
	img.ph[0].p_paddr = UINT64_MAX - 0xfff; /* wraps */
	CHECK(refused());
	img.ph[0].p_paddr = 0x8000; /* over the boot data */
	CHECK(refused());
	img.ph[1].p_memsz = UINT64_MAX;
	CHECK(refused());
	img.ph[1].p_memsz = RAM - SEG2 + 1;
	CHECK(refused());
	img.ph[1].p_paddr = SEG1 + 0xfff; /* overlap by a byte */
	CHECK(refused());
	img.ph[0].p_type = img.ph[1].p_type = PT_NULL;
	CHECK(refused());
	img.ph[2].p_offset = UINT64_MAX;
	CHECK(refused());
	img.ph[1].p_memsz = RAM - SEG2; /* to the last byte of RAM */
	CHECK_EQ(load_bytes_as_kernel(&img, sizeof(img), false), 0);
	mem_destroy(&m);
}

static void notes_hostile(void)
{
	static const uint32_t bad[] = { 0xffffffff, 0xfffffffc, 0x80000000, 9, 0 };

	CHECK_EQ(begin(RAM), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		for (unsigned field = 0; field < 8; field += 4) {
			good_elf();
			put_le32(img.seg1 + NOTE_AT + field, bad[i]);
			CHECK_EQ(load_bytes_as_kernel(&img, sizeof(img), true), 0);
			CHECK_EQ(k.boot, ARCH_BOOT_LINUX64);
		}
	}
	good_elf();
	put_le32(img.seg1 + NOTE_AT + 16, 0x5000000); /* an entry outside of the kernel */
	CHECK_EQ(load_bytes_as_kernel(&img, sizeof(img), true), 0);
	CHECK_EQ(k.boot, ARCH_BOOT_LINUX64);
	mem_destroy(&m);
}

/* Far into a segment of notes; one that is too large is as if it were not there. */
static void notes_long(void)
{
	static uint8_t file[160U << 10];
	Elf64_Ehdr *h = (void *)file;
	Elf64_Phdr *ph = (void *)(file + sizeof(*h));
	const uint32_t n = 64U << 10;
	uint8_t *notes = file + 0x2000;

	CHECK_EQ(begin(RAM), 0);
	good_elf();
	memcpy(file, &img, sizeof(img));
	ph[2].p_offset = 0x2000;
	ph[2].p_filesz = n;
	/* a note that fills most of it, and the entry behind */
	put_le32(notes, 4);
	put_le32(notes + 4, n - 64);
	put_le32(notes + 8, 1);
	memcpy(notes + n - 48, img.seg1 + NOTE_AT, 20);
	CHECK_EQ(load_bytes_as_kernel(file, sizeof(file), true), 0);
	CHECK_EQ(k.boot, ARCH_BOOT_PVH);
	ph[2].p_filesz = n + 1;
	CHECK_EQ(load_bytes_as_kernel(file, sizeof(file), true), 0);
	CHECK_EQ(k.boot, ARCH_BOOT_LINUX64);
	mem_destroy(&m);
}

static void not_kernels(void)
{
	static const char text[4096] = "#!/bin/sh\n";
	int p[2];

	CHECK_EQ(begin(RAM), 0);
	CHECK_EQ(load_bytes_as_kernel(text, sizeof(text), false), -ENOEXEC);
	CHECK(strstr(e.msg, "neither"));
	CHECK_EQ(load_bytes_as_kernel(text, 10, false), -ENOEXEC);
	CHECK_EQ(pipe(p), 0);
	e = (struct error){ 0 };
	CHECK_EQ(arch_load_kernel(&m, p[0], false, &k, &e), -ENOEXEC);
	(void)close(p[0]);
	(void)close(p[1]);
	mem_destroy(&m);
}

#define BZ_OFF	0x400 /* one sector of setup code */
#define BZ_CODE 0x800

static uint8_t bz[BZ_OFF + BZ_CODE];

static void good_bz(void)
{
	memset(bz, 0, sizeof(bz));
	bz[0x1f1] = 1;
	put_le32(bz + 0x1f4, BZ_CODE / 16);
	put_le16(bz + 0x1fe, 0xaa55);
	bz[0x201] = 0x6a;
	memcpy(bz + 0x202, "HdrS", 4);
	put_le16(bz + 0x206, 0x020f);
	bz[0x211] = 1;
	put_le32(bz + 0x22c, 0x7fffffff);
	bz[0x234] = 1;
	put_le16(bz + 0x236, 1);
	put_le32(bz + 0x238, 2047);
	put_le64(bz + 0x258, 0x1000000);
	put_le32(bz + 0x260, 0x300000);
	memset(bz + BZ_OFF, 0x33, BZ_CODE);
}

static void bzimage_loads(void)
{
	struct arch_boot_params p = { .vcpus = 1, .cmdline = "quiet" };
	uint8_t zp[4096], b;

	CHECK_EQ(begin(RAM), 0);
	good_bz();
	CHECK_EQ(load_bytes_as_kernel(bz, sizeof(bz), true), 0);
	CHECK_EQ(k.boot, ARCH_BOOT_LINUX64);
	CHECK_EQ(k.entry, 0x1000200);
	CHECK_EQ(k.start, 0x1000000);
	CHECK_EQ(k.end, 0x1300000);
	CHECK_EQ(mem_read(&m, &b, GPA(0x1000000 + BZ_CODE - 1), 1), 0);
	CHECK_EQ(b, 0x33);
	CHECK_EQ(arch_boot_setup(&m, &p, &k, &e), 0);
	CHECK_EQ(mem_read(&m, zp, GPA(X86_ZERO_PAGE), sizeof(zp)), 0);
	CHECK(!memcmp(zp + 0x202, "HdrS", 4));
	CHECK_EQ(get_le16(zp + 0x206), 0x020f);
	CHECK_EQ(get_le32(zp + 0x260), 0x300000); /* the header came along */
	CHECK_EQ(zp[0x210], 0xff);
	CHECK_EQ(get_le32(zp + 0x228), X86_CMDLINE);
	CHECK_EQ(zp[0x1ef], 0); /* the sentinel */
	CHECK_EQ(get_le64(zp + 0x70), 0);
	p.acpi = true;
	CHECK_EQ(arch_boot_setup(&m, &p, &k, &e), 0);
	CHECK_EQ(mem_read(&m, zp, GPA(X86_ZERO_PAGE), sizeof(zp)), 0);
	CHECK_EQ(get_le64(zp + 0x70), X86_ACPI);
	CHECK_EQ(zp[0x1e8], 4); /* ranges of memory */
	CHECK_EQ(mem_read(&m, zp, GPA(X86_ACPI), 8), 0);
	CHECK(!memcmp(zp, "RSD PTR ", 8));
	mem_destroy(&m);
}

static bool bz_refused(size_t n)
{
	int r = load_bytes_as_kernel(bz, n, false);

	if (r != -ENOEXEC)
		printf("# got %d (%s)\n", r, e.msg);
	good_bz();
	return r == -ENOEXEC && e.msg[0];
}

static void bzimage_hostile(void)
{
	CHECK_EQ(begin(RAM), 0);
	good_bz();
	CHECK(bz_refused(sizeof(bz) - 17)); /* cut off */
	CHECK(bz_refused(0x210));
	bz[0x1f1] = 255;
	CHECK(bz_refused(sizeof(bz)));
	put_le32(bz + 0x1f4, 0xffffffff);
	CHECK(bz_refused(sizeof(bz)));
	put_le32(bz + 0x1f4, 0);
	CHECK(bz_refused(sizeof(bz)));
	put_le16(bz + 0x206, 0x020b);
	CHECK(bz_refused(sizeof(bz)));
	put_le16(bz + 0x236, 0);
	CHECK(bz_refused(sizeof(bz)));
	bz[0x201] = 0xff;
	CHECK(bz_refused(sizeof(bz)));
	bz[0x201] = 0;
	CHECK(bz_refused(sizeof(bz)));
	put_le64(bz + 0x258, UINT64_MAX - 0x1000);
	CHECK(bz_refused(sizeof(bz)));
	put_le64(bz + 0x258, 0x10000);
	CHECK(bz_refused(sizeof(bz)));
	put_le32(bz + 0x260, 0xffffffff);
	CHECK(bz_refused(sizeof(bz)));
	put_le32(bz + 0x260, RAM - 0x1000000 + 1);
	CHECK(bz_refused(sizeof(bz)));
	CHECK_EQ(load_bytes_as_kernel(bz, sizeof(bz), false), 0);
	mem_destroy(&m);
}

static void initrd_placed(void)
{
	static uint8_t rd[0x2345];
	struct arch_boot_params p = {
		.vcpus = 2, .cmdline = "x", .initrd = rd, .initrd_len = sizeof(rd)
	};
	uint8_t zp[4096], got[sizeof(rd)];
	uint32_t at;

	memset(rd, 0x44, sizeof(rd));
	CHECK_EQ(begin(RAM), 0);
	good_elf();
	CHECK_EQ(load_bytes_as_kernel(&img, sizeof(img), false), 0);
	CHECK_EQ(arch_boot_setup(&m, &p, &k, &e), 0);
	CHECK_EQ(mem_read(&m, zp, GPA(X86_ZERO_PAGE), sizeof(zp)), 0);
	at = get_le32(zp + 0x218);
	CHECK_EQ(at, RAM - 0x3000);
	CHECK_EQ(get_le32(zp + 0x21c), sizeof(rd));
	CHECK_EQ(mem_read(&m, got, GPA(at), sizeof(got)), 0);
	CHECK(!memcmp(got, rd, sizeof(rd)));
	/* below what the kernel allows */
	k.initrd_max = 0x2ffffff;
	CHECK_EQ(arch_boot_setup(&m, &p, &k, &e), 0);
	CHECK_EQ(mem_read(&m, zp, GPA(X86_ZERO_PAGE), sizeof(zp)), 0);
	CHECK_EQ(get_le32(zp + 0x218), 0x3000000 - 0x3000);
	/* exactly fits between bss and the end of RAM; one page less does not */
	k.initrd_max = 0;
	k.end = RAM - 0x3000;
	CHECK_EQ(arch_boot_setup(&m, &p, &k, &e), 0);
	k.end = RAM - 0x3000 + 1;
	CHECK_EQ(arch_boot_setup(&m, &p, &k, &e), -ENOSPC);
	p.initrd_len = UINT64_MAX;
	CHECK_EQ(arch_boot_setup(&m, &p, &k, NULL), -ENOSPC);
	mem_destroy(&m);
}

static void cmdline_limits(void)
{
	char line[LIM_CMDLINE + 1], tail[64] = "";
	struct arch_boot_params p = { .vcpus = 1, .cmdline = line };

	CHECK_EQ(begin(RAM), 0);
	good_elf();
	CHECK_EQ(load_bytes_as_kernel(&img, sizeof(img), false), 0);
	memset(line, 'a', sizeof(line));
	line[LIM_CMDLINE] = 0;
	CHECK_EQ(arch_boot_setup(&m, &p, &k, &e), -E2BIG);
	line[LIM_CMDLINE - 1] = 0;
	CHECK_EQ(arch_boot_setup(&m, &p, &k, &e), 0);
	/* a bzImage says what it takes */
	good_bz();
	put_le32(bz + 0x238, 255);
	CHECK_EQ(load_bytes_as_kernel(bz, sizeof(bz), false), 0);
	CHECK_EQ(k.cmdline_max, 255);
	line[256] = 0;
	e = (struct error){ 0 };
	CHECK_EQ(arch_boot_setup(&m, &p, &k, &e), -E2BIG);
	CHECK_STR(e.msg, "kernel command line: 256 bytes, this kernel takes 255");
	line[255] = 0;
	CHECK_EQ(arch_boot_setup(&m, &p, &k, NULL), 0);
	mem_destroy(&m);
	CHECK_EQ(arch_describe_vdev(tail, sizeof(tail), 0xd0001000, 6), 0);
	CHECK_STR(tail, "virtio_mmio.device=4K@0xd0001000:6");
	CHECK_EQ(arch_describe_vdev(tail, sizeof(tail), 0xd0002000, 23), -ENOSPC);
	CHECK_STR(tail, "virtio_mmio.device=4K@0xd0001000:6");
	CHECK_EQ(arch_describe_vdev(tail, 34, 0xd0002000, 23), -ENOSPC);
}

/* RAM up to, at and over the gap; MAP_NORESERVE makes the large ones free. */
static void memory_maps(void)
{
	static const struct {
		uint64_t bytes;
		unsigned n;
		uint64_t low, high;
	} t[] = {
		{ RAM, 3, RAM, 0 },
		{ 0xd0000000, 3, 0xd0000000, 0 },
		{ 0xd0001000, 4, 0xd0000000, 0x1000 },
		{ 0x200000000, 4, 0xd0000000, 0x130000000 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		struct x86_range r[X86_E820_MAX];

		CHECK_EQ(begin(t[i].bytes), 0);
		CHECK_EQ(x86_memory_map(&m, false, r), t[i].n);
		CHECK(r[0].addr == 0 && r[0].len == 0x9fc00 && r[0].type == 1);
		CHECK(r[1].addr == 0x9fc00 && r[1].len == 0x400 && r[1].type == 2);
		CHECK(r[2].addr == 0x100000 && r[2].len == t[i].low - 0x100000 && r[2].type == 1);
		if (t[i].n == 4)
			CHECK(r[3].addr == 0x100000000 && r[3].len == t[i].high && r[3].type == 1);
		/* with tables in a BIOS's area that is nobody's RAM */
		CHECK_EQ(x86_memory_map(&m, true, r), t[i].n + 1);
		CHECK(r[2].addr == 0xe0000 && r[2].len == 0x20000 && r[2].type == 2);
		CHECK(r[3].addr == 0x100000 && r[3].len == t[i].low - 0x100000 && r[3].type == 1);
		CHECK_EQ(mem_ram_bytes(&m), t[i].bytes);
		mem_destroy(&m);
	}
	CHECK_EQ(begin(LIM_RAM_MIN - 4096), -EINVAL);
	CHECK_EQ(begin(RAM + 1), -EINVAL);
	CHECK_EQ(begin(LIM_RAM_MAX + 4096), -EINVAL);
}

static void pvh_data(void)
{
	static uint8_t rd[100];
	struct arch_boot_params p = {
		.vcpus = 1, .cmdline = "hello", .initrd = rd, .initrd_len = sizeof(rd)
	};
	uint8_t info[56], mod[32], map[24 * 3];
	struct arch_regs r;
	char line[6];

	CHECK_EQ(begin(RAM), 0);
	good_elf();
	CHECK_EQ(load_bytes_as_kernel(&img, sizeof(img), true), 0);
	CHECK_EQ(arch_boot_setup(&m, &p, &k, &e), 0);
	arch_boot_regs(&k, 0, &r);
	CHECK_EQ(r.rip, SEG1 + 0x80);
	CHECK_EQ(r.rbx, X86_PVH_INFO);
	CHECK_EQ(r.cr0 & 0x80000001, 1); /* protected mode, no paging */
	CHECK_EQ(r.efer, 0);
	CHECK_EQ(mem_read(&m, info, GPA(r.rbx), sizeof(info)), 0);
	CHECK_EQ(get_le32(info), 0x336ec578);
	CHECK_EQ(get_le32(info + 4), 1);
	CHECK_EQ(get_le32(info + 12), 1);
	CHECK_EQ(mem_read(&m, mod, GPA(get_le64(info + 16)), sizeof(mod)), 0);
	CHECK_EQ(get_le64(mod), RAM - 4096);
	CHECK_EQ(get_le64(mod + 8), sizeof(rd));
	CHECK_EQ(mem_read(&m, line, GPA(get_le64(info + 24)), sizeof(line)), 0);
	CHECK_STR(line, "hello");
	CHECK_EQ(get_le32(info + 48), 3);
	CHECK_EQ(mem_read(&m, map, GPA(get_le64(info + 40)), sizeof(map)), 0);
	CHECK_EQ(get_le64(map + 48), 0x100000);
	CHECK_EQ(get_le64(map + 56), RAM - 0x100000);
	CHECK_EQ(get_le64(info + 32), 0);
	p.acpi = true;
	CHECK_EQ(arch_boot_setup(&m, &p, &k, &e), 0);
	CHECK_EQ(mem_read(&m, info, GPA(r.rbx), sizeof(info)), 0);
	CHECK_EQ(get_le64(info + 32), X86_ACPI);
	CHECK_EQ(get_le32(info + 48), 4);
	mem_destroy(&m);
}

/* The tables that the 64-bit entry needs: what cr3 points at maps the kernel one to one. */
static void page_tables(void)
{
	struct arch_boot_params p = { .vcpus = 1, .cmdline = "" };
	struct arch_regs r;
	uint64_t v = 0;

	CHECK_EQ(begin(RAM), 0);
	good_elf();
	CHECK_EQ(load_bytes_as_kernel(&img, sizeof(img), false), 0);
	CHECK_EQ(arch_boot_setup(&m, &p, &k, &e), 0);
	arch_boot_regs(&k, 0, &r);
	CHECK_EQ(r.rsi, X86_ZERO_PAGE);
	CHECK_EQ(r.cr0 & 0x80000001, 0x80000001);
	CHECK_EQ(mem_read(&m, &v, GPA(r.cr3), 8), 0);
	CHECK_EQ(v & 3, 3);
	CHECK_EQ(mem_read(&m, &v, GPA(v & ~0xfffULL), 8), 0);
	CHECK_EQ(v & 3, 3);
	for (unsigned i = 0; i < 512; i++) {
		uint64_t pde;

		CHECK_EQ(mem_read(&m, &pde, GPA((v & ~0xfffULL) + i * 8), 8), 0);
		CHECK_EQ(pde, ((uint64_t)i << 21) | 0x83);
	}
	mem_destroy(&m);
}

static unsigned resets;

static void count_reset(void *arg)
{
	(*(unsigned *)arg)++;
}

static void reset_ports(void)
{
	const struct arch_reset r = { .reset = count_reset, .arg = &resets };
	const uint8_t fe = 0xfe, six = 6, none = 0, s5 = 5 << 2 | 0x20;
	uint8_t b = 0;
	struct bus bus = { 0 };

	CHECK_EQ(arch_add_legacy(&bus, false, &r), 0);
	bus_freeze(&bus);
	CHECK(bus_read(&bus, 0x64, &b, 1));
	CHECK_EQ(b & 2, 0); /* who wants to write need not wait */
	CHECK(bus_write(&bus, 0x64, &none, 1));
	CHECK_EQ(resets, 0);
	CHECK(bus_write(&bus, 0x64, &fe, 1));
	CHECK_EQ(resets, 1);
	CHECK(bus_write(&bus, 0xcf9, &six, 1));
	CHECK_EQ(resets, 2);
	CHECK(bus_write(&bus, 0xcf9, &none, 1));
	CHECK_EQ(resets, 2);
	CHECK(!bus_read(&bus, 0x60, &b, 1));
	CHECK_EQ(b, 0xff);
	CHECK(!bus_write(&bus, 0x600, &s5, 1)); /* only with ACPI */
}

static void sleep_register(void)
{
	const struct arch_reset r = { .reset = count_reset, .arg = &resets };
	const uint8_t s5 = 5 << 2 | 0x20, s3 = 3 << 2 | 0x20, s5_not_now = 5 << 2;
	const uint8_t wide[2] = { s5, 0 };
	struct bus bus = { 0 };
	uint8_t b[2] = { 1, 1 };

	resets = 0;
	CHECK_EQ(arch_add_legacy(&bus, true, &r), 0);
	bus_freeze(&bus);
	CHECK(bus_read(&bus, 0x600, b, 2) && !b[0] && !b[1]);
	CHECK(bus_write(&bus, 0x600, &s3, 1));
	CHECK(bus_write(&bus, 0x600, &s5_not_now, 1));
	CHECK(bus_write(&bus, 0x601, &s5, 1)); /* the status register */
	CHECK(bus_write(&bus, 0x600, wide, 2));
	CHECK_EQ(resets, 0);
	CHECK(bus_write(&bus, 0x600, &s5, 1));
	CHECK_EQ(resets, 1);
}

static const struct test_case cases[] = {
	TEST(elf_loads),
	TEST(elf_falls_back_to_pvh),
	TEST(elf_hostile),
	TEST(notes_hostile),
	TEST(notes_long),
	TEST(not_kernels),
	TEST(bzimage_loads),
	TEST(bzimage_hostile),
	TEST(initrd_placed),
	TEST(cmdline_limits),
	TEST(memory_maps),
	TEST(pvh_data),
	TEST(page_tables),
	TEST(reset_ports),
	TEST(sleep_register),
};

TEST_MAIN(cases)
