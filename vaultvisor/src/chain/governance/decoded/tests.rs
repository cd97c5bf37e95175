//! Every call is decoded to all that it has, and no bytes can make the decoder fail otherwise than by saying so.

use codec::{Compact, Encode};

use super::*;
use crate::chain::governance::test_runtime::{self as runtime, OddCall, RuntimeCall, metadata};

fn error(bytes: &[u8]) -> DecodeError {
    decode_call(&metadata(), bytes).expect_err("refused")
}

/// `depth` calls, each in the one before, around an innermost one.
fn nested(depth: usize, around: &[u8], innermost: &[u8]) -> Vec<u8> {
    [around.repeat(depth), innermost.to_vec()].concat()
}

/// `Utility.batch` of one call.
const BATCH: [u8; 3] = [7, 0, 1 << 2];

#[test]
fn every_field_of_every_kind_is_there_by_name() {
    let metadata = metadata();
    let call = RuntimeCall::Odd(OddCall::mixed {
        flag: true,
        text: "hé".into(),
        numbers: vec![1, 65_535],
        signed: -3,
        pair: (7, Some(8)),
    });
    let bytes = call.encode();
    let call = decode_call(&metadata, &bytes).expect("a call");
    assert_eq!((call.pallet, call.name), ("Odd", "mixed"));
    let plain = |value| Field { name: None, value };
    let fields = [
        ("flag", Decoded::Bool(true)),
        ("text", Decoded::Text("hé")),
        ("numbers", Decoded::List(vec![Decoded::Unsigned(1), Decoded::Unsigned(65_535)])),
        ("signed", Decoded::Signed(-3)),
        (
            "pair",
            Decoded::Record(vec![
                plain(Decoded::Unsigned(7)),
                plain(Decoded::Variant { name: "Some", fields: vec![plain(Decoded::Unsigned(8))] }),
            ]),
        ),
    ];
    assert_eq!(call.fields, fields.map(|(name, value)| Field { name: Some(name), value }));
}

#[test]
fn wrappers_around_one_value_and_compact_numbers_are_seen_through() {
    let metadata = metadata();
    let bytes = runtime::transfer(u128::MAX).encode();
    let call = decode_call(&metadata, &bytes).expect("a call");
    let [Field { value: dest, .. }, Field { value, .. }] = &call.fields[..] else { panic!("{call:?}") };
    let account = Field { name: None, value: Decoded::Bytes(&[0xee; 32]) };
    assert_eq!(*dest, Decoded::Variant { name: "Id", fields: vec![account] });
    assert_eq!(*value, Decoded::Unsigned(u128::MAX));
}

#[test]
fn calls_in_preimages_and_in_inline_proposals_are_decoded_too() {
    let metadata = metadata();
    let inner = runtime::set("1.0", 1).encode();
    let proposal = runtime::Bounded::Inline(inner.clone());
    let submit = RuntimeCall::Referenda(runtime::ReferendaCall::submit { proposal });
    for bytes in [runtime::note(inner.clone()).encode(), submit.encode()] {
        let call = decode_call(&metadata, &bytes).expect("a call");
        let text = format!("{call:?}");
        assert!(text.contains("EncodedCall") && text.contains("set_vault_release"), "{text}");
    }
    let bytes = runtime::note(b"hello".to_vec()).encode();
    let call = decode_call(&metadata, &bytes).expect("noting anything is a call");
    assert!(matches!(call.fields[0].value, Decoded::EncodedCall { call: Err(_), .. }), "{call:?}");
}

#[test]
fn every_truncation_and_any_trailing_byte_is_refused() {
    let call = runtime::batch_all(vec![
        runtime::schedule("1.16.0", 1, 2),
        runtime::set_artifact("1.16.0", "args-migration", 2),
        runtime::transfer(1 << 40),
    ]);
    let bytes = call.encode();
    for length in 0..bytes.len() {
        let error = error(&bytes[..length]);
        assert!(matches!(error, DecodeError::Ends { .. } | DecodeError::Value { .. }), "{length}: {error}");
    }
    let trailing = error(&[bytes.clone(), vec![0, 0]].concat());
    assert_eq!(trailing, DecodeError::Trailing { at: bytes.len(), left: 2 });
    assert!(decode_call(&metadata(), &bytes).is_ok());
}

#[test]
fn unknown_pallets_calls_and_cases_are_named_with_their_place() {
    assert_eq!(error(&[99]), DecodeError::NoPallet { at: 0, index: 99 });
    let no_call = error(&[9, 77]);
    assert!(matches!(no_call, DecodeError::NoCall { at: 1, index: 77, .. }), "{no_call}");
    assert!(no_call.to_string().contains("VaultRelease"), "{no_call}");
    assert_eq!(error(&[4, 3, 5]), DecodeError::Value { at: 2, expected: "a known case" });
    assert_eq!(error(&[11, 1, 2]), DecodeError::Value { at: 2, expected: "true or false" });
    // Inside a batch too.
    assert_eq!(error(&nested(1, &BATCH, &[99, 0])), DecodeError::NoPallet { at: 3, index: 99 });
}

#[test]
fn depth_bombs_are_refused_however_they_are_built() {
    let sudo: &[u8] = &[6, 0];
    for around in [&BATCH[..], sudo] {
        // 64 kB of hexadecimal digits, and more than any node would take.
        for bytes in [32_768, 4_000_000] {
            let bomb = nested(bytes / around.len(), around, &runtime::cancel().encode());
            assert!(matches!(error(&bomb), DecodeError::TooDeep { .. }));
        }
    }
    // What governance nests is far from it.
    let deep = nested(20, &BATCH, &runtime::cancel().encode());
    assert!(decode_call(&metadata(), &deep).is_ok());
}

#[test]
fn preimages_in_preimages_end_too() {
    let mut bytes = runtime::cancel().encode();
    for _ in 0..1000 {
        bytes = runtime::note(bytes).encode();
    }
    let metadata = metadata();
    let mut call = decode_call(&metadata, &bytes).expect("the outermost is one");
    let mut levels = 0;
    loop {
        let Field { value: Decoded::EncodedCall { call: inner, .. }, .. } = call.fields.remove(0) else {
            panic!("every one holds another")
        };
        levels += 1;
        match inner {
            Ok(inner) => call = *inner,
            Err(error) => break assert!(matches!(error, DecodeError::TooDeep { .. }), "{error}"),
        }
    }
    assert!(levels <= MAX_DEPTH, "{levels}");
}

#[test]
fn claimed_lengths_cost_nothing() {
    let huge = Compact(u32::MAX).encode();
    // That many calls, that many bytes, that many of nothing.
    assert_eq!(error(&[&[7, 2], &huge[..]].concat()), DecodeError::Ends { at: 7 });
    assert_eq!(error(&[&[9, 0], &huge[..]].concat()), DecodeError::Ends { at: 7 });
    assert!(matches!(error(&[&[11, 0], &huge[..]].concat()), DecodeError::TooMany { .. }));
    let few = RuntimeCall::Odd(OddCall::nothings { nothings: vec![(), ()] }).encode();
    assert!(decode_call(&metadata(), &few).is_ok());
    // Longer than any length.
    let longer = Compact(u64::MAX).encode();
    let found = error(&[&[9, 0], &longer[..]].concat());
    assert_eq!(found, DecodeError::Value { at: 2, expected: "a length" });
}

#[test]
fn no_random_bytes_are_taken_for_more_than_they_are() {
    // A fixed sequence, so that a failure can be repeated.
    let mut state: u64 = 0x5eed;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    let metadata = metadata();
    let pallets = [0, 4, 6, 7, 8, 9, 10, 11];
    for length in 1..2_000 {
        let mut bytes: Vec<u8> = (0..length % 97 + 2).map(|_| random()).collect();
        bytes[0] = pallets[usize::from(random()) % pallets.len()];
        bytes[1] %= 11;
        // Either answer is fine; that there is one is the promise.
        let _ = decode_call(&metadata, &bytes);
    }
}

#[test]
fn more_bytes_than_any_call_has_are_not_looked_at() {
    let length = MAX_CALL_BYTES + 1;
    assert_eq!(error(&vec![0; length]), DecodeError::TooLong { length });
}
