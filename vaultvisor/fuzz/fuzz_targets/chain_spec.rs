#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vaultvisor_fuzz::chain_spec::holds(data));
