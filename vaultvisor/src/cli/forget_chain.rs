//! `vaultvisor forget-chain`

use std::io::{self, Write};

use super::{Exit, Failure, Global, run::settings};
use crate::daemon::{
    forget::{ForgetError, Forgotten, forget_chain},
    home::HomeError,
};

/// Options of `forget-chain`.
#[derive(Debug, clap::Args)]
pub struct ForgetChainArgs {
    /// The network's name in the configuration
    pub network: String,
}

/// Removes what was seen of a chain.
pub async fn run(args: &ForgetChainArgs, global: &Global) -> Result<(), Failure> {
    let settings = settings(global)?;
    let Forgotten { chains, vaults } = forget_chain(&settings, &args.network).await.map_err(|error| {
        let exit = match &error {
            ForgetError::NoNetwork { .. } | ForgetError::Home(HomeError::Unsafe { .. }) => Exit::Usage,
            ForgetError::Home(HomeError::InUse { .. })
            | ForgetError::Runs { .. }
            | ForgetError::NotProvablyGone { lock_is_held: true, .. } => Exit::LockHeld,
            ForgetError::NotProvablyGone { .. } => Exit::NotProvablyGone,
            ForgetError::Home(HomeError::Io { .. }) | ForgetError::Read(_) | ForgetError::Write(_) => {
                Exit::Failed
            }
        };
        exit.failure()(error)
    })?;
    let mut out = io::stdout().lock();
    let network = &args.network;
    let printed = (|| {
        if chains.is_empty() && vaults.is_empty() {
            return writeln!(out, "nothing is known of a chain {network}");
        }
        for (genesis, finalized) in &chains {
            writeln!(out, "forgot {network}: genesis {genesis}, seen up to finalized block {finalized}")?;
        }
        if !vaults.is_empty() {
            writeln!(out, "forgot what it stated to: {}", vaults.join(", "))?;
        }
        match settings.networks[network].genesis {
            Some(genesis) => writeln!(
                out,
                "it must still be the chain with genesis {genesis}: if it was reset, change networks.{network}.genesis"
            ),
            None => writeln!(out, "the next chain that is seen under this name is pinned"),
        }
    })();
    super::written(printed)
}
