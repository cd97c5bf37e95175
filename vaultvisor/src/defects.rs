//! Defects that cargo features build in, to show that the tests notice them (`scripts/sabotage.sh`).
//!
//! Each takes away one of the things on which "never two", "no other bytes" and "nothing is lost" rest. None is on
//! unless it is asked for by name, and none can be in a release build.

#[cfg(all(
    not(debug_assertions),
    any(
        feature = "defect-lock",
        feature = "defect-record",
        feature = "defect-sync",
        feature = "defect-checksum"
    )
))]
compile_error!("defects are for showing that the tests notice them, and never for a vault that pays");

/// Whether somebody else's lock of an account is respected.
pub(crate) const LOCK_EXCLUDES: bool = !cfg!(feature = "defect-lock");

/// Whether a lock that is free is doubted because of what its last holder wrote into it.
pub(crate) const RECORD_IS_HEEDED: bool = !cfg!(feature = "defect-record");

/// Whether what must outlast a power loss is on the disk before anything relies on it.
pub(crate) const WRITES_ARE_SYNCED: bool = !cfg!(feature = "defect-sync");

/// Whether a file's hash is compared with what the chain states.
pub(crate) const CHECKSUMS_ARE_COMPARED: bool = !cfg!(feature = "defect-checksum");
