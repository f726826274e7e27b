//! A copy of the repository in which every site asks, at run time, which ordering to use.
//!
//! The working tree is never touched: the copy is below `target/`. One build makes all mutants, so
//! what is run for a mutant differs from what is run for the shipped sources in the one ordering.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::sites::Site;

/// The test program of `loom-tests`, with switches.
pub struct Program {
    pub path: PathBuf,
    /// By site: compiled into the program.
    pub modelled: Vec<bool>,
}

/// Makes the copy and builds it.
///
/// The copy's `loom-tests` has another name: cargo tells packages apart by their name and their
/// place in the workspace, so that it would take one for the other. What they depend on is built
/// once.
pub fn build(root: &Path, target: &Path, scratch: &Path, sites: &[Site]) -> Result<Program> {
    let tree = scratch.join("tree");
    mirror(root, &tree, &|path| instrumented(root, path, sites))?;
    eprintln!("building loom-tests with {} switches", sites.len());
    let output = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["test", "--profile", "loom", "--locked", "-p", "loom-mutants", "--no-run"])
        .arg("--message-format=json-render-diagnostics")
        .env("CARGO_TARGET_DIR", target)
        .current_dir(&tree)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo")?;
    ensure!(output.status.success(), "the mutated tree does not build");
    let path = executable(&String::from_utf8(output.stdout)?)?;
    let modelled = modelled(&path, &tree, sites)?;
    Ok(Program { path, modelled })
}

/// What a file of the copy holds: the original but for the switches.
fn instrumented(root: &Path, path: &Path, sites: &[Site]) -> Result<Vec<u8>> {
    let text = fs::read(root.join(path))?;
    if path == Path::new("loom-tests/src/lib.rs") {
        let switch = format!(
            "\nmod switch {{\npub(super) const SITES: usize = {};\n{}\n}}\n",
            sites.len(),
            include_str!("../switch.rs").replace("//! ", "// ").replace("//!\n", "//\n"),
        );
        return Ok([text, switch.into_bytes()].concat());
    }
    if path.file_name().is_some_and(|name| name == "Cargo.toml" || name == "Cargo.lock") {
        let text =
            String::from_utf8(text)?.replace("name = \"loom-tests\"", "name = \"loom-mutants\"");
        return Ok(text.into_bytes());
    }
    let Ok(in_src) = path.strip_prefix("src") else { return Ok(text) };
    let mut text = String::from_utf8(text)?;
    // From the end, so that positions hold.
    for (number, site) in sites.iter().enumerate().rev() {
        if Path::new(&site.file) != in_src {
            continue;
        }
        // What it was stays in it, so that nothing imported is unused.
        let shipped = &text[site.bytes.clone()];
        let switch = match shipped.strip_suffix(')').and_then(|call| call.split_once('(')) {
            Some((barrier, word)) if site.ordering == "membarrier" => {
                format!("crate::switch::membarrier({number}, {word}, {barrier})")
            }
            Some((fence, ordering)) => {
                format!("crate::switch::fence({number}, {ordering}, {fence})")
            }
            None => format!("crate::switch::ordering({number}, {shipped})"),
        };
        text.replace_range(site.bytes.clone(), &switch);
    }
    Ok(text.into_bytes())
}

/// Makes `to` a copy of `from` as `content` gives it. What is the same is left alone, so that
/// cargo does not build it again; what is too much is removed.
fn mirror(from: &Path, to: &Path, content: &dyn Fn(&Path) -> Result<Vec<u8>>) -> Result<()> {
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        fs::create_dir_all(to.join(&directory))?;
        for entry in fs::read_dir(from.join(&directory))? {
            let entry = entry?;
            let path = directory.join(entry.file_name());
            let top = directory.as_os_str().is_empty();
            if top && ["target", ".git"].iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                directories.push(path);
                continue;
            }
            let wanted = content(&path).with_context(|| path.display().to_string())?;
            let at = to.join(&path);
            if fs::read(&at).ok().as_ref() != Some(&wanted) {
                fs::write(&at, wanted).with_context(|| at.display().to_string())?;
            }
        }
        for entry in fs::read_dir(to.join(&directory))? {
            let entry = entry?;
            let original = from.join(&directory).join(entry.file_name());
            match entry.file_type()?.is_dir() {
                true if !original.is_dir() => fs::remove_dir_all(entry.path())?,
                false if !original.is_file() => fs::remove_file(entry.path())?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// From cargo's messages, one JSON object a line: the one program that was built.
fn executable(messages: &str) -> Result<PathBuf> {
    let found: Vec<_> = messages
        .lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once("\"executable\":\"")?;
            rest.split_once('"').map(|(path, _)| PathBuf::from(path))
        })
        .collect();
    match &found[..] {
        [one] => Ok(one.clone()),
        other => bail!("one test program was expected, and cargo made {other:?}"),
    }
}

/// The compiler's list of sources beside the program tells which sites are in it.
fn modelled(program: &Path, tree: &Path, sites: &[Site]) -> Result<Vec<bool>> {
    let list = program.with_extension("d");
    let list = fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    let sources: Vec<_> = list
        .lines()
        .filter_map(|line| line.strip_suffix(':'))
        .filter_map(|path| fs::canonicalize(tree.join(path)).ok())
        .collect();
    let src = fs::canonicalize(tree.join("src"))?;
    let modelled: Vec<_> =
        sites.iter().map(|site| sources.contains(&src.join(&site.file))).collect();
    ensure!(modelled.contains(&true), "no site is in the program: {}", list);
    Ok(modelled)
}
