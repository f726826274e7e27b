//! Waiting in another way than by the one loop: the steps of a sleep and the timer by themselves.

use super::*;
use crate::wait::sleeper::Sleeper;
use crate::wait::timer::{LIVENESS_INTERVAL, LivenessTimer};

/// One end announces and looks; another thread, which knows nothing of the ring, sleeps for it.
#[test]
fn a_ticket_can_be_slept_on_by_another_thread() {
    for round in 0..if cfg!(miri) { 4 } else { 200 } {
        let heap = Heap::<u64, Mpmc>::new(2, 3);
        let (mut tx, mut rx) = (Sender::attach(&heap, 0), Receiver::attach(&heap, 1));
        let words = heap.mem().words;
        thread::scope(|scope| {
            let word = WakeWord::new(&words.control.data);
            // Every other one shares its word, as MPMC receivers do.
            let mut sleeper = Sleeper::new(word, round % 2 == 0, false, None);
            let sender = scope.spawn(move || {
                tx.send(7).expect("room");
                tx
            });
            let (sleep, sleeps) = std::sync::mpsc::channel::<Ticket>();
            let (woken, wakes) = std::sync::mpsc::channel::<()>();
            let heap = &heap;
            scope.spawn(move || {
                let words = heap.mem().words;
                for ticket in sleeps {
                    Slumber::default().sleep(WakeWord::new(&words.control.data), ticket);
                    woken.send(()).expect("the end is there");
                }
            });
            loop {
                let ticket = sleeper.announce();
                if let Some(run) = rx.end.claim_fast(numbers(), 1, 1) {
                    sleeper.retract(ticket);
                    assert_eq!(rx.end.mem.view(numbers()).read(run.at), 7);
                    break;
                }
                assert!(sleeper.commit(ticket, false), "there is no watch");
                sleep.send(ticket).expect("the thread is there");
                wakes.recv().expect("the thread is there");
            }
            sender.join().expect("it has sent");
        });
    }
}

/// An announcement that was taken back leaves nothing that a publisher would have to wake.
#[test]
fn one_that_is_alone_at_its_word_retracts_without_a_trace() {
    let word = crate::sync::AtomicU32::new(0);
    let waits = |shared| {
        let mut sleeper = Sleeper::new(WakeWord::new(&word), shared, true, None);
        let ticket = sleeper.announce();
        assert!(WakeWord::new(&word).is_flagged());
        sleeper.retract(ticket);
    };
    waits(false);
    assert_eq!(word.load(Relaxed), 0);
    waits(true);
    assert!(WakeWord::new(&word).is_flagged(), "others may sleep there");
}

#[test]
fn a_timer_runs_from_the_first_look_in_vain_to_one_that_is_not() {
    let interval = LIVENESS_INTERVAL.as_nanos() as u64;
    let mut timer = LivenessTimer::new();
    assert!(!timer.looked_in_vain(1_000, false));
    assert_eq!(timer.next_check(false), 1_000 + interval);
    assert!(!timer.looked_in_vain(999 + interval, false), "later looks put it off by nothing");
    assert!(timer.looked_in_vain(1_000 + interval, false));
    assert_eq!(timer.next_check(false), 1_000 + 2 * interval);
    timer.looked_well();
    assert!(!timer.looked_in_vain(9_000 + 9 * interval, false), "it begins anew");
    assert_eq!(timer.next_check(false), 9_000 + 10 * interval);
}
