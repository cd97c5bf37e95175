//! The calls that governance decides on: made, published, printed and explained.
//!
//! What Vaultvisor encodes is compared with what the runtime itself, compiled into this test, decodes and encodes;
//! and what it foretells with what a real chain then does.

mod explained;
mod made;
mod native;
