//! How many files may be open at once.
//!
//! Vaultvisor has several open for each vault, and raises its own limit as far as the system lets it. What it starts gets
//! the limit that it was given itself: programs that use `select` break with descriptors above 1023, and others close
//! all that they might have.

use std::{io, sync::OnceLock};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::process::Command;

use super::raw;

/// What vaultvisor was given, once it has raised its own. The limit is the whole process's, so this is too.
static GIVEN: OnceLock<Rlimit> = OnceLock::new();

/// A vault's share: the socket to its keeper and two handles on its processes, the same once more for the new one in a
/// switch, and as much again for what is read and written on the way.
const PER_VAULT: u64 = 12;
/// What there is without any vault: chains, downloads, files of the runtime, people who ask.
const BASE: u64 = 128;

/// So many files may be open with so many vaults.
pub fn needed(vaults: usize) -> u64 {
    BASE + PER_VAULT * vaults as u64
}

/// The most that [`raise`] could reach; `None` is without a limit.
pub fn highest() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

/// Raises this process's limit as far as it may. To be called before anything is started.
pub fn raise() -> io::Result<()> {
    let given = getrlimit(Resource::Nofile);
    // Called again, the limit is the raised one, and what was given first stays.
    GIVEN.get_or_init(|| given);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: given.maximum, maximum: given.maximum })?)
}

/// Has a command's program begin with the limit that vaultvisor was given.
pub fn as_given(command: &mut Command) -> &mut Command {
    if let Some(given) = GIVEN.get() {
        raw::limit_descriptors(command, *given);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_begins_with_the_limit_that_it_is_given_and_ours_stays() {
        let before = getrlimit(Resource::Nofile);
        let limit = Rlimit { current: Some(77), maximum: before.maximum };
        let mut command = Command::new("cat");
        command.arg("/proc/self/limits");
        raw::limit_descriptors(&mut command, limit);
        let output = command.output().await.expect("cat runs");
        let limits = String::from_utf8(output.stdout).expect("text");
        let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
        assert_eq!(line.split_whitespace().nth(3), Some("77"), "{line}");
        assert_eq!(getrlimit(Resource::Nofile), before);
    }
}
