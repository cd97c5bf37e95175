//! A harness for journeys: what a person would do with Vaultvisor, over a real local chain, real processes and a
//! real release server.
//!
//! A journey makes a [`Journey`](journey::Journey): its own chain, its own release server and its own operator (a
//! home, a lock folder, a configuration). Nothing is shared between tests, so they run beside each other, and
//! everything that a test started ends with it, however it ends. What each part wrote is printed when a test
//! fails.
//!
//! - [`journey`]: the three together, and governance's hand.
//! - [`dev_chain`]: the chain, and control over its blocks, its finality and its runtime; what its state says.
//! - [`release_server`]: the place that releases are downloaded from.
//! - [`hostile_server`]: another one, which misbehaves on purpose.
//! - [`tls_server`]: a third one, with a certificate that may be trusted or not.
//! - [`tampering`]: system calls on chosen files that fail. [`other_user`]: somebody else on the machine.
//! - [`small_disk`]: a small real filesystem, to be filled or made read-only.
//! - [`untouched`]: that nothing has happened to a vault.
//! - [`releases`]: distinct real programs to release.
//! - [`rpc_proxy`]: a node that lies, lags, is silent or old: a proxy in front of a real one.
//! - [`operator`]: Vaultvisor as an operator has it: configuration, daemon, status, what is left on the machine.
//! - [`status`]: the status JSON.
//! - [`ledger`]: what the vaults themselves wrote down: when they lived and what ended them. The judge of
//!   "never two".
//! - [`orders`]: what a test tells the vaults to do, such as to ignore a signal or to exit.
//! - [`http`]: the status over HTTP, as anybody may ask for it.
//! - [`real_store`]: that with much data, through a failed upgrade, and what it costs.
//! - [`redis`]: Debian's Redis in a vault's place, for journeys with a program that we did not write.
//! - [`child`]: a process that ends with its test. [`command`]: a command that is run to its end.
//! - [`tree`]: all that a folder holds.
//! - [`wall_clock`]: a wall clock that jumps, for one daemon.
//! - [`wait`]: waiting for a condition, the only place that sleeps. [`binaries`]: where the programs are.

pub mod binaries;
pub mod child;
pub mod command;
pub mod dev_chain;
pub mod hostile_server;
pub mod http;
pub mod journey;
pub mod ledger;
pub mod operator;
pub mod orders;
pub mod other_user;
pub mod power;
pub mod real_store;
pub mod redis;
pub mod release_server;
pub mod releases;
pub mod rpc_proxy;
pub mod small_disk;
pub mod status;
pub mod tampering;
pub mod tls_server;
pub mod tree;
pub mod untouched;
pub mod wait;
pub mod wall_clock;
