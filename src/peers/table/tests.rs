//! What a record's word says.

use super::*;
use crate::ring::Mpmc;
use crate::ring::tests::Heap;

#[test]
fn a_record_says_who_took_it_and_that_it_was_taken_again() {
    let heap = Heap::<u64, Mpmc>::new(2, 2);
    let record = &heap.mem().words.owners[0];
    let first = take(record, Role::Sender, 4711, false).expect("it is free");
    assert_eq!(first.0 >> 32, 4711);
    assert_eq!(owner(record), Some((first, Role::Sender)));
    assert!(take(record, Role::Sender, 4711, false).is_none());
    let second = take(record, Role::Sender, 4711, true).expect("by force");
    assert_ne!(first, second);
    assert!(!second.is_abandoned());
    let third = take(record, Role::Receiver, u32::MAX, true).expect("by force");
    assert_eq!(third.0 >> 32, u64::from(u32::MAX));
    assert_eq!(owner(record), Some((third, Role::Receiver)));
}
