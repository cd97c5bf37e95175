//! The keeper, as a real process with real vaults under it: `dash`, copied into a store as the vault.

mod adopt;
mod output;
mod site;
mod start;
mod stop;
mod survivors;
