//! A peer that scribbles on the region can feed wrong values or stop the flow, and nothing worse.
//!
//! These tests map a ring's region as any process with permission can, and write what no honest end
//! writes: into a ring at rest ([`flips`]), with pauses and repairs from another process into one
//! in use ([`scribbler`]), without a pause from two ([`storm`], [`strafe`]), into long rings
//! ([`long`]), headers under a checksum that fits ([`lies`]). They punch holes into its file and
//! cut it off ([`holes`]), hold its locks and move its sleepers ([`beside`]). Then every call must
//! return, by its own deadline and an allowance for busy machines ([`limits`]), with a value or one
//! of its documented errors: no panic, no hang, no access beyond the region. Where only the control
//! words were touched, no value may come out that was never in a slot. [`toggles`] takes back what
//! it has just told. [`chart`] sees to it that no word is forgotten; [`crowd`] makes the ring slow to
//! repair rather than wrong.
//!
//! All treat all kinds alike, by the [calls](calls::Calls) that each has, but for what a kind lacks:
//! [`messages`] alone have lengths, [`toggles`] deceive those for one end and one, [`crowd`] those
//! for many. [`beside`] says what it leaves to values.
//!
//! Counts of what was written, of the calls that survived it and of the longest overrun of a
//! deadline are printed, in all at the end (`-- --nocapture`). The scribbling goes on for two
//! seconds for each kind of ring, the rest for shares of that; or for as long as
//! `RINGPIPE_HOSTILE_SECONDS` says: `RINGPIPE_HOSTILE_SECONDS=300 cargo test --release --test
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
mod messages;
mod scribbler;
mod storm;
mod strafe;
#[path = "../support/mod.rs"]
mod support;
mod toggles;

use support::roles;

use beside::wakes_wildly;
use holes::{looks_at_what_was_cut_off, sleeps_on_what_is_cut_off};
use scribbler::{dies_with_claims, scribbles};
use strafe::strafes;

roles!(
    strafes;
    of any kind: scribbles,
    wakes_wildly,
    dies_with_claims,
    looks_at_what_was_cut_off,
    sleeps_on_what_is_cut_off
);
