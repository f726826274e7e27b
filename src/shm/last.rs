//! Who is the last to leave a file-backed ring, and what that one does.
//!
//! ```text
//! let go of BIRTH
//! lock BIRTH exclusively                 refused: not the last; done
//! make the lock a shared one, msync all  (the long part; openers may come)
//! lock BIRTH exclusively                 refused: somebody came; unlock it, begin again
//! msync all                              (little is left; openers wait)
//! store CLEAN, msync this page, unlock
//! ```
//!
//! *Nobody stores between the last `msync` of all and CLEAN*: whoever may store holds BIRTH,
//! shared, from before its opening to the end of its last handle, and BIRTH is the closer's
//! alone. (But for a [`Canceller`](crate::Canceller) that outlives its handle: it may move the epoch
//! of a wake word. That word means nothing to whoever opens the ring, and is alone in what it says,
//! so the file is no mixture for it.)
//!
//! *Of several that leave at once one is the last.* Each lets go first and then asks. The one
//! that lets go last of all finds the byte free, unless another has it at that time; and that one
//! then finds nobody else at its second lock. One that is refused at its second lock lets go and
//! asks again, for the same reason: it was in the way of the one that refuses it.
//!
//! What is the file's and the kernel's comes in as [`Leave`], so that `loom-tests` can explore it.

/// How a ring was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// By the last one: all of it is on the disk.
    Clean,
    /// Somebody else has it open.
    InUse,
}

/// What one that leaves can do. It stores nothing in the ring any more.
pub(crate) trait Leave {
    /// Why something cannot be done.
    type Error;

    /// Lets go of BIRTH, however it is held.
    fn let_go(&mut self) -> Result<(), Self::Error>;

    /// Locks BIRTH for itself alone; `false`: somebody else holds it, and what there was stays.
    fn lock_alone(&mut self) -> Result<bool, Self::Error>;

    /// Makes that lock one beside which others may hold BIRTH.
    fn lock_beside_others(&mut self) -> Result<(), Self::Error>;

    /// Writes all of the ring to the disk.
    fn write_back(&mut self) -> Result<(), Self::Error>;

    /// Says on the disk that the ring is clean.
    fn mark_clean(&mut self) -> Result<(), Self::Error>;
}

/// How often openers are let in while the closer writes; after that they wait for that, too.
const ROUNDS: u32 = 3;

/// Leaves. The caller lets go of BIRTH in any case, if only by ending.
pub(crate) fn leave<L: Leave>(me: &mut L) -> Result<Closed, L::Error> {
    for round in 1.. {
        me.let_go()?;
        if !me.lock_alone()? {
            return Ok(Closed::InUse);
        }
        if round > ROUNDS {
            break;
        }
        me.lock_beside_others()?;
        me.write_back()?;
        if me.lock_alone()? {
            break;
        }
    }
    me.write_back()?;
    me.mark_clean()?;
    me.let_go()?;
    Ok(Closed::Clean)
}
