//! What the models share: the explorer, and what takes the place of mappings, locks and clocks.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64 as Counter, Ordering::Relaxed as Count};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use loom::thread::{self, ThreadId};

use crate::attach::{self, Endpoint};
use crate::peers::ends::Ends;
use crate::peers::reap::{Life, Liveness};
use crate::peers::recovery_word::Scratch;
use crate::peers::table::Role;
use crate::pipe::{End, RecvEnd, SendEnd};
use crate::ring::control::Words;
use crate::ring::mem::{Fixed, Mem};
use crate::ring::{Kind, Refused, Run};
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed};
use crate::sync::{self, AtomicBool, AtomicU32, Slots};
use crate::wait::word::{Ticket, WakeWord};
use crate::wait::{Pace, Stop, Turn};

/// Runs `model` in every execution that loom distinguishes, or in those with at most `preemptions`
/// involuntary switches of threads. Returns how many there were.
pub(crate) fn explore(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) -> u64 {
    let executions = Arc::new(Counter::new(0));
    let counted = executions.clone();
    let mut explorer = loom::model::Builder::new();
    // Set here, whatever LOOM_* says: a model that stopped early would pass.
    explorer.max_permutations = None;
    explorer.max_duration = None;
    explorer.preemption_bound = preemptions;
    explorer.max_branches = 10_000;
    explorer.check(move || {
        counted.fetch_add(1, Count);
        sync::membarrier::everybody_has_registered();
        loom::all_reached();
        model();
    });
    executions.load(Count)
}

/// Explores a model and says how large it was.
pub(crate) fn check(
    name: &str,
    preemptions: Option<usize>,
    model: impl Fn() + Send + Sync + 'static,
) {
    let started = Instant::now();
    let executions = explore(preemptions, model);
    let bound = match preemptions {
        None => "exhaustive".to_owned(),
        Some(bound) => format!("at most {bound} preemptions"),
    };
    println!("{name}: {executions} executions in {:.1?}, {bound}", started.elapsed());
    assert!(executions > 1, "nothing was explored");
}

/// As [`check`], with at most `preemptions` preemptions, unless LOOM_TESTS_BOUND asks for another
/// number, or for `none`.
pub(crate) fn check_bounded(
    name: &str,
    preemptions: usize,
    model: impl Fn() + Send + Sync + 'static,
) {
    let bound = match std::env::var("LOOM_TESTS_BOUND") {
        Err(_) => Some(preemptions),
        Ok(none) if none == "none" => None,
        Ok(number) => Some(number.parse().expect("LOOM_TESTS_BOUND is a number or `none`")),
    };
    check(name, bound, model);
}

/// The locks that prove ends and visitors alive: for real in the kernel. Read-modify-write
/// throughout, as the kernel's answers are never stale.
pub(crate) struct Locks {
    /// By role and record; 1 is locked.
    holds: [Vec<AtomicU32>; 2],
    recovery: AtomicU32,
    /// Who has the byte of those who recover without a record.
    visitor: Mutex<Option<ThreadId>>,
}

/// A lock that is held.
#[derive(Clone, Copy)]
pub(crate) enum Hold {
    Record(Role, usize),
    Recovery,
}

impl Locks {
    fn new(records: usize) -> Self {
        let row = || (0..records).map(|_| AtomicU32::new(0)).collect();
        let recovery = AtomicU32::new(0);
        Self { holds: [row(), row()], recovery, visitor: Mutex::new(None) }
    }

    fn hold(&self, role: Role, record: usize) -> &AtomicU32 {
        &self.holds[role as usize - 1][record]
    }

    pub(crate) fn take(&self, role: Role, record: usize) -> bool {
        self.hold(role, record).compare_exchange(0, 1, AcqRel, Relaxed).is_ok()
    }

    fn release(&self, role: Role, record: usize) {
        self.hold(role, record).swap(0, AcqRel);
    }

    /// What the kernel does for an end that the calling thread had: none of its locks outlives it.
    pub(crate) fn release_of_the_dead(&self, role: Role, record: usize) {
        let visiting = *self.visitor() == Some(thread::current().id());
        if visiting {
            self.unlock_recovery();
        }
        self.release(role, record);
    }

    /// Becomes the one that recovers without a record.
    pub(crate) fn lock_recovery(&self) -> bool {
        let locked = self.recovery.compare_exchange(0, 1, AcqRel, Relaxed).is_ok();
        if locked {
            *self.visitor() = Some(thread::current().id());
        }
        locked
    }

    pub(crate) fn unlock_recovery(&self) {
        self.recovery.swap(0, AcqRel);
        // Unless another has it by now.
        self.visitor().take_if(|thread| *thread == thread::current().id());
    }

    fn visitor(&self) -> std::sync::MutexGuard<'_, Option<ThreadId>> {
        self.visitor.lock().expect("nobody panics with it")
    }
}

impl Liveness for Locks {
    fn alive(&self, role: Role, record: usize) -> Life {
        // Acquire: the kernel locks the file's list of locks to answer.
        (self.hold(role, record).fetch_or(0, Acquire) != 0).into()
    }

    fn any_alive(&self, role: Role) -> Life {
        (0..self.holds[0].len()).any(|record| self.alive(role, record) == Life::Alive).into()
    }

    fn visitor_alive(&self) -> Life {
        (self.recovery.fetch_or(0, Acquire) != 0).into()
    }

    /// Every end is a process of its own.
    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> Option<R> {
        Some(work(&mut Scratch::for_records(self.holds[0].len())))
    }
}

/// A ring to which ends can be attached.
pub(crate) struct Ring<K> {
    pub(crate) words: Words,
    slots: Slots<K>,
    pub(crate) locks: Arc<Locks>,
    /// What dead receivers had not released is dropped.
    pub(crate) drops: bool,
    /// How often an item is delivered at the most; 0: no matter.
    pub(crate) limit: u32,
}

impl<K> Clone for Ring<K> {
    fn clone(&self) -> Self {
        let Self { words, slots, locks, drops, limit } = self;
        let (words, slots, locks) = (words.clone(), slots.clone(), locks.clone());
        Self { words, slots, locks, drops: *drops, limit: *limit }
    }
}

impl<K: Kind> Ring<K> {
    pub(crate) fn new(capacity: usize, records: usize) -> Self {
        let Mem { words, slots, .. } = sync::ring(capacity, records);
        Self { words, slots, locks: Arc::new(Locks::new(records)), drops: false, limit: 0 }
    }

    /// One that drops what dead receivers had not released.
    pub(crate) fn dropping(capacity: usize, records: usize) -> Self {
        Self { drops: true, ..Self::new(capacity, records) }
    }

    /// One in which an item is delivered so often at the most.
    pub(crate) fn limited(capacity: usize, records: usize, limit: u32) -> Self {
        Self { limit, ..Self::new(capacity, records) }
    }

    pub(crate) fn mem(&self) -> Mem<K> {
        let (words, slots) = (self.words.clone(), self.slots.clone());
        Mem { words, slots, drop_unreleased: self.drops, delivery_limit: self.limit }
    }

    /// A sender in this record, which nobody has.
    pub(crate) fn sender(&self, record: usize) -> Tx<K> {
        self.new_sender_among(Only(record), None).expect("the model gives every end its own record")
    }

    /// A receiver in this record, which nobody has.
    pub(crate) fn receiver(&self, record: usize) -> Rx<K> {
        self.new_receiver_among(Only(record), None)
            .expect("the model gives every end its own record")
    }

    /// A sender in whatever record there is. `None`: none is free, or none yet.
    pub(crate) fn new_sender(&self) -> Option<Tx<K>> {
        self.new_sender_among(Any, None)
    }

    /// A clone of this receiver, in a record that nobody has.
    pub(crate) fn receiver_like(&self, original: &Rx<K>, record: usize) -> Rx<K> {
        let clone = self.new_receiver_among(Only(record), Some(&original.end.ends));
        clone.expect("the model gives every end its own record")
    }

    /// A receiver in whatever record there is. `None`: none is free, or none yet.
    pub(crate) fn new_receiver(&self) -> Option<Rx<K>> {
        self.new_receiver_among(Any, None)
    }

    fn new_sender_among(&self, among: Among, original: Option<&Ends>) -> Option<Tx<K>> {
        let locks = LocksAmong { locks: &self.locks, among };
        let (end, endpoint) = attach::sender(self.mem(), &locks, original, || false).ok()?;
        Some(Tx { end, attached: Attached { role: Role::Sender, endpoint }, ring: self.clone() })
    }

    fn new_receiver_among(&self, among: Among, original: Option<&Ends>) -> Option<Rx<K>> {
        let locks = LocksAmong { locks: &self.locks, among };
        let (end, endpoint) = attach::receiver(self.mem(), &locks, original, || false).ok()?;
        Some(Rx { end, attached: Attached { role: Role::Receiver, endpoint }, ring: self.clone() })
    }

    /// A sender in this record, if it can be had just now.
    pub(crate) fn sender_if_free(&self, record: usize) -> Option<Tx<K>> {
        self.new_sender_among(Only(record), None)
    }

    /// The lock of a dead end goes, and nothing else happens.
    fn release_hold(&self, attached: &Attached) {
        self.locks.release(attached.role, attached.endpoint.record);
    }

    fn detach(&self, attached: Attached, abandon: bool) {
        let locks = LocksAmong { locks: &self.locks, among: Any };
        attach::detach(&self.words, attached.endpoint, &locks, abandon);
    }
}

/// Which records an end may take.
#[derive(Clone, Copy)]
enum Among {
    Only(usize),
    Any,
}
use Among::{Any, Only};

/// The locks, for an end that is to take one of these records.
struct LocksAmong<'a> {
    locks: &'a Locks,
    among: Among,
}

impl attach::Locks for LocksAmong<'_> {
    type Hold = Hold;
    type Error = Infallible;

    fn lock(&self, role: Role, record: usize) -> Result<Option<Hold>, Infallible> {
        let may = matches!(self.among, Any) || matches!(self.among, Only(only) if only == record);
        Ok((may && self.locks.take(role, record)).then_some(Hold::Record(role, record)))
    }

    fn lock_recovery(&self) -> Result<Option<Hold>, Infallible> {
        Ok(self.locks.lock_recovery().then_some(Hold::Recovery))
    }

    fn unlock(&self, hold: Hold) {
        match hold {
            Hold::Record(role, record) => self.locks.release(role, record),
            Hold::Recovery => self.locks.unlock_recovery(),
        }
    }

    fn process(&self) -> u32 {
        1
    }
}

impl Liveness for LocksAmong<'_> {
    fn alive(&self, role: Role, record: usize) -> Life {
        self.locks.alive(role, record)
    }

    fn any_alive(&self, role: Role) -> Life {
        self.locks.any_alive(role)
    }

    fn visitor_alive(&self) -> Life {
        self.locks.visitor_alive()
    }

    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> Option<R> {
        self.locks.with_scratch(work)
    }
}

struct Attached {
    role: Role,
    endpoint: Endpoint<Hold>,
}

/// How the models wait: poll so often, then sleep for as long as nobody wakes.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// Looks before the first sleep.
    pub(crate) looks: u32,
    /// So often, a sleep may end by itself, before a wake or having consumed one.
    pub(crate) spurious: u32,
    /// What a sleep that ended by itself says: an interval has passed, a liveness check is due.
    pub(crate) checks: bool,
    /// Some of its sleeps may be long ones, which end only by a wake.
    pub(crate) watches: bool,
    /// May give up after any look in vain: its time is up, or somebody has cancelled it. At the
    /// latest it does when it has slept so often.
    pub(crate) stops: bool,
}

/// Straight to sleep.
pub(crate) const SLEEPY: Patience =
    Patience { looks: 0, spurious: 0, checks: false, watches: false, stops: false };
/// Looks once, then sleeps.
pub(crate) const TRYING: Patience = Patience { looks: 1, ..SLEEPY };
/// Wakes once for no reason.
pub(crate) const JUMPY: Patience = Patience { spurious: 1, ..SLEEPY };
/// Makes one liveness check.
pub(crate) const CHECKING: Patience = Patience { spurious: 1, checks: true, ..SLEEPY };
/// Gives up before a first sleep, or after it.
pub(crate) const HASTY: Patience = Patience { spurious: 1, stops: true, ..SLEEPY };

/// Sleeps until somebody sets this flag and wakes it.
#[derive(Clone)]
pub(crate) struct UntilCancelled(pub(crate) Arc<AtomicBool>);

impl Pace for UntilCancelled {
    fn turn(&mut self) -> Turn {
        Turn::Sleep
    }

    fn spun_well(&mut self) {}

    fn stop(&self) -> Option<Stop> {
        self.0.load(Acquire).then_some(Stop::Cancelled) // as K2
    }

    fn sleep(&mut self, word: WakeWord<'_>, ticket: Ticket) -> bool {
        word.sleep(ticket, u64::MAX);
        false
    }
}

impl Pace for Patience {
    fn turn(&mut self) -> Turn {
        if self.looks == 0 {
            return Turn::Sleep;
        }
        self.looks -= 1;
        Turn::Spin(1)
    }

    fn spun_well(&mut self) {}

    fn stop(&self) -> Option<Stop> {
        (self.stops && (self.spurious == 0 || loom::choose())).then_some(Stop::Timeout)
    }

    fn joins_watch(&self) -> bool {
        self.watches
    }

    fn sleep(&mut self, word: WakeWord<'_>, ticket: Ticket) -> bool {
        let expires = self.spurious > 0 && (self.stops || loom::choose());
        if expires {
            self.spurious -= 1;
            loom::next_wait_expires();
        }
        word.sleep(ticket, u64::MAX);
        expires && self.checks
    }
}

/// The shape of slots: models send numbers.
pub(crate) fn numbers<K: Kind>() -> Fixed<u64, K> {
    // SAFETY: these slots have none.
    unsafe { Fixed::trusted() }
}

/// How many slots an item takes that a model says no more of than its number: messages take two.
pub(crate) const fn slots_of_one<K: Kind>() -> u64 {
    if K::MESSAGES { 2 } else { 1 }
}

/// What a model needs of slots to claim `max` items, at least `need`, for sending: of messages one,
/// of `max` granules.
pub(crate) const fn needed<K: Kind>(need: u64, max: u64) -> u64 {
    if K::MESSAGES { max } else { need }
}

/// Where the length is in the word with which a message begins, and its number below.
const LENGTH_SHIFT: u32 = 32;

/// Writes values into slots from `at` on; or, where there are messages, one of as many granules:
/// its number, and how long it is, in the first, and in each further one the next number.
pub(crate) fn write_run<K: Kind>(mem: &Mem<K>, at: u64, values: &[u64]) {
    let mut words = values.to_vec();
    if let (true, Some(first)) = (K::MESSAGES, words.first_mut()) {
        *first |= (values.len() as u64) << LENGTH_SHIFT;
    }
    mem.view(numbers()).write_run(at, &words);
}

/// The number of the message at `at`, of so many granules, which must be all of it.
pub(crate) fn read_message<K: Kind>(mem: &Mem<K>, at: u64, granules: u64) -> u64 {
    let mut words = vec![0; granules as usize];
    mem.view(numbers()).read_run(at, &mut words);
    assert_eq!(words[0] >> LENGTH_SHIFT, granules, "its length, and its extent");
    words[0] &= (1 << LENGTH_SHIFT) - 1;
    assert!(words.iter().zip(words[0]..).all(|(word, is)| *word == is), "torn: {words:?}");
    words[0]
}

/// Claims without waiting, as `handles::claim` does it.
pub(crate) fn claim_now<K: Kind>(
    end: &mut impl End<Kind = K>,
    need: u64,
    max: u64,
    locks: &Locks,
) -> Result<Run, Refused> {
    match end.claim_fast(numbers(), need, max) {
        Some(run) => Ok(run),
        None => end.claim_slow(need, max, locks),
    }
}

/// Claims and waits for that, as `handles::claim` does it.
pub(crate) fn claim_in_time<K: Kind>(
    end: &mut impl End<Kind = K>,
    need: u64,
    max: u64,
    pace: &mut impl Pace,
    locks: &Locks,
) -> Result<Run, Refused> {
    match end.claim_fast(numbers(), need, max) {
        Some(run) => Ok(run),
        None => end.claim_waiting(numbers(), need, max, pace, locks),
    }
}

/// A sending handle: what `handles::send` does with a `SendEnd`.
pub(crate) struct Tx<K: Kind> {
    pub(crate) end: SendEnd<K>,
    attached: Attached,
    pub(crate) ring: Ring<K>,
}

impl<K: Kind> Tx<K> {
    pub(crate) fn put(&mut self, run: Run, value: u64) {
        if K::MESSAGES {
            let words: Vec<_> = (value..).take(run.slots as usize).collect();
            write_run(&self.end.mem, run.at, &words);
            return self.end.publish(numbers(), run, run.slots);
        }
        let all = self.end.write_one(numbers(), run, &value);
        self.end.publish_one(numbers(), run, all);
    }

    pub(crate) fn try_send(&mut self, value: u64) -> Result<(), Refused> {
        let slots = slots_of_one::<K>();
        let run = claim_now(&mut self.end, slots, slots, &self.ring.locks)?;
        self.put(run, value);
        Ok(())
    }

    pub(crate) fn send(&mut self, value: u64, mut pace: impl Pace) -> Result<(), Refused> {
        let slots = slots_of_one::<K>();
        let run = claim_in_time(&mut self.end, slots, slots, &mut pace, &self.ring.locks)?;
        self.put(run, value);
        Ok(())
    }

    pub(crate) fn leave(mut self) {
        self.end.leave();
        self.ring.detach(self.attached, false);
    }

    /// Looks at who is there, as it will have done before: only then does it claim at once.
    pub(crate) fn look_around(&mut self) {
        self.end.ends.present(&self.ring.words);
    }

    /// As if killed here.
    pub(crate) fn die(self) {
        self.ring.release_hold(&self.attached);
    }
}

/// The items of a claimed run, copied out as a call for one item, or for several, does.
pub(crate) fn read<K: Kind>(end: &mut RecvEnd<K>, run: Run) -> Vec<u64> {
    if K::MESSAGES {
        let message = |at| read_message(&end.mem, at, end.extent(run, at));
        return end.items(numbers(), run).map(message).collect();
    }
    if run.items == 1 {
        let at = end.find(numbers(), run, 0).expect("the ring is sound");
        return vec![end.read(numbers(), at)];
    }
    let mut values = vec![0; run.items as usize];
    end.copy_out(numbers(), run, &mut values).expect("the ring is sound");
    values
}

/// A receiving handle: what `handles::recv` does with a `RecvEnd`.
pub(crate) struct Rx<K: Kind> {
    pub(crate) end: RecvEnd<K>,
    attached: Attached,
    pub(crate) ring: Ring<K>,
}

impl<K: Kind> Rx<K> {
    pub(crate) fn take(&mut self, run: Run) -> Vec<u64> {
        let values = read(&mut self.end, run);
        self.end.release(numbers(), run, run.items);
        values
    }

    pub(crate) fn try_recv(&mut self) -> Result<u64, Refused> {
        if let Some(run) = self.end.claim_seen() {
            let value = self.end.mem.view(numbers()).read(run.at);
            self.end.release_one(numbers(), run);
            return Ok(value);
        }
        let run = claim_now(&mut self.end, 1, 1, &self.ring.locks)?;
        Ok(self.take(run)[0])
    }

    pub(crate) fn recv(&mut self, pace: impl Pace) -> Result<u64, Refused> {
        Ok(self.recv_many(1, 1, pace)?[0])
    }

    pub(crate) fn recv_many(
        &mut self,
        need: u64,
        max: u64,
        mut pace: impl Pace,
    ) -> Result<Vec<u64>, Refused> {
        let run = claim_in_time(&mut self.end, need, max, &mut pace, &self.ring.locks)?;
        Ok(self.take(run))
    }

    pub(crate) fn wait_for_peer(&mut self, mut pace: Patience) -> Result<(), Stop> {
        self.end.wait_for_peer(&mut pace, &*self.ring.locks)
    }

    pub(crate) fn leave(self) {
        let abandon = self.end.held() > 0;
        self.ring.detach(self.attached, abandon);
    }

    /// As if killed here.
    pub(crate) fn die(self) {
        self.ring.release_hold(&self.attached);
    }
}
