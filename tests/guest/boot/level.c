// SPDX-License-Identifier: Apache-2.0
/*
 * A level-triggered interrupt of a device at the library's I/O APIC, under a real hypervisor: Linux
 * makes each of our inputs an edge, so the guest here is some instructions.
 *
 *   level [-t SECONDS] [IGNORED]
 *
 * How it works: the guest maps the two APICs, makes input 4 level-triggered, and has the serial
 * port interrupt. The handler looks whether the interrupt shows as in service, has the port
 * interrupt once more, and ends it; only when the hypervisor tells of that end, and the library
 * hears it, comes the second one. What it saw it writes to the port, and resets the machine: "yyn2"
 * are in service in the first handler, also in the second, not after both, and two in all.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/vmm_rig.h"
#include "util/err.h"
#include "vmm.h"

/* Page directory at 0x210000, interrupt table at 0x220000, what the handler saw at 0x230000. The
 * port's registers are in %dx; 0x3f9 enables its transmitter's interrupt, which comes at once. */
__asm__(".section .rodata\n"
	"guest:\n"
	"	cli\n"
	"	movl $0xfec00083, 0x210fb0\n" /* I/O APIC: entry 502 of the fourth GiB */
	"	movl $0xfee00083, 0x210fb8\n"
	"	movl $0x210003, 0xa018\n"
	"	mov %cr3, %rax\n"
	"	mov %rax, %cr3\n"
	"	lea handler(%rip), %rax\n" /* the gate of vector 0x31 */
	"	movw %ax, 0x220310\n"
	"	movw $8, 0x220312\n"
	"	movw $0x8e00, 0x220314\n"
	"	shr $16, %rax\n"
	"	movl %eax, 0x220316\n"
	"	movw $0xfff, 0x220ff0\n"
	"	movl $0x220000, 0x220ff2\n"
	"	lidt 0x220ff0\n"
	"	mov $0xfee000f0, %ebx\n"
	"	movl $0x1ff, (%rbx)\n" /* on; spurious ones are vector 0xff */
	"	mov $0xfec00000, %ebx\n"
	"	movl $0x19, (%rbx)\n"
	"	movl $0, 0x10(%rbx)\n"
	"	movl $0x18, (%rbx)\n"
	"	movl $0x8031, 0x10(%rbx)\n"
	"	xor %ecx, %ecx\n"
	"	mov $0x230000, %edi\n"
	"	sti\n"
	"	call interrupt\n"
	"	mov $5000000, %esi\n"
	"1:	pause\n"
	"	cmp $2, %ecx\n"
	"	je 2f\n"
	"	dec %esi\n"
	"	jnz 1b\n"
	"2:	cli\n"
	"	call in_service\n"
	"	movw $0x3f8, %dx\n"
	"	mov $0x230000, %esi\n"
	"3:	cmp %edi, %esi\n"
	"	je 4f\n"
	"	lodsb\n"
	"	out %al, %dx\n"
	"	jmp 3b\n"
	"4:	mov %ecx, %eax\n"
	"	add $'0', %eax\n"
	"	out %al, %dx\n"
	"	mov $0xfe, %al\n"
	"	out %al, $0x64\n"
	"5:	hlt\n"
	"	jmp 5b\n"
	"interrupt:\n" /* the transmitter's interrupt off, and on */
	"	movw $0x3f9, %dx\n"
	"	xor %eax, %eax\n"
	"	out %al, %dx\n"
	"	mov $2, %al\n"
	"	out %al, %dx\n"
	"	ret\n"
	"in_service:\n" /* notes what Remote IRR says; %rbx is the I/O APIC, its index is 0x18 */
	"	mov 0x10(%rbx), %eax\n"
	"	test $0x4000, %eax\n"
	"	mov $'n', %al\n"
	"	jz 6f\n"
	"	mov $'y', %al\n"
	"6:	stosb\n"
	"	ret\n"
	"handler:\n"
	"	push %rax\n"
	"	push %rdx\n"
	"	inc %ecx\n"
	"	call in_service\n"
	"	cmp $1, %ecx\n"
	"	jne 7f\n"
	"	call interrupt\n" /* now it waits */
	"7:	mov $0xfee000b0, %eax\n"
	"	movl $0, (%rax)\n"
	"	pop %rdx\n"
	"	pop %rax\n"
	"	iretq\n"
	"guest_end:\n"
	".previous\n");

extern const char guest[], guest_end[];

int main(int argc, char **argv)
{
	struct vmm_config cfg = { .vcpus = 1,
		.ram_bytes = 32 * MIB,
		.kernel_fd = kernel_of(guest, (size_t)(guest_end - guest)),
		.split_irqchip = true,
		.nserials = 1,
		.serial[0] = { .in_fd = -1, .out_fd = -1 } };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), p[2], seconds = 60;
	struct pollfd end = { .events = POLLIN };
	char said[16] = "";
	struct error e = { 0 };
	struct vmm *vm;

	if (argc > 2 && !strcmp(argv[1], "-t"))
		seconds = atoi(argv[2]);
	if (kvm < 0 || vmm_probe(kvm, VMM_PROBE_GUEST, &e)) {
		(void)fprintf(stderr, "level: no KVM that runs guests here: %s\n", e.msg);
		return 77;
	}
	if (pipe2(p, O_CLOEXEC | O_NONBLOCK))
		return 1;
	cfg.serial[0].out_fd = p[1];
	if (vmm_new(kvm, &vm, &e) || vmm_build(vm, &cfg, &e) || vmm_start(vm, &e)) {
		(void)fprintf(stderr, "level: %s\n", e.msg);
		return 1;
	}
	end.fd = vmm_event_fd(vm);
	if (poll(&end, 1, seconds * 1000) != 1)
		printf("no end after %d s\n", seconds);
	else if (!vmm_drain(vm, 1000))
		printf("the port's output did not come\n");
	if (read(p[0], said, sizeof(said) - 1) < 0)
		said[0] = 0;
	printf("%s: the guest saw \"%s\"\n", vmm_why(vm), said);
	vmm_free(vm);
	return strcmp(said, "yyn2") != 0;
}
