//! `vaultvisor check`

use std::io::{self, Write};

use super::{Failure, Global, run::settings};
use crate::check::check;

/// Looks at everything that can be wrong, one line each.
pub async fn run(global: &Global) -> Result<(), Failure> {
    let settings = settings(global)?;
    let mut printed = writeln!(io::stdout(), "ok    configuration: {} vaults", settings.vaults.len());
    let is_good = check(&settings, |finding| {
        if printed.is_ok() {
            printed = writeln!(io::stdout(), "{finding}");
        }
    })
    .await;
    super::written(printed)?;
    match is_good {
        true => Ok(()),
        false => Err(anyhow::anyhow!("not everything is as it should be: see the lines with FAIL").into()),
    }
}
