//! The journeys: each test is a promise to operators, kept over a real chain and real processes.
//!
//! One program, so that all of them run beside each other and the harness is linked once. A single one:
//! `cargo test --workspace --test journeys update::`.

mod adoption;
mod announcement;
mod bad_releases;
mod check;
mod cli;
mod clients_info;
mod clock_jumps;
mod damaged_store;
mod dev_chain;
mod endpoints;
mod ends;
mod failing_disk;
mod fallback;
mod forget_chain;
mod fresh_start;
mod governance_calls;
mod hostile_clients;
mod hostile_downloads;
mod hostile_names;
mod hostile_node;
mod http_status;
mod large_releases;
mod light_client;
mod local_users;
mod many_vaults;
mod migration_crashes;
mod migrations;
mod news;
mod operator_hand;
mod plan;
mod power_loss;
mod prefetch_and_add;
mod publish_races;
mod real_daemon;
mod release_verify;
mod release_while_away;
mod runtime_upgrade;
mod small_disks;
mod stubborn_vaults;
mod two_vaultvisors;
mod unfinalized_release;
mod untrusted_server;
mod update;
mod upgrade_window;
mod vault_crash;
mod wrong_checksum;
