//! Random calls on rings that carry bytes: byte pipes, and both kinds of rings of messages.

use proptest::prelude::*;

use super::bytes::{self, PAGE};
use super::messages;

fn on_bytes() -> impl Strategy<Value = Vec<bytes::Call>> {
    use bytes::Call;
    let len = || prop_oneof![4 => 0..70_usize, 4 => 0..3 * PAGE, 1 => Just(PAGE / 4)];
    let call = prop_oneof![
        12 => len().prop_map(Call::Write),
        4 => (len(), len()).prop_map(|(first, rest)| Call::WriteVectored(first, rest)),
        6 => (len(), any::<u8>()).prop_map(|(max, share)| Call::Commit(max, share)),
        1 => len().prop_map(Call::ForgetRoom),
        4 => len().prop_map(Call::Exact),
        12 => len().prop_map(Call::Read),
        4 => (len(), len()).prop_map(|(first, rest)| Call::ReadVectored(first, rest)),
        6 => (len(), any::<u8>()).prop_map(|(max, share)| Call::Release(max, share)),
        2 => len().prop_map(Call::AbandonRun),
        4 => len().prop_map(Call::Buffered),
        1 => Just(Call::Clear),
        1 => Just(Call::CloseWriter),
        1 => Just(Call::CloseReader),
        3 => Just(Call::AttachWriter),
        3 => Just(Call::AttachReader),
    ];
    prop::collection::vec(call, 1..150)
}

fn on_messages() -> impl Strategy<Value = Vec<messages::Call>> {
    use messages::Call;
    let len = || prop_oneof![4 => 0..200_usize, 2 => 0..PAGE, 1 => Just(PAGE / 2 - 8)];
    let call = prop_oneof![
        14 => len().prop_map(Call::Send),
        5 => (len(), any::<u8>()).prop_map(|(most, share)| Call::Reserve(most, share)),
        2 => len().prop_map(Call::Abandon),
        1 => len().prop_map(Call::ForgetRoom),
        3 => (0..200_usize, 0..8_usize).prop_map(|(len, count)| Call::SendAll(len, count)),
        14 => Just(Call::Recv),
        5 => len().prop_map(Call::RecvInto),
        5 => (1..9_usize, 0..9_usize).prop_map(|(max, count)| Call::Release(max, count)),
        1 => (1..9_usize).prop_map(Call::AbandonRun),
        1 => Just(Call::Clear),
        1 => Just(Call::CloseSender),
        1 => Just(Call::CloseReceiver),
        3 => Just(Call::AttachSender),
        3 => Just(Call::AttachReceiver),
    ];
    prop::collection::vec(call, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_byte_pipe_does_what_its_documentation_says(
        pages in prop_oneof![Just(1_usize), Just(2), Just(4)],
        calls in on_bytes(),
    ) {
        bytes::play(pages, calls);
    }

    #[test]
    fn an_spsc_ring_of_messages_does_what_its_documentation_says(
        pages in prop_oneof![Just(1_usize), Just(2)],
        calls in on_messages(),
    ) {
        messages::play_spsc(pages, calls);
    }

    #[test]
    fn an_mpmc_ring_of_messages_does_what_its_documentation_says(
        pages in prop_oneof![Just(1_usize), Just(2)],
        granule in prop_oneof![Just(64_usize), Just(128), Just(1024)],
        calls in on_messages(),
    ) {
        messages::play_mpmc(pages, granule, calls);
    }
}
