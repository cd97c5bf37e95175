//! Why bytes are no call, each with its place.

use super::{MAX_CALL_BYTES, MAX_DEPTH, MAX_VALUES};

/// Why bytes are no call of a runtime.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than any call.
    #[error("{length} bytes are too long for a call, expected at most {MAX_CALL_BYTES}")]
    TooLong {
        /// How many there are.
        length: usize,
    },
    /// Cut short.
    #[error("the bytes end at {at} in the middle of the call; is it complete?")]
    Ends {
        /// The position.
        at: usize,
    },
    /// More than the call.
    #[error("the call ends at byte {at}, but {left} more follow; expected one call and nothing else")]
    Trailing {
        /// The position.
        at: usize,
        /// How many follow.
        left: usize,
    },
    /// Not a pallet of this runtime.
    #[error("byte {at}: this runtime has no pallet with index {index}; is the call for another chain?")]
    NoPallet {
        /// The position.
        at: usize,
        /// The index.
        index: u8,
    },
    /// Not a call of that pallet.
    #[error(
        "byte {at}: the pallet {pallet:?} of this runtime has no call with index {index}; is the call for another \
         chain, or for another version of the runtime?"
    )]
    NoCall {
        /// The position.
        at: usize,
        /// The pallet's name.
        pallet: String,
        /// The index.
        index: u8,
    },
    /// A value that its type does not have.
    #[error("byte {at}: expected {expected}, found something else")]
    Value {
        /// The position.
        at: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// Nested deeper than anybody could read.
    #[error("byte {at}: values nest deeper than {MAX_DEPTH} levels; refused")]
    TooDeep {
        /// The position.
        at: usize,
    },
    /// More values than anybody could read.
    #[error("byte {at}: more than {MAX_VALUES} values; refused")]
    TooMany {
        /// The position.
        at: usize,
    },
    /// The metadata does not describe its own types.
    #[error("the chain's metadata does not describe the type {id}; is the node sound?")]
    Metadata {
        /// The type's number.
        id: u32,
    },
}
