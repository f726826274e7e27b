//! C12 when the power goes: a file of which each page is of another moment is refused, and can be
//! emptied; what was closed by all is there, to the last value.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ringpipe::{OpenError, Options, Ring, TryRecvError, Unclean};
use rustix::mm::{MsyncFlags, msync};
use support::disk::{self, Disk, after_a_reboot, beside};
use support::region::Raw;
use support::{Directory, Flavour, both_kinds, did_not_run, options, roles};

roles!();

both_kinds!(
    c12_a_mixture_of_pages_is_refused,
    c12_a_mixture_of_pages_can_be_emptied,
    c12_what_was_closed_by_all_is_there_after_a_power_cut,
    c12_on_the_disk_itself_a_ring_in_use_is_never_clean,
);

const PAGE: usize = 4096;
/// Slots that fill some pages: of 8 bytes on an SPSC ring, of 16 on an MPMC ring.
const CAPACITY: usize = 4096;

fn small<K: Flavour>() -> Options<u64, K> {
    options().capacity(if K::MANY { CAPACITY / 2 } else { CAPACITY }).endpoints(2)
}

/// Two moments of a ring's file: at a `sync`, with values that were sent before it in it, and
/// later.
struct Moments {
    synced: Vec<u8>,
    later: Vec<u8>,
    /// What was in the ring at the `sync`, in order.
    held: Vec<u64>,
    /// Everything that was sent since the lap before it.
    recent: std::ops::Range<u64>,
}

impl Moments {
    fn of<K: Flavour>(path: &Path) -> Self {
        let ring = small::<K>().create_file(path).unwrap();
        let capacity = ring.capacity() as u64;
        let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
        // A lap, so that every slot has an old value.
        for n in 0..capacity {
            tx.try_send(n).unwrap();
            assert_eq!(rx.try_recv(), Ok(n));
        }
        let held: Vec<u64> = (capacity..capacity + 100).collect();
        assert_eq!(tx.try_send_slice(&held), Ok(100));
        ring.sync().unwrap();
        let synced = fs::read(path).unwrap();
        // Traffic goes on.
        let sent = capacity + 100..2 * capacity - 100;
        assert!(sent.clone().all(|n| tx.try_send(n).is_ok()));
        assert!(held[..40].iter().all(|&n| rx.try_recv() == Ok(n)));
        let later = fs::read(path).unwrap();
        assert_eq!(disk::state(path), disk::OPEN);
        Self { synced, later, held, recent: capacity..sent.end }
    }

    fn pages(&self) -> usize {
        self.synced.len() / PAGE
    }

    /// The pages whose bits are set are of the later moment.
    fn mixed(&self, later: usize) -> Vec<u8> {
        let mut mixture = self.synced.clone();
        for page in (0..self.pages()).filter(|page| later & 1 << page != 0) {
            let bytes = page * PAGE..(page + 1) * PAGE;
            mixture[bytes.clone()].copy_from_slice(&self.later[bytes]);
        }
        mixture
    }

    /// Every mixture there is, in a file, after a reboot.
    fn each_mixture(&self, path: &Path, mut check: impl FnMut(usize)) {
        assert!((6..=11).contains(&self.pages()), "{} pages", self.pages());
        for later in 0..1 << self.pages() {
            after_a_reboot(path, &self.mixed(later));
            check(later);
        }
    }
}

fn refused<K: Flavour>(path: &Path) -> String {
    match options::<K>().open_file(path) {
        Err(e @ OpenError::Unclean { .. }) => e.to_string(),
        other => panic!("opened: {other:?}"),
    }
}

fn c12_a_mixture_of_pages_is_refused<K: Flavour>() {
    let Some(disk) = Disk::new("mixtures of pages") else { return };
    let path = disk.join("ring");
    let moments = Moments::of::<K>(&path);
    let mixture = beside(&path);
    let (mut wrong, mut all) = (0, 0);
    moments.each_mixture(&mixture, |later| {
        let before = fs::read(&mixture).unwrap();
        let message = refused::<K>(&mixture);
        assert!(message.contains(mixture.to_str().unwrap()), "{message}");
        assert!(message.contains("Options::unclean"), "no advice: {message}");
        assert!(fs::read(&mixture).unwrap() == before, "touched, {later:b}");
        // That it is for the better: what a receiver would be given, and whether it would know.
        let ring = options::<K>().unclean(Unclean::AsFound).open_file(&mixture).unwrap();
        let mut rx = K::receiver(&ring).unwrap();
        rx.set_liveness_interval(Duration::from_millis(1));
        let given: Vec<u64> = rx.try_iter().collect();
        let in_order = given.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        let recent = given.iter().all(|n| moments.recent.contains(n));
        let stuck = !ring.is_empty();
        wrong += usize::from(!in_order || !recent || stuck);
        all += 1;
        // And if it is of one moment, it is what it was.
        if later == 0 {
            assert_eq!(given, moments.held);
        }
    });
    // All but a few: an SPSC ring whose first page is old has no use for what later ones hold.
    assert!(wrong * 10 > all * 4, "{wrong} of {all} mixtures deliver what is wrong: no test");
}

fn c12_a_mixture_of_pages_can_be_emptied<K: Flavour>() {
    let Some(disk) = Disk::new("emptying mixtures of pages") else { return };
    let path = disk.join("ring");
    let moments = Moments::of::<K>(&path);
    let mixture = beside(&path);
    moments.each_mixture(&mixture, |later| {
        let ring = options::<K>().unclean(Unclean::Empty).open_file(&mixture).unwrap();
        works(&ring, later);
        // Who comes beside finds it open; and when all have left, it is clean.
        drop(options::<K>().open_file(&mixture).unwrap());
        ring.checkpoint().unwrap();
        assert_eq!(disk::state(&mixture), disk::CLEAN);
    });
    // What is left in one that was emptied and closed is there.
    after_a_reboot(&mixture, &moments.mixed(0b1010_1010));
    let ring = options::<K>().unclean(Unclean::Empty).open_file(&mixture).unwrap();
    K::sender(&ring).unwrap().try_send(7).unwrap();
    ring.checkpoint().unwrap();
    after_a_reboot(&mixture, &fs::read(&mixture).unwrap());
    holds::<K>(&mixture, &[7]);
}

/// Empty, as if new; and does all that a ring does, for some laps.
fn works<K: Flavour>(ring: &Ring<u64, K>, which: usize) {
    assert_eq!((ring.len(), ring.peers().senders, ring.peers().receivers), (0, 0, 0), "{which:b}");
    let stats = ring.stats();
    assert_eq!((stats.sent, stats.received, stats.sender_arrivals), (0, 0, 0), "{which:b}");
    assert_eq!((stats.skipped, stats.redelivered, stats.dropped), (0, 0, 0), "{which:b}");
    let (mut tx, mut rx) = (K::sender(ring).unwrap(), K::receiver(ring).unwrap());
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty), "{which:b}");
    let capacity = ring.capacity() as u64;
    for lap in 0..3 {
        let values: Vec<u64> = (lap * capacity..(lap + 1) * capacity + 1).collect();
        assert_eq!(tx.try_send_slice(&values), Ok(capacity as usize), "{which:b}");
        let given: Vec<(u64, bool)> =
            std::iter::from_fn(|| Some((rx.try_recv().ok()?, rx.redelivered() > 0))).collect();
        let sent = values[..capacity as usize].iter().map(|&value| (value, false));
        assert!(given.into_iter().eq(sent), "{which:b}, lap {lap}");
    }
    drop(tx);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed), "{which:b}");
}

/// It opens without a word, with exactly this in it.
fn holds<K: Flavour>(path: &Path, values: &[u64]) {
    let ring = options::<K>().open_file(path).unwrap();
    assert_eq!(ring.len(), values.len());
    assert!(K::receiver(&ring).unwrap().try_iter().eq(values.iter().copied()));
}

fn c12_what_was_closed_by_all_is_there_after_a_power_cut<K: Flavour>() {
    let Some(disk) = Disk::new("a clean ring after a power cut") else { return };
    let path = disk.join("ring");
    let ring = small::<K>().create_file(&path).unwrap();
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    assert_eq!(tx.try_send_slice(&(0..1000).collect::<Vec<_>>()), Ok(1000));
    assert!((0..10).all(|n| rx.try_recv() == Ok(n)));
    drop((tx, rx));
    ring.checkpoint().unwrap();
    let clean = fs::read(&path).unwrap();
    // Also as a copy, and in the same boot as well as in another.
    let rest: Vec<u64> = (10..1000).collect();
    let copy = beside(&path);
    fs::write(&copy, &clean).unwrap();
    holds::<K>(&copy, &rest);
    after_a_reboot(&copy, &clean);
    holds::<K>(&copy, &rest);

    // From the moment that it is open again, every page may be of that moment or a later one.
    let ring = options::<K>().open_file(&path).unwrap();
    let opened = fs::read(&path).unwrap();
    let (mut tx, mut rx) = (K::sender(&ring).unwrap(), K::receiver(&ring).unwrap());
    assert_eq!(rx.try_recv(), Ok(10));
    tx.try_send(1000).unwrap();
    let moments =
        Moments { synced: opened, later: fs::read(&path).unwrap(), held: Vec::new(), recent: 0..0 };
    moments.each_mixture(&copy, |_| _ = refused::<K>(&copy));
}

/// A file system in a file, on a loop device: what the file holds is what is on the disk.
struct Machine {
    directory: Directory,
    mounted: Vec<PathBuf>,
}

impl Machine {
    fn new() -> Result<Self, String> {
        let machine = Self { directory: Directory::new(), mounted: Vec::new() };
        let disk = machine.directory.join("disk");
        let file = fs::File::create(&disk).unwrap();
        file.set_len(16 << 20).unwrap();
        run("mkfs.ext4", &["-q", "-F", disk.to_str().unwrap()])?;
        Ok(machine)
    }

    /// The file system on this disk.
    fn mount(&mut self, disk: &str) -> Result<PathBuf, String> {
        let at = self.directory.join(format!("mounted-{disk}"));
        fs::create_dir(&at).unwrap();
        let disk = self.directory.join(disk);
        run("mount", &["-o", "loop", disk.to_str().unwrap(), at.to_str().unwrap()])?;
        self.mounted.push(at.clone());
        Ok(at)
    }

    /// The power is cut: what is on the disk, as another machine finds it.
    fn cut(&mut self, number: &str) -> PathBuf {
        fs::copy(self.directory.join("disk"), self.directory.join(number)).unwrap();
        self.mount(number).unwrap().join("ring")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for at in &self.mounted {
            if let Err(e) = run("umount", &["-l", at.to_str().unwrap()]) {
                eprintln!("{e}");
            }
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = support::by_fork::by_fork(Command::new(program).args(arguments)).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(e) => Err(format!("{program}: {e}")),
    }
}

/// Writes one page of a file to its disk, as the kernel may at any time.
fn write_back(path: &Path, page: usize) {
    let raw = Raw::of(path);
    let at = raw.words()[page * PAGE / 8..].as_ptr().cast_mut();
    // SAFETY: the page lies in the mapping, which lives.
    unsafe { msync(at.cast(), PAGE, MsyncFlags::SYNC) }.unwrap();
}

fn c12_on_the_disk_itself_a_ring_in_use_is_never_clean<K: Flavour>() {
    let what = "a power cut on a loop device";
    let mut machine = match Machine::new() {
        Ok(machine) => machine,
        Err(why) => return did_not_run(what, &why),
    };
    let path = match machine.mount("disk") {
        Ok(mounted) => mounted.join("ring"),
        Err(why) => return did_not_run(what, &why),
    };
    let unclean = |path: PathBuf| _ = refused::<K>(&path);
    let ring = small::<K>().create_file(&path).unwrap();
    // There, and marked, before anything is in it.
    unclean(machine.cut("created"));
    let mut tx = K::sender(&ring).unwrap();
    let values: Vec<u64> = (0..1000).collect();
    assert_eq!(tx.try_send_slice(&values), Ok(1000));
    drop(tx);
    unclean(machine.cut("used"));
    ring.checkpoint().unwrap();
    holds::<K>(&machine.cut("closed"), &values);

    // Opened, and nothing stored yet.
    let ring = options::<K>().open_file(&path).unwrap();
    unclean(machine.cut("opened"));
    // Some pages have been written back since.
    let mut rx = K::receiver(&ring).unwrap();
    assert!(values[..600].iter().all(|&n| rx.try_recv() == Ok(n)));
    for page in 1..3 {
        write_back(&path, page);
    }
    unclean(machine.cut("mixed"));
    write_back(&path, 0);
    unclean(machine.cut("mixed-more"));
    ring.sync().unwrap();
    let synced = machine.cut("synced");
    let as_found = options::<K>().unclean(Unclean::AsFound).open_file(&synced).unwrap();
    assert_eq!(as_found.len(), 400);
    drop(as_found);
    // The last one leaves without a word.
    drop((rx, ring));
    holds::<K>(&machine.cut("closed-again"), &values[600..]);
}
