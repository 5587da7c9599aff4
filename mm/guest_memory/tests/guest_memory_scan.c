// SPDX-License-Identifier: GPL-2.0-only
/*
 * Look for a secret in everything that the direct map shows.
 *
 * A test of memory that is out of the direct map: it finds everything that a wild
 * read in the kernel could find. Every page of System RAM is read at its address in
 * the direct map, all bytes of it; the page tables decide what is readable.
 *
 * The search must not find itself. The secret comes as two strings, a mask
 * and the secret XORed with it, and meets only in a register, eight bytes at a
 * time. Memory is compared where it is and never copied. So in kernel memory the
 * secret is neither before the search nor because of it.
 *
 * debugfs: write "MASK MASKED", two times 64 hex digits, to guest_memory_scan to
 * search; read it for the result. Root can search all memory with it, hence a
 * module of its own that nothing loads by itself.
 */
#include <linux/bitmap.h>
#include <linux/compiler.h>
#include <linux/debugfs.h>
#include <linux/ioport.h>
#include <linux/kernel.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/page-flags.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define SECRET_WORDS	4
#define SECRET_SIZE	(SECRET_WORDS * sizeof(u64))
#define HEX_DIGITS	(2 * SECRET_SIZE)

struct scan {
	u64 mask[SECRET_WORDS];
	u64 masked[SECRET_WORDS];
	DECLARE_BITMAP(first_bytes, 256);
	unsigned long pages_read;
	unsigned long pages_not_readable;
	unsigned long pages_found;
	unsigned long occurrences;
};

/* The result of the last search, and its lock, which is held during a search. */
static struct scan last;
static DEFINE_MUTEX(lock);

/* Page faults are disabled. Any alignment: a copy may have any. */
static bool load(const char *at, u64 *word)
{
	__get_kernel_nofault(word, at, u64, fault);
	return true;
fault:
	return false;
}

/* The barrier keeps the compiler from unmasking the secret once and for all. */
static bool is_word(const struct scan *scan, unsigned int i, u64 word)
{
	word ^= scan->mask[i];
	OPTIMIZER_HIDE_VAR(word);
	return word == scan->masked[i];
}

/* A page with a memory error must not be read. */
static bool may_read(unsigned long pfn)
{
	struct page *page = pfn_to_online_page(pfn);

	return page && !PageHWPoison(page);
}

/* From @offset of a page on; it may begin in the page before, or end behind. */
static bool is_secret(const struct scan *scan, unsigned long pfn, int offset)
{
	const char *at = (char *)__va(PFN_PHYS(pfn)) + offset;
	unsigned int i;
	u64 word;

	if (offset < 0 && !may_read(pfn - 1))
		return false;
	if (offset > (int)(PAGE_SIZE - SECRET_SIZE) && !may_read(pfn + 1))
		return false;

	for (i = 0; i < SECRET_WORDS; i++)
		if (!load(at + i * sizeof(word), &word) ||
		    !is_word(scan, i, word))
			return false;
	return true;
}

/*
 * Wherever the secret begins, one of its first eight bytes is the first byte of
 * an aligned word. Only words with such a first byte are worth a closer look.
 */
static void scan_page(struct scan *scan, unsigned long pfn)
{
	const char *page = __va(PFN_PHYS(pfn));
	unsigned long occurrences = scan->occurrences;
	int offset, i;
	u64 word;

	if (!load(page, &word)) {
		scan->pages_not_readable++;
		return;
	}
	scan->pages_read++;
	for (offset = 0; offset < PAGE_SIZE; offset += sizeof(word)) {
		if (!load(page + offset, &word))
			break;
		if (!test_bit(*(u8 *)&word, scan->first_bytes))
			continue;
		for (i = 0; i < sizeof(word); i++)
			if (is_secret(scan, pfn, offset - i))
				scan->occurrences++;
	}
	if (scan->occurrences != occurrences)
		scan->pages_found++;
}

static void set_first_bytes(struct scan *scan)
{
	const u8 *mask = (u8 *)scan->mask, *masked = (u8 *)scan->masked;
	unsigned int i;

	for (i = 0; i < sizeof(u64); i++)
		__set_bit(mask[i] ^ masked[i], scan->first_bytes);
}

static int scan_resource(struct resource *res, void *arg)
{
	unsigned long pfn = PHYS_PFN(res->start + PAGE_SIZE - 1);
	unsigned long end = PHYS_PFN(res->end + 1);
	struct scan *scan = arg;

	for (; pfn < end; pfn++) {
		if (fatal_signal_pending(current))
			return -EINTR;
		if (may_read(pfn)) {
			pagefault_disable();
			scan_page(scan, pfn);
			pagefault_enable();
		} else {
			scan->pages_not_readable++;
		}
		cond_resched();
	}
	return 0;
}

static int parse(struct scan *scan, const char *text)
{
	if (strlen(text) < 2 * HEX_DIGITS + 1 || text[HEX_DIGITS] != ' ' ||
	    strspn(text + 2 * HEX_DIGITS + 1, "\n") !=
	    strlen(text + 2 * HEX_DIGITS + 1))
		return -EINVAL;
	if (hex2bin((u8 *)scan->mask, text, SECRET_SIZE) ||
	    hex2bin((u8 *)scan->masked, text + HEX_DIGITS + 1, SECRET_SIZE))
		return -EINVAL;
	set_first_bytes(scan);
	return 0;
}

static int scan_all(struct scan *scan)
{
	return walk_iomem_res_desc(IORES_DESC_NONE,
				   IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY, 0,
				   -1, scan, scan_resource);
}

static ssize_t scan_write(struct file *file, const char __user *buf,
			  size_t len, loff_t *pos)
{
	struct scan scan = {};
	char *text;
	int ret;

	if (len > 2 * HEX_DIGITS + 2)
		return -EINVAL;
	text = memdup_user_nul(buf, len);
	if (IS_ERR(text))
		return PTR_ERR(text);
	ret = parse(&scan, text);
	kfree(text);
	if (ret)
		return ret;
	ret = mutex_lock_interruptible(&lock);
	if (ret)
		return ret;
	ret = scan_all(&scan);
	if (!ret)
		last = scan;
	mutex_unlock(&lock);
	return ret ? ret : len;
}

static int scan_show(struct seq_file *seq, void *unused)
{
	int ret = mutex_lock_interruptible(&lock);

	if (ret)
		return ret;
	seq_printf(seq, "pages_read=%lu\n", last.pages_read);
	seq_printf(seq, "pages_not_readable=%lu\n", last.pages_not_readable);
	seq_printf(seq, "pages_found=%lu\n", last.pages_found);
	seq_printf(seq, "occurrences=%lu\n", last.occurrences);
	mutex_unlock(&lock);
	return 0;
}

static int scan_open(struct inode *inode, struct file *file)
{
	return single_open(file, scan_show, NULL);
}

static const struct file_operations scan_fops = {
	.owner = THIS_MODULE,
	.open = scan_open,
	.read = seq_read,
	.write = scan_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static struct dentry *dentry;

static int __init scan_init(void)
{
	dentry = debugfs_create_file("guest_memory_scan", 0600, NULL, NULL,
				     &scan_fops);
	return PTR_ERR_OR_ZERO(dentry);
}
module_init(scan_init);

static void __exit scan_exit(void)
{
	debugfs_remove(dentry);
}
module_exit(scan_exit);

MODULE_DESCRIPTION("Look for a secret in everything that the direct map shows");
MODULE_LICENSE("GPL");
