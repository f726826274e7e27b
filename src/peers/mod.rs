//! Who is attached, who has died, who cleans up after whom.
//!
//! [`table`] is the shared table of endpoint records, [`ends`] what an end makes of it, [`endings`]
//! how the ends of a role went, [`hold`] the proof that the owner of a record is alive, [`fork`]
//! how a handle notices that it is a copy in a child, [`reap`] what is done about the dead,
//! [`recovery_word`] whose turn it is to do that, [`calm`] when there is nothing to do. How an end
//! comes and goes is [`attach`](crate::attach)'s.

pub(crate) mod calm;
pub(crate) mod endings;
pub(crate) mod ends;
pub(crate) mod fork;
pub(crate) mod hold;
pub(crate) mod reap;
pub(crate) mod recovery_word;
pub(crate) mod table;
