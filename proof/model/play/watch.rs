//! A ring that waits where it need not would stop the play for ever: such a wait is cancelled.

use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use ringpipe::Canceller;

/// Nobody is this slow.
const FOR_EVER: Duration = Duration::from_secs(10);

struct Wait {
    number: u64,
    began: Instant,
    canceller: Canceller,
}

/// The calls in progress that nothing else would stop, and how many there have been.
static WAITS: Mutex<(Vec<Wait>, u64)> = Mutex::new((Vec::new(), 0));

/// Makes a call that need not wait, and panics if it does.
pub fn at_once<R>(canceller: Canceller, call: impl FnOnce() -> R) -> R {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| drop(std::thread::spawn(watch)));
    let number = {
        let (waits, ever) = &mut *WAITS.lock().unwrap_or_else(PoisonError::into_inner);
        *ever += 1;
        waits.push(Wait { number: *ever, began: Instant::now(), canceller });
        *ever
    };
    let result = call();
    let (waits, _) = &mut *WAITS.lock().unwrap_or_else(PoisonError::into_inner);
    let before = waits.len();
    waits.retain(|wait| wait.number != number);
    assert!(waits.len() < before, "a call waited that need not");
    result
}

fn watch() {
    loop {
        std::thread::sleep(FOR_EVER / 10);
        let (waits, _) = &mut *WAITS.lock().unwrap_or_else(PoisonError::into_inner);
        waits.retain(|wait| {
            let long = wait.began.elapsed() > FOR_EVER;
            if long {
                wait.canceller.cancel();
            }
            !long
        });
    }
}
