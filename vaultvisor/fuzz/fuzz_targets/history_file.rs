#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vaultvisor_fuzz::history_file::holds(data));
