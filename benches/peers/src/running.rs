//! One contender at work: lays its links, starts its workers, gives them their turns, and believes
//! the figures only if everything that was sent has arrived.

use std::io::Read;
use std::os::fd::{AsRawFd, RawFd};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use harness::{Child, now, processors};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::Outcome;
use crate::contenders::{Carrier, Contender, Item, Labelled, Laid, Link, Load, Work};
use crate::control::Control;
use crate::worker::{self, Account, Orders, Role, Turn};

/// How long workers may take beside what they are told to.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a contender has no figures that a busy machine may have kept from having any.
pub const NOTHING: &str = "nothing arrived while it counted";

/// The worker's orders come in this variable.
const ORDERS: &str = "PEERS_ORDERS";

/// A contender, whatever its type.
#[derive(Clone, Copy)]
pub struct Entry {
    pub name: &'static str,
    pub threads: bool,
    /// Whether this is the name's entry for such loads: it may have several.
    pub carries: fn(Load) -> bool,
    pub fits: fn(&Link) -> Result<(), &'static str>,
    lay: fn(&Link) -> Outcome<Laid>,
    work: fn(&Orders) -> Outcome<Vec<Account>>,
}

fn lay<C: Contender>(link: &Link) -> Outcome<Laid> {
    match link.size {
        8 => C::lay::<Item<1>>(link),
        64 => C::lay::<Item<8>>(link),
        256 => C::lay::<Item<32>>(link),
        1024 => C::lay::<Item<128>>(link),
        4096 => C::lay::<Item<512>>(link),
        other => Err(format!("no items of {other} bytes").into()),
    }
}

pub fn entries() -> Vec<Entry> {
    use crate::contenders::*;
    let mut entries = Vec::new();
    macro_rules! add {
        ($contender:ty) => {
            entries.push(Entry {
                name: <$contender as Contender>::NAME,
                threads: <$contender as Contender>::THREADS,
                carries: |load| load == Load::Items,
                fits: <$contender as Contender>::fits,
                lay: lay::<$contender>,
                work: worker::work::<$contender>,
            })
        };
    }
    macro_rules! carry {
        ($carrier:ty) => {
            entries.push(carrier::<$carrier, [u8]>(worker::carry::<$carrier>))
        };
    }
    macro_rules! copy {
        ($carrier:ty) => {
            entries.push(carrier::<$carrier, files::File>(worker::copy::<$carrier>))
        };
    }
    everybody!(add, carry, copy);
    entries
}

fn carrier<C: Carrier<P>, P: Labelled + ?Sized>(
    work: fn(&Orders) -> Outcome<Vec<Account>>,
) -> Entry {
    let (name, carries, fits, lay) = (C::NAME, C::carries, C::fits, C::lay);
    Entry { name, threads: false, carries, fits, lay, work }
}

/// What has been measured in one round.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Round {
    /// Items per second.
    pub rate: f64,
    /// Nanoseconds at [`worker::QUANTILES`].
    pub latency: Vec<u64>,
    /// Items of the least served sender (receiver) for one of the most served.
    pub fairness: [f64; 2],
    /// The receiver's (the echo's): processor time as a share of the time, and voluntary context
    /// switches, per second.
    pub cpu: f64,
    pub switches: f64,
    /// Voluntary context switches per item.
    pub switches_per_item: f64,
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    pub link: Link,
    pub warm: Duration,
    pub measured: Duration,
    /// Unless told otherwise.
    pub rounds: usize,
}

impl Plan {
    fn roles(&self) -> Vec<Role> {
        if self.link.work == Work::Trips {
            return vec![Role::Asker, Role::Echo];
        }
        let senders = (0..self.link.senders).map(Role::Sender);
        senders.chain((0..self.link.receivers).map(Role::Receiver)).collect()
    }
}

/// A contender whose workers are there, and sleep between their turns.
pub struct Running {
    plan: Plan,
    control: Control,
    workers: u32,
    team: Team,
    /// How long each turn was measured.
    seconds: Vec<f64>,
    /// Cleared away behind the workers.
    _laid: Vec<Laid>,
}

impl Running {
    pub fn start(entry: &Entry, plan: &Plan) -> Outcome<Self> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let processors = processors::allowed()?;
        let roles: Vec<_> =
            plan.roles().into_iter().zip(processors.iter().copied().cycle()).collect();
        let (control, control_fd) = Control::create()?;
        let mut links = Vec::new();
        let mut laid = Vec::new();
        for _ in 0..if plan.link.work == Work::Trips { 2 } else { 1 } {
            let serial = SERIAL.fetch_add(1, Relaxed);
            let name = format!("peers-{}-{serial}", std::process::id());
            let crowded = roles.len() > processors.len();
            let mut link = Link { name, crowded, ..plan.link.clone() };
            laid.push((entry.lay)(&link)?);
            link.fds = laid.last().map(Laid::raw).unwrap_or_default();
            links.push(link);
        }
        let mut inherited: Vec<RawFd> = laid.iter().flat_map(Laid::raw).collect();
        inherited.push(control_fd.as_raw_fd());
        let groups: Vec<Vec<_>> = match entry.threads {
            true => vec![roles.clone()],
            false => roles.iter().map(|role| vec![*role]).collect(),
        };
        let mut team = Team::default();
        for roles in groups {
            let contender = entry.name.into();
            let control = control_fd.as_raw_fd();
            team.start(&Orders { contender, control, links: links.clone(), roles }, &inherited)?;
        }
        let workers = roles.len() as u32;
        let (plan, seconds) = (plan.clone(), Vec::new());
        let mut running = Self { plan, control, workers, team, seconds, _laid: laid };
        running.until_rest("get ready")?;
        Ok(running)
    }

    fn until_rest(&mut self, what: &str) -> Outcome {
        let (control, workers) = (self.control, self.workers);
        self.team.until(PATIENCE, what, |_| Ok(control.all_rest(workers)))
    }

    /// One turn.
    pub fn turn(&mut self) -> Outcome {
        self.control.begin();
        self.team.watch(self.plan.warm)?;
        self.control.measure();
        let began = now();
        self.team.watch(self.plan.measured)?;
        self.control.rest();
        self.seconds.push((now() - began) as f64 / 1e9);
        self.until_rest("come to rest")
    }

    /// Ends the workers, and hears what they have done in each turn.
    pub fn finish(self) -> Outcome<Vec<Round>> {
        self.control.end();
        let accounts = self.team.finish()?;
        judge(&self.plan, &accounts, &self.seconds)
    }
}

/// Figures, turn by turn, if nothing is missing.
fn judge(plan: &Plan, accounts: &[Account], seconds: &[f64]) -> Outcome<Vec<Round>> {
    let is_source = |role| matches!(role, Role::Sender(_) | Role::Asker);
    let (sent, received): (Vec<_>, Vec<_>) = accounts.iter().partition(|a| is_source(a.role));
    let total = |side: &[&Account]| {
        side.iter().fold((0, 0_u64), |(n, sum), a| (n + a.items, sum.wrapping_add(a.sum)))
    };
    let (sent_total, received_total) = (total(&sent), total(&received));
    let bad: u64 = accounts.iter().map(|a| a.bad).sum();
    if sent_total != received_total || bad > 0 {
        return Err(format!(
            "{} items sent, {} received, {bad} of them wrong; checksums {:x} and {:x}",
            sent_total.0, received_total.0, sent_total.1, received_total.1
        )
        .into());
    }
    // Trips are counted by the asker, the rest where it arrives.
    let counted = if plan.link.work == Work::Trips { &sent } else { &received };
    let all = seconds.iter().enumerate().map(|(number, seconds)| {
        let of = |side: &[&Account]| -> Vec<Turn> {
            side.iter().map(|account| account.turns[number].clone()).collect()
        };
        round(&of(&sent), &of(&received), &of(counted), *seconds)
    });
    let rounds: Vec<Round> = all.collect();
    // On a busy machine a turn may pass without either worker having had the processor.
    let empty = rounds.iter().filter(|round| round.rate == 0.0).count();
    if plan.link.work != Work::Idle && empty > rounds.len() / 2 {
        return Err(NOTHING.into());
    }
    Ok(rounds)
}

fn round(sent: &[Turn], received: &[Turn], counted: &[Turn], seconds: f64) -> Round {
    let fairness = |side: &[Turn]| {
        let least = side.iter().map(|turn| turn.measured).min().unwrap_or(0);
        let most = side.iter().map(|turn| turn.measured).max().unwrap_or(0);
        least as f64 / most.max(1) as f64
    };
    let sum = |of: fn(&Turn) -> u64| received.iter().map(of).sum::<u64>() as f64;
    let (elapsed, cpu) = (sum(|turn| turn.elapsed_ns) / 1e9, sum(|turn| turn.cpu_ns) / 1e9);
    let (switches, arrived) = (sum(|turn| turn.switches), sum(|turn| turn.measured));
    let timed = sent.iter().chain(received).find(|turn| !turn.latency.is_empty());
    Round {
        rate: counted.iter().map(|turn| turn.measured).sum::<u64>() as f64 / seconds,
        latency: timed.map(|turn| turn.latency.clone()).unwrap_or_default(),
        fairness: [fairness(sent), fairness(received)],
        cpu: cpu / elapsed,
        switches: switches / elapsed,
        switches_per_item: switches / elapsed * seconds / arrived.max(1.0),
    }
}

/// The workers of a run. None outlives it.
#[derive(Default)]
struct Team(Vec<Child>);

impl Team {
    fn start(&mut self, orders: &Orders, inherited: &[RawFd]) -> Outcome {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(ORDERS, serde_json::to_string(orders)?).stdin(Stdio::null());
        command.stdout(Stdio::piped());
        // Nobody else starts programs here, so what is open to inheritance for this moment goes to
        // this child alone.
        set_cloexec(inherited, FdFlags::empty())?;
        let child = command.spawn();
        set_cloexec(inherited, FdFlags::CLOEXEC)?;
        self.0.push(Child(child?));
        Ok(())
    }

    /// Waits for something, and for nobody to end badly meanwhile.
    fn until(
        &mut self,
        within: Duration,
        what: &str,
        mut done: impl FnMut(&mut Self) -> Outcome<bool>,
    ) -> Outcome {
        let deadline = Instant::now() + within;
        while !done(self)? {
            for child in &mut self.0 {
                if let Some(status) = child.try_wait()?.filter(|status| !status.success()) {
                    return Err(format!("a worker ended: {status}").into());
                }
            }
            if Instant::now() > deadline {
                return Err(format!("workers did not {what} within {within:?}").into());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// Lets them work.
    fn watch(&mut self, time: Duration) -> Outcome {
        std::thread::sleep(time);
        self.until(time, "stay", |_| Ok(true))
    }

    /// Waits for everybody's end and hears what they have to tell.
    fn finish(mut self) -> Outcome<Vec<Account>> {
        self.until(PATIENCE, "end", |team| {
            let mut all = true;
            for child in &mut team.0 {
                all &= child.try_wait()?.is_some_and(|status| status.success());
            }
            Ok(all)
        })?;
        let mut accounts = Vec::new();
        for child in &mut self.0 {
            let mut told = String::new();
            if let Some(stdout) = &mut child.stdout {
                stdout.read_to_string(&mut told)?;
            }
            accounts.extend(serde_json::from_str::<Vec<Account>>(&told)?);
        }
        Ok(accounts)
    }
}

fn set_cloexec(fds: &[RawFd], flags: FdFlags) -> Outcome {
    for fd in fds {
        // SAFETY: owned by the caller, and open.
        let fd = unsafe { rustix::fd::BorrowedFd::borrow_raw(*fd) };
        fcntl_setfd(fd, flags)?;
    }
    Ok(())
}

/// In a worker: works and tells. `None` in the coordinator.
pub fn as_worker() -> Option<Outcome> {
    let orders = std::env::var(ORDERS).ok()?;
    Some(serve(&orders))
}

fn serve(orders: &str) -> Outcome {
    harness::die_with_parent()?;
    let orders: Orders = serde_json::from_str(orders)?;
    let load = orders.links[0].load;
    let wanted = |entry: &Entry| entry.name == orders.contender && (entry.carries)(load);
    let entry = entries().into_iter().find(wanted);
    let entry = entry.ok_or_else(|| format!("no contender {}", orders.contender))?;
    let accounts = (entry.work)(&orders).map_err(|e| format!("{}: {e}", entry.name))?;
    println!("{}", serde_json::to_string(&accounts)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(role: Role, items: u64, sum: u64, bad: u64) -> Account {
        let (latency, cpu_ns, switches, elapsed_ns) = (Vec::new(), 0, 0, 1);
        let turn = Turn { measured: items, latency, cpu_ns, switches, elapsed_ns };
        Account { role, items, sum, bad, turns: vec![turn] }
    }

    fn judged(accounts: &[Account]) -> Outcome<Round> {
        let scenario = crate::scenario::all().remove(0);
        judge(&scenario.plan(true), accounts, &[0.5]).map(|mut rounds| rounds.remove(0))
    }

    #[test]
    fn a_rate_is_believed_if_everything_has_arrived() {
        let sent = account(Role::Sender(0), 10, 45, 0);
        let round = judged(&[sent, account(Role::Receiver(0), 10, 45, 0)]);
        assert_eq!(round.map(|round| round.rate).ok(), Some(20.0));
    }

    #[test]
    fn nothing_is_believed_if_something_is_missing_or_wrong() {
        for (items, sum, bad) in [(9, 45, 0), (10, 44, 0), (10, 45, 1)] {
            let sent = account(Role::Sender(0), 10, 45, 0);
            let why = judged(&[sent, account(Role::Receiver(0), items, sum, bad)]).unwrap_err();
            assert!(why.to_string().starts_with("10 items sent"), "{why}");
        }
    }

    #[test]
    fn fairness_is_the_least_served_over_the_most_served() {
        let mut accounts =
            vec![account(Role::Sender(0), 30, 3, 0), account(Role::Sender(1), 10, 1, 0)];
        accounts.push(account(Role::Receiver(0), 40, 4, 0));
        let fairness = judged(&accounts).map(|round| round.fairness);
        assert_eq!(fairness.ok(), Some([10.0 / 30.0, 1.0]));
    }
}
