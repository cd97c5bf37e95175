//! A chain whose governance states releases, upgrades its runtime, and whose sources fail.

use vaultvisor::{
    chain::{ChainView, FinalizedBlock, PendingRelease, records::RecordName},
    decide::{Event, state::Build},
    release::{Checksum, GenesisHash, Release},
};

use super::{Item, Life, Outcome, data, machine::Quality, rng::Rng};

/// Releases that governance chooses from; the first byte of a checksum tells its quality.
const RELEASES: u64 = 12;

pub(crate) struct Chain {
    pub(crate) current: Option<Release>,
    pub(crate) pending: Option<(Release, u32)>,
    pub(crate) reachable: bool,
    number: u64,
    sequence: u64,
    /// Whether this chain counts its statements.
    counts: bool,
    spec_version: u32,
    best_spec_version: u32,
    /// What a lagging source still says.
    old: Option<ChainView>,
}

impl Chain {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self {
            current: None,
            pending: None,
            reachable: true,
            number: 1,
            sequence: 0,
            counts: rng.chance(0.8),
            spec_version: 1,
            best_spec_version: 1,
            old: None,
        }
    }

    fn release(number: u64) -> Release {
        let byte = u8::try_from(number).expect("few releases");
        Release {
            sequence: None,
            version: format!("{number}.0").parse().expect("version"),
            binary_checksum: Checksum([byte; 32]),
            uri: None,
            artifacts: data::artifacts_of(Checksum([byte; 32])),
        }
    }

    pub(crate) fn any_build(&self, rng: &mut Rng) -> Build {
        Build::from(&Self::release(rng.below(RELEASES)))
    }

    fn state_release(&mut self, release: Release) {
        self.sequence += 1;
        let sequence = self.counts.then_some(self.sequence);
        self.current = Some(Release { sequence, ..release });
    }

    /// One act of governance, or of a runtime upgrade that it brought about.
    pub(crate) fn govern(&mut self, rng: &mut Rng) {
        match rng.below(9) {
            0..=2 => {
                let release = Self::release(rng.below(RELEASES));
                self.state_release(release);
            }
            // The same file again, by a new statement.
            3 => {
                if let Some(current) = self.current.clone() {
                    self.state_release(current);
                }
            }
            4 => {
                let release = Self::release(rng.below(RELEASES));
                self.pending = Some((release, self.spec_version + 1));
            }
            5 => self.pending = None,
            6 => self.best_spec_version = self.spec_version + 1,
            7 => self.spec_version = self.best_spec_version,
            _ => {
                if let Some((release, awaited)) =
                    self.pending.take_if(|(_, awaited)| *awaited <= self.spec_version)
                {
                    let _ = awaited;
                    self.state_release(release);
                }
            }
        }
    }

    /// Whether vaults may refuse to run now.
    pub(crate) fn is_upgrading(&self) -> bool {
        self.best_spec_version > self.spec_version
            || self.pending.as_ref().is_some_and(|(_, awaited)| *awaited <= self.spec_version)
    }

    pub(crate) fn end_faults(&mut self, rng: &mut Rng) {
        self.reachable = true;
        self.old = None;
        self.spec_version = self.best_spec_version;
        // Now and then one stays that the chain never promotes.
        self.pending = rng.chance(0.2).then(|| (Self::release(rng.below(RELEASES)), self.spec_version));
        // Half of the time what it states already is good enough.
        let is_good = |release: &Release| Quality::of(release.binary_checksum) == Quality::Good;
        if !self.current.as_ref().is_some_and(is_good) || rng.chance(0.5) {
            self.state_another_good_one(rng);
        }
    }

    pub(crate) fn state_another_good_one(&mut self, rng: &mut Rng) {
        let now = self.current.as_ref().map(|release| release.binary_checksum);
        let mut good: Vec<Release> = (0..RELEASES).map(Self::release).collect();
        good.retain(|release| {
            Quality::of(release.binary_checksum) == Quality::Good && Some(release.binary_checksum) != now
        });
        let index = rng.below(good.len() as u64) as usize;
        self.state_release(good.swap_remove(index));
    }

    fn view(&self) -> ChainView {
        ChainView {
            source: "ws://node".into(),
            genesis: GenesisHash([9; 32]),
            finalized: FinalizedBlock { number: self.number, hash: [0; 32] },
            spec_version: self.spec_version,
            record: RecordName::VaultRelease,
            current: self.current.clone(),
            pending: self.pending.as_ref().map(|(release, spec_version)| PendingRelease {
                version: release.version.clone(),
                binary_checksum: release.binary_checksum,
                uri: None,
                artifacts: release.artifacts.clone(),
                spec_version: Some(*spec_version),
            }),
        }
    }
}

impl Life {
    /// A block becomes final, and the daemon hears of it, or of trouble.
    pub(crate) fn block(&mut self) -> Outcome {
        let next = if self.faults { self.rng.between(1_000, 120_000) } else { 60_000 };
        self.plan(next, Item::Block);
        self.chain.number += 1;
        let faults = self.faults;
        let view = self.chain.view();
        if let Some(release) = &view.current {
            self.machine.allowed.insert(release.binary_checksum);
        }
        let mut problem = None;
        let mut told = Some(view.clone());
        if !self.chain.reachable {
            (told, problem) = (None, Some("no endpoint answers".to_owned()));
        } else if faults && self.rng.chance(0.05) {
            // A lagging node, or one of another chain.
            told = self.chain.old.clone();
            if self.rng.chance(0.3) {
                told = Some(ChainView { genesis: GenesisHash([8; 32]), ..view.clone() });
                // It must not be the first one that this vault ever hears of: the network task pins the chain.
                if self.daemon.as_ref().is_none_or(|daemon| daemon.recorded.state.seen.is_none()) {
                    told = None;
                }
            }
        }
        if faults && self.rng.chance(0.2) {
            self.chain.old = Some(view);
        }
        if self.daemon.is_none() || (told.is_none() && problem.is_none()) {
            return Ok(());
        }
        let best_spec_version = self.chain.reachable.then_some(self.chain.best_spec_version);
        self.decide(Event::Chain { view: told.map(Box::new), best_spec_version, problem })
    }
}
