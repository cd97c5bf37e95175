//! Builds the runtime to WebAssembly, once for each of [`RUNTIMES`].

fn main() {
    #[cfg(feature = "std")]
    {
        // The builder looks for Cargo.lock upwards from the target folder, which may lie elsewhere;
        // without the lock file it would take whatever versions are newest.
        std::env::set_var("WASM_BUILD_WORKSPACE_HINT", concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        for runtime in RUNTIMES {
            runtime.build();
        }
    }
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
