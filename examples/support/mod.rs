//! What the examples share, so that nothing is written twice: how a program ends, its output, the
//! second process, figures, signals, and the text line that `producer` and `consumer` exchange.

#![allow(dead_code, reason = "every example uses a part of it")]

pub mod children;
pub mod figures;
pub mod hash;
pub mod interrupt;
pub mod line;
pub mod output;

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

/// What most functions of an example return: whatever went wrong ends up on stderr.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Turns the program's outcome into its exit code: 0, or 1 with the reason on stderr. That nobody
/// reads the output any more is a good end. (A wrong command line has ended the program before,
/// with 2.)
pub fn exit(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::nobody_reads(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `eprintln!`, which panics if stderr is closed.
            let _ = writeln!(std::io::stderr(), "{}: {}", program(), chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// The name this program was started by.
pub fn program() -> String {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&path).file_name().unwrap_or_default();
    name.display().to_string()
}

/// An error with everything that caused it, on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
