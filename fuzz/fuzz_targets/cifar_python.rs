#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stagger_fuzz_targets::cifar_python::check(data));
