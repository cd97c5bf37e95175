//! Where the crash harness may end vaultvisor: between any two steps that a crash must not fall between.
//!
//! An ordinary build has none of this. With the feature `crash-points` a process that has a file `<program>.crash-at`
//! beside its program counts the points that it reaches from then on and adds their names to `<program>.crash-points`;
//! at the one whose number stands in the first file it ends by SIGKILL. The keeper is another program, so that a file
//! beside vaultvisor's is nothing to it.

#[cfg(all(not(debug_assertions), feature = "crash-points"))]
compile_error!("crash points are for the crash harness, and never for a vault that pays");

/// A moment at which a crash must do no harm, named for whoever reads that it did.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub(crate) fn reached(_: std::fmt::Arguments<'_>) {}

#[cfg(feature = "crash-points")]
pub(crate) use armed::reached;

#[cfg(feature = "crash-points")]
mod armed {
    use std::{
        fmt, fs,
        io::{self, Write},
        path::{Path, PathBuf},
        sync::{LazyLock, Mutex, PoisonError},
        thread,
    };

    use rustix::process::{Signal, getpid, kill_process};

    /// How many points were reached since the first file was there.
    static REACHED: Mutex<u64> = Mutex::new(0);

    /// Found once: a program that is replaced while it runs has another name afterwards.
    static PROGRAM: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::current_exe().ok());

    /// A moment at which a crash must do no harm, named for whoever reads that it did.
    pub(crate) fn reached(point: fmt::Arguments<'_>) {
        let Some(program) = &*PROGRAM else { return };
        // Held to the end, also to that of the process: no thread gets past a point after the one that ends it all.
        let mut reached = REACHED.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(text) = fs::read_to_string(beside(program, "crash-at")) else { return };
        *reached += 1;
        if let Err(error) = note(&beside(program, "crash-points"), point) {
            // The harness sees that it has fewer points than it was killed at.
            tracing::error!("cannot note that a crash point was reached: {error}");
        }
        if text.trim().parse() == Ok(*reached) {
            // Nobody is asked, nothing is flushed, no destructor runs: that is what is tested.
            let _ = kill_process(getpid(), Signal::KILL);
            loop {
                thread::park();
            }
        }
    }

    fn beside(program: &Path, extension: &str) -> PathBuf {
        program.with_extension(extension)
    }

    fn note(path: &Path, point: fmt::Arguments<'_>) -> io::Result<()> {
        let mut file = fs::File::options().create(true).append(true).open(path)?;
        file.write_all(format!("{point}\n").as_bytes())
    }
}
