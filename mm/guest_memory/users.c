// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: the users of an inode, and the callbacks that they get
 *
 * A user is one virtual machine's view of an inode.  Its bindings say which of
 * its guest's addresses show which pages; they are its own business.  The inode
 * tells its users when pages are about to go, when those are gone, and how many
 * it has.
 *
 * Invariants:
 *
 * - Users never keep a reference to a page they map; their mappings are bounded
 *   by guest_memory_invalidate_begin() and guest_memory_invalidate_end().
 * - Between the two neither users nor bindings change.  See internal.h for the
 *   locks.
 */
#include <linux/guest_memory.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/pagemap.h>

#include "internal.h"

void guest_memory_lock_bindings(struct inode *inode)
{
	filemap_invalidate_lock(inode->i_mapping);
	down_write(&GUEST_MEMORY_I(inode)->bindings_lock);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_lock_bindings, GUEST_MEMORY);

void guest_memory_unlock_bindings(struct inode *inode)
{
	up_write(&GUEST_MEMORY_I(inode)->bindings_lock);
	filemap_invalidate_unlock(inode->i_mapping);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_unlock_bindings, GUEST_MEMORY);

void guest_memory_lock_bindings_shared(struct inode *inode)
{
	down_read(&GUEST_MEMORY_I(inode)->bindings_lock);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_lock_bindings_shared, GUEST_MEMORY);

void guest_memory_unlock_bindings_shared(struct inode *inode)
{
	up_read(&GUEST_MEMORY_I(inode)->bindings_lock);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_unlock_bindings_shared, GUEST_MEMORY);

void guest_memory_assert_bindings(const struct inode *inode)
{
	lockdep_assert_held(&GUEST_MEMORY_I(inode)->bindings_lock);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_assert_bindings, GUEST_MEMORY);

void guest_memory_assert_bindings_write(const struct inode *inode)
{
	lockdep_assert_held_write(&GUEST_MEMORY_I(inode)->bindings_lock);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_assert_bindings_write, GUEST_MEMORY);

/*
 * Make pages [start, end) unreachable for all guests.  Except for memory
 * failure, the caller holds the invalidate_lock exclusively until it has
 * called guest_memory_invalidate_end(), so that both see the same bindings.
 */
void guest_memory_invalidate_begin(struct inode *inode, pgoff_t start,
				   pgoff_t end)
{
	struct guest_memory_inode *gi = GUEST_MEMORY_I(inode);
	struct guest_memory_user *user;

	lockdep_assert_held(&gi->bindings_lock);

	list_for_each_entry(user, &gi->users, node)
		user->ops->invalidate_begin(user, start, end);
}

void guest_memory_invalidate_end(struct inode *inode, pgoff_t start,
				 pgoff_t end)
{
	struct guest_memory_inode *gi = GUEST_MEMORY_I(inode);
	struct guest_memory_user *user;

	lockdep_assert_held(&gi->bindings_lock);

	list_for_each_entry(user, &gi->users, node)
		user->ops->invalidate_end(user, start, end);
}

/*
 * Blocks that have one of the pages [start, end) may be mapped as one page again,
 * after they could not for a while.
 */
void guest_memory_promote(struct inode *inode, pgoff_t start, pgoff_t end)
{
	struct guest_memory_inode *gi = GUEST_MEMORY_I(inode);
	struct guest_memory_user *user;

	lockdep_assert_held(&gi->bindings_lock);

	if (xa_empty(&gi->whole))
		return;

	/* All of 1 GiB may be mapped as one because of one block. */
	if (guest_memory_pool_order(inode) == GUEST_MEMORY_GIANT_ORDER) {
		start = round_down(start, BIT(guest_memory_max_order(inode, start)));
		end = round_up(end, BIT(guest_memory_max_order(inode, end - 1)));
	}

	start = round_down(start, GUEST_MEMORY_BLOCK_PAGES);
	end = min(round_up(end, GUEST_MEMORY_BLOCK_PAGES),
		  guest_memory_nr_pages(inode));
	/* Often it is one block whose pages still differ in their state. */
	if (end - start <= GUEST_MEMORY_BLOCK_PAGES &&
	    !guest_memory_max_order(inode, start))
		return;

	list_for_each_entry(user, &gi->users, node)
		user->ops->promote(user, start, end);
}

/*
 * The inode grew by @nr pages and by @nr_whole blocks of 2 MiB, or shrank.  The
 * caller holds the invalidate_lock or the bindings_lock.
 */
void guest_memory_account(struct inode *inode, long nr, long nr_whole)
{
	struct guest_memory_user *user;

	lockdep_assert(lockdep_is_held(&inode->i_mapping->invalidate_lock) ||
		       lockdep_is_held(&GUEST_MEMORY_I(inode)->bindings_lock));

	list_for_each_entry(user, &GUEST_MEMORY_I(inode)->users, node)
		user->ops->account(user, nr, nr_whole);
}

void guest_memory_release(struct inode *inode, struct guest_memory_user *user)
{
	struct guest_memory_inode *gi = GUEST_MEMORY_I(inode);
	pgoff_t end = guest_memory_nr_pages(inode);
	bool last;

	/* Held to the end, so that no page or binding is added meanwhile. */
	filemap_invalidate_lock(inode->i_mapping);

	/*
	 * An access that began before detach() meets the invalidation and finds
	 * the user gone when it tries again.  Hence the invalidation can end
	 * before the pages go, which may take long.
	 */
	down_write(&gi->bindings_lock);
	user->ops->detach(user);
	user->ops->invalidate_begin(user, 0, end);
	user->ops->invalidate_end(user, 0, end);
	gi->closed = list_is_singular(&gi->users);
	up_write(&gi->bindings_lock);

	/* Host mappings pin a file: with the last user they are gone too. */
	if (gi->closed) {
		guest_memory_remove_all(inode);
		/* What is in use is no user's any more. */
		guest_memory_account(inode, -(long)inode->i_mapping->nrpages, 0);
	}

	/* Folio locks, which removal takes, are outside the bindings_lock. */
	down_write(&gi->bindings_lock);
	list_del(&user->node);
	up_write(&gi->bindings_lock);

	last = gi->closed;
	filemap_invalidate_unlock(inode->i_mapping);

	if (last && gi->source->close)
		gi->source->close(inode);
}
EXPORT_SYMBOL_NS_GPL(guest_memory_release, GUEST_MEMORY);

unsigned int guest_memory_nr_users(struct inode *inode)
{
	struct guest_memory_user *user;
	unsigned int nr = 0;

	guest_memory_lock_bindings_shared(inode);
	list_for_each_entry(user, &GUEST_MEMORY_I(inode)->users, node)
		nr++;
	guest_memory_unlock_bindings_shared(inode);

	return nr;
}
