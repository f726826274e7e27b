//! Children by `fork` alone, for what they inherit.

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Forks; the child does `work` and ends. Panics here if it does there.
pub fn in_a_fork(work: impl FnOnce()) {
    let (mut from, to) = std::io::pipe().unwrap();
    // SAFETY: the child's only thread is this one; the others neither hold locks nor allocate.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", std::io::Error::last_os_error());
    if child == 0 {
        // One that hangs ends before the test's limit does, and says nothing.
        // SAFETY: takes a number.
        unsafe { libc::alarm(60) };
        let said = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(()) => "done".to_owned(),
            Err(panic) => match panic.downcast::<String>() {
                Ok(message) => *message,
                Err(_) => "panicked".to_owned(),
            },
        };
        let _ = (&to).write_all(said.as_bytes()); // if that fails, it is not "done" either
        // SAFETY: ends this process, without the parent's exit handlers.
        unsafe { libc::_exit(0) };
    }
    drop(to);
    let mut said = String::new();
    from.read_to_string(&mut said).unwrap();
    // SAFETY: our own child; no status is asked for.
    let waited = unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    assert_eq!((said.as_str(), waited), ("done", child));
}
