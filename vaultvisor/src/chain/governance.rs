//! The calls by which governance states a release: made, signed and submitted on development chains, and
//! explained to those who vote.
//!
//! Pure, by the metadata of a chain:
//!
//! - [`calls`]: the calls, and how several become one; [`client_calls`]: those of `ClientsInfo`.
//! - [`decoded`]: calls of any pallet, from bytes that nobody vouches for.
//! - [`mod@explain`]: what a decoded call means.
//! - [`forecast`]: what calls would do to the record that a chain holds now.
//! - [`mod@judge`]: how a whole call would go, and what in it must not be overlooked.
//! - [`mod@changes`]: what is different afterwards, in words.
//!
//! With a node: [`node`] reads a chain, [`mod@publish`] changes one.

pub mod calls;
pub mod changes;
pub mod client_calls;
pub mod decoded;
mod error;
pub mod explain;
pub mod forecast;
pub mod judge;
pub mod node;
pub mod publish;
#[cfg(test)]
pub(crate) mod test_runtime;

pub use self::error::PublishError;
