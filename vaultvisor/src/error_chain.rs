//! An error with its causes on one line: for the status, for logs, for whatever holds text and no error.
//!
//! Errors chain their sources and never repeat them in their own text, so one line has all of it once.

use std::{error::Error, fmt};

/// Displays an error and its causes, separated by `: `.
#[derive(Debug, Clone, Copy)]
pub struct Chained<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
