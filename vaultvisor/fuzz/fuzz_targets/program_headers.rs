#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vaultvisor_fuzz::program_headers::holds(data));
