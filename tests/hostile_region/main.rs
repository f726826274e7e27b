//! A peer that scribbles on the region can feed wrong values or stop the flow, and nothing worse.
//!
//! These tests map a ring's region as any process with permission can, and write what no honest end
//! writes: into a ring at rest ([`flips`]), at full speed from another process into one in use
//! ([`scribbler`]); they punch holes into its file and cut it off ([`holes`]). Then every call must
//! return, in bounded time, with a value or one of its documented errors: no panic, no hang, no
//! access beyond the region. Where only the control words were touched, no value may come out that
//! was never in a slot. [`chart`] sees to it that no word is forgotten; [`crowd`] makes the ring slow
//! to repair rather than wrong.
//!
//! Counts of what was written and of the calls that survived it are printed (`-- --nocapture`). The
//! scribbling goes on for two seconds for each kind of ring, or for as long as
//! `RINGPIPE_HOSTILE_SECONDS` says: `RINGPIPE_HOSTILE_SECONDS=600 cargo test --release --test
//! hostile_region -- --nocapture` is the long run.

mod beside;
mod calls;
mod chart;
mod crowd;
mod flips;
mod holes;
mod lies;
mod limits;
mod long;
mod scribbler;
mod storm;
mod strafe;
#[path = "../support/mod.rs"]
mod support;

use support::roles;

use beside::wakes_wildly;
use holes::{looks_at_what_was_cut_off, sleeps_on_what_is_cut_off};
use scribbler::{dies_with_claims, scribbles};
use strafe::strafes;

roles!(
    wakes_wildly,
    strafes,
    scribbles,
    dies_with_claims,
    looks_at_what_was_cut_off,
    sleeps_on_what_is_cut_off
);
