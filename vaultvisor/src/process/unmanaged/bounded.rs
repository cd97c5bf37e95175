//! A look at this machine that answers in its time, also when the kernel does not.
//!
//! Whoever reads the arguments of a process waits for as long as its memory is locked: for ever, if what it maps is on a
//! network filesystem that does not answer. Such a read cannot be given up, so it is left to a thread of its own; and while
//! that is not back no further one is sent after it.

use std::{
    panic::resume_unwind,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
    time::Duration,
};

/// What a look is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// Its beginning.
    KeyFile,
    /// The process with this pid.
    Process(u32),
    /// The pid files of clients.
    PidFiles,
}

/// Tells where a look is, for whoever waits for it.
#[derive(Debug, Clone)]
pub(super) struct Position(Arc<Mutex<At>>);

impl Position {
    pub(super) fn at_beginning() -> Self {
        Self(Arc::new(Mutex::new(At::KeyFile)))
    }

    pub(super) fn is(&self, at: At) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn get(&self) -> At {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The looks that have not come back in their time.
#[derive(Debug, Default)]
pub(super) struct Hanging(Mutex<Vec<(JoinHandle<()>, Position)>>);

impl Hanging {
    pub(super) const fn none() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Looks, for so long at most. The error is where it hangs, or where an earlier one still does.
    pub(super) fn look<T: Send + 'static>(
        &self,
        limit: Duration,
        look: impl FnOnce(&Position) -> T + Send + 'static,
    ) -> Result<T, At> {
        let mut hanging = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hanging.retain(|(thread, _)| !thread.is_finished());
        if let Some((_, position)) = hanging.first() {
            return Err(position.get());
        }
        drop(hanging);
        let position = Position::at_beginning();
        let (answer, answered) = mpsc::sync_channel(1);
        let thread = std::thread::spawn({
            let position = position.clone();
            move || drop(answer.send(look(&position)))
        });
        match answered.recv_timeout(limit) {
            Ok(found) => Ok(found),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let at = position.get();
                self.0.lock().unwrap_or_else(PoisonError::into_inner).push((thread, position));
                Err(at)
            }
            // It ended without an answer: it panicked.
            Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
                Err(panic) => resume_unwind(panic),
                Ok(()) => Err(position.get()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// Far beyond what any of this takes.
    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn a_look_that_hangs_is_given_up_and_no_other_one_is_sent_after_it_until_it_is_back() {
        let hanging = Hanging::none();
        assert_eq!(hanging.look(LONG, |_| 7), Ok(7));
        let (release, released) = mpsc::channel::<()>();
        let hung = hanging.look(Duration::from_millis(1), move |position| {
            position.is(At::Process(4711));
            let _ = released.recv();
        });
        // It may be given up before its thread has got there.
        assert!(matches!(hung, Err(At::Process(4711) | At::KeyFile)), "{hung:?}");
        let again = |_: &Position| panic!("a second one is sent after it");
        let deadline = Instant::now() + LONG;
        while hanging.look(LONG, again) != Err::<(), _>(At::Process(4711)) {
            assert!(Instant::now() < deadline, "nobody says where it hangs");
            std::thread::yield_now();
        }
        drop(release);
        while hanging.look(LONG, |_| 7) != Ok(7) {
            assert!(Instant::now() < deadline, "it is back, and no other one is sent");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_look_that_panics_is_not_taken_for_one_that_found_nothing() {
        let looked = std::panic::catch_unwind(|| Hanging::none().look(LONG, |_| panic!("on purpose")));
        assert!(looked.is_err(), "{:?}", looked.map(|found: Result<(), At>| found));
    }
}
