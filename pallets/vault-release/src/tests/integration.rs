//! The README's integration, compiled and run.

use frame_support::{derive_impl, traits::ConstU32};
use frame_system::EnsureRoot;

use super::*;

// What the README shows, between the two marks, with nothing left out.
// README: begin
impl pallet_vault_release::Config for Runtime {
    type ReleaseOrigin = EnsureRoot<AccountId>;
    type CancelOrigin = EnsureRoot<AccountId>;
    type MaxVersionLength = ConstU32<64>;
    type MaxArtifactNameLength = ConstU32<64>;
    type MaxArtifacts = ConstU32<16>;
    type WeightInfo = pallet_vault_release::weights::SubstrateWeight<Runtime>;
}

#[frame_support::runtime]
mod runtime {
    #[runtime::runtime]
    #[runtime::derive(RuntimeCall, RuntimeEvent, RuntimeError, RuntimeOrigin, RuntimeTask)]
    pub struct Runtime;

    #[runtime::pallet_index(0)]
    pub type System = frame_system;

    #[runtime::pallet_index(77)]
    pub type VaultRelease = pallet_vault_release;
}
// README: end

use crate as pallet_vault_release;

type AccountId = u64;
type Block = frame_system::mocking::MockBlock<Runtime>;

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Runtime {
    type Block = Block;
}

#[test]
fn the_integration_of_the_readme_is_this_one() {
    let source = include_str!("integration.rs");
    let between = |text: &'static str, begin: &str, end: &str| {
        let text = text.split_once(begin).expect("the first mark").1;
        text.split_once(end).expect("the second mark").0
    };
    let compiled = between(source, "// README: begin\n", "// README: end\n");
    let shown = between(include_str!("../../README.md"), "```rust\n", "```\n");

    // The README leaves out what a runtime has already.
    let shown_lines: Vec<_> = shown.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut rest = compiled.lines().map(str::trim);
    for line in &shown_lines {
        let code = line.split_once(" //").map_or(*line, |(code, _)| code).trim();
        if code.is_empty() || code.starts_with("//") {
            continue;
        }
        assert!(
            rest.any(|compiled| compiled == code),
            "{code:?} is not in the compiled integration, or not there"
        );
    }
    assert!(shown_lines.len() < 20, "{} lines", shown_lines.len());
}

#[test]
fn it_works() {
    let storage = frame_system::GenesisConfig::<Runtime>::default().build_storage().expect("it builds");
    sp_io::TestExternalities::from(storage).execute_with(|| {
        let version = || b"1.16.0".to_vec().try_into().expect("short");
        let call = RuntimeCall::VaultRelease(crate::Call::set_vault_release {
            version: version(),
            binary_checksum: CHECKSUM,
        });
        assert_eq!(call.encode()[..2], [77, 0]);
        use frame_support::traits::UnfilteredDispatchable;
        assert_ok!(call.dispatch_bypass_filter(RuntimeOrigin::root()));
        let release = CurrentRelease::<Runtime>::get().expect("it was set");
        assert_eq!((release.sequence, release.version), (1, version()));
    });
}
