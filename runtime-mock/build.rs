//! Builds the runtime to WebAssembly, once for each of [`RUNTIMES`].

fn main() {
    #[cfg(feature = "std")]
    {
        // The builder looks for Cargo.lock upwards from the target folder, which may lie elsewhere;
        // without the lock file it would take whatever versions are newest.
        // Asked for now and not when this was compiled: a target folder may serve several checkouts in turn.
        let package = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says it to all whom it runs");
        std::env::set_var("WASM_BUILD_WORKSPACE_HINT", format!("{package}/.."));
        if is_for_clippy() {
            std::env::set_var("SKIP_WASM_BUILD", "");
        }
        for runtime in RUNTIMES {
            runtime.build();
        }
    }
}

/// Whether clippy has this program run, which needs no WebAssembly: its lints have seen the sources natively.
///
/// Cargo runs it a second time for clippy. Both would write the same files, each would see them as changed by the
/// other, and so whoever changes between clippy and tests would have everything compiled again each time.
#[cfg(feature = "std")]
fn is_for_clippy() -> bool {
    std::env::var_os("RUSTC_WORKSPACE_WRAPPER").is_some_and(|wrapper| {
        std::path::Path::new(&wrapper).file_stem().is_some_and(|program| program == "clippy-driver")
    })
}

/// A WebAssembly build of this crate.
#[cfg(feature = "std")]
struct Runtime {
    /// The file in `OUT_DIR` that our sources include. The WebAssembly is named after it: no two may have the same.
    file: &'static str,
    /// The features of this crate that make the difference.
    features: &'static [&'static str],
}

#[cfg(feature = "std")]
const RUNTIMES: &[Runtime] = &[
    Runtime { file: "wasm_binary.rs", features: &[] },
    Runtime { file: "wasm_binary_upgraded.rs", features: &["upgraded"] },
    Runtime { file: "wasm_binary_moved.rs", features: &["moved"] },
];

#[cfg(feature = "std")]
impl Runtime {
    fn build(&self) {
        let mut builder = substrate_wasm_builder::WasmBuilder::init_with_defaults().set_file_name(self.file);
        for feature in self.features {
            builder = builder.enable_feature(*feature);
        }
        builder.build();
    }
}
