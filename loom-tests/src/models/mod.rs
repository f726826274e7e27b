//! One file for each protocol.

pub(crate) mod support;

mod death;
mod deliveries;
mod ledger;

mod barriers;
mod close;
mod crash;
mod crash_asleep;
mod crash_spsc;
mod endings;
mod frames;
mod giving_up;
mod handover;
mod in_place;
mod laps;
mod last;
mod messages;
mod mpmc;
mod precedence;
mod recovery;
mod recovery_word;
mod spsc;
mod table;
mod tasks;
mod wake;
mod watch;
