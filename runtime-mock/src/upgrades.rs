//! Later runtimes of the same chain, as WebAssembly.
//!
//! They are builds of this crate with a feature, which the build script asks for beside its usual build. A chain gets
//! one by `set_code`; the versions must rise, so [`UPGRADED`] is skipped by upgrading to [`MOVED`] straight away.

#[cfg(test)]
mod tests;

use core::fmt;

/// A runtime to which a chain of [this one](crate::VERSION) can be upgraded.
#[derive(Clone, Copy)]
pub struct Upgrade {
    /// What people call it.
    pub name: &'static str,
    /// What is different in it, in one line.
    pub summary: &'static str,
    /// Its `spec_version`.
    pub spec_version: u32,
    /// With which byte the calls and events of `VaultRelease` start in it.
    pub vault_release_index: u8,
    /// Its WebAssembly; `None` in a crate that was built with `SKIP_WASM_BUILD`.
    pub code: Option<&'static [u8]>,
}

// Not derived: nobody wants to read the WebAssembly.
impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade")
            .field("name", &self.name)
            .field("spec_version", &self.spec_version)
            .finish_non_exhaustive()
    }
}

/// The next runtime: nothing but the `spec_version` is different.
pub static UPGRADED: Upgrade = Upgrade {
    name: "upgraded",
    summary: "nothing else is different",
    spec_version: 2,
    vault_release_index: 9,
    code: upgraded::WASM_BINARY,
};

/// The one after it: `VaultRelease` has another index, its old one belongs to another pallet, and there are more
/// pallets.
pub static MOVED: Upgrade = Upgrade {
    name: "moved",
    summary: "VaultRelease has moved, its index 9 is another pallet's",
    spec_version: 3,
    vault_release_index: 42,
    code: moved::WASM_BINARY,
};

/// All of them, by rising `spec_version`.
pub static UPGRADES: [&Upgrade; 2] = [&UPGRADED, &MOVED];

#[allow(dead_code, unreachable_pub, reason = "the included file also says where the WebAssembly lies")]
mod upgraded {
    include!(concat!(env!("OUT_DIR"), "/wasm_binary_upgraded.rs"));
}

#[allow(dead_code, unreachable_pub, reason = "the included file also says where the WebAssembly lies")]
mod moved {
    include!(concat!(env!("OUT_DIR"), "/wasm_binary_moved.rs"));
}
