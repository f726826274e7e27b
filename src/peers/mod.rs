//! Who is attached, who has died, who cleans up after whom.
//!
//! [`roster`] is the shared table of endpoint records, [`hold`] the proof that the occupant of a
//! record is alive, [`endpoint`] a seat and its hold together, from attach to leave, [`fork`] how
//! a handle notices that it is a copy in a child, [`burial`] what is done about the dead.

pub(crate) mod burial;
pub(crate) mod endpoint;
pub(crate) mod fork;
pub(crate) mod hold;
pub(crate) mod roster;
