//! Vaultvisor keeps a vault client on the release that its chain's governance chose.
//!
//! # Theory of operation
//!
//! A *vault* holds keys and pays out BTC: two at once pay twice, none at all is slashed. So there is one
//! rule that wins over all others: if the old process is not provably gone, nothing is started.
//!
//! ```text
//!  network task (one per chain)            vault task (one per vault)
//!  ┌──────────────────────────┐   watch   ┌──────────────────────────────────────────┐
//!  │ chain: finalized heads,  │ ────────▶ │ event ─▶ decide ─▶ journal ─▶ act ─┐     │
//!  │ the record at each       │ ChainView │   ▲                                │     │
//!  └──────────────────────────┘           │   └──────── outcome as event ◀─────┘     │
//!                                         └───────┬──────────────────────┬───────────┘
//!                                         artifact store          keeper + vault
//! ```
//!
//! 1. A **network task** follows the finalized heads of one chain and reads the release at each, by raw
//!    storage key ([`chain`]).
//! 2. A **vault task** turns everything that happens into events; [`decide`] maps state and event to the
//!    next state and to actions, purely; the next state is made durable ([`journal`]); executors carry the
//!    actions out and answer with events ([`daemon`]).
//! 3. A release's file is fetched and proved while the old vault runs ([`artifact`]).
//! 4. Each vault runs under a **keeper**, a small process that holds the vault's machine-wide lock and
//!    outlives vaultvisor ([`process`]).
//!
//! # Module map
//!
//! | module | what it knows |
//! |---|---|
//! | [`cli`] | the command line and its exit codes |
//! | [`config`] | the operator's file, validated as a whole |
//! | [`release`] | versions, checksums, hashes: parsed once |
//! | [`chain`] | what a finalized chain states, and how governance states it |
//! | [`decide`] | every rule; pure |
//! | [`journal`] | durable state |
//! | [`artifact`] | the store of proved files, downloads, URLs |
//! | [`process`] | keepers, locks, processes and their ends |
//! | [`migrate`] | arguments and data from before a release, and from after it |
//! | [`mod@check`] | everything that can be wrong before a run |
//! | [`prefetch`] | what the chains state, fetched ahead |
//! | [`daemon`] | wiring: tasks, executors, signals |
//! | [`plan`] | what would happen now, without doing it |
//! | [`status`] | what people see |
//! | [`history`] | what was decided, durably |
//! | [`control`] | what is said on the control socket |
//! | [`http`] | the status over HTTP |
//! | [`metrics`] | what Prometheus is told |
//! | [`ownership`] | whose a file or folder is, and who else could change it |
//! | [`room`] | whether a disk has room, and what helps where it has not |
//! | `tls` | whom HTTP clients trust, and why they do not |
//! | [`error_chain`] | errors, and what they quote, as text that is fit for people |
//! | `crash_points` | where the crash harness may end vaultvisor |

pub mod artifact;
pub mod chain;
pub mod check;
pub mod cli;
pub mod config;
pub mod control;
mod crash_points;
pub mod daemon;
pub mod decide;
mod defects;
pub mod error_chain;
pub mod history;
pub mod http;
pub mod journal;
pub mod metrics;
pub mod migrate;
pub mod ownership;
pub mod plan;
pub mod prefetch;
pub mod process;
pub mod release;
pub mod room;
pub mod status;
mod tls;
