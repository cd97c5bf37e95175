//! Which pallets are benchmarked in this runtime: ours. The others bring the weights that their authors measured.

frame_benchmarking::define_benchmarks!([pallet_vault_release, VaultRelease]);
