//! What a test tells test vaults to do, each release its own, while they run or before they do.

use std::{fs, path::PathBuf};

/// One way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Exit with code 1 at once, whenever it is seen.
    Exit,
    /// Exit with code 1 instead of starting; one that runs goes on.
    Refuse,
    /// Ignore the signals that say to stop.
    BeDeaf,
    /// Print as fast as somebody reads it, and never end the line.
    Chatter,
}

/// The folder in which orders lie.
#[derive(Debug, Clone)]
pub struct Orders {
    folder: PathBuf,
}

impl Orders {
    /// The orders in a folder that is there.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn path(&self, order: Order, version: &str) -> PathBuf {
        let name = match order {
            Order::Exit => "exit",
            Order::Refuse => "refuse",
            Order::BeDeaf => "be-deaf",
            Order::Chatter => "chatter",
        };
        self.folder.join(format!("{name}-{version}"))
    }

    /// Tells the vaults of a release to do this.
    pub fn give(&self, order: Order, version: &str) {
        fs::write(self.path(order, version), "").expect("the folder is ours");
    }

    /// Takes that back.
    pub fn take_back(&self, order: Order, version: &str) {
        fs::remove_file(self.path(order, version)).expect("it was given");
    }

    /// Whether the vaults of a release are told to.
    pub fn given(&self, order: Order, version: &str) -> bool {
        self.path(order, version).exists()
    }
}
