// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory outside the direct map: where it is, in debugfs
 *
 * guest_memory_reserve has a line for each node, then the number of pages on
 * their way back to the reserve and that of allocations that failed.
 */
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/seq_file.h>

#include "hidden.h"

static int guest_memory_debugfs_show(struct seq_file *m, void *unused)
{
	guest_memory_reserve_show(m);
	seq_printf(m, "leaving %lu\n", guest_memory_nr_leaving());
	seq_printf(m, "failed %ld\n", guest_memory_reserve_nr_failed());

	return 0;
}
DEFINE_SHOW_ATTRIBUTE(guest_memory_debugfs);

static int __init guest_memory_debugfs_init(void)
{
	debugfs_create_file("guest_memory_reserve", 0400, NULL, NULL,
			    &guest_memory_debugfs_fops);
	return 0;
}
late_initcall(guest_memory_debugfs_init);
