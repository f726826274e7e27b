//! Starting programs without prolonging anybody's locks.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has the command start by `fork`, which waits while somebody in this process is taking a lock. A
/// program started by `posix_spawn` shares it until it runs, so that tests beside the one that
/// starts it may see locks held that their owners have let go. What that comes to for users is
/// tested by `c18_programs_started_meanwhile…` in `tests/fork.rs`.
pub fn by_fork(command: &mut Command) -> &mut Command {
    // SAFETY: does nothing; but what has something to do before `exec` needs a `fork`.
    unsafe { command.pre_exec(|| Ok(())) }
}
