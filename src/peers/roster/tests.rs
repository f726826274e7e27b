//! What a seat's word says.

use super::*;
use crate::ring::Mpmc;
use crate::ring::tests::Heap;

#[test]
fn a_seat_says_who_took_it_and_that_it_was_taken_again() {
    let heap = Heap::<u64, Mpmc>::new(2, 2);
    let seat = &heap.mem().words.seats[0];
    let first = take(seat, Role::Sender, 4711, false).expect("it is free");
    assert_eq!(first.0 >> 32, 4711);
    assert_eq!(occupancy(seat), Some((first, Role::Sender)));
    assert!(take(seat, Role::Sender, 4711, false).is_none());
    let second = take(seat, Role::Sender, 4711, true).expect("by force");
    assert_ne!(first, second);
    assert!(!second.is_estate());
    let third = take(seat, Role::Receiver, u32::MAX, true).expect("by force");
    assert_eq!(third.0 >> 32, u64::from(u32::MAX));
    assert_eq!(occupancy(seat), Some((third, Role::Receiver)));
}
