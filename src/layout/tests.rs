//! Where things lie, for every kind and size.

use super::*;
use crate::ring::{Kind, Mpmc, Spsc};

const PAGE: usize = 4096;

#[derive(Clone, Copy)]
#[repr(C, align(4096))]
struct AlignedPage([u8; 4096]);

fn check<T, K: Kind>(capacity: u64, endpoints: u32, page: usize) {
    let what = format!("{}, {} bytes, {capacity} slots", K::NAME, size_of::<T>());
    let shape = SlotShape::of::<T, K>();
    let geometry = Geometry::new(K::INFO, shape, capacity, endpoints, page).expect(&what);
    let (control, records) = (Geometry::control_at(), Geometry::owners_at());
    let intents = Geometry::records_at(endpoints);
    let (slots, stride) = (geometry.slots_at, shape.stride);
    let slots_end = slots + stride * geometry.capacity as usize;

    // In order, without overlap, to the end.
    assert!(control >= size_of::<Identity>(), "{what}");
    assert!(records >= control + size_of::<Control>(), "{what}");
    assert!(intents >= records + size_of::<OwnerWord>() * endpoints as usize);
    assert!(slots >= intents + size_of::<CachePadded<Record>>() * endpoints as usize);
    assert!((0..page).contains(&(geometry.region_len - slots_end)));
    assert!(shape.value_at + shape.size <= stride, "{what}");

    // Everything aligned.
    let lines = [control, intents, slots].iter().all(|at| at % LINE == 0);
    assert!(
        lines && records.is_multiple_of(8) && geometry.region_len.is_multiple_of(page),
        "{what}"
    );
    for slot in [slots, slots + stride, slots_end - stride] {
        assert_eq!((slot + shape.value_at) % align_of::<T>(), 0);
    }
    assert_eq!(geometry.capacity, capacity.next_power_of_two(), "{what}");
}

#[test]
fn a_regions_number_in_one_piece_is_both_halves() {
    let birth = Birth { id: [3, u64::MAX], realtime: 0, boottime: 0 };
    assert_eq!(birth.id(), 0x3_ffff_ffff_ffff_ffff);
}

fn check_all<K: Kind>() {
    // Pages of all sizes that machines have, of 16 GiB where a region can be that long.
    let mut sizes = vec![(1, PAGE), (3, PAGE), (1000, 64 << 10), (1 << 17, 2 << 20)];
    sizes.extend([(9, 16 << 10), (8, 32 << 20), (8, 512 << 20), (1, 1 << 30)]);
    sizes.extend(1_usize.checked_shl(34).filter(|_| usize::BITS == 64).map(|page| (1, page)));
    for (capacity, page) in sizes {
        for endpoints in [2, 3, 64, 65, MAX_ENDPOINTS] {
            check::<u8, K>(capacity, endpoints, page);
            check::<u64, K>(capacity, endpoints, page);
            check::<[u64; 100], K>(capacity, endpoints, page);
            check::<AlignedPage, K>(capacity, endpoints, page);
        }
    }
}

#[test]
fn parts_follow_each_other_aligned_and_without_overlap() {
    check_all::<Spsc>();
    check_all::<Mpmc>();
}

#[test]
fn the_header_is_small_and_a_slot_costs_eight_bytes_at_most() {
    let small = Geometry::new(Mpmc::INFO, SlotShape::of::<u64, Mpmc>(), 1, 64, PAGE).unwrap();
    // Lines of 128 bytes and less make 16 KiB at most, those of 256 no more than twice that.
    assert!(small.slots_at <= (128 * LINE).max(16 << 10), "{} bytes", small.slots_at);
    fn overhead<T, K: Kind>() -> usize {
        SlotShape::of::<T, K>().stride - size_of::<T>()
    }
    assert_eq!(overhead::<[u32; 3], Spsc>(), 0);
    assert_eq!(overhead::<[u64; 100], Mpmc>(), 8);
}

#[test]
fn what_overflows_is_refused() {
    let spsc =
        |capacity| Geometry::new(Spsc::INFO, SlotShape::of::<u64, Spsc>(), capacity, 2, PAGE);
    let mpmc = |capacity| {
        Geometry::new(Mpmc::INFO, SlotShape::of::<AlignedPage, Mpmc>(), capacity, 64, PAGE)
    };
    let most = if usize::BITS == 64 { 1 << 58 } else { 1 << 27 };
    for capacity in [u64::MAX, (1 << 63) + 1, 1 << 63, 1 << 60, 1 << 59, most << 1, most + 1] {
        assert!(spsc(capacity).is_none() && mpmc(capacity).is_none(), "{capacity}");
    }
    // The lock bytes lie beyond the largest that is not, and a pointer can reach its end.
    let largest = spsc(most).unwrap();
    assert!((largest.region_len as i64) < crate::peers::hold::BIRTH);
    assert!(largest.region_len <= isize::MAX as usize);
}
