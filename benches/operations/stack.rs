//! How much of the stack a call takes, in items: for those who send large ones.
//!
//! Each call is made by a thread of its own, on a stack that nobody has touched before. What it has
//! touched is present afterwards, and the kernel counts that.

use std::hint::black_box;
use std::time::Duration;

use ringpipe::{Kind, RecvHandle, SendHandle, bytemuck, mpmc, spsc};

/// 1 MiB.
type Large = [[u64; 1024]; 128];
static ITEM: Large = [[7; 1024]; 128];
/// More than any call takes.
const STACK: usize = 64 << 20;
const SOON: Duration = Duration::from_secs(1);

/// Prints the table.
pub fn measure() {
    println!("| items of 1 MiB on the stack | SPSC | MPMC |");
    println!("|---|--:|--:|");
    let needs = [calls(spsc::channel(2).unwrap()), calls(mpmc::channel(2).unwrap())];
    for ((call, spsc), (_, mpmc)) in needs[0].iter().zip(&needs[1]) {
        println!("| {call} | {spsc:.1} | {mpmc:.1} |");
    }
}

fn calls<K: Kind>(ends: (SendHandle<Large, K>, RecvHandle<Large, K>)) -> Vec<(&'static str, f64)> {
    let (mut tx, mut rx) = ends;
    let (item, mut rows) = (&ITEM, vec![[0_u64; 1024]; 128]);
    let into: &mut [Large] = bytemuck::cast_slice_mut(&mut rows);
    let mut needs = Vec::new();
    let mut call = |name, call: &mut (dyn FnMut() + Send)| needs.push((name, need(call)));
    call("`try_send`", &mut || tx.try_send(black_box(*item)).unwrap());
    call("`try_recv`", &mut || _ = black_box(rx.try_recv()));
    call("`send`, `send_timeout`", &mut || tx.send_timeout(black_box(*item), SOON).unwrap());
    call("`recv`, `recv_timeout`", &mut || _ = black_box(rx.recv_timeout(SOON)));
    call("`WriteRun::write`", &mut || {
        let mut run = tx.try_claim(1).unwrap();
        run.write(0, black_box(*item));
        run.commit_all();
    });
    call("`ReadRun::get`", &mut || {
        let run = rx.try_claim(1).unwrap();
        let _ = black_box(run.get(0));
        run.release_all();
    });
    call("`send_slice`", &mut || {
        tx.try_send_slice(std::slice::from_ref(item)).unwrap();
    });
    call("`recv_slice`, `recv_into`", &mut || {
        rx.try_recv_into(&mut into[0]).unwrap();
    });
    tx.try_send_slice(std::slice::from_ref(item)).unwrap();
    call("`for item in &mut rx`", &mut || rx.try_iter().for_each(|item| _ = black_box(item)));
    needs
}

/// So many items of stack the call has touched.
fn need(call: &mut (dyn FnMut() + Send)) -> f64 {
    let work = move || {
        let local = 0_u8;
        let here = std::ptr::from_ref(black_box(&local)).addr();
        let before = present(here);
        call();
        (present(here) - before) as f64 * 1024.0 / size_of::<Large>() as f64
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        thread.expect("a thread").join().expect("it fits")
    })
}

/// KiB of the mapping around an address that are present in memory.
fn present(address: usize) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("/proc");
    let around = |line: &str| {
        let mut ends = line.split(' ').next()?.split('-');
        let mut end = || usize::from_str_radix(ends.next()?, 16).ok();
        Some((end()?..end()?).contains(&address))
    };
    let mut lines = maps.lines().skip_while(|line| around(line) != Some(true));
    let present = lines.find_map(|line| line.strip_prefix("Rss:")).expect("the stack");
    present.trim().trim_end_matches(" kB").parse().expect("a number")
}
