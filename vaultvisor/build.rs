//! Hands the target triple to the code: `binary-<target triple>` and `{target}` name it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=VAULTVISOR_TARGET={target}");
}
