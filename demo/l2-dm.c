// SPDX-License-Identifier: GPL-2.0
/*
 * l2-dm crypt|linear DISK START SIZE: in L2, make /dev/dm-0, which is SIZE MiB of DISK
 * from its START'th MiB on: encrypted with a random key that nobody else knows, or as
 * it is.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>

#define SECTORS_PER_MIB	2048
/* aes-xts-plain64 wants two keys of 256 bits. */
#define KEY_SIZE	64

struct request {
	struct dm_ioctl head;
	struct dm_target_spec target;
	char params[512];
};

static int control;

static void request(unsigned long call, const char *name, struct request *r)
{
	r->head.version[0] = DM_VERSION_MAJOR;
	r->head.data_size = sizeof(*r);
	r->head.data_start = sizeof(r->head);
	strcpy(r->head.name, "l2");
	if (ioctl(control, call, r))
		err(1, "%s", name);
}

static void make_key(char *hex)
{
	unsigned char key[KEY_SIZE];
	int i;

	if (getrandom(key, sizeof(key), 0) != sizeof(key))
		err(1, "getrandom");
	for (i = 0; i < KEY_SIZE; i++)
		sprintf(hex + 2 * i, "%02x", key[i]);
}

int main(int argc, char **argv)
{
	struct request create = { 0 }, load = { 0 }, resume = { 0 };
	char hex[2 * KEY_SIZE + 1];
	unsigned long long start;

	if (argc != 5 || (strcmp(argv[1], "crypt") && strcmp(argv[1], "linear")))
		errx(2, "usage: l2-dm crypt|linear DISK START SIZE");
	control = open("/dev/mapper/control", O_RDWR);
	if (control < 0)
		err(1, "/dev/mapper/control");
	request(DM_DEV_CREATE, "DM_DEV_CREATE", &create);

	start = strtoull(argv[3], NULL, 0) * SECTORS_PER_MIB;
	load.head.target_count = 1;
	load.target.length = strtoull(argv[4], NULL, 0) * SECTORS_PER_MIB;
	strcpy(load.target.target_type, argv[1]);
	make_key(hex);
	if (!strcmp(argv[1], "crypt"))
		snprintf(load.params, sizeof(load.params),
			 "aes-xts-plain64 %s 0 %s %llu", hex, argv[2], start);
	else
		snprintf(load.params, sizeof(load.params), "%s %llu", argv[2], start);
	request(DM_TABLE_LOAD, "DM_TABLE_LOAD", &load);

	/* Without DM_SUSPEND_FLAG, this resumes it: the table becomes active. */
	request(DM_DEV_SUSPEND, "DM_DEV_SUSPEND", &resume);
	return 0;
}
