//! Attaching and leaving: an end takes an endpoint record, learns who is there, and gives it up
//! again.
//!
//! An end is its record's owner word and the lock that proves its owner alive
//! ([`hold`](crate::peers::hold)); here the locks come in as [`Locks`], so that `loom-tests` can
//! explore all of it.
//!
//! # Attaching
//!
//! ```text
//! read the opposite arrivals, ask whether one of them lives
//! lock a record's byte, take its owner word            A1
//! count the arrival, move `changes` on                 A4, A6
//! read the opposite arrivals, ask whether one lives
//! wake those whom it concerns                          (wait/changes.rs)
//! ```
//!
//! [`ends`](crate::peers::ends) argues why no opposite end that sees this one is missed. A clone
//! takes over what its original knows: for it, what the original has met is met.
//!
//! # Leaving
//!
//! ```text
//! count the close                                                     E1
//! unlock, free the record (or abandon it with what it has claimed)    A2
//! move `changes` on                                                   A6
//! wake those whom it concerns                                         (wait/changes.rs)
//! ```
//!
//! **Unlock first.** A successor that finds the record still taken sees from the free lock that its
//! owner is through, whereas a free record with a held lock would turn it away.
//!
//! **A record whose owner is dead.** On an SPSC ring each role has one record, and its lock alone
//! decides: positions outlive their owners whole, so a successor takes the record over as it is. On
//! an MPMC ring the dead must be reaped first ([`reap`](crate::peers::reap)); and if all records
//! are taken, one that a dead receiver has abandoned can be taken over together with its claim.
//! Whoever does either has no record yet to be named by, and recovers as a visitor
//! ([`recovery_word`](crate::peers::recovery_word)).

use crate::peers::ends::Ends;
use crate::peers::reap::{self, Liveness, peer_alive};
use crate::peers::recovery_word::begin_visit;
use crate::peers::table::{self, Name, Owner, Role};
use crate::pipe::{RecvEnd, SendEnd};
use crate::ring::claims::RecvClaims;
use crate::ring::control::Words;
use crate::ring::mem::Mem;
use crate::ring::{Kind, RecvCursor, Run, SendCursor};
use crate::wait::changes::{Change, wake_after};

/// Who hands out the locks that prove ends alive, beside telling whether they are held.
pub(crate) trait Locks: Liveness {
    /// A lock that is held.
    type Hold;
    /// Why a lock cannot even be asked for.
    type Error;

    /// Locks the byte of a record; `None` if somebody else holds it.
    fn lock(&self, role: Role, record: usize) -> Result<Option<Self::Hold>, Self::Error>;

    /// Locks the byte of those who recover without a record; `None` if somebody else holds it.
    fn lock_recovery(&self) -> Result<Option<Self::Hold>, Self::Error>;

    /// Lets go of it.
    fn unlock(&self, hold: Self::Hold);

    /// This process's number, for people to read in the endpoint table.
    fn process(&self) -> u32;
}

/// An end's record. [`detach`] gives it up; so does the end of the process.
#[derive(Debug)]
pub(crate) struct Endpoint<H> {
    pub(crate) role: Role,
    pub(crate) record: usize,
    pub(crate) owner: Owner,
    pub(crate) hold: H,
}

/// Why no record could be taken.
#[derive(Debug)]
pub(crate) enum NoRecord<E> {
    /// All records are taken by the living.
    Taken,
    /// Some record is free but its lock is held, which passes: its next owner is about to take it;
    /// or the last one is gone, and a program that its process was starting at the moment it
    /// attached still shares the lock, until it runs ([`hold`](crate::peers::hold)). Or somebody
    /// else is reaping the dead.
    Passing,
    /// The region is damaged.
    Corrupt,
    /// The kernel refused something.
    Io(E),
}

impl<E> From<E> for NoRecord<E> {
    fn from(error: E) -> Self {
        Self::Io(error)
    }
}

/// An end and its record.
type Outcome<E, L> = Result<(E, Endpoint<<L as Locks>::Hold>), NoRecord<<L as Locks>::Error>>;

/// Attaches a sending end. `original`: what the end knows that it is a clone of. `again`: whether
/// to try again when the reason [passes](NoRecord::Passing).
pub(crate) fn sender<K: Kind, L: Locks>(
    mem: Mem<K>,
    locks: &L,
    original: Option<&Ends>,
    again: impl FnMut() -> bool,
) -> Outcome<SendEnd<K>, L> {
    let alive = || peer_alive(&mem.words, Role::Receiver, locks);
    let before = Ends::before(&mem.words, Role::Sender, alive);
    let (endpoint, _) = take_in_time(&mem, Role::Sender, locks, again)?;
    let me = endpoint.owner.name(endpoint.record);
    match K::Send::attach(&mem, endpoint.record) {
        Ok(cursor) => {
            let mut end = SendEnd::new(mem, me, cursor, before, locks);
            if let Some(original) = original {
                end.ends.learn(original);
            }
            wake_after(&end.mem.words, Change::Attached(Role::Sender));
            Ok((end, endpoint))
        }
        Err(_) => {
            detach(&mem.words, endpoint, locks, false);
            Err(NoRecord::Corrupt)
        }
    }
}

/// Attaches a receiving end. `original` and `again`: as for [`sender`].
pub(crate) fn receiver<K: Kind, L: Locks>(
    mem: Mem<K>,
    locks: &L,
    original: Option<&Ends>,
    again: impl FnMut() -> bool,
) -> Outcome<RecvEnd<K>, L> {
    let alive = || peer_alive(&mem.words, Role::Sender, locks);
    let before = Ends::before(&mem.words, Role::Receiver, alive);
    let (endpoint, adopted) = take_in_time(&mem, Role::Receiver, locks, again)?;
    let me = endpoint.owner.name(endpoint.record);
    match K::Recv::attach(&mem, endpoint.record) {
        Ok(mut cursor) => {
            let change = match adopted {
                Some(_) => Change::Abandoned,
                None => Change::Attached(Role::Receiver),
            };
            if let Some(run) = adopted {
                cursor.adopt(&mem, run);
            }
            let mut end = RecvEnd::new(mem, me, cursor, before, locks);
            if let Some(original) = original {
                end.ends.learn(original);
            }
            wake_after(&end.mem.words, change);
            Ok((end, endpoint))
        }
        Err(_) => {
            detach(&mem.words, endpoint, locks, false);
            Err(NoRecord::Corrupt)
        }
    }
}

/// Undoes an attachment. `abandon`: a receiving end leaves claimed items behind, for others to
/// adopt.
pub(crate) fn detach<L: Locks>(
    words: &Words,
    endpoint: Endpoint<L::Hold>,
    locks: &L,
    abandon: bool,
) {
    let Endpoint { role, record, owner, hold } = endpoint;
    table::closed(words, role);
    locks.unlock(hold); // before the record is free: see the module's opening
    if abandon {
        table::abandon(words, record, owner);
        wake_after(words, Change::Abandoned);
    } else {
        table::leave(words, record, owner);
        wake_after(words, Change::Left(owner.role()));
    }
}

/// An endpoint, and the abandoned claim that came with its record.
type Attached<L> = (Endpoint<<L as Locks>::Hold>, Option<Run>);

fn take_in_time<K: Kind, L: Locks>(
    mem: &Mem<K>,
    role: Role,
    locks: &L,
    mut again: impl FnMut() -> bool,
) -> Result<Attached<L>, NoRecord<L::Error>> {
    loop {
        match take_record(mem, role, locks) {
            Err(NoRecord::Passing) if again() => {}
            outcome => return outcome,
        }
    }
}

/// Takes a record, and with it, if that was the only way, what its last owner has abandoned.
fn take_record<K: Kind, L: Locks>(
    mem: &Mem<K>,
    role: Role,
    locks: &L,
) -> Result<Attached<L>, NoRecord<L::Error>> {
    let words = &mem.words;
    let take = |records, evict| take(words, records, role, evict, locks);
    if !K::MANY {
        let record = if role == Role::Sender { 0 } else { 1 };
        return Ok((take(record..record + 1, true)?, None));
    }
    let everywhere = 0..words.owners.len();
    match take(everywhere.clone(), false) {
        Ok(endpoint) => return Ok((endpoint, None)),
        Err(NoRecord::Taken | NoRecord::Passing) => {}
        Err(refused) => return Err(refused),
    }
    // Perhaps some of the owners are dead. Somebody else may be clearing them away at this moment;
    // that takes as long as it takes to ask for each once.
    let cleared = visit(words, locks, |me| reap::reap_for_record(mem, me, locks))? == Some(true);
    let none = match take(everywhere, false) {
        Ok(endpoint) => return Ok((endpoint, None)),
        Err(none @ (NoRecord::Taken | NoRecord::Passing)) => none,
        Err(refused) => return Err(refused),
    };
    if role == Role::Receiver {
        let mut refused = None;
        let take = |record| {
            take(record..record + 1, true)
                .map_err(|none| refused = matches!(none, NoRecord::Io(_)).then_some(none))
                .ok()
        };
        let taken = visit(words, locks, |me| reap::succeed(mem, me, locks, take))?.flatten();
        if let Some(refused) = refused {
            return Err(refused);
        }
        match taken {
            Some(Some((endpoint, run))) => return Ok((endpoint, Some(run))),
            Some(None) => {}
            None => return Err(NoRecord::Passing),
        }
    }
    Err(if cleared { none } else { NoRecord::Passing })
}

/// Does what has to be done in the recoverer's turn, as a visitor; `None`: there is another.
fn visit<L: Locks, R>(
    words: &Words,
    locks: &L,
    work: impl FnOnce(Name) -> R,
) -> Result<Option<R>, L::Error> {
    let Some(hold) = locks.lock_recovery()? else { return Ok(None) };
    let done = work(begin_visit(words));
    locks.unlock(hold); // last: nobody else visits before
    Ok(Some(done))
}

/// Takes one of `records` for `role` and counts the arrival. The caller then wakes
/// those whom it concerns.
///
/// A record whose owner's lock is free is taken over if `evict` is set: right where a dead owner
/// leaves nothing behind that must be resolved first.
fn take<L: Locks>(
    words: &Words,
    records: std::ops::Range<usize>,
    role: Role,
    evict: bool,
    locks: &L,
) -> Result<Endpoint<L::Hold>, NoRecord<L::Error>> {
    let mut none = NoRecord::Taken;
    for record in records {
        let word = &words.owners[record];
        if !evict && table::owner(word).is_some() {
            continue;
        }
        let Some(hold) = locks.lock(role, record)? else {
            if table::owner(word).is_none() {
                none = NoRecord::Passing;
            }
            continue;
        };
        // A record can change hands between the look and the lock; with the lock in hand only its
        // last owner can still touch it, once, on the way out: hence the second try.
        for _ in 0..2 {
            if let Some(owner) = table::take(word, role, locks.process(), evict) {
                table::arrived(words, role);
                return Ok(Endpoint { role, record, owner, hold });
            }
        }
        locks.unlock(hold);
    }
    Err(none)
}
