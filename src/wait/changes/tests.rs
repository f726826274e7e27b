//! Whom which change tells.

use super::*;
use crate::peers::reap::tests::sit;
use crate::ring::Mpmc;
use crate::ring::tests::Heap;

#[test]
fn a_change_tells_those_whose_wait_it_can_end() {
    use Told::{Nothing, TurnedBack, Woken};
    let heap = Heap::<u64, Mpmc>::new(2, 4);
    let mem = heap.mem();
    let told = |change| {
        let Concerned { senders, receivers } = Concerned::by(&mem.words, change);
        (senders, receivers)
    };
    for role in [Role::Sender, Role::Receiver] {
        let in_order = |own, opposite| match role {
            Role::Sender => (own, opposite),
            Role::Receiver => (opposite, own),
        };
        assert_eq!(told(Change::Attached(role)), in_order(Nothing, Woken));
        // The last but one goes, while nobody is opposite.
        let stays = sit(&mem, 0, role);
        assert_eq!(told(Change::Left(role)), (Woken, Woken));
        assert_eq!(told(Change::Abandoned), (Woken, Woken));
        let opposite = sit(&mem, 1, role.opposite());
        assert_eq!(told(Change::Left(role)), in_order(TurnedBack, Woken));
        assert_eq!(told(Change::Left(role.opposite())), in_order(Woken, TurnedBack));
        table::leave(&mem.words, 0, stays);
        table::leave(&mem.words, 1, opposite);
    }
    // What a dead end has abandoned is no opposite end.
    let owner = sit(&mem, 2, Role::Receiver);
    assert_eq!(told(Change::Left(Role::Sender)), (TurnedBack, Woken));
    table::abandon(&mem.words, 2, owner);
    assert_eq!(told(Change::Left(Role::Sender)), (Woken, Woken));
}

#[test]
fn of_several_changes_each_tells_whom_it_concerns() {
    use Told::{TurnedBack, Woken};
    let heap = Heap::<u64, Mpmc>::new(2, 4);
    let mem = heap.mem();
    sit(&mem, 0, Role::Sender);
    sit(&mem, 1, Role::Receiver);
    let first = Concerned::default().and_by(&mem.words, Change::Left(Role::Sender));
    assert_eq!(first, Concerned { senders: TurnedBack, receivers: Woken });
    let attached = first.and_by(&mem.words, Change::Attached(Role::Sender));
    assert_eq!(attached, first);
    let both = first.and_by(&mem.words, Change::Left(Role::Receiver));
    assert_eq!(both, Concerned { senders: Woken, receivers: Woken });
    assert_eq!(both.and_by(&mem.words, Change::Attached(Role::Sender)), both);
}

#[test]
fn who_is_turned_back_finds_the_epoch_moved() {
    use crate::sync::Ordering::Relaxed;
    use Told::{Nothing, TurnedBack, Woken};
    let heap = Heap::<u64, Mpmc>::new(2, 4);
    let words = heap.mem().words;
    let epochs = || [&words.control.space, &words.control.data].map(|word| word.load(Relaxed));
    wake(&words, Concerned { senders: Nothing, receivers: TurnedBack });
    assert_eq!(epochs(), [0, 4]);
    wake(&words, Concerned { senders: Woken, receivers: Nothing });
    assert_eq!(epochs(), [4, 4]);
    wake_after(&words, Change::Abandoned);
    assert_eq!(epochs(), [8, 8]);
    wake_after(&words, Change::Attached(Role::Receiver));
    assert_eq!(epochs(), [12, 8]);
}
