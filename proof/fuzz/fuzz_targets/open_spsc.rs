//! Arbitrary bytes opened as an SPSC ring, and calls on what opens.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| -> libfuzzer_sys::Corpus {
    ringpipe_fuzz::open::<ringpipe::Spsc>(data)
});
