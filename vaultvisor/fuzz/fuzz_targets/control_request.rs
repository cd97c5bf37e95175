#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vaultvisor_fuzz::control_request::holds(data));
