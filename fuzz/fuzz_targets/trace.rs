#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stagger_fuzz_targets::trace::check(data));
