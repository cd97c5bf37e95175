//! What was believed of a chain so far, and what can follow it. Pure.
//!
//! Finalized blocks are never undone and statements only ever count up, so whoever tells of older ones lags, is on
//! another fork, or lies. It is reported and changes nothing: a bad node can delay news but never take any back, and
//! not by waiting for a restart of vaultvisor either, because what was believed before is [`Known`] from disk.

use crate::{
    chain::{
        ChainView, FinalizedBlock, Known,
        records::{Reading, RecordError, Records},
        source::Head,
    },
    error_chain::Chained,
    release::GenesisHash,
};

/// What was believed so far.
#[derive(Debug)]
pub(in crate::chain) struct Belief {
    records: Records,
    known: Option<Known>,
    view: Option<ChainView>,
}

/// Why something is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chain) enum Doubt {
    /// It is older than what was believed: nothing is wrong with it except that.
    Lags(String),
    /// It cannot be true, if what was believed before is.
    Contradicts(String),
    /// It is something else than a release.
    Unreadable(String),
}

impl Doubt {
    pub(in crate::chain) fn text(&self) -> &str {
        match self {
            Self::Lags(text) | Self::Contradicts(text) | Self::Unreadable(text) => text,
        }
    }
}

impl Belief {
    pub(in crate::chain) fn new(records: Records, known: Option<Known>) -> Self {
        Self { records, known, view: None }
    }

    /// Takes in what a source read, or says why not.
    pub(in crate::chain) fn take(
        &mut self,
        source: &str,
        genesis: GenesisHash,
        head: &Head,
    ) -> Result<&ChainView, Doubt> {
        let number = head.block.number;
        let new = view(&self.records, source, genesis, head)
            .map_err(|error| Doubt::Unreadable(format!("block {number}: {}", Chained(&error))))?;
        if let Some(known) = self.known.filter(|known| known.genesis == genesis) {
            against_known(known, &new)?;
        }
        if let Some(old) = &self.view {
            against_view(old, &new)?;
        }
        if new.current.is_some() {
            self.records.saw(new.record);
        }
        // The view says all that was known, and more.
        self.known = None;
        Ok(self.view.insert(new))
    }
}

fn view(
    records: &Records,
    source: &str,
    genesis: GenesisHash,
    head: &Head,
) -> Result<ChainView, RecordError> {
    let Reading { record, stated } = records.decode(&head.values)?;
    Ok(ChainView {
        source: source.to_owned(),
        genesis,
        finalized: head.block,
        spec_version: head.spec_version,
        record,
        current: stated.current,
        pending: stated.pending,
    })
}

/// Why a view cannot follow what was known before this vaultvisor started.
fn against_known(known: Known, new: &ChainView) -> Result<(), Doubt> {
    against_block(known.finalized, new.finalized)?;
    let number = new.finalized.number;
    match (&new.current, known.sequence) {
        (None, _) if known.stated => Err(Doubt::Contradicts(format!(
            "block {number} states no release, but one had been stated before: the pallet was removed or renamed"
        ))),
        (Some(current), Some(before)) if current.sequence.is_some_and(|now| now < before) => {
            Err(older_statement(before, current.sequence.unwrap_or_default()))
        }
        _ => Ok(()),
    }
}

/// Why a view cannot follow the one before it.
fn against_view(old: &ChainView, new: &ChainView) -> Result<(), Doubt> {
    against_block(old.finalized, new.finalized)?;
    let Some(stated) = &old.current else { return Ok(()) };
    let Some(current) = &new.current else {
        return Err(Doubt::Contradicts(format!(
            "block {} states no release, but {} had been stated: the pallet was removed or renamed",
            new.finalized.number, stated.version
        )));
    };
    match (stated.sequence, current.sequence) {
        (Some(before), Some(now)) if now < before => Err(older_statement(before, now)),
        (Some(before), Some(now)) if now == before && current != stated => Err(Doubt::Contradicts(format!(
            "statement {now} is {} now, but was {}: the node does not tell the truth",
            current.version, stated.version
        ))),
        _ => Ok(()),
    }
}

fn older_statement(before: u64, now: u64) -> Doubt {
    Doubt::Contradicts(format!(
        "statement {now} after {before} had been seen: the node does not tell the truth"
    ))
}

/// Why a block cannot be finalized after another was.
fn against_block(before: FinalizedBlock, now: FinalizedBlock) -> Result<(), Doubt> {
    if now.number < before.number {
        return Err(Doubt::Lags(format!(
            "finalized block {} after {} had been seen: the node lags behind, or is on another fork",
            now.number, before.number
        )));
    }
    if now.number == before.number && now.hash != before.hash {
        return Err(Doubt::Contradicts(format!(
            "finalized block {} is 0x{}, but 0x{} had been seen: two finalized forks",
            now.number,
            hex::encode(now.hash),
            hex::encode(before.hash)
        )));
    }
    Ok(())
}
