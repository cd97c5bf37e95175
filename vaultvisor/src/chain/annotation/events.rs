//! The events of a block, and its extrinsics, as one node serves them together with the metadata that describes them.
//! Pure.
//!
//! Nobody vouches for any of it: metadata may describe types that hold themselves, or more values than anybody can
//! count. So it is not a library that walks here, which takes metadata for granted, but the bounded walk of
//! [`decoded`](crate::chain::governance::decoded); and of the metadata no more is made than what was decoded.

use codec::{Compact, Decode};
use scale_info::TypeDef;
use subxt::{ext::frame_metadata::v14::RuntimeMetadataV14, utils::AccountId32};

use crate::{
    chain::governance::decoded::{DecodeError, case_by_index, length_of},
    release::Checksum,
};

/// The longest metadata that is decoded, in bytes. That of the largest chains has less than one megabyte; decoded, what
/// is made for that may take some thirty times as much memory.
const MAX_METADATA_BYTES: usize = 2 * 1024 * 1024;

/// How many events a block may have: far more than the busiest.
const MAX_EVENTS: u32 = 50_000;

/// How metadata begins: `meta`, and its version. Every node of today answers in this one unless it is asked for another.
const MAGIC: [u8; 5] = *b"meta\x0e";

/// Of how many pallets of the metadata events are looked for: as many as one byte can tell apart.
const MAX_PALLETS: usize = 256;

/// The event that is looked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The pallet's name.
    pub(super) pallet: String,
    /// The event's name is one of these.
    pub(super) events: &'static [&'static str],
    /// What it ends with.
    pub(super) checksum: Checksum,
}

/// An event that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its name.
    pub(super) name: &'static str,
    /// The extrinsic that made it, by its place in the block.
    pub(super) extrinsic: Option<u32>,
}

/// Why events are not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EventsError {
    #[error("the metadata has {found} bytes, expected at most {MAX_METADATA_BYTES}")]
    Long { found: usize },
    #[error("the metadata is not of version 14")]
    Version,
    #[error("the metadata is cut short, or something else")]
    Metadata,
    #[error("{found} events, expected at most {MAX_EVENTS}")]
    TooMany { found: u32 },
    #[error("they end at byte {at}, in the middle of one")]
    Ends { at: usize },
    #[error("byte {at}: the metadata has no event {event} of a pallet {pallet}")]
    Unknown { at: usize, pallet: u8, event: u8 },
    #[error("the event at byte {at}")]
    Field { at: usize, source: DecodeError },
}

/// When in a block an event came about.
#[derive(Decode)]
enum Phase {
    ApplyExtrinsic(u32),
    Finalization,
    Initialization,
}

/// The first event of a block that is the one; `None` if none is.
pub(super) fn find(metadata: &[u8], events: &[u8], wanted: &Wanted) -> Result<Option<Found>, EventsError> {
    let metadata = decode_metadata(metadata)?;
    let mut rest = events;
    let mut values = 0;
    let Compact(count) = take::<Compact<u32>>(&mut rest, events)?;
    if count > MAX_EVENTS {
        return Err(EventsError::TooMany { found: count });
    }
    for _ in 0..count {
        let phase: Phase = take(&mut rest, events)?;
        let at = events.len() - rest.len();
        let [pallet_index, index]: [u8; 2] = take(&mut rest, events)?;
        let unknown = EventsError::Unknown { at, pallet: pallet_index, event: index };
        let mut pallets = metadata.pallets.iter().take(MAX_PALLETS);
        let pallet = pallets.find(|pallet| pallet.index == pallet_index).ok_or(unknown.clone())?;
        let described = pallet.event.as_ref().and_then(|event| metadata.types.resolve(event.ty.id));
        let Some(TypeDef::Variant(cases)) = described.map(|described| &described.type_def) else {
            return Err(unknown);
        };
        let event = case_by_index(cases, index).ok_or(unknown)?;
        let mut fields = rest;
        for field in &event.fields {
            let length = length_of(&metadata.types, field.ty.id, rest, &mut values)
                .map_err(|source| EventsError::Field { at, source })?;
            rest = &rest[length..];
        }
        fields = &fields[..fields.len() - rest.len()];
        let _topics: Vec<[u8; 32]> = take(&mut rest, events)?;
        let name = wanted.events.iter().find(|name| **name == event.name);
        if let Some(name) = name
            && pallet.name == wanted.pallet
            && fields.ends_with(&wanted.checksum.0)
        {
            let extrinsic = match phase {
                Phase::ApplyExtrinsic(index) => Some(index),
                Phase::Initialization | Phase::Finalization => None,
            };
            return Ok(Some(Found { name, extrinsic }));
        }
    }
    Ok(None)
}

fn decode_metadata(bytes: &[u8]) -> Result<RuntimeMetadataV14, EventsError> {
    if bytes.len() > MAX_METADATA_BYTES {
        return Err(EventsError::Long { found: bytes.len() });
    }
    let mut rest = bytes.strip_prefix(&MAGIC).ok_or(EventsError::Version)?;
    RuntimeMetadataV14::decode(&mut rest).map_err(|_| EventsError::Metadata)
}

fn take<T: Decode>(rest: &mut &[u8], all: &[u8]) -> Result<T, EventsError> {
    let at = all.len() - rest.len();
    T::decode(rest).map_err(|_| EventsError::Ends { at })
}

/// Who signed an extrinsic. Not known where nobody did, or where it is of another form than all chains with vaults
/// have today: version 4, signed by a `MultiAddress::Id`.
pub(super) fn signer(mut extrinsic: &[u8]) -> Option<String> {
    Compact::<u32>::decode(&mut extrinsic).ok()?;
    let account = extrinsic.strip_prefix(&[0x84, 0])?.first_chunk::<32>()?;
    Some(AccountId32(*account).to_string())
}

#[cfg(test)]
mod tests;
