//! What a pipe does, a byte pipe does: one suite, played by the kernel's pipes and by ours.
//!
//! [`suite`] has what all do alike, [`processes`] what those do that other processes can open, and
//! [`differences`] the table of all in which they differ, each row with what shows it. What a pipe
//! is to the suite, [`like`] says: another kind joins it there. Rings of messages are played beside
//! the kernel's pipes of [`packets`].

mod differences;
mod like;
mod packets;
mod processes;
mod suite;
#[path = "../support/mod.rs"]
mod support;

use differences::{breaks_a_pipe_with_the_signal_on, is_interrupted};
use packets::writes_packets;
use processes::{reads, writes};

support::roles!(reads, writes, writes_packets, breaks_a_pipe_with_the_signal_on, is_interrupted);

/// Makes tests of functions that are generic over the pipe: of these kinds. `$around` makes what is
/// held meanwhile.
macro_rules! of_each {
    ([$($kind:ident: $pipe:ident),+], $around:expr, $names:tt) => {
        $(mod $kind {
            crate::of_each!(@ $pipe, $around, $names);
        })+
    };
    (@ $pipe:ident, $around:expr, [$($name:ident),+ $(,)?]) => {$(
        #[test]
        fn $name() {
            let name = concat!(stringify!($name), " of ", stringify!($pipe));
            crate::support::watched(name, || {
                let _meanwhile = $around;
                super::$name::<crate::like::$pipe>();
            });
        }
    )+};
}
pub(crate) use of_each;
