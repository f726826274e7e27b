//! Arbitrary bytes opened as a byte pipe or a ring of messages, and calls on what opens.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| -> libfuzzer_sys::Corpus {
    ringpipe_fuzz::open_bytes(data)
});
