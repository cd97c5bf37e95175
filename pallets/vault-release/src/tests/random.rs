//! Random calls and upgrades against a model that is written down differently.
//!
//! The model knows nothing of bounded types, of storage or of order of checks inside the pallet: it
//! says which outcome each step must have and what must be there afterwards.

use std::collections::BTreeMap;

use frame_support::assert_err;
use proptest::prelude::*;

use super::*;

/// Few enough versions and names for steps to meet.
const VERSIONS: [&str; 4] = ["1.15.0", "1.16.0", "2", "1..6"];
const NAMES: [&str; 4] = ["args-migration", "state-migration", "a", "A"];

/// The files that a release may have here: few, so that sequences reach the bound.
const MAX_FILES: u32 = 2;

#[derive(Debug, Clone)]
enum Step {
    Set { version: &'static str, checksum: u8 },
    Schedule { version: &'static str, checksum: u8, ahead: i32 },
    Cancel,
    SetArtifact { version: &'static str, name: &'static str, checksum: u8 },
    RemoveArtifact { version: &'static str, name: &'static str },
    Upgrade { by: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    let version = || prop::sample::select(&VERSIONS[..]);
    let name = || prop::sample::select(&NAMES[..]);
    let checksum = || 1_u8..=2;
    prop_oneof![
        2 => (version(), checksum()).prop_map(|(version, checksum)| Step::Set { version, checksum }),
        3 => (version(), checksum(), -1..4)
            .prop_map(|(version, checksum, ahead)| Step::Schedule { version, checksum, ahead }),
        1 => Just(Step::Cancel),
        4 => (version(), name(), checksum())
            .prop_map(|(version, name, checksum)| Step::SetArtifact { version, name, checksum }),
        2 => (version(), name()).prop_map(|(version, name)| Step::RemoveArtifact { version, name }),
        2 => (0_u32..3).prop_map(|by| Step::Upgrade { by }),
    ]
}

/// A release as the model has it.
#[derive(Debug, Clone, PartialEq)]
struct Held {
    version: &'static str,
    checksum: u8,
    files: BTreeMap<&'static str, u8>,
}

#[derive(Debug, Clone, PartialEq)]
struct Model {
    statements: u64,
    spec_version: u32,
    current: Option<Held>,
    pending: Option<(Held, u32)>,
}

impl Model {
    fn conflicts(held: Option<&Held>, version: &str, checksum: u8) -> bool {
        held.is_some_and(|held| held.version == version && held.checksum != checksum)
    }

    /// The slots with this version: whether it is the one in force, and its files.
    fn holding(&mut self, version: &str) -> Vec<(bool, &mut BTreeMap<&'static str, u8>)> {
        let current = self.current.as_mut().map(|held| (true, held));
        let pending = self.pending.as_mut().map(|(held, _)| (false, held));
        let both = current.into_iter().chain(pending);
        both.filter(|(_, held)| held.version == version)
            .map(|(in_force, held)| (in_force, &mut held.files))
            .collect()
    }

    /// Does the step, or says which error it must have; then nothing has changed.
    fn take(&mut self, step: &Step) -> Result<(), Error<Test>> {
        match *step {
            Step::Set { version: "1..6", .. } | Step::Schedule { version: "1..6", .. } => {
                Err(Error::InvalidVersion)
            }
            Step::Set { version, checksum } => {
                if Self::conflicts(self.pending.as_ref().map(|it| &it.0), version, checksum) {
                    return Err(Error::VersionInUse);
                }
                self.statements += 1;
                self.current = Some(Held { version, checksum, files: BTreeMap::new() });
                Ok(())
            }
            Step::Schedule { version, checksum, ahead } => {
                if ahead <= 0 {
                    return Err(Error::SpecVersionNotInFuture);
                }
                if Self::conflicts(self.current.as_ref(), version, checksum) {
                    return Err(Error::VersionInUse);
                }
                let spec_version = self.spec_version.strict_add_signed(ahead);
                self.pending = Some((Held { version, checksum, files: BTreeMap::new() }, spec_version));
                Ok(())
            }
            Step::Cancel => self.pending.take().map(drop).ok_or(Error::NothingScheduled),
            Step::SetArtifact { name: "A", .. } => Err(Error::InvalidArtifactName),
            Step::SetArtifact { version, name, checksum } => {
                let mut slots = self.holding(version);
                if slots.is_empty() {
                    return Err(Error::UnknownRelease);
                }
                let full = |files: &BTreeMap<_, _>| files.len() as u32 == MAX_FILES;
                if slots.iter().any(|(_, files)| full(files) && !files.contains_key(name)) {
                    return Err(Error::TooManyArtifacts);
                }
                let mut stated = 0;
                for (in_force, files) in &mut slots {
                    files.insert(name, checksum);
                    stated += u64::from(*in_force);
                }
                self.statements += stated;
                Ok(())
            }
            Step::RemoveArtifact { version, name } => {
                let mut slots = self.holding(version);
                if slots.is_empty() {
                    return Err(Error::UnknownRelease);
                }
                if !slots.iter().any(|(_, files)| files.contains_key(name)) {
                    return Err(Error::UnknownArtifact);
                }
                let mut stated = 0;
                for (in_force, files) in &mut slots {
                    let removed = files.remove(name).is_some();
                    stated += u64::from(*in_force && removed);
                }
                self.statements += stated;
                Ok(())
            }
            Step::Upgrade { by } => {
                self.spec_version += by;
                if let Some((held, _)) = self.pending.take_if(|it| it.1 <= self.spec_version) {
                    self.statements += 1;
                    self.current = Some(held);
                }
                Ok(())
            }
        }
    }

    /// The storage that belongs to it.
    fn stored(&self) -> (Option<Release<Test>>, Option<Pending<Test>>) {
        let artifacts = |held: &Held| {
            let mut artifacts = Artifacts::<Test>::new();
            for (file, checksum) in &held.files {
                artifacts.try_insert(name(file), [*checksum; 32]).expect("the model keeps the bound");
            }
            artifacts
        };
        let current = self.current.as_ref().map(|held| Release {
            sequence: self.statements,
            version: bytes(held.version),
            binary_checksum: [held.checksum; 32],
            artifacts: artifacts(held),
        });
        let pending = self.pending.as_ref().map(|(held, spec_version)| Pending {
            version: bytes(held.version),
            binary_checksum: [held.checksum; 32],
            artifacts: artifacts(held),
            spec_version: *spec_version,
        });
        (current, pending)
    }
}

/// Does the step on the chain.
fn make(step: &Step) -> DispatchResult {
    match *step {
        Step::Set { version, checksum } => set(version, [checksum; 32]),
        Step::Schedule { version, checksum, ahead } => {
            schedule(version, [checksum; 32], SpecVersion::get().strict_add_signed(ahead))
        }
        Step::Cancel => cancel(),
        Step::SetArtifact { version, name, checksum } => set_artifact(version, name, [checksum; 32]),
        Step::RemoveArtifact { version, name } => remove_artifact(version, name),
        Step::Upgrade { by } => {
            upgrade_to(SpecVersion::get() + by);
            Ok(())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_calls_and_upgrades_ends_where_it_should(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        MaxArtifacts::set(MAX_FILES);
        new_chain_with(None).execute_with(|| {
            let mut model =
                Model { statements: 0, spec_version: FIRST_SPEC, current: None, pending: None };
            for step in &steps {
                System::reset_events();
                let before = (stored(), sp_io::storage::root(Default::default()));
                match model.take(step) {
                    Ok(()) => { assert_ok!(make(step)); }
                    Err(error) => {
                        assert_err!(make(step), error);
                        assert_eq!(sp_io::storage::root(Default::default()), before.1, "after {step:?}");
                        assert_eq!(events(), [], "after {step:?}");
                    }
                }
                assert_eq!(stored(), model.stored(), "after {step:?}");
                assert_eq!(VaultRelease::check_state(), Ok(()), "after {step:?}");

                // Another statement is a later one, and one that is not later is the same.
                if let (Some(old), Some(new)) = (&before.0.0, &stored().0) {
                    assert!(new.sequence >= old.sequence, "after {step:?}");
                    assert_eq!(new == old, new.sequence == old.sequence, "after {step:?}");
                } else {
                    assert_eq!(before.0.0, None, "a release in force never vanishes");
                }
            }
        });
    }
}
