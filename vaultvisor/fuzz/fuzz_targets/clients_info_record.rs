#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vaultvisor_fuzz::clients_info_record::holds(data));
