//! Wakes in vain, and the rests after them.

use super::*;

/// Is woken by a publisher each time that it sleeps, but for the sleep of this number, and keeps
/// book of its rests.
#[derive(Default)]
struct Woken {
    sleeps: u32,
    not_at: Option<u32>,
    /// Why the waits of this one end, from so many sleeps on.
    stops_after: Option<u32>,
    check_due: bool,
    rests: Vec<(u32, u32)>,
    since: Vec<u32>,
}

impl Pace for Woken {
    fn turn(&mut self) -> Turn {
        Turn::Sleep
    }
    fn spun_well(&mut self) {}
    fn stop(&self) -> Option<Stop> {
        self.stops_after.is_some_and(|most| self.sleeps >= most).then_some(Stop::Cancelled)
    }
    fn sleep(&mut self, word: WakeWord<'_>, _: Ticket) -> bool {
        self.sleeps += 1;
        assert!(word.is_flagged());
        if self.not_at != Some(self.sleeps) {
            word.notify();
        }
        self.check_due
    }
    fn rest(&mut self, word: WakeWord<'_>, since: u32, in_vain: u32) {
        assert!(!word.is_flagged(), "publishers make no system call meanwhile");
        self.since.push(since);
        self.rests.push((self.sleeps, in_vain));
    }
}

/// Waits until the sixth sleep is over. `peek`: what a look after a sleep of this number shows.
fn wait(pace: &mut Woken, shared: bool, peek: impl Fn(u32) -> bool) -> Result<(), Stop> {
    let word = AtomicU32::new(0);
    let word = WakeWord::new(&word);
    let waiter = Waiter { shared, ..waiter(word, true) };
    let (sleeps, peeked) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    block(waiter, pace, |look| match look {
        Look::Peek => {
            assert!(!word.is_flagged(), "it comes before the announcement");
            peeked.set(sleeps.get());
            peek(sleeps.get()).then_some(())
        }
        _ => {
            sleeps.set(sleeps.get() + 1);
            (sleeps.get() > 6).then_some(())
        }
    })
}

#[test]
fn who_is_woken_in_vain_again_and_again_rests_before_it_announces_itself() {
    let mut woken = Woken::default();
    assert_eq!(wait(&mut woken, true, |_| false), Ok(()));
    assert_eq!(woken.rests, [(2, 2), (3, 3), (4, 4), (5, 5), (6, 6)]);
}

#[test]
fn a_wake_that_brought_something_ends_the_row_though_others_took_it() {
    let mut woken = Woken::default();
    assert_eq!(wait(&mut woken, true, |sleep| sleep == 3), Ok(()));
    assert_eq!(woken.rests, [(2, 2), (5, 2), (6, 3)]);
}

#[test]
fn who_was_not_woken_does_not_rest() {
    let mut woken = Woken { not_at: Some(2), ..Woken::default() };
    assert_eq!(wait(&mut woken, true, |_| false), Ok(()));
    assert_eq!(woken.rests, [(3, 2), (4, 3), (5, 4), (6, 5)]);
    // A check is due: that is why it woke, or as good.
    let mut woken = Woken { check_due: true, ..Woken::default() };
    assert_eq!(wait(&mut woken, true, |_| panic!("it looks at once")), Ok(()));
    assert_eq!(woken.rests, []);
}

#[test]
fn who_sleeps_alone_at_its_word_does_not_rest() {
    let mut woken = Woken::default();
    let word = AtomicU32::new(0);
    let word = WakeWord::new(&word);
    let mut looks = 0;
    let outcome = block(waiter(word, false), &mut woken, |look| {
        assert_ne!(look, Look::Peek, "a wake is for this one, or for nobody");
        looks += 1;
        (looks > 12).then_some(())
    });
    assert_eq!((outcome, woken.rests.len()), (Ok(()), 0));
}

#[test]
fn who_rests_has_read_the_word_before_it_peeked() {
    let word = AtomicU32::new(0);
    let (word, raw) = (WakeWord::new(&word), &word);
    let (mut woken, mut before) = (Woken::default(), Vec::new());
    let outcome = block(waiter(word, true), &mut woken, |look| {
        if look == Look::Peek {
            before.push(raw.load(Relaxed));
            word.wake_all(); // what it peeks for changes just afterwards
            return None;
        }
        (before.len() == 3).then_some(())
    });
    assert_eq!((outcome, &woken.since[..]), (Ok(()), &before[1..]));
}

#[test]
fn who_has_a_reason_to_stop_does_not_rest_before() {
    let mut woken = Woken { stops_after: Some(3), ..Woken::default() };
    assert_eq!(wait(&mut woken, true, |_| false), Err(Stop::Cancelled));
    assert_eq!(woken.rests, [(2, 2)]);
}

/// Another end sleeps at the word and one rests there, when `wake` is called; the first must wake by
/// that, or it is an error. How many are left.
#[cfg(not(miri))] // no /proc
fn left_asleep_by(wake: impl FnOnce(WakeWord<'_>)) -> usize {
    use rustix::thread::{futex, gettid};
    let raw = AtomicU32::new(0);
    let word = WakeWord::new(&raw);
    let woken = word.announce(false, None);
    word.notify();
    let since = word.moved_since(woken).expect("the epoch");
    let too_long = now() + Duration::from_secs(60).as_nanos() as u64;
    let (tell, told) = std::sync::mpsc::channel();
    let asleep = |thread: rustix::thread::Pid| {
        let stat = format!("/proc/self/task/{}/stat", thread.as_raw_nonzero());
        std::fs::read_to_string(stat).expect("it has not ended").contains(") S ")
    };
    thread::scope(|scope| {
        let tell_of = tell.clone();
        scope.spawn(move || {
            tell_of.send(gettid()).expect("somebody asks");
            word.rest(since, too_long);
        });
        let resting = told.recv().expect("it says so first");
        while !asleep(resting) {
            thread::yield_now();
        }
        let ticket = word.announce(false, None);
        let other = scope.spawn(move || {
            tell.send(gettid()).expect("somebody asks");
            word.sleep(ticket, too_long);
        });
        let sleeping = told.recv().expect("it says so first");
        while !asleep(sleeping) {
            thread::yield_now();
        }
        wake(word);
        other.join().expect("it sleeps");
        let all = std::num::NonZeroU32::MAX;
        let left = futex::wake_bitset(&raw, futex::Flags::empty(), i32::MAX as u32, all);
        assert!(now() < too_long, "a wake was lost");
        left.expect("a futex")
    })
}

#[test]
#[cfg(not(miri))]
fn no_publisher_wakes_one_that_rests_but_what_concerns_all_ends_its_rest() {
    assert_eq!(left_asleep_by(|word| word.notify()), 1);
    assert_eq!(left_asleep_by(|word| word.prompt(true)), 1);
    let with_a_picky_one = |word: WakeWord<'_>| {
        word.announce(true, None);
        word.notify();
    };
    assert_eq!(left_asleep_by(with_a_picky_one), 1);
    assert_eq!(left_asleep_by(|word| word.wake_all()), 0);
    let flag = crate::sync::AtomicBool::new(false);
    assert_eq!(left_asleep_by(|word| word.cancel(&flag)), 0);
}

#[test]
fn a_rest_does_not_begin_after_what_would_have_ended_it() {
    let word = AtomicU32::new(0);
    let word = WakeWord::new(&word);
    let woken = word.announce(false, None);
    assert_eq!(word.moved_since(woken), None);
    word.notify();
    let since = word.moved_since(woken).expect("the epoch");
    word.wake_all();
    let too_long = now() + Duration::from_secs(60).as_nanos() as u64;
    word.rest(since, too_long);
    assert!(now() < too_long);
}

#[test]
fn a_rest_lasts_for_a_fifth_of_a_millisecond_at_the_most_and_not_beyond_the_deadline() {
    let mut waiting = Waiting::new();
    let pace = waiting.until(Deadline::NEVER);
    let rests = [2, 3, 4, 5, 100, u32::MAX].map(|in_vain| pace.rests_until(1000, in_vain) - 1000);
    assert_eq!(rests, [50_000, 100_000, 200_000, 200_000, 200_000, 200_000]);
    assert_eq!(pace.rests_until(u64::MAX - 1, 2), u64::MAX);
    let over = waiting.until(Duration::ZERO.into());
    assert_eq!(over.stop(), Some(Stop::Timeout));
    assert!(over.rests_until(now(), 4) < now(), "it has passed");
}

#[test]
fn an_end_rests_for_real_until_then() {
    let word = AtomicU32::new(0);
    let word = WakeWord::new(&word);
    let mut waiting = Waiting::new();
    let (began, long) = (now(), Duration::from_secs(10).as_nanos() as u64);
    waiting.until(Deadline::NEVER).rest(word, 0, 2);
    let rested = now() - began;
    assert!((50_000..long).contains(&rested), "{rested} ns");
    waiting.until(Duration::ZERO.into()).rest(word, 0, 2);
    assert!(now() - began < long, "the deadline has passed");
    waiting.until(Deadline::NEVER).rest(word, 4, 2);
    assert!(now() - began < long, "the word is another");
}
