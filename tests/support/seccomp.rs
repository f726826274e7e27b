//! System calls that are forbidden to the thread that asks for it, and to what it starts: filters,
//! as the kernel takes them.

/// The number of the call that asks for locks and sets them.
#[cfg(not(all(target_pointer_width = "32", not(target_arch = "x86_64"))))]
pub const FCNTL: libc::c_long = libc::SYS_fcntl;
#[cfg(all(target_pointer_width = "32", not(target_arch = "x86_64")))]
pub const FCNTL: libc::c_long = libc::SYS_fcntl64;

/// Where the call's number is in what a filter looks at.
pub const NUMBER: u32 = 0;

/// Where the low half of argument `index` is.
pub const fn argument(index: u32) -> u32 {
    16 + 8 * index + if cfg!(target_endian = "little") { 0 } else { 4 }
}

/// Loads what is at this place.
pub const fn load(at: u32) -> libc::sock_filter {
    op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at, 0, 0)
}

/// Compares what was loaded; passes over so many steps if it is `value`, and so many if not.
pub const fn is(value: u32, if_so: u8, if_not: u8) -> libc::sock_filter {
    op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, if_so, if_not)
}

/// Ends with this answer.
pub const fn answer(with: u32) -> libc::sock_filter {
    op(libc::BPF_RET | libc::BPF_K, with, 0, 0)
}

const fn op(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

/// From now on this call, or that with an argument (by index) of this value, has this answer.
pub fn answer_to(call: libc::c_long, with_argument: Option<(u32, u32)>, with: u32) {
    let (index, value) = with_argument.unwrap_or_default();
    let mut program = [
        load(NUMBER),
        is(call as u32, 0, 3),
        load(argument(index)),
        is(value, 0, 1),
        answer(with),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    if with_argument.is_none() {
        program[3] = load(NUMBER); // whatever the arguments
    }
    filter(&mut program);
}

/// From now on every system call meets this filter. Allocates nothing.
pub fn filter(program: &mut [libc::sock_filter]) {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: takes four numbers.
    let outcome = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the program outlives the call, and its length is right.
    let outcome = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}
