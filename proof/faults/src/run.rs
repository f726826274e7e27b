//! One operation: rehearsed, and then again for each call, each occurrence, each errno.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use harness::trace::{Stop, Victim};

use crate::act::{Act, Ends};
use crate::calls;
use crate::operations::{Operation, Wakes};
use crate::table::{ATTACHED, Gives, MAKING};
use crate::world::{World, begin};

/// A fault: the `nth` call of this name fails, and if it is to last all that come after.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub call: &'static str,
    pub nth: usize,
    pub errno: i32,
    pub lasts: bool,
    /// The other way to sleep fails, too.
    pub sleepless: bool,
    gives: Gives,
}

/// What an operation has shown, without a fault.
#[derive(Debug)]
pub struct Rehearsal {
    said: String,
    /// How often it makes each call.
    pub calls: BTreeMap<&'static str, usize>,
}

/// What came of one run.
struct Run {
    said: String,
    calls: BTreeMap<&'static str, usize>,
    /// The fault has happened.
    met: bool,
}

/// What came of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    Passed,
    /// The call was not made so often this time.
    NotMet,
}

/// Performs the operation, with a fault or without, to its end, and checks what is left.
fn perform<K: Ends>(operation: &Operation, fault: Option<&Fault>) -> Result<Run, String> {
    let mut world = World::<K>::new(operation).map_err(|e| format!("preparing: {e}"))?;
    let (mut victim, mut report) = begin(operation, "act", &world.place)?;
    let mut wakes = operation.wakes;
    let mut calls = BTreeMap::new();
    let mut met = false;
    loop {
        match victim.to_system_call()? {
            Stop::SystemCall => {}
            Stop::Breakpoint => break,
            other => return Err(format!("{other:?} within the operation")),
        }
        let (number, arguments) = victim.system_call()?;
        let lock = |at: u64| victim.word(at).unwrap_or(0) as i16;
        let Some(name) = calls::name(number, arguments, lock) else {
            ended(&mut victim)?;
            continue;
        };
        if name == "unknown" {
            return Err(format!("a call that `calls.rs` does not know: number {number}"));
        }
        let nth = calls.entry(name).and_modify(|nth| *nth += 1).or_insert(1);
        let fails = fault.filter(|fault| {
            // A sandbox that refuses the one sleep for good may refuse the other.
            let other_sleep = fault.sleepless && name == "clock_nanosleep";
            let this = fault.call == name && (*nth == fault.nth || fault.lasts && *nth > fault.nth);
            this || other_sleep
        });
        match fails {
            Some(fault) => {
                met = true;
                if fault.sleepless && name == "clock_nanosleep" {
                    world.wake(std::mem::replace(&mut wakes, Wakes::Nothing))?;
                }
                // Linux has closed the descriptor, whatever it says.
                if name != "close" {
                    victim.skip_system_call()?;
                }
                ended(&mut victim)?;
                victim.fail_system_call(fault.errno)?;
            }
            None => {
                if calls::waits(name) {
                    world.wake(std::mem::replace(&mut wakes, Wakes::Nothing))?;
                }
                ended(&mut victim)?;
            }
        }
    }
    victim.finish()?;
    let mut said = String::new();
    report.rewind().and_then(|()| report.read_to_string(&mut said)).map_err(|e| e.to_string())?;
    let said = said.trim_end_matches('\0');
    let mut words = said.splitn(3, ' ');
    let mut number = || words.next().and_then(|word| word.parse::<usize>().ok());
    let (Some(descriptors), Some(mappings)) = (number(), number()) else {
        return Err(format!("it reports {said:?}"));
    };
    let said = words.next().unwrap_or_default().to_owned();
    let failed = |call| fault.is_some_and(|fault| fault.call == call);
    // The standard library opens /dev/urandom instead, and keeps it.
    if descriptors > usize::from(failed("getrandom")) {
        return Err(format!("{said}; {descriptors} descriptors are left"));
    }
    if mappings > 0 && !failed("munmap") {
        return Err(format!("{said}; {mappings} mappings are left"));
    }
    // A name that could not be removed stays; a ring that could not be written to its disk may hold
    // a mixture.
    world
        .check(operation, &said, failed("unlinkat"), failed("msync"))
        .map_err(|e| format!("{said}; {e}"))?;
    Ok(Run { said, calls, met })
}

/// To the end of the system call that begins here.
fn ended(victim: &mut Victim) -> Result<(), String> {
    match victim.to_system_call()? {
        Stop::SystemCall => Ok(()),
        other => Err(format!("{other:?} within a system call")),
    }
}

/// The operation without a fault.
pub fn rehearse<K: Ends>(operation: &Operation) -> Result<Rehearsal, String> {
    let Run { said, calls, .. } = perform::<K>(operation, None)?;
    Ok(Rehearsal { said, calls })
}

impl Rehearsal {
    /// All faults that it can meet with; `Err`: it makes a call that it should not make.
    pub fn faults(&self, operation: &Operation) -> Result<Vec<Fault>, String> {
        let table = if operation.act.is_attached() { ATTACHED } else { MAKING };
        let mut faults = Vec::new();
        for (&call, &times) in &self.calls {
            let mut rows = table.iter().filter(|row| row.call == call).peekable();
            if rows.peek().is_none() {
                return Err(format!("it makes a call that is not in its table: {call}"));
            }
            for row in rows {
                for (&errno, nth) in
                    row.errnos.iter().flat_map(|errno| (1..=times).map(move |nth| (errno, nth)))
                {
                    let fault =
                        Fault { call, nth, errno, lasts: false, sleepless: false, gives: row.once };
                    faults.push(fault);
                    if let Some(gives) = row.always {
                        faults.push(Fault { lasts: true, gives, ..fault });
                        if call == "futex: wait" {
                            faults.push(Fault { lasts: true, sleepless: true, gives, ..fault });
                        }
                    }
                }
            }
        }
        Ok(faults)
    }

    /// The operation with a fault.
    pub fn with<K: Ends>(&self, operation: &Operation, fault: &Fault) -> Result<Case, String> {
        let Run { said, met, .. } = perform::<K>(operation, Some(fault))?;
        if !met {
            return Ok(Case::NotMet);
        }
        let (same, error) = (said == self.said, said.starts_with("Err("));
        let less = ["Ok(0)", "Ok(false)"].contains(&said.as_str());
        let lost = said.starts_with("Err(DescriptorLost");
        let right = match fault.gives {
            Gives::Same => same,
            // A drop tells nobody.
            Gives::Error if operation.act == Act::Close => same,
            Gives::Error => error && !lost || operation.act.looks() && less,
            Gives::Either => same || error && !lost || operation.act.looks() && less,
            Gives::Lost => same || lost,
            Gives::Later => same || lost || operation.act == Act::Clear && !error,
        };
        match right {
            true => Ok(Case::Passed),
            false => Err(format!(
                "it says {said}; it should give {:?} (without a fault {})",
                fault.gives, self.said
            )),
        }
    }
}
