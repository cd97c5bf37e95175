//! The later runtimes as files, for whoever wants to upgrade a chain to one.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use runtime_mock::upgrades::{UPGRADES, Upgrade};

/// The runtime of that name or `spec_version`.
pub(crate) fn parse(text: &str) -> Result<&'static Upgrade, String> {
    UPGRADES
        .into_iter()
        .find(|upgrade| upgrade.name == text || upgrade.spec_version.to_string() == text)
        .ok_or_else(|| {
            let names = UPGRADES.map(|upgrade| format!("{} or {}", upgrade.name, upgrade.spec_version));
            format!("expected {}", names.join(", "))
        })
}

/// What there is, for people.
pub(crate) fn list() -> String {
    let lines = UPGRADES.map(|upgrade| {
        format!("\n  {:<10} spec_version {}: {}", upgrade.name, upgrade.spec_version, upgrade.summary)
    });
    format!(
        "Runtimes (a new chain has spec_version {}):{}",
        runtime_mock::VERSION.spec_version,
        lines.concat()
    )
}

/// Writes the WebAssembly of `upgrade` into the file `output`, or to stdout.
pub(crate) fn export(upgrade: &Upgrade, output: Option<&Path>) -> Result<(), ExportError> {
    let code = upgrade.code.ok_or(ExportError::NoRuntime)?;
    match output {
        Some(path) => {
            fs::write(path, code).map_err(|source| ExportError::Write { path: path.to_owned(), source })
        }
        None if io::stdout().is_terminal() => Err(ExportError::Terminal),
        None => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(code).and_then(|()| stdout.flush()).map_err(ExportError::Stdout)
        }
    }
}

/// Why a runtime could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// The program was built without the runtime's WebAssembly.
    #[error("this program was built with SKIP_WASM_BUILD and has no runtime in it: build it without")]
    NoRuntime,
    /// Somebody would see megabytes of WebAssembly.
    #[error("a runtime is no text for a terminal: name a file with --output, or send stdout into one")]
    Terminal,
    /// The file can't be written.
    #[error(
        "can't write the runtime into {}: name with --output a file that can be written",
        path.display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Nobody reads stdout to its end.
    #[error("can't write the runtime to stdout")]
    Stdout(#[source] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_found_by_its_name_and_by_its_version() {
        for upgrade in UPGRADES {
            for text in [upgrade.name, &upgrade.spec_version.to_string()] {
                assert_eq!(parse(text).map(|found| found.name), Ok(upgrade.name));
            }
        }
    }

    #[test]
    fn somebody_who_asks_for_another_runtime_is_told_what_there_is() {
        // Version 1 is what a chain starts with.
        for text in ["1", "", "Upgraded"] {
            let error = parse(text).map(|found| found.name).expect_err("there is none");
            assert_eq!(error, "expected upgraded or 2, moved or 3");
        }
        for upgrade in UPGRADES {
            assert!(list().contains(upgrade.summary), "{} is listed", upgrade.name);
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let path = Path::new("/nonexistent/runtime.wasm");
        let error = export(UPGRADES[0], Some(path)).expect_err("the folder is not there");
        assert!(error.to_string().contains("/nonexistent/runtime.wasm"), "{error}");
    }
}
