//! What can travel through a ring, and how its bits are checked.

use std::any::TypeId;
use std::mem::transmute_copy;

use bytemuck::{CheckedBitPattern, NoUninit};

/// What can travel through a ring: plain data without padding, whose bits can be checked.
///
/// Implemented for everything that is [`bytemuck::NoUninit`] and [`bytemuck::CheckedBitPattern`]:
/// integers, floats, `bool`, `char`, arrays of numbers, and your own types by `#[derive(Clone,
/// Copy, NoUninit, CheckedBitPattern)]` on a `#[repr(C)]` struct or a `#[repr(u8)]` enum (with a
/// dependency of your own on `bytemuck` 1 and its feature `derive`; arrays of unusual lengths want
/// its feature `min_const_generics`). Together the two bounds mean that a value has no
/// uninitialised bytes to leak, and that no byte a hostile peer writes can make an invalid one.
///
/// What is received is checked on a private copy. An item whose bits make no `T` is dropped, and
/// counted as [`dropped`](crate::Stats::dropped). A call for one item says `Invalid`, and the next
/// call goes on behind it; slices and iterators leave it out. (A [`ReadRun`](crate::ReadRun) shows
/// `None`, and counts nothing when it is released.) Such an item comes from a peer that writes over
/// the ring, from one whose enum has a variant more (tell versions of a type apart by
/// [`Options::tag`](crate::Options::tag)), or from a [`commit`](crate::WriteRun::commit) of a slot
/// that was not written. A type of which all bit patterns are valid (`#[derive(AnyBitPattern)]`
/// instead of `CheckedBitPattern`) is not checked, costs nothing, and can be borrowed in place
/// ([`ReadRun::slot`](crate::ReadRun::slot)); a checked one can only be copied.
///
/// ```
/// use bytemuck::{CheckedBitPattern, NoUninit};
///
/// #[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
/// #[repr(u8)]
/// enum Signal {
///     Stop,
///     Go,
/// }
///
/// let (mut tx, mut rx) = ringpipe::spsc::channel::<Signal>(8)?;
/// tx.try_send(Signal::Go).unwrap();
/// assert_eq!(rx.try_recv(), Ok(Signal::Go));
/// # Ok::<(), ringpipe::ChannelError>(())
/// ```
///
/// # Large items
///
/// An item that is passed or returned by value stands on the caller's stack, and more than once. Of
/// a type of which all bit patterns are valid, an optimised program has there, its own copy
/// included, up to three copies in `try_send`, `send` and `try_recv`, two in `recv` and
/// [`ReadRun::get`](crate::ReadRun::get), one in [`WriteRun::write`](crate::WriteRun::write), and
/// six in a loop over an iterator; an unoptimised one up to 20. (`cargo bench -p operations --
/// stack` measures it.) A thread's stack is 2 MiB by default: larger items go by slices, as
/// `send_slice(slice::from_ref(&item))`, and are received by
/// [`recv_into`](crate::RecvHandle::recv_into) or [`recv_slice`](crate::RecvHandle::recv_slice),
/// which put nothing of that size on the stack; or in place, borrowed.
///
/// # What cannot travel
///
/// Arrays of checked types (`[bool; 4]`) cannot travel; a `[u8; 4]` can.
///
/// Zero-sized types are refused when the program is compiled, and so is an alignment beyond a page
/// (4096 bytes):
///
/// ```compile_fail
/// let (tx, rx) = ringpipe::spsc::channel::<[u8; 0]>(8).unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel through a ring",
    label = "not plain data whose bits can be checked",
    note = "for a type of your own: `#[derive(Clone, Copy, NoUninit, CheckedBitPattern)]`, from \
            `bytemuck` with the feature `derive`, and `#[repr(C)]` without padding or, for an enum, \
            `#[repr(u8)]`",
    note = "for an array of an unusual length: bytemuck's feature `min_const_generics`",
    note = "no references, pointers, `String` or `Vec`: another process could not follow them"
)]
pub trait Item: NoUninit + CheckedBitPattern<Bits: Send + Sync> + Send + Sync {}

#[diagnostic::do_not_recommend]
impl<T: NoUninit + CheckedBitPattern<Bits: Send + Sync> + Send + Sync> Item for T {}

/// The value that these bits make, if they make one.
#[inline(always)]
pub(super) fn checked<T: Item>(bits: T::Bits) -> Option<T> {
    // SAFETY: `CheckedBitPattern` vouches that such bits are a `T`, and that the sizes are equal.
    T::is_valid_bit_pattern(&bits).then(|| unsafe { transmute_copy(&bits) })
}

/// The same memory as bits, if any bits make a `T`.
#[inline(always)]
pub(super) fn as_bits<T: Item>(values: &mut [T]) -> Option<&mut [T::Bits]> {
    (TypeId::of::<T>() == TypeId::of::<T::Bits>()).then(|| {
        // SAFETY: the types are the same.
        unsafe { &mut *(std::ptr::from_mut(values) as *mut [T::Bits]) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_checked_unless_all_make_a_value() {
        assert_eq!([0, 1, 2, 255].map(checked::<bool>), [Some(false), Some(true), None, None]);
        assert_eq!(checked::<char>(0xdfff), None);
        assert_eq!(checked::<u8>(255), Some(255));
        assert!(as_bits(&mut [true]).is_none());
        let mut numbers = [1_u64, 2];
        as_bits(&mut numbers).expect("the same type")[1] = 3;
        assert_eq!(numbers, [1, 3]);
    }
}
