//! A process under `ptrace`: run to its markers, stepped, stopped at an instruction, killed.
//!
//! The victim is this same program with another command line, so it needs no files of its own. Its
//! addresses are not randomised and its environment is empty: one run takes the same path as the
//! next, as far as the kernel tells it the same. It marks the beginning and the end of its operation by a breakpoint instruction.
//!
//! Code of the vDSO (it reads the clock) is run through rather than stepped: it writes to nothing
//! but the caller's own stack, and under single-stepping its retry loop might not end.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::asleep;

/// The one-byte breakpoint instruction.
const INT3: u8 = 0xcc;
/// The two bytes of the `syscall` instruction, as the low half of a word.
const SYSCALL: i64 = 0x050f;
/// `si_code` of a trap that a breakpoint instruction raised (a step's is `TRAP_TRACE`, or
/// `TRAP_BRKPT` behind a system call).
const SI_KERNEL: i32 = 0x80;

/// The signal that `PTRACE_O_TRACESYSGOOD` makes of a stop at a system call.
const AT_SYSTEM_CALL: i32 = libc::SIGTRAP | 0x80;

/// Marks the beginning or the end of an operation, in the victim.
#[inline(always)]
pub fn marker() {
    // SAFETY: raises SIGTRAP, for which the tracer waits; no register or memory changes.
    unsafe { std::arch::asm!("int3", options(nostack)) };
}

/// Why the victim has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// After a single step.
    Step,
    /// At a marker, or at a breakpoint of ours.
    Breakpoint,
    /// Where a system call begins or ends.
    SystemCall,
    /// Not stopped: it sleeps in a futex wait.
    Asleep,
}

/// A moment in a victim's doings, to be reached again in another run.
///
/// It is counted from the last system call: what the kernel tells (how much memory is in use, in
/// how many digits) is not the same in every run, and so neither is how many turns a loop over it
/// makes.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// System calls made before.
    pub system_calls: usize,
    /// The instruction that it is about to execute,
    address: u64,
    /// for the so-manieth time since the last system call. Right behind that, 0.
    nth: usize,
}

/// Names the moments of a victim that is stepped.
#[derive(Debug, Default)]
pub struct Steps {
    system_calls: usize,
    met: HashMap<u64, usize>,
}

impl Steps {
    /// [`Victim::step`].
    pub fn step(&mut self, victim: &mut Victim, sleeps: bool) -> Result<Stop, String> {
        if victim.at_system_call()? {
            self.system_calls += 1;
            self.met.clear();
        }
        victim.step(sleeps)
    }

    /// Where it is now: to be asked at the beginning and after each step.
    pub fn moment(&mut self, victim: &Victim) -> Result<Moment, String> {
        let address = victim.at()?;
        let first = usize::from(!self.met.is_empty());
        let nth = *self.met.entry(address).and_modify(|nth| *nth += 1).or_insert(first);
        Ok(Moment { system_calls: self.system_calls, address, nth })
    }
}

/// Does what a sleeping victim waits for.
pub type Wake<'a> = &'a mut dyn FnMut() -> Result<(), String>;

/// A stopped process that dies with this value, if not before.
#[derive(Debug)]
pub struct Victim {
    pid: libc::pid_t,
    child: Child,
    vdso: Range<u64>,
    dead: bool,
}

/// An error that says what was being done.
fn failed(doing: &str, e: io::Error) -> String {
    format!("{doing}: {e}")
}

impl Victim {
    /// Starts this program anew with `args` and stops it before its first instruction.
    pub fn spawn(args: &[&str], diary: File) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|e| failed("finding this program", e))?;
        let mut command = Command::new(program);
        command.args(args).env_clear().stdin(Stdio::from(diary)).stdout(Stdio::null());
        let prepare = || {
            // SAFETY: changes nothing but this process's own randomisation flag.
            let set = unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
            if set < 0 {
                return Err(io::Error::last_os_error());
            }
            request(libc::PTRACE_TRACEME, 0, 0, 0).map(|_| ())
        };
        // SAFETY: `prepare` makes two system calls and allocates nothing.
        unsafe { command.pre_exec(prepare) };
        let child = command.spawn().map_err(|e| failed("starting the victim", e))?;
        let pid = child.id() as libc::pid_t;
        let mut victim = Self { pid, child, vdso: 0..0, dead: false };
        victim.wait(false)?;
        // Should this process die, its victims do.
        let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD;
        request(libc::PTRACE_SETOPTIONS, pid, 0, options as u64)
            .map_err(|e| failed("PTRACE_SETOPTIONS", e))?;
        victim.vdso = victim.find_vdso().unwrap_or(0..0);
        Ok(victim)
    }

    fn find_vdso(&self) -> Option<Range<u64>> {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid)).ok()?;
        let line = maps.lines().find(|line| line.ends_with("[vdso]"))?;
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        Some(u64::from_str_radix(from, 16).ok()?..u64::from_str_radix(to, 16).ok()?)
    }

    /// Runs on until something stops it. `sleeps`: falling asleep does.
    pub fn run(&mut self, sleeps: bool) -> Result<Stop, String> {
        self.resume(libc::PTRACE_CONT)?;
        self.wait(sleeps)
    }

    /// Executes one instruction; a system call counts as one, and so does a call into the vDSO.
    pub fn step(&mut self, sleeps: bool) -> Result<Stop, String> {
        self.resume(libc::PTRACE_SINGLESTEP)?;
        let stop = self.wait(sleeps)?;
        if stop == Stop::Step && self.vdso.contains(&self.registers()?.rip) {
            // Just called: the return address is on top of the stack.
            let back = self.peek(self.registers()?.rsp)? as u64;
            return match self.run_to(back, 1)? {
                true => Ok(Stop::Step),
                false => Err(format!("no return to {back:#x} from the vDSO")),
            };
        }
        Ok(stop)
    }

    /// Waits for what ends the sleep that [`step`](Self::step) or [`run`](Self::run) met with.
    pub fn wake_up(&mut self) -> Result<Stop, String> {
        self.wait(false)
    }

    /// Runs on to a moment of another run, from where that one's [`Steps`] began. `asleep` is
    /// called once if it falls asleep on the way, to do what wakes it.
    ///
    /// False: behind the right number of system calls it has not come there, and now stands before
    /// the next one, or behind the operation's end.
    pub fn reach(&mut self, moment: &Moment, mut asleep: Option<Wake>) -> Result<bool, String> {
        for number in 0..2 * moment.system_calls {
            // Beginning and end of each. It stands still behind the one in which it has slept:
            // what wakes it is over and done before it goes on.
            let stop = self.go_on(libc::PTRACE_SYSCALL, &mut asleep)?;
            if stop != Stop::SystemCall {
                let calls = moment.system_calls;
                return Err(format!("{stop:?} behind {} system calls of {calls}", number / 2));
            }
        }
        self.run_to(moment.address, moment.nth)
    }

    /// Runs until it is about to execute the instruction at `address` for the `nth` time from here,
    /// not counting that it may be about to do so now. False: a system call or a marker came first.
    fn run_to(&mut self, address: u64, nth: usize) -> Result<bool, String> {
        if nth == 0 {
            return Ok(self.at()? == address);
        }
        let word = self.peek(address)?;
        let broken = word & !0xff | i64::from(INT3);
        for _ in 0..nth {
            if self.at()? == address {
                self.go_on(libc::PTRACE_SINGLESTEP, &mut None)?;
                if self.at()? == address {
                    continue; // a repeated instruction, which is stopped at each repetition
                }
            }
            self.poke(address, broken)?;
            let stop = self.go_on(libc::PTRACE_SYSCALL, &mut None)?;
            self.poke(address, word)?;
            let mut registers = self.registers()?;
            if stop == Stop::Step || registers.rip != address + 1 {
                return Ok(false);
            }
            if word & 0xff == i64::from(INT3) {
                return Ok(true); // the marker at the operation's end
            }
            registers.rip = address;
            self.set_registers(&registers)?;
        }
        Ok(true)
    }

    /// Resumes it until something stops it, through a sleep that `asleep` ends. System calls of the
    /// vDSO, which it makes where it cannot read the clock by itself, are nobody's.
    fn go_on(&mut self, how: libc::c_uint, asleep: &mut Option<Wake>) -> Result<Stop, String> {
        loop {
            self.resume(how)?;
            let mut stop = self.wait(asleep.is_some())?;
            if stop == Stop::Asleep {
                if let Some(wake) = asleep.take() {
                    wake()?;
                }
                stop = self.wait(false)?;
            }
            if stop != Stop::SystemCall || !self.vdso.contains(&self.at()?) {
                return Ok(stop);
            }
        }
    }

    /// The instruction that it is about to execute.
    fn at(&self) -> Result<u64, String> {
        Ok(self.registers()?.rip)
    }

    /// The instruction that it is about to execute is a system call.
    fn at_system_call(&self) -> Result<bool, String> {
        Ok(self.peek(self.registers()?.rip)? & 0xffff == SYSCALL)
    }

    /// Lets it go on to its natural end, which must be a good one.
    pub fn finish(&mut self) -> Result<(), String> {
        self.resume(libc::PTRACE_CONT)?;
        let status = self.child.wait().map_err(|e| failed("waiting for the victim", e))?;
        self.dead = true;
        if status.success() { Ok(()) } else { Err(format!("the victim says: {status}")) }
    }

    /// Kills it where it stands, or sleeps, and waits until it is gone.
    pub fn kill(&mut self) -> Result<(), String> {
        if !self.dead {
            self.dead = true;
            self.child.kill().map_err(|e| failed("killing the victim", e))?;
            // The locks go before the process can be waited for.
            self.child.wait().map_err(|e| failed("waiting for the victim", e))?;
        }
        Ok(())
    }

    /// Runs on to where a system call begins or ends, or to a breakpoint.
    pub fn to_system_call(&mut self) -> Result<Stop, String> {
        self.resume(libc::PTRACE_SYSCALL)?;
        self.wait(false)
    }

    /// The system call that begins here: its number and arguments.
    pub fn system_call(&self) -> Result<(i64, [u64; 6]), String> {
        let r = self.registers()?;
        Ok((r.orig_rax as i64, [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9]))
    }

    /// The word at an address of the victim's.
    pub fn word(&self, address: u64) -> Result<u64, String> {
        Ok(self.peek(address)? as u64)
    }

    /// The system call that begins here is not made.
    pub fn skip_system_call(&mut self) -> Result<(), String> {
        let registers = self.registers()?;
        self.set_registers(&libc::user_regs_struct { orig_rax: u64::MAX, ..registers })
    }

    /// The system call that ends here has failed.
    pub fn fail_system_call(&mut self, errno: i32) -> Result<(), String> {
        let registers = self.registers()?;
        self.set_registers(&libc::user_regs_struct { rax: -i64::from(errno) as u64, ..registers })
    }

    fn resume(&self, how: libc::c_uint) -> Result<(), String> {
        request(how, self.pid, 0, 0).map(|_| ()).map_err(|e| failed("resuming the victim", e))
    }

    fn wait(&mut self, sleeps: bool) -> Result<Stop, String> {
        let options = if sleeps { libc::WNOHANG } else { 0 };
        let mut status = 0;
        loop {
            // SAFETY: `status` outlives the call.
            let waited = unsafe { libc::waitpid(self.pid, &raw mut status, options) };
            match waited {
                0 if self.is_asleep() => return Ok(Stop::Asleep),
                0 => std::thread::sleep(Duration::from_micros(50)),
                -1 => return Err(failed("waiting for the victim", io::Error::last_os_error())),
                _ => break,
            }
        }
        if !libc::WIFSTOPPED(status) {
            self.dead = true;
            return Err(format!("the victim ended by itself (wait status {status:#x})"));
        }
        match libc::WSTOPSIG(status) {
            libc::SIGTRAP => {}
            AT_SYSTEM_CALL => return Ok(Stop::SystemCall),
            signal => return Err(format!("signal {signal} stopped the victim")),
        }
        // SAFETY: `siginfo_t` is a plain C structure for which all-zero is valid.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        request(libc::PTRACE_GETSIGINFO, self.pid, 0, &raw mut info as u64)
            .map_err(|e| failed("PTRACE_GETSIGINFO", e))?;
        Ok(if info.si_code == SI_KERNEL { Stop::Breakpoint } else { Stop::Step })
    }

    /// It sleeps in a futex wait, rather than running or being stopped; and not only briefly, to
    /// look again, as an end does that has just announced that it sleeps. That ends by itself, each
    /// time.
    fn is_asleep(&self) -> bool {
        let pid = self.pid as u32;
        asleep::state(pid, pid) == Some('S') && asleep::for_long(pid, pid)
    }

    fn registers(&self) -> Result<libc::user_regs_struct, String> {
        // SAFETY: a plain C structure for which all-zero is valid.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        request(libc::PTRACE_GETREGS, self.pid, 0, &raw mut registers as u64)
            .map_err(|e| failed("PTRACE_GETREGS", e))?;
        Ok(registers)
    }

    fn set_registers(&self, registers: &libc::user_regs_struct) -> Result<(), String> {
        request(libc::PTRACE_SETREGS, self.pid, 0, std::ptr::from_ref(registers) as u64)
            .map(|_| ())
            .map_err(|e| failed("PTRACE_SETREGS", e))
    }

    fn peek(&self, address: u64) -> Result<i64, String> {
        request(libc::PTRACE_PEEKTEXT, self.pid, address, 0)
            .map_err(|e| failed("PTRACE_PEEKTEXT", e))
    }

    fn poke(&self, address: u64, word: i64) -> Result<(), String> {
        request(libc::PTRACE_POKETEXT, self.pid, address, word as u64)
            .map(|_| ())
            .map_err(|e| failed("PTRACE_POKETEXT", e))
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Reported where it matters, in `kill`.
        let _ = self.kill();
    }
}

/// One `ptrace` request, as libc spells it: a peeked word is the result, all others fill what
/// `data` points to.
fn request(request: libc::c_uint, pid: libc::pid_t, address: u64, data: u64) -> io::Result<i64> {
    // A peeked word may be -1: errno tells.
    // SAFETY: the location of this thread's errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: it can be written.
    unsafe { *errno = 0 };
    // SAFETY: the requests above take integers, or pointers to structures that outlive the call;
    // the addresses are the traced process's, not ours.
    let result = unsafe { libc::ptrace(request, pid, address, data) };
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(0) => Ok(result),
        _ if result == -1 => Err(error),
        _ => Ok(result),
    }
}
