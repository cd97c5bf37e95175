//! Releases that change more than the binary: their migrations of arguments and data, and the way back.
//!
//! - [`args`]: a release's program for the arguments, and what it made of them.
//! - [`snapshot`]: a vault's data folder as it was before a release touched it, and its return.
//!
//! Nothing here decides anything. When a program is run or a snapshot taken, and when it may be restored, is for
//! [`decide`](crate::decide) to say.

pub mod args;
pub mod snapshot;
