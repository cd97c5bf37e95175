//! The event is found among others, and no metadata and no bytes make the search fail otherwise than by saying so, in
//! time.

use codec::Encode;
use scale_info::{MetaType, TypeInfo, meta_type};
use subxt::ext::frame_metadata::v14;

use super::*;

#[derive(Encode, TypeInfo)]
enum BalancesEvent {
    #[codec(index = 3)]
    Withdraw { who: Account, amount: u128, note: Vec<Option<bool>> },
}

#[derive(Encode, TypeInfo)]
struct Account([u8; 32]);

#[derive(Encode, TypeInfo)]
enum ReleaseEvent {
    #[codec(index = 0)]
    VaultClientUpdate { version: Vec<u8>, binary_checksum: [u8; 32] },
    #[codec(index = 1)]
    Unrelated { binary_checksum: [u8; 32] },
}

#[derive(Encode)]
struct EventRecord<E> {
    phase: (u8, u32),
    pallet: u8,
    event: E,
    topics: Vec<[u8; 32]>,
}

const CHECKSUM: [u8; 32] = [7; 32];

fn wanted() -> Wanted {
    Wanted { pallet: "Release".to_owned(), events: &["VaultClientUpdate"], checksum: Checksum(CHECKSUM) }
}

fn pallet(name: &'static str, index: u8, event: Option<MetaType>) -> v14::PalletMetadata {
    let event = event.map(|ty| v14::PalletEventMetadata { ty });
    v14::PalletMetadata { name, storage: None, calls: None, event, constants: vec![], error: None, index }
}

fn described() -> RuntimeMetadataV14 {
    let pallets = vec![
        pallet("Nothing", 1, None),
        pallet("Balances", 2, Some(meta_type::<BalancesEvent>())),
        pallet("Release", 3, Some(meta_type::<ReleaseEvent>())),
    ];
    let unit = meta_type::<()>();
    let extrinsic = v14::ExtrinsicMetadata { ty: unit, version: 4, signed_extensions: vec![] };
    RuntimeMetadataV14::new(pallets, extrinsic, unit)
}

fn encoded(metadata: &RuntimeMetadataV14) -> Vec<u8> {
    [&MAGIC[..], &metadata.encode()].concat()
}

/// The metadata with another definition, in its encoded form, in place of that of `[u8; 32]`.
fn with_hashes_that_are(definition: impl FnOnce(u32) -> Vec<u8>) -> Vec<u8> {
    let mut metadata = described();
    let is_hash = |definition: &TypeDef<_>| definition.encode().starts_with(&[3, 32, 0, 0, 0]);
    let found = metadata.types.types.iter_mut().find(|portable| is_hash(&portable.ty.type_def));
    let portable = found.expect("there are hashes");
    portable.ty.type_def = Decode::decode(&mut &*definition(portable.id)).expect("a definition");
    encoded(&metadata)
}

fn withdraw() -> Vec<u8> {
    let event = BalancesEvent::Withdraw { who: Account([1; 32]), amount: 5, note: vec![None, Some(true)] };
    EventRecord { phase: (0, 1), pallet: 2, event, topics: vec![[9; 32]] }.encode()
}

fn update(extrinsic: u32, checksum: [u8; 32]) -> Vec<u8> {
    let event = ReleaseEvent::VaultClientUpdate { version: b"1.0".to_vec(), binary_checksum: checksum };
    EventRecord { phase: (0, extrinsic), pallet: 3, event, topics: vec![] }.encode()
}

fn unrelated() -> Vec<u8> {
    let event = ReleaseEvent::Unrelated { binary_checksum: CHECKSUM };
    EventRecord { phase: (0, 0), pallet: 3, event, topics: vec![] }.encode()
}

fn block(events: &[Vec<u8>]) -> Vec<u8> {
    [Compact(events.len() as u32).encode(), events.concat()].concat()
}

fn field_error(metadata: &[u8], events: &[Vec<u8>]) -> DecodeError {
    match find(metadata, &block(events), &wanted()) {
        Err(EventsError::Field { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_event_is_found_among_others_by_pallet_name_and_checksum() {
    let metadata = encoded(&described());
    let events = [withdraw(), unrelated(), update(2, [8; 32]), update(4, CHECKSUM), withdraw()];
    let found = Found { name: "VaultClientUpdate", extrinsic: Some(4) };
    assert_eq!(find(&metadata, &block(&events), &wanted()), Ok(Some(found)));
    assert_eq!(find(&metadata, &block(&events[..3]), &wanted()), Ok(None));
    assert_eq!(find(&metadata, &block(&[]), &wanted()), Ok(None));
    let elsewhere = Wanted { pallet: "Balances".to_owned(), ..wanted() };
    assert_eq!(find(&metadata, &block(&events), &elsewhere), Ok(None));
    // By the runtime itself: a phase without a number.
    let mut by_runtime = update(0, CHECKSUM);
    by_runtime.splice(..5, [2]);
    let found = Found { name: "VaultClientUpdate", extrinsic: None };
    assert_eq!(find(&metadata, &block(&[by_runtime]), &wanted()), Ok(Some(found)));
}

#[test]
fn t25_metadata_that_describes_types_without_end_is_refused_at_once() {
    // A composite with one field, which is that composite; with a name and without.
    for name in [&[0][..], &[1, 4, b'x']] {
        let metadata = with_hashes_that_are(|id| [&[0, 4], name, &Compact(id).encode(), &[0, 0]].concat());
        assert!(matches!(field_error(&metadata, &[withdraw()]), DecodeError::TooDeep { .. }));
    }
    // Four billion of nothing, once and in a tuple of them.
    let nothing = described().types.types.iter().find(|ty| ty.ty.type_def.encode() == [4, 0]).expect("()").id;
    let nothings = [&[3, 0xff, 0xff, 0xff, 0xff][..], &Compact(nothing).encode()].concat();
    let metadata = with_hashes_that_are(|_| nothings.clone());
    assert!(matches!(field_error(&metadata, &[withdraw()]), DecodeError::TooMany { .. }));
    // A tuple of itself, a thousand times.
    let metadata = with_hashes_that_are(|id| {
        [vec![4], Compact(1000_u32).encode(), Compact(id).encode().repeat(1000)].concat()
    });
    assert!(matches!(field_error(&metadata, &[withdraw()]), DecodeError::TooDeep { .. }));
    let metadata = with_hashes_that_are(|_| {
        [vec![4], Compact(1000_u32).encode(), Compact(nothing).encode().repeat(1000)].concat()
    });
    let many = vec![unrelated()[..7].iter().copied().chain([0]).collect::<Vec<u8>>(); 1000];
    assert!(
        matches!(field_error(&metadata, &many), DecodeError::TooMany { .. }),
        "all events count together"
    );
}

#[test]
fn t25_no_change_of_metadata_or_events_makes_the_search_end_otherwise_than_by_saying_so() {
    let (metadata, events) = (encoded(&described()), block(&[withdraw(), unrelated(), update(4, CHECKSUM)]));
    // SplitMix64: the same in each run.
    let mut state = 7_u64;
    let mut below = |end: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 32) as usize % end
    };
    let mut outcomes = [0; 3];
    for _ in 0..2000 {
        let (mut metadata, mut events) = (metadata.clone(), events.clone());
        for _ in 0..1 + below(3) {
            let bytes = if below(2) == 0 { &mut metadata } else { &mut events };
            let (at, byte) = (below(bytes.len()), [0, 1, 4, 0xff, below(256) as u8][below(5)]);
            bytes[at] = byte;
        }
        outcomes[match find(&metadata, &events, &wanted()) {
            Ok(Some(_)) => 0,
            Ok(None) => 1,
            Err(_) => 2,
        }] += 1;
    }
    assert!(outcomes.iter().all(|count| *count > 10), "each happens: {outcomes:?}");
}

#[test]
fn events_that_the_metadata_does_not_describe_and_every_truncation_are_refused() {
    let metadata = encoded(&described());
    let whole = block(&[withdraw(), update(4, CHECKSUM)]);
    for length in 0..whole.len() - 1 {
        assert!(find(&metadata, &whole[..length], &wanted()).is_err(), "{length}");
    }
    for (pallet, event) in [(1, 0), (2, 0), (77, 0)] {
        let record = [0, 0, 0, 0, 0, pallet, event, 0].to_vec();
        let refused = find(&metadata, &block(&[record]), &wanted());
        assert_eq!(refused, Err(EventsError::Unknown { at: 6, pallet, event }));
    }
    let claimed = Compact(MAX_EVENTS + 1).encode();
    assert_eq!(find(&metadata, &claimed, &wanted()), Err(EventsError::TooMany { found: MAX_EVENTS + 1 }));
}

#[test]
fn metadata_that_is_none_is_refused() {
    let metadata = encoded(&described());
    let refused = |metadata: &[u8]| find(metadata, &block(&[]), &wanted()).expect_err("refused");
    for length in [0, 4] {
        assert_eq!(refused(&metadata[..length]), EventsError::Version);
    }
    assert_eq!(refused(b"meta\x0f"), EventsError::Version);
    assert_eq!(refused(&metadata[..metadata.len() - 9]), EventsError::Metadata);
    assert!(matches!(refused(&vec![0; MAX_METADATA_BYTES + 1]), EventsError::Long { .. }));
    // A type that is not there.
    let metadata = with_hashes_that_are(|_| [&[4, 4][..], &Compact(9_999_u32).encode()].concat());
    let error = field_error(&metadata, &[unrelated()]);
    assert_eq!(error, DecodeError::Metadata { id: 9_999 });
}

#[test]
fn who_signed_is_told_of_extrinsics_of_the_form_that_chains_have() {
    let alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    let account =
        hex::decode("d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d").expect("hex");
    let signed = [&[0x84, 0][..], &account, &[1; 70]].concat();
    assert_eq!(signer(&signed.encode()), Some(alice.to_owned()));
    for other in [vec![], vec![4], vec![0x84, 1, 5], vec![0x84, 0, 5], vec![4, 2, 0, 11]] {
        assert_eq!(signer(&other.encode()), None);
    }
    assert_eq!(signer(&[]), None);
}
