//! Makes the patched loom: copies the source that cargo fetched for the dependency `loom`, and
//! replaces a few exact strings, each of which must occur exactly once. No source of loom is kept
//! in this repository; a loom that differs from the one the patches were written for stops the
//! build. The feature `stock` leaves the mend out.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

#[path = "patches.rs"]
mod patches;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=patches.rs");
    let source = loom_source();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("loom");
    if out.exists() {
        fs::remove_dir_all(&out).expect("clearing OUT_DIR/loom");
    }
    copy(&source, &out);
    let stock = env::var_os("CARGO_FEATURE_STOCK").is_some();
    for patch in patches::PATCHES.iter().filter(|patch| !(stock && patch.is_mend())) {
        apply(&out.join(patch.file), patch);
    }
    strip_inner_attributes(&out.join("lib.rs"));
}

/// The `src` of the package `loom` that this package depends on, as cargo resolved it.
fn loom_source() -> PathBuf {
    let manifest =
        Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo")).join("Cargo.toml");
    let output = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"))
        .args(["metadata", "--format-version", "1", "--filter-platform"])
        .arg(env::var_os("TARGET").expect("cargo sets TARGET"))
        .arg("--manifest-path")
        .arg(manifest)
        .output()
        .expect("running cargo metadata");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata speaks JSON");
    let loom = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "loom" && package["version"] == "0.7.2")
        .expect("this package depends on loom 0.7.2, so cargo knows where it is");
    let manifest = loom["manifest_path"].as_str().expect("every package has a manifest");
    Path::new(manifest).with_file_name("src")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
    let entries = fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    for entry in entries {
        let entry = entry.expect("reading loom's source directory");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            // Not fs::copy: the registry's files may be read-only, and ours are to be patched.
            let text = fs::read(&from).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
            fs::write(&to, text).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
        }
    }
}

fn apply(path: &Path, patch: &patches::Patch) {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let found = text.matches(patch.find).count();
    assert!(
        found == 1,
        "patch \"{}\": its anchor must occur once in loom's {}, and occurs {found} times: {:?}",
        patch.what,
        patch.file,
        patch.find
    );
    let patched = match patch.place {
        patches::Place::Before => format!("{}{}", patch.text, patch.find),
        patches::Place::After => format!("{}{}", patch.find, patch.text),
        patches::Place::Instead => patch.text.to_owned(),
    };
    fs::write(path, text.replacen(patch.find, &patched, 1))
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// An included file cannot have attributes or documentation of its own inside.
fn strip_inner_attributes(path: &Path) {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let kept: Vec<_> =
        text.lines().filter(|line| !line.starts_with("//!") && !line.starts_with("#![")).collect();
    fs::write(path, kept.join("\n")).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
