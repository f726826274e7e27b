//! Turns the shipped sources to loom: see `src/sync/mod.rs` of ringpipe. Here, so that nobody needs
//! to set RUSTFLAGS.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(loom)");
    println!("cargo::rustc-cfg=loom");
}
