//! Which system call it is: by its number and, where one call does many things, by its arguments.

use libc::c_long;

type Args = [u64; 6];

/// A name for what the call does, and whether it is the library's: memory for the allocator is not.
/// `lock`: the kind of lock that is described at an address.
pub fn name(number: i64, args: Args, lock: impl Fn(u64) -> i16) -> Option<&'static str> {
    let command = args[1] as i32;
    Some(match number as c_long {
        // The allocator's, which gives up the program if it is refused: brk, and anonymous memory
        // of more than a page. (One page is the mark of a forked child.)
        libc::SYS_brk => return None,
        libc::SYS_mmap if args[3] as i32 & libc::MAP_ANONYMOUS != 0 => match args[1] {
            4096 => "mmap: page of forks",
            _ if args[2] == 0 => "mmap: room",
            _ => return None,
        },
        libc::SYS_mmap if args[3] as i32 & libc::MAP_FIXED != 0 && args[5] > 0 => "mmap: again",
        // Behind a guard page, for a stack of signals or of threads: there are none.
        libc::SYS_mprotect => return None,
        libc::SYS_mmap if args[2] == 0 => "mmap: hold",
        libc::SYS_mmap => "mmap: region",
        libc::SYS_munmap => "munmap",
        libc::SYS_madvise => match args[2] as i32 {
            libc::MADV_DONTFORK => "madvise: DONTFORK",
            libc::MADV_DONTDUMP => "madvise: DONTDUMP",
            libc::MADV_WIPEONFORK => "madvise: WIPEONFORK",
            libc::MADV_HUGEPAGE => "madvise: HUGEPAGE",
            libc::MADV_POPULATE_WRITE => "madvise: POPULATE_WRITE",
            _ => return None, // the allocator's
        },
        libc::SYS_futex => match command & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME)
        {
            libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => "futex: wait",
            _ => "futex: wake",
        },
        libc::SYS_membarrier => match args[0] as i32 {
            0 => "membarrier: query",
            libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED => "membarrier",
            _ => "membarrier: register",
        },
        libc::SYS_fcntl => match command {
            libc::F_OFD_GETLK => "fcntl: F_OFD_GETLK",
            libc::F_OFD_SETLK if i32::from(lock(args[2])) == libc::F_UNLCK => "fcntl: unlock",
            libc::F_OFD_SETLK => "fcntl: F_OFD_SETLK",
            libc::F_ADD_SEALS => "fcntl: F_ADD_SEALS",
            libc::F_GET_SEALS => "fcntl: F_GET_SEALS",
            libc::F_GETFL => "fcntl: F_GETFL",
            libc::F_GETFD => "fcntl: F_GETFD",
            _ => "fcntl: another",
        },
        // By rustix, which leaves the directory out where it is the current one.
        libc::SYS_open => {
            return self::name(libc::SYS_openat, [0, args[0], args[1], args[2], 0, 0], lock);
        }
        libc::SYS_openat if args[2] as i32 & libc::O_TMPFILE == libc::O_TMPFILE => {
            "openat: O_TMPFILE"
        }
        libc::SYS_openat if args[2] as i32 & libc::O_PATH != 0 => "openat: O_PATH",
        libc::SYS_openat if args[2] as i32 & libc::O_DIRECTORY != 0 => "openat: directory",
        libc::SYS_openat => "openat",
        libc::SYS_close => "close",
        libc::SYS_fstat => "fstat",
        libc::SYS_newfstatat => "newfstatat",
        libc::SYS_statx => "statx",
        libc::SYS_fstatfs => "fstatfs",
        libc::SYS_statfs => "statfs",
        libc::SYS_lseek => "lseek",
        libc::SYS_read => "read",
        libc::SYS_write => "write",
        libc::SYS_pread64 => "pread64",
        libc::SYS_pwrite64 => "pwrite64",
        libc::SYS_getdents64 => "getdents64",
        libc::SYS_fallocate => "fallocate",
        libc::SYS_ftruncate => "ftruncate",
        libc::SYS_memfd_create => "memfd_create",
        libc::SYS_linkat => "linkat",
        libc::SYS_unlinkat => "unlinkat",
        libc::SYS_msync => "msync",
        libc::SYS_fsync => "fsync",
        libc::SYS_mlock => "mlock",
        libc::SYS_readlink | libc::SYS_readlinkat => "readlink",
        libc::SYS_getrandom => "getrandom",
        libc::SYS_rt_sigprocmask => "rt_sigprocmask",
        libc::SYS_sched_yield => "sched_yield",
        libc::SYS_sched_getaffinity => "sched_getaffinity",
        libc::SYS_clock_nanosleep => "clock_nanosleep",
        libc::SYS_clock_gettime => "clock_gettime",
        libc::SYS_restart_syscall => "restart_syscall",
        libc::SYS_prlimit64 => "prlimit64",
        libc::SYS_sysinfo => "sysinfo",
        libc::SYS_getcwd => "getcwd",
        libc::SYS_uname => "uname",
        // These cannot fail.
        libc::SYS_gettid | libc::SYS_getpid | libc::SYS_geteuid | libc::SYS_getuid => return None,
        _ => "unknown",
    })
}

/// It sleeps: whoever is to wake it acts now.
pub fn waits(name: &str) -> bool {
    matches!(name, "futex: wait" | "clock_nanosleep")
}
