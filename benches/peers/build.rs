//! Tells the program which compiler it was built with.

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or("rustc".into());
    let output = std::process::Command::new(rustc).arg("-V").output();
    let version = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    println!("cargo::rustc-env=PEERS_COMPILER={}", version.unwrap_or("unknown".into()));
    println!("cargo::rerun-if-changed=build.rs");
}
